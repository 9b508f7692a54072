#include "method/method.h"

#include <math.h>

/* Workers send Q(g_i - h_i) and learn h_i: gamma = 1/(L (1 + 6 omega / n)), alpha = 1/(1 + omega). Linear with full
 * gradients; with SGD to a neighbourhood. Half of it where f is only convex; min(1/(2L), sqrt(n/(12 omega)) / ((1 + omega)
 * L_i)) where it is not (docs/theory.md). */
static double theory(const dither_facts *f)
{
    const double strongly = 1 / (dither_sampled_smoothness(f) * (1 + 6 * f->omega / f->n));
    if (f->convex) return f->mu > 0 ? strongly : strongly / 2;
    const double memories = sqrt(f->n / 12) / ((1 + f->omega) * dither_sampled_smoothness(f)), smooth = 1 / (2 * f->L);
    return f->omega > 0 && memories / sqrt(f->omega) < smooth ? memories / sqrt(f->omega) : smooth;
}

const dither_method dither_method_diana = {
    .name = "diana",
    .summary = "quantized gradient differences with memories h_i",
    .source = "Mishchenko et al., 2019, arXiv:1901.09269; Horvath et al., 2019, arXiv:1904.05115",
    .estimator = &dither_estimator_sgd,
    .memory = 1,
    .codec = DK_CODEC_dither,
    .theory = theory,
};
