/* How fast a data file is read: MB of text a second (MB = 10^6 bytes) on one thread, beside memcpy's bandwidth in
 * the same process. The text is repeated in memory up to about 64 MB; each figure is the median of 7 rounds.
 *
 *     bench_parse FILE... */
#include "data/data.h"
#include "data/read_file.h"
#include "data/read_libsvm.h"
#include "hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 7
#define TEXT_BYTES ((size_t)64 << 20)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double seconds[ROUNDS])
{
    qsort(seconds, ROUNDS, sizeof *seconds, ascending);
    return seconds[ROUNDS / 2];
}

static double time_memcpy(const dither_bytes *text)
{
    double seconds[ROUNDS];
    char *const copy = malloc(text->size);
    if (!copy) return 0;
    memset(copy, 1, text->size);
    for (int i = 0; i < ROUNDS; i++) {
        const double start = now();
        memcpy(copy, text->bytes, text->size);
        __asm__ volatile("" : : "r"(copy) : "memory"); /* the copy is wanted */
        seconds[i] = now() - start;
    }
    free(copy);
    return median(seconds);
}

static double time_hash(const dither_bytes *text, uint64_t *hash)
{
    double seconds[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        const double start = now();
        *hash = dither_hash64(*hash, text->bytes, text->size);
        seconds[i] = now() - start;
    }
    return median(seconds);
}

static dither_status time_parse(const char *path, const dither_bytes *text, double *out, int64_t *entries,
                                dither_error *error)
{
    dither_status status = DITHER_OK;
    double seconds[ROUNDS];
    dither_data *data = NULL;
    for (int i = 0; i < ROUNDS; i++) {
        TRY_ALLOC(data, 1);
        const double start = now();
        TRY(dither_libsvm_parse(path, (const char *)text->bytes, text->size, 0, data, error));
        seconds[i] = now() - start;
        *entries = dither_data_nonzeros(data);
        dither_data_free(data);
        data = NULL;
    }
    *out = median(seconds);
out:
    dither_data_free(data);
    return status;
}

/* dither_data_read as it is: file, decompression, parsing, hash */
static dither_status time_read(const char *path, double *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    double seconds[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        dither_data *data = NULL;
        const double start = now();
        TRY(dither_data_read(path, NULL, &data, error));
        seconds[i] = now() - start;
        dither_data_free(data);
    }
    *out = median(seconds);
out:
    return status;
}

static dither_status repeat(dither_bytes *text, dither_error *error)
{
    dither_status status = DITHER_OK;
    const size_t once = text->size;
    const size_t times = once && once < TEXT_BYTES ? TEXT_BYTES / once : 1;
    TRY(dither_bytes_reserve(text, times * once + 1, error));
    for (size_t i = 1; i < times; i++) memcpy(text->bytes + i * once, text->bytes, once);
    text->size = times * once;
    text->bytes[text->size] = '\n';
out:
    return status;
}

static dither_status measure(const char *path, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_bytes text = {0};
    double parse = 0, read = 0;
    int64_t entries = 0;
    uint64_t hash = 0;
    TRY(dither_file_read(path, &text, error));
    const double file_mb = 1e-6 * (double)text.size;
    TRY(time_read(path, &read, error));
    TRY(repeat(&text, error));
    const double mb = 1e-6 * (double)text.size;
    TRY(time_parse(path, &text, &parse, &entries, error));
    printf("%s: parse %.0f MB/s, %.1f ns an entry; whole read of %.1f MB %.0f MB/s; hash %.1f GB/s; memcpy %.1f GB/s\n",
           path, mb / parse, 1e9 * parse / (double)entries, file_mb, file_mb / read,
           1e-3 * mb / time_hash(&text, &hash), 1e-3 * mb / time_memcpy(&text));
out:
    free(text.bytes);
    return status;
}

int main(int count, char **arguments)
{
    dither_error error;
    if (count < 2) {
        fprintf(stderr, "usage: bench_parse FILE...\n");
        return DITHER_USAGE;
    }
    for (int i = 1; i < count; i++)
        if (measure(arguments[i], &error) != DITHER_OK) {
            fprintf(stderr, "bench_parse: %s\n", error.message);
            return (int)error.status;
        }
    return 0;
}
