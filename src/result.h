#ifndef DITHER_RESULT_H
#define DITHER_RESULT_H

#include "plan.h"

/* A result with everything that the plan knows; x is zero. */
dither_status dither_result_make(const dither_plan *plan, const char *device, dither_result **out,
                                 dither_error *error);

#endif
