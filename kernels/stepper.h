/* The steppers, one file each in steppers/: how x moves by the direction g, the same on all ranks. A file NAME.inl defines
 *   NAME_SUMMARY, NAME_SOURCE, NAME_OPTIONS (those that it takes)
 *   NAME_VECTORS       vectors of state that it has: 1 is v, 2 are v and u
 *   NAME_GAMMA         its own step, where no number is given; 0: the method's
 *   NAME_SHARE(beta1)  what the method's step is multiplied with
 *   NAME_MOVE          an expression that makes of a coordinate g what x moves by, times -gamma, and renews v and u. It
 *                      has beta1, beta2, epsilon, rest1 = 1 - beta1, rest2 = 1 - beta2 and, in step t = 1, 2, ...,
 *                      first = 1 / (1 - beta1^t), second = 1 / (1 - beta2^t); all are REAL.
 * The build finds the files. `plain`, which moves x by g, is none of them. */
#ifndef DITHER_STEPPER_H
#define DITHER_STEPPER_H

#include "kernels.h"

#include DITHER_STEPPER_FILES

#endif
