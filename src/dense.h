/* --dense-math blas: the rows of a rank once more, as a dense matrix on its device, for the library's products. */
#ifndef DITHER_DENSE_H
#define DITHER_DENSE_H

#include "rank.h"

/* Below this share of nonzeros the dense matrix is refused: it would take at least 13 times the memory of the rows, and as
 * much longer to go through. */
#define DITHER_DENSE_LEAST 0.05

/* DITHER_USAGE when the data, of which this rank may have a part, is too sparse. */
dither_status dither_dense_check(const dither_plan *plan, dither_error *error);

/* Bytes of the matrix for the rows of all ranks. */
double dither_dense_bytes(const dither_plan *plan);

/* rank->k.dense for the workers [first, first + count), of which shard_row[count + 1] are the rows on the rank and
 * weight[count] the weights. DITHER_DEVICE when the device has no library, or no memory. */
dither_status dither_dense_fill(dither_rank *rank, const dither_plan *plan, const int64_t *shard_row, const double *weight,
                                dither_error *error);
void dither_dense_release(dither_rank *rank);

#endif
