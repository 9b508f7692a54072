/* The noise of stochastic gradients, measured for a plan. */
#ifndef DITHER_ESTIMATE_H
#define DITHER_ESTIMATE_H

#include "plan.h"

/* Fill *out (dither.h) for a plan whose problem, dealing, smoothness and reference are there. */
dither_status dither_estimate_plan(const dither_plan *plan, dither_estimates *out, dither_error *error);

#endif
