/* Estimators: what a worker takes for its gradient, as flags for the device and a rule for the table's renewal. One file an
 * estimator in estimators/; the build finds them. */
#ifndef DITHER_ESTIMATOR_H
#define DITHER_ESTIMATOR_H

#include <stdint.h>
#include "dither_registry.h"

struct dither_plan;

typedef struct dither_estimator {
    const char *name, *summary, *source;
    const char *options; /* those that only some estimators take and this one does: "a b c" */
    int full;   /* the gradient of all rows; else of a drawn batch */
    int table;  /* a batch's difference to the slopes of a table, plus their mean over all rows */
    int drawn;  /* drawn rows enter the table at once, and a renewal sums up its mean anew; else it is filled anew at x */
    /* Is the table renewed after the worker's gradient number k, counted from 0? `coin`: the subsequence of the random words
     * for it. NULL: never. */
    int (*renews)(const struct dither_plan *plan, int64_t k, uint64_t coin);
} dither_estimator;

#define X(name) +1
enum { DITHER_ESTIMATOR_COUNT = 0 DITHER_ESTIMATORS(X) };
#undef X
#define X(name) extern const dither_estimator dither_estimator_##name;
DITHER_ESTIMATORS(X)
#undef X

extern const dither_estimator *const dither_estimators[DITHER_ESTIMATOR_COUNT];
const dither_estimator *dither_estimator_find(const char *name); /* NULL if unknown */

#endif
