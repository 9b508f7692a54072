#include "method/method.h"
#include <stddef.h>

/* x+ = x - gamma (1/n) sum_i Q(g_i), gamma = 1/(L (1 + 2 omega / n)): converges to a neighbourhood, because Q(g_i)
 * keeps the variance omega ||g_i||^2 at the optimum, where g_i is not zero. */
static double theory(const dither_facts *f) { return 1 / (dither_sampled_smoothness(f) * (1 + 2 * f->omega / f->n)); }

const dither_method dither_method_qsgd = {
    .name = "qsgd",
    .summary = "quantized SGD: workers send Q(g_i)",
    .source = "Alistarh et al., 2017, arXiv:1610.02132",
    .estimator = &dither_estimator_sgd,
    .codec = DK_CODEC_dither,
    .theory = theory,
};
