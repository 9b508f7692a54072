#include "method/method.h"
#include <stddef.h>

/* Ternary gradients, clipped at 2.5 standard deviations, x+ = x - gamma (1/n) sum_i ternary(clip(g_i)); with --stepper
 * adam, Adam on their mean. QSGD's step: the second moment of the mean message is what omega bounds. */
static double theory(const dither_facts *f) { return 1 / (dither_sampled_smoothness(f) * (1 + 2 * f->omega / f->n)); }

const dither_method dither_method_terngrad = {
    .name = "terngrad",
    .summary = "ternary gradients, clipped; TernGrad-Adam with --stepper adam",
    .source = "Wen et al., TernGrad, 2017, arXiv:1705.07878",
    .estimator = &dither_estimator_sgd,
    .codec = DK_CODEC_ternary,
    .clip = 2.5,
    .biased = 1,
    .theory = theory,
};
