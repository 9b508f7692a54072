/* The text of a LIBSVM file to rows. */
#ifndef DITHER_READ_LIBSVM_H
#define DITHER_READ_LIBSVM_H

#include "data.h"

/* Fill the rows of `data`, which is all zero, from text[0..size-1]; text[size] must be a newline. A line is
 *
 *     label index:value index:value ...    # comment
 *
 * with blanks (spaces, tabs) between; label and values are finite decimal numbers, indices are from 1 to `features`
 * and ascend. features 0: take the largest index for it. Lines with nothing but blanks or a comment are skipped, a
 * UTF-8 byte order mark at the start too; a line may end in CRLF, the last one in nothing. Entries whose value is 0
 * are left out. DITHER_BAD_DATA starts with "path:line:column: ", counted from 1, columns in bytes. What is
 * allocated stays in `data` after a failure. */
dither_status dither_libsvm_parse(const char *path, const char *text, size_t size, int64_t features,
                                  struct dither_data *data, dither_error *error);

/* The same of a part of a file that begins with a line, `lines` lines after the file's start; data->features becomes the
 * largest index, and none is no error. */
dither_status dither_libsvm_parse_part(const char *path, const char *text, size_t size, int64_t features, int64_t lines,
                                       struct dither_data *data, dither_error *error);

#endif
