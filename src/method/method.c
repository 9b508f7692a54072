#include "method.h"

#include <string.h>

#define X(name) &dither_method_##name,
static const dither_method *const methods[] = {DITHER_METHODS(X)};
#undef X

const dither_estimator_info dither_estimators[DITHER_ESTIMATOR_COUNT] = {
    [DITHER_FULL] = {"full", "the gradient of all the worker's rows", ""},
    [DITHER_SGD] = {"sgd", "the gradient of a drawn batch", "Robbins and Monro, 1951"},
    [DITHER_SVRG] = {"svrg", "SVRG: a snapshot, renewed after every --epoch-length iterations",
                     "Johnson and Zhang, 2013"},
    [DITHER_LSVRG] = {"lsvrg", "loopless SVRG: a snapshot, renewed when a coin that all workers share falls",
                      "Hofmann et al., 2015; Kovalev, Horvath and Richtarik, 2020, arXiv:1901.08689"},
    [DITHER_SAGA] = {"saga", "a table with the last slope of every row", "Defazio, Bach and Lacoste-Julien, 2014"},
};

size_t dither_method_count(void) { return sizeof methods / sizeof *methods; }

const dither_method *dither_method_at(size_t index) { return index < dither_method_count() ? methods[index] : NULL; }

const dither_method *dither_method_find(const char *name)
{
    for (size_t i = 0; i < dither_method_count(); i++)
        if (!strcmp(methods[i]->name, name)) return methods[i];
    return NULL;
}

double dither_sampled_smoothness(const dither_facts *f) { return f->estimator == DITHER_FULL ? f->L_worker : f->L_max; }

/* Second moment of the direction, divided by the Bregman distance to x*, near x*:
 *   L                          the mean gradient itself
 *   L_max / (n b)              sampling: n b independent rows (expected smoothness)
 *   omega/n (L_worker + L_max/b)   quantization: n independent messages, each of a difference that moves with
 *                              the worker's gradient
 * The theorem's constants (36, 6) bound the worst case of the memories; this takes the sum once. */
double dither_gamma_practical(const dither_facts *f)
{
    const double sampling = f->estimator == DITHER_FULL ? 0 : f->L_max / f->b;
    return 1 / (f->L + sampling / f->n + f->omega / f->n * (f->L_worker + sampling));
}
