/* The losses, one file each in models/: phi(z; y) of the margin z = a.x. A file NAME.inl defines NAME_SUMMARY,
 * NAME_CLASSES, NAME_SMOOTHNESS (bound on phi''), NAME_STRONG (lower bound on phi'') and the functions
 * NAME_loss, NAME_slope, NAME_curvature of (z, y) and NAME_bregman of (z0, delta, y). The build finds the files:
 * dither_registry.h lists them. */
#ifndef DITHER_LOSSES_H
#define DITHER_LOSSES_H

#include "exact_math.h"
#include "dither_registry.h"

#include DITHER_MODEL_FILES

#define X(name) DK_LOSS_##name,
enum dk_loss { DITHER_MODELS(X) DK_LOSS_COUNT };
#undef X


#define X(name) case DK_LOSS_##name: return name##_loss(z, y);
HD double dk_loss_value(int loss, double z, double y) { switch (loss) { DITHER_MODELS(X) } return 0; }
#undef X
#define X(name) case DK_LOSS_##name: return name##_slope(z, y);
HD double dk_loss_slope(int loss, double z, double y) { switch (loss) { DITHER_MODELS(X) } return 0; }
#undef X
#define X(name) case DK_LOSS_##name: return name##_curvature(z, y);
HD double dk_loss_curvature(int loss, double z, double y) { switch (loss) { DITHER_MODELS(X) } return 0; }
#undef X
#define X(name) case DK_LOSS_##name: return name##_bregman(z0, delta, y);
HD double dk_loss_bregman(int loss, double z0, double delta, double y)
{
    switch (loss) { DITHER_MODELS(X) }
    return 0;
}
#undef X

#endif
