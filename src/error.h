/* Status forwarding. Every fallible function returns a dither_status; TRY passes a failure on to the `out:` label
 * that frees; FAIL writes the message. */
#ifndef DITHER_ERROR_H
#define DITHER_ERROR_H

#include "dither.h"

/* Write the message (printf style) and return `status`. `error` may be NULL. */
dither_status dither_fail(dither_error *error, dither_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* In a function with `dither_status status` and a label `out`. */
#define TRY(call) \
    do { \
        status = (call); \
        if (status != DITHER_OK) goto out; \
    } while (0)
#define FAIL(code, ...) \
    do { \
        status = dither_fail(error, (code), __VA_ARGS__); \
        goto out; \
    } while (0)
/* calloc(count, size) or fail with DITHER_INTERNAL; count 0 gives a valid pointer. */
#define TRY_ALLOC(pointer, count) \
    do { \
        (pointer) = dither_calloc((size_t)(count), sizeof *(pointer)); \
        if (!(pointer)) FAIL(DITHER_INTERNAL, "out of memory: %zu elements of %zu bytes", (size_t)(count), sizeof *(pointer)); \
    } while (0)

/* Zeroed memory on a 64-byte boundary, released with free(); NULL when there is none or the size overflows. */
void *dither_calloc(size_t count, size_t size);

#endif
