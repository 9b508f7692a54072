/* Does this device compute what every other one does? A few iterations on a problem of 24 rows, hashed. */
#ifndef DITHER_SELF_CHECK_H
#define DITHER_SELF_CHECK_H

#include "error.h"
#include "kernels.h"

/* DITHER_DEVICE when the device's messages, state or losses differ in any bit from what they must be, or when it
 * fails. Leaves the device as it was. A fraction of a millisecond on a CPU. */
dither_status dither_self_check(const dk_device *device, dither_error *error);

#endif
