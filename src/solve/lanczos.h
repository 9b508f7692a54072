/* The largest eigenvalue of a symmetric positive semidefinite operator, from above. */
#ifndef DITHER_LANCZOS_H
#define DITHER_LANCZOS_H

#include "error.h"

/* out[n] = M q[n] */
typedef void dither_operator(void *context, const double *q, double *out);

/* *out: at least lambda_max(M) and at most 1 % above it; `trace`, the sum of all eigenvalues (or a bound on it), caps
 * it. The start vector is fixed; the bound would fail if that had less than 1e-6/sqrt(n) of its length along the top
 * eigenvectors. Past 1000 steps what is known by then is returned: still from above, but looser than 1 %. */
dither_status dither_lanczos_bound(int64_t n, dither_operator *apply, void *context, double trace, double *out,
                                   dither_error *error);

#endif
