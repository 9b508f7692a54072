/* The host's view of the steppers (kernels/stepper.h). */
#ifndef DITHER_STEPPERS_H
#define DITHER_STEPPERS_H

#include "kernels.h"

typedef struct dither_stepper_info {
    const char *name, *summary, *source;
    const char *options; /* names of those that it takes, with spaces between */
    int vectors;         /* of state */
    double gamma;        /* its own step; 0: the method's */
    double (*share)(double beta1); /* what the method's step is multiplied with */
} dither_stepper_info;

extern const dither_stepper_info dither_steppers[DK_STEPPER_COUNT];
int dither_stepper_find(const char *name); /* DK_STEPPER_..., -1 if unknown */

#endif
