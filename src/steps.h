/* Step sizes: what the options, the data's constants and the method's theorem make of gamma and alpha
 * (docs/step-sizes.md). */
#ifndef DITHER_STEPS_H
#define DITHER_STEPS_H

#include "plan.h"

/* Smoothness, alpha, gamma with its schedule, and the length of an epoch, into a plan that knows all else. */
dither_status dither_steps_choose(dither_plan *plan, dither_error *error);

#endif
