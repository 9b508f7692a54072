#include "method/method.h"
#include <stddef.h>

static double theory(const dither_facts *f) { return 1 / (dither_sampled_smoothness(f) * (1 + 2 * f->omega / f->n)); }

const dither_method dither_method_sgd = {
    .name = "sgd",
    .summary = "distributed mini-batch SGD",
    .source = "Robbins and Monro, 1951; Dekel et al., 2012, arXiv:1012.1367",
    .estimator = &dither_estimator_sgd,
    .codec = DK_CODEC_identity,
    .theory = theory,
};
