#include "method/estimator.h"

#include "philox.h"
#include "plan.h"

/* With the chance batch / m. */
static int renews(const dither_plan *p, int64_t k, uint64_t coin) { return (void)k, dk_word(p->seed, coin, 0) < p->coin; }

const dither_estimator dither_estimator_lsvrg = {
    .name = "lsvrg",
    .summary = "loopless SVRG: a snapshot, renewed when a coin that all workers share falls",
    .source = "Hofmann et al., 2015; Kovalev, Horvath and Richtarik, 2020, arXiv:1901.08689",
    .options = "",
    .table = 1,
    .renews = renews,
};
