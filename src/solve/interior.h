/* An interior-point method: from anywhere to near the minimum of a problem with kinks or bounds, however nearly
 * dependent its columns are. Newton's method on the face it finds does the rest. */
#ifndef DITHER_INTERIOR_H
#define DITHER_INTERIOR_H

#include "newton.h"

/* x[d] := a point with P(x) - P* about 1e-11 of newton->start, its coordinates exactly at zero or at a bound where
 * that is where they belong as far as can be told. newton->face is l1 or a box with a < b. */
dither_status dither_interior_minimise(dither_newton *newton, double *x, dither_error *error);

#endif
