#include "method.h"

#include <string.h>

#define X(name) &dither_method_##name,
static const dither_method *const methods[] = {DITHER_METHODS(X)};
#undef X

#define X(name) &dither_estimator_##name,
const dither_estimator *const dither_estimators[DITHER_ESTIMATOR_COUNT] = {DITHER_ESTIMATORS(X)};
#undef X

const dither_estimator *dither_estimator_find(const char *name)
{
    for (int i = 0; i < DITHER_ESTIMATOR_COUNT; i++)
        if (!strcmp(dither_estimators[i]->name, name)) return dither_estimators[i];
    return NULL;
}

size_t dither_method_count(void) { return sizeof methods / sizeof *methods; }

const dither_method *dither_method_at(size_t index) { return index < dither_method_count() ? methods[index] : NULL; }

const dither_method *dither_method_find(const char *name)
{
    for (size_t i = 0; i < dither_method_count(); i++)
        if (!strcmp(methods[i]->name, name)) return methods[i];
    return NULL;
}

double dither_sampled_smoothness(const dither_facts *f) { return f->full ? f->L_worker : f->L_max; }

/* Second moment of the direction, divided by the Bregman distance to x*, near x*:
 *   L                          the mean gradient itself
 *   L_max / (n b)              sampling: n b independent rows (expected smoothness)
 *   omega/n (L_worker + L_max/b)   quantization: n independent messages, each of a difference that moves with
 *                              the worker's gradient
 * The theorem's constants (36, 6) bound the worst case of the memories; this takes the sum once. */
double dither_gamma_practical(const dither_facts *f)
{
    const double sampling = f->full ? 0 : f->L_max / f->b;
    return 1 / (f->L + sampling / f->n + f->omega / f->n * (f->L_worker + sampling));
}
