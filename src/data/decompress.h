/* gzip, bzip2 and xz data in memory to the bytes they hold. */
#ifndef DITHER_DECOMPRESS_H
#define DITHER_DECOMPRESS_H

#include "error.h"

/* A growing array of bytes; all zero is an empty one. bytes is released with free(). */
typedef struct dither_bytes {
    unsigned char *bytes;
    size_t size, capacity;
} dither_bytes;

/* Make room for `more` bytes behind the first size, at least doubling what there is. */
dither_status dither_bytes_reserve(dither_bytes *buffer, size_t more, dither_error *error);

typedef struct dither_packing dither_packing;

/* How the bytes are compressed: what their first bytes say, else what the path's extension says; NULL for plain. */
const dither_packing *dither_packing_of(const char *path, const dither_bytes *packed);

/* Append to `out` what `packed` holds, all its members or streams. DITHER_BAD_DATA when it is cut short, damaged,
 * followed by other bytes or no such data at all; DITHER_IO when this build lacks the library. `path` is for the
 * message. */
dither_status dither_unpack(const dither_packing *packing, const char *path, const dither_bytes *packed,
                            dither_bytes *out, dither_error *error);

#endif
