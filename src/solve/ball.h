/* Minimise f over the ball ||x|| <= R. */
#ifndef DITHER_BALL_H
#define DITHER_BALL_H

#include "newton.h"

/* x[d] = argmin f(x) subject to ||x|| <= radius, found from 0; newton->outcome, norm (of grad f(x) + c x, c >= 0 the
 * multiplier, 0 inside) and iterations say how. The objective has its own l2 again afterwards. */
dither_status dither_ball_minimise(dither_newton *newton, double radius, double *x, dither_error *error);

#endif
