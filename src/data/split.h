/* The option `split`: which rows a worker gets. */
#ifndef DITHER_SPLIT_H
#define DITHER_SPLIT_H

#include "data.h"

typedef struct dither_row_split {
    int rule, workers; /* DITHER_SPLIT_... of options.h */
    double a;          /* of DITHER_SPLIT_DIRICHLET */
    uint64_t seed;
} dither_row_split;

/* order[i] = the row that comes i-th; worker w then has those from floor(N w / n) on.
 *
 *     shuffled     a uniformly random order, another one than that of --shuffle with the same seed
 *     by-label     sorted by label, rows of one label in their order
 *     dirichlet:A  worker w draws a mixture of the labels q_w ~ Dir(A p), p their shares in the data (Hsu, Qi and Brown,
 *                  2019, arXiv:1909.06335), then its rows one by one, of label k with probability in proportion to
 *                  (q_wk / p_k) times the rows of label k that are left; those are taken in their order. At first that
 *                  is q_wk, and what is left for the last workers is no outlier. A -> 0: one label a worker as long as
 *                  there are rows of it; A -> inf: q_w = p, labels as after a shuffle.
 *
 * The same on every machine. DITHER_USAGE when dirichlet finds more than 4096 labels. */
dither_status dither_split_order(const struct dither_data *data, const dither_row_split *split, int64_t *order,
                                 dither_error *error);

/* ---- for tests ---- */

/* Words of the Philox subsequence (use, DK_WORKER_ALL, DK_STREAM_INIT), one after another. */
typedef struct dither_words {
    uint64_t seed, subsequence, next;
} dither_words;
dither_words dither_words_of(uint64_t seed, int64_t use);
double dither_words_uniform(dither_words *words); /* (0, 1), multiples of 2^-53 and half of one */
double dither_words_normal(dither_words *words);
/* log of a variable with density v^(a-1) e^-v / Gamma(a), a > 0: the log, since v underflows for small a */
double dither_words_log_gamma(dither_words *words, double a);

#endif
