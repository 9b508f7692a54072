/* The part of the gap that comes from R, without cancellation. With D_f the Bregman divergence of f and x* optimal,
 *     P(x) - P(x*) = D_f(x, x*) + [R(x) - R(x*) + <grad f(x*), x - x*>],
 * where each coordinate's bracket is >= 0. */
#ifndef DITHER_GAP_H
#define DITHER_GAP_H

#include <stdint.h>

double dither_regulariser(int prox, double a, double b, const double *x, int64_t d);

/* The bracket above. grad_star: grad f(x*), used only where the optimality of x* does not say what it is. */
double dither_regulariser_gap(int prox, double a, double b, const double *x, const double *x_star,
                              const double *grad_star, int64_t d);

#endif
