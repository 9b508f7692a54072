#include "steppers.h"

#include <string.h>
#include "stepper.h"

static double plain_share(double beta1) { return (void)beta1, 1; }
#define X(name) static double name##_share(double beta1) { return (void)beta1, name##_SHARE(beta1); }
DITHER_STEPPERS(X)
#undef X

const dither_stepper_info dither_steppers[DK_STEPPER_COUNT] = {
    [DK_STEPPER_PLAIN] = {"plain", "g itself", "", "", 0, 0, plain_share},
#define X(name) [DK_STEPPER_##name] = {DITHER_SHOWN_##name, name##_SUMMARY, name##_SOURCE, name##_OPTIONS, name##_VECTORS, name##_GAMMA, name##_share},
    DITHER_STEPPERS(X)
#undef X
};

int dither_stepper_find(const char *name)
{
    for (int i = 0; i < DK_STEPPER_COUNT; i++)
        if (!strcmp(dither_steppers[i].name, name)) return i;
    return -1;
}
