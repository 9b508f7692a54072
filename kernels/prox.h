/* The regularisers R that are handled by their proximal operator prox_{gamma R}(v) = argmin_x R(x) +
 * ||x - v||^2 / (2 gamma), one coordinate at a time. The ball needs the norm of the whole vector: its coordinates
 * pass through here unchanged and are scaled afterwards. */
#ifndef DITHER_PROX_H
#define DITHER_PROX_H

#include "exact_math.h"

enum dk_prox {
    DK_PROX_NONE,    /* R = 0 */
    DK_PROX_L1,      /* R = a ||x||_1 */
    DK_PROX_L2,      /* R = (a/2) ||x||^2 */
    DK_PROX_ELASTIC, /* R = a ||x||_1 + (b/2) ||x||^2 */
    DK_PROX_BOX,     /* a <= x_c <= b */
    DK_PROX_BALL     /* ||x|| <= a */
};

HD double dk_prox(int kind, double a, double b, double gamma, double v)
{
    const double cut = gamma * a;
    const double soft = v > cut ? v - cut : (v < -cut ? v + cut : (v != v ? v : 0.0));
    switch (kind) {
    case DK_PROX_L1: return soft;
    case DK_PROX_L2: return v / (1.0 + gamma * a);
    case DK_PROX_ELASTIC: return soft / (1.0 + gamma * b);
    case DK_PROX_BOX: return v < a ? a : (v > b ? b : v);
    default: return v;
    }
}

#endif
