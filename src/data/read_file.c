#include "read_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_SHOWN 400

const char *dither_path_shown(const char *path)
{
    const size_t n = strlen(path);
    return n > PATH_SHOWN ? path + n - PATH_SHOWN : path;
}

static dither_status read_raw(const char *path, dither_bytes *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    struct stat about;
    const char *const shown = dither_path_shown(path);
    FILE *const file = fopen(path, "rb");
    if (!file) FAIL(DITHER_IO, "%s: can't be opened: %s", shown, strerror(errno));
    if (fstat(fileno(file), &about)) FAIL(DITHER_IO, "%s: can't be examined: %s", shown, strerror(errno));
    if (S_ISDIR(about.st_mode)) FAIL(DITHER_IO, "%s: is a directory; name a file in it", shown);
    /* the size is a hint only: a pipe has none, and a file may grow. 3: newline, NUL, and a byte to see the end */
    if (about.st_size > 0 && (uintmax_t)about.st_size < SIZE_MAX - 3)
        TRY(dither_bytes_reserve(out, (size_t)about.st_size + 3, error));
    while (!feof(file)) {
        TRY(dither_bytes_reserve(out, 1, error));
        out->size += fread(out->bytes + out->size, 1, out->capacity - out->size, file);
        if (ferror(file)) FAIL(DITHER_IO, "%s: can't be read: %s", shown, strerror(errno));
    }
out:
    if (file) fclose(file);
    return status;
}

dither_status dither_file_read(const char *path, dither_bytes *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_bytes packed = {0};
    out->size = 0;
    TRY(read_raw(path, out, error));
    const dither_packing *const packing = dither_packing_of(path, out);
    if (packing) {
        packed = *out;
        *out = (dither_bytes){0};
        TRY(dither_unpack(packing, dither_path_shown(path), &packed, out, error));
    }
    TRY(dither_bytes_reserve(out, 2, error));
    memcpy(out->bytes + out->size, "\n", 2);
out:
    free(packed.bytes);
    return status;
}
