/* The losses, one file each in models/: phi(z; y) of the margin z = a.x. A file NAME.inl defines NAME_SUMMARY,
 * NAME_CLASSES, NAME_SMOOTHNESS (bound on phi''), NAME_STRONG (lower bound on phi'') and the functions
 * NAME_loss, NAME_slope, NAME_curvature of (z, y) and NAME_bregman of (z0, delta, y). The build finds the files:
 * dither_registry.h lists them.
 *
 * Losses of several outputs, a margin for each class, are files of multi/ with NAME_SUMMARY, NAME_SMOOTHNESS (bound on the
 * Hessian in z), NAME_STRONG and the functions NAME_loss, NAME_slopes, NAME_bregman and NAME_curvature of arrays of
 * `outputs` margins; y is the number of the row's class. */
#ifndef DITHER_LOSSES_H
#define DITHER_LOSSES_H

#include "exact_math.h"
#include "dither_registry.h"

#include DITHER_MODEL_FILES
#include DITHER_MULTI_MODEL_FILES

/* those of one output first */
#define X(name) DK_LOSS_##name,
enum dk_loss { DITHER_MODELS(X) DK_LOSS_ONE_COUNT, DK_LOSS_BEFORE_MULTI_ = DK_LOSS_ONE_COUNT - 1,
               DITHER_MULTI_MODELS(X) DK_LOSS_COUNT };
#undef X

/* Has it a margin for each class? */
HD int dk_loss_is_multi(int loss) { return loss >= DK_LOSS_ONE_COUNT; }

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

#define X(name) case DK_LOSS_##name: return name##_loss(z, outputs, y);
HD double dk_multi_value(int loss, const double *z, int outputs, double y)
{
    switch (loss) { DITHER_MULTI_MODELS(X) }
    return 0;
}
#undef X
/* z becomes the slopes */
#define X(name) case DK_LOSS_##name: name##_slopes(z, outputs, y); break;
HD void dk_multi_slopes(int loss, double *z, int outputs, double y) { switch (loss) { DITHER_MULTI_MODELS(X) } }
#undef X
#define X(name) case DK_LOSS_##name: return name##_bregman(z0, delta, outputs, y);
HD double dk_multi_bregman(int loss, const double *z0, const double *delta, int outputs, double y)
{
    switch (loss) { DITHER_MULTI_MODELS(X) }
    return 0;
}
#undef X
/* v becomes the Hessian in z times v, given the slopes */
#define X(name) case DK_LOSS_##name: name##_curvature(slope, v, outputs, y); break;
HD void dk_multi_curvature(int loss, const double *slope, double *v, int outputs, double y)
{
    switch (loss) { DITHER_MULTI_MODELS(X) }
}
#undef X

#endif
