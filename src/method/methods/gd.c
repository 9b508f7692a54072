#include "method/method.h"
#include <stddef.h>

/* x+ = x - gamma grad f(x), gamma = 1/L; with a lossy codec the step of distributed compressed gradient descent. */
static double theory(const dither_facts *f)
{
    return f->omega > 0 ? 1 / (f->L_worker * (1 + 2 * f->omega / f->n)) : 1 / f->L;
}

const dither_method dither_method_gd = {
    .name = "gd",
    .summary = "distributed gradient descent",
    .source = "Cauchy, 1847; Nesterov, Introductory lectures, 2004, Thm 2.1.14",
    .estimator = &dither_estimator_full,
    .codec = DK_CODEC_identity,
    .theory = theory,
};
