#include "method/method.h"

#include <math.h>

/* Theorem 1 (mu > 0): gamma = 1/(L (1 + 36 (omega + 1) / n)); Theorem 2 (convex): a further 1/(2 sqrt m); Theorem 3 (not
 * convex): 1/(10 L sqrt(1 + omega/n) (m^(2/3) + omega + 1)). */
static double theory(const dither_facts *f)
{
    if (!f->convex) return 1 / (10 * f->L_max * sqrt(1 + f->omega / f->n) * (cbrt(f->m * f->m) + f->omega + 1));
    const double strongly = 1 / (f->L_max * (1 + 36 * (f->omega + 1) / f->n));
    return f->mu > 0 ? strongly : strongly / (2 * sqrt(f->m));
}

const dither_method dither_method_vr_diana = {
    .name = "vr-diana",
    .summary = "DIANA with variance reduction: linear convergence to the optimum from single rows",
    .source = "Horvath et al., 2019, arXiv:1904.05115, Algorithm 1",
    .estimator = &dither_estimator_lsvrg,
    .memory = 1,
    .codec = DK_CODEC_dither,
    .theory = theory,
};
