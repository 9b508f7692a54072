#include "bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "comm/comm.h"
#include "options.h"

double dither_bench_clock(void)
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

double dither_bench_median(double *v, int count)
{
    qsort(v, (size_t)count, sizeof *v, ascending);
    return count % 2 ? v[count / 2] : (v[count / 2 - 1] + v[count / 2]) / 2;
}

/* The next word of a list, cut off at 63 characters; the rest of the list, or NULL at its end. */
static const char *next_word(const char *list, char word[64])
{
    const size_t length = strcspn(list, ",");
    snprintf(word, 64, "%.*s", (int)(length < 63 ? length : 63), list);
    return list[length] ? list + length + 1 : NULL;
}

dither_status dither_bench_numbers(const char *what, const char *text, int64_t min, int64_t max, int64_t *out,
                                   int *count, dither_error *error)
{
    dither_status status = DITHER_OK;
    char word[64];
    *count = 0;
    for (const char *rest = text; rest;) {
        rest = next_word(rest, word);
        if (*count == DITHER_BENCH_LIST)
            FAIL(DITHER_USAGE, "%s: more than %d numbers in '%.80s'", what, DITHER_BENCH_LIST, text);
        TRY(dither_parse_integer(what, word, min, max, &out[*count], error));
        ++*count;
    }
out:
    return status;
}

dither_status dither_bench_names(const char *what, const char *text, const char *const *known, int known_n, int *chosen,
                                 dither_error *error)
{
    dither_status status = DITHER_OK;
    char word[64], list[512] = "";
    size_t used = 0;
    const int all = strcmp(text, "all") == 0;
    for (int i = 0; i < known_n; i++) chosen[i] = all;
    for (const char *rest = all ? NULL : text; rest;) {
        rest = next_word(rest, word);
        int i = 0;
        while (i < known_n && strcmp(known[i], word) != 0) i++;
        for (int j = 0; i == known_n && j < known_n && used < sizeof list; j++)
            used += (size_t)snprintf(list + used, sizeof list - used, ", %s", known[j]);
        if (i == known_n) FAIL(DITHER_USAGE, "%s: '%s' is not one of all%s", what, word, list);
        chosen[i] = 1;
    }
out:
    return status;
}

dither_status dither_bench_over_ranks(dither_comm *comm, double mine, double *mean, double *most, dither_error *error)
{
    dither_status status = DITHER_OK;
    int64_t word;
    double total = 0, largest = -INFINITY;
    memcpy(&word, &mine, sizeof word);
    TRY(dither_comm_gather_word(comm, word, error));
    for (int r = 0; r < comm->ranks; r++) {
        double v;
        memcpy(&v, &comm->words[r], sizeof v);
        total += v;
        if (v > largest) largest = v;
    }
    if (mean) *mean = total / comm->ranks;
    if (most) *most = largest;
out:
    return status;
}

dither_status dither_bench_share(dither_comm *comm, double *value, dither_error *error)
{
    return comm->broadcast(comm, value, sizeof *value, 0, error);
}

void dither_bench_defaults(dither_bench *out)
{
    *out = (dither_bench){.begin_bytes = 4 << 20, .end_bytes = 4 << 20, .factor = 2, .repeats = 7, .warmup = 1,
                          .check = 1, .threads = 1, .device = "auto", .precision = "f32", .gpus = "auto", .codecs = "all",
                          .wires = "all", .levels = "1,7,127", .norms = "inf", .blocks = "0"};
}

dither_status dither_bench_check(const dither_bench *b, dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t most = (int64_t)INT32_MAX * 4;
    if (b->begin_bytes < 4 || b->end_bytes < b->begin_bytes || b->end_bytes > most)
        FAIL(DITHER_USAGE, "sizes from %lld to %lld bytes: the first is at least 4, the last not less and at most %lld",
             (long long)b->begin_bytes, (long long)b->end_bytes, (long long)most);
    if (!(b->factor > 1)) FAIL(DITHER_USAGE, "factor %g: it must be greater than 1", b->factor);
    if (b->repeats < 1 || b->repeats > DITHER_BENCH_REPEATS || b->warmup < 0 || b->warmup > DITHER_BENCH_REPEATS)
        FAIL(DITHER_USAGE, "%d repeats after %d: 1 to %d after 0 to %d are possible", b->repeats, b->warmup,
             DITHER_BENCH_REPEATS, DITHER_BENCH_REPEATS);
    if (strcmp(b->precision, "f32") && strcmp(b->precision, "f64"))
        FAIL(DITHER_USAGE, "precision '%.20s' is not f32 or f64", b->precision);
    if (dither_choice_index("auto|cpu|cuda", b->device) < 0)
        FAIL(DITHER_USAGE, "device '%.20s' is not auto, cpu or cuda", b->device);
out:
    return status;
}

int64_t dither_bench_next(const dither_bench *bench, int64_t bytes)
{
    const double next = floor((double)bytes * bench->factor / 4) * 4;
    return next >= (double)(bytes + 4) ? (next < 9e15 ? (int64_t)next : INT64_MAX) : bytes + 4;
}

void dither_bench_table(float table[DITHER_BENCH_TABLE])
{
    for (int64_t i = 0; i < DITHER_BENCH_TABLE; i++) { /* two uniforms of a lattice */
        const double u = ((double)((i * 40503) & (DITHER_BENCH_TABLE - 1)) + 0.5) / DITHER_BENCH_TABLE;
        const double v = ((double)((i * 30011 + 7) & (DITHER_BENCH_TABLE - 1)) + 0.5) / DITHER_BENCH_TABLE;
        table[i] = (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v)); /* Box and Muller, 1958 */
    }
}
