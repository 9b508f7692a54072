#include "method/estimator.h"

#include "plan.h"

static int renews(const dither_plan *p, int64_t k, uint64_t coin) { return (void)coin, (k + 1) % p->epoch_length == 0; }

const dither_estimator dither_estimator_svrg = {
    .name = "svrg",
    .summary = "SVRG: a snapshot, renewed after every --epoch-length iterations",
    .source = "Johnson and Zhang, 2013",
    .options = "epoch-length",
    .table = 1,
    .renews = renews,
};
