#include "method/method.h"

#include <stddef.h>

/* Workers send Q(g_i - h_i) and learn h_i: gamma = 1/(L (1 + 6 omega / n)), alpha = 1/(1 + omega). Linear with full
 * gradients; with SGD to a neighbourhood. Half of it where mu = 0 (docs/theory.md). */
static double theory(const dither_facts *f)
{
    const double strongly = 1 / (dither_sampled_smoothness(f) * (1 + 6 * f->omega / f->n));
    return f->mu > 0 ? strongly : strongly / 2;
}

const dither_method dither_method_diana = {
    .name = "diana",
    .summary = "quantized gradient differences with memories h_i",
    .source = "Mishchenko et al., 2019, arXiv:1901.09269; Horvath et al., 2019, arXiv:1904.05115",
    .estimator = DITHER_SGD,
    .memory = 1,
    .codec = DK_CODEC_dither,
    .theory = theory,
};
