/* The option `shuffle`. */
#ifndef DITHER_SHUFFLE_H
#define DITHER_SHUFFLE_H

#include "data.h"

/* Bring the rows into the order that `seed` gives, the same on every machine: Fisher and Yates' algorithm,
 *
 *     for t = 0, 1, ..., rows-2:  i = rows-1-t,  swap rows i and j, j uniform in [0, i]
 *
 * with j = dither_scale_down(u_t, i+1), u_t = word 2t + 2^32 word 2t+1 of the Philox subsequence (iteration 0,
 * DK_WORKER_ALL, DK_STREAM_INIT). The bias of j is less than rows / 2^64. */
dither_status dither_data_shuffle(struct dither_data *data, uint64_t seed, dither_error *error);

/* The order by itself: order[i] is the present number of the row that comes i-th. `use` tells the random numbers of one
 * use from those of others: iteration of the subsequence, 0 above. */
void dither_shuffle_order(int64_t *order, int64_t rows, uint64_t seed, int64_t use);

/* *out: a copy of the rows in that order, without a hash. */
dither_status dither_data_reorder(const struct dither_data *data, const int64_t *order, struct dither_data **out,
                                  dither_error *error);

/* floor(u m / 2^64), without a 128-bit type; m < 2^63 */
uint64_t dither_scale_down(uint64_t u, uint64_t m);

#endif
