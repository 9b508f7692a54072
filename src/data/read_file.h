/* A whole file into memory, decompressed. */
#ifndef DITHER_READ_FILE_H
#define DITHER_READ_FILE_H

#include "decompress.h"

/* The path as messages show it: all of it or, so that the rest of a message fits, its end. */
const char *dither_path_shown(const char *path);

/* Replace *out, which is empty or to be reused, by the file's content. Behind its size bytes stand a newline and a
 * NUL that don't count, so that a scan for either needs no other bound. Compression is known by the file's first
 * bytes, whatever its name; a file named .gz, .bz2 or .xz must be compressed. DITHER_IO when it can't be opened or
 * read. The caller frees out->bytes, also after a failure. */
dither_status dither_file_read(const char *path, dither_bytes *out, dither_error *error);

#endif
