/* What the benchmarks share: a clock, medians, lists in text, test vectors. */
#ifndef DITHER_BENCH_H
#define DITHER_BENCH_H

#include "error.h"

enum { DITHER_BENCH_LIST = 32, DITHER_BENCH_REPEATS = 1000 };

double dither_bench_clock(void); /* seconds, monotonic */

/* Sorts v. */
double dither_bench_median(double *v, int count);

/* A list of whole numbers in text, "1,7,127", each in [min, max], into out[] (DITHER_BENCH_LIST of them at most). */
dither_status dither_bench_numbers(const char *what, const char *text, int64_t min, int64_t max, int64_t *out,
                                   int *count, dither_error *error);
/* A list of names, each one of known[0 .. known_n), or "all", into chosen[] (known_n of them): 1 for those in it. */
dither_status dither_bench_names(const char *what, const char *text, const char *const *known, int known_n, int *chosen,
                                 dither_error *error);

/* Over the ranks: *mean and *most of everybody's `mine`; either may be NULL. */
dither_status dither_bench_over_ranks(dither_comm *comm, double mine, double *mean, double *most, dither_error *error);
/* Rank 0's `value` on all ranks. */
dither_status dither_bench_share(dither_comm *comm, double *value, dither_error *error);

/* Sizes, repeats: in range? */
dither_status dither_bench_check(const dither_bench *bench, dither_error *error);
/* The next size after `bytes`, at least 4 more. */
int64_t dither_bench_next(const dither_bench *bench, int64_t bytes);

/* Coordinate c of worker w's test vector: nearly independent standard normal; a function of its arguments alone.
 * `table` is of dither_bench_table. */
enum { DITHER_BENCH_TABLE = 1 << 16 };
void dither_bench_table(float table[DITHER_BENCH_TABLE]);
static inline float dither_bench_normal(const float *table, int64_t worker, int64_t c)
{
    const uint64_t z = ((uint64_t)worker << 40 ^ (uint64_t)c) * 0x9E3779B97F4A7C15u;
    return table[(z ^ z >> 32) >> 16 & (DITHER_BENCH_TABLE - 1)];
}

#endif
