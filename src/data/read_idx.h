/* Images in IDX files, the format of MNIST (LeCun, Cortes and Burges): big-endian
 *
 *     0 0 type dimensions, then a 32-bit size for each dimension, then the values, last dimension fastest
 *
 * with type 8 for unsigned bytes, the only one read here. The images' first dimension counts the rows, the product of the
 * others is the number of features; their labels are a file of one dimension beside it. */
#ifndef DITHER_READ_IDX_H
#define DITHER_READ_IDX_H

#include "data.h"
#include "decompress.h"

/* Do the bytes begin as an IDX file does? No LIBSVM file begins with a zero byte. */
int dither_idx_is(const dither_bytes *file);

typedef struct dither_idx {
    const char *path;    /* of the images */
    const char *labels;  /* of their labels; "" to look beside the images: "images" and "idx3" in the file's name become
                            "labels" and "idx1", with the same ending, without .gz or with it */
    double scale;        /* values are divided by it */
    int64_t features;    /* at least so many as the images have, or 0 for those */
} dither_idx;

/* Fill the rows of `data`, which is all zero, from the images in `file` and their labels' file. DITHER_BAD_DATA or
 * DITHER_IO say which file and what is wrong with it. What is allocated stays in `data` after a failure. */
dither_status dither_idx_parse(const dither_idx *idx, const dither_bytes *file, struct dither_data *data,
                               dither_error *error);

#endif
