/* Dense symmetric positive definite systems in row-major storage, lower triangle. Orders are multiples of
 * DITHER_TILE; the caller pads with rows of the identity. Every element of the result is summed in one fixed order,
 * whatever the instruction set and the number of threads. */
#ifndef DITHER_CHOLESKY_H
#define DITHER_CHOLESKY_H

#include <stdint.h>

#define DITHER_TILE 8        /* rows and columns of the smallest block */
#define DITHER_DEPTH 64      /* columns that one rank update adds up at most */

/* n rounded up to a multiple of DITHER_TILE */
static inline int64_t dither_padded(int64_t n) { return (n + DITHER_TILE - 1) / DITHER_TILE * DITHER_TILE; }

/* Panels hold a matrix P of `depth` rows and n columns, 8 columns after 8 columns: P[r][c] stands at
 * panels[(c / 8 * depth + r) * 8 + c % 8]. They need n * DITHER_DEPTH elements at most. */
static inline int64_t dither_panel_index(int64_t r, int64_t c, int64_t depth)
{
    return (c / DITHER_TILE * depth + r) * DITHER_TILE + c % DITHER_TILE;
}

/* The lower triangle of c[n][stride] += sign * P^T P; the upper half of blocks on the diagonal is overwritten.
 * threads: at most so many, 0 for as many as there are cores. */
void dither_rank_update(double *c, int64_t stride, int64_t n, const double *panels, int64_t depth, double sign,
                        int threads);

/* Replace the lower triangle of a[n][n], whose diagonal the caller has scaled to about 1, by its Cholesky factor.
 * `panels` is room for n * DITHER_DEPTH elements. Returns 0, with a[] spoilt, when a pivot falls below 1e-13: not
 * positive definite, or too nearly singular to be of use. */
int dither_cholesky_factor(double *a, int64_t n, double *panels, int threads);

/* x := (L L^T)^{-1} x */
void dither_cholesky_solve(const double *factor, int64_t n, double *x);

#endif
