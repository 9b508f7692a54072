#include "method/estimator.h"

#include "plan.h"

/* mu_i collects rounding errors with each row: once a pass */
static int renews(const dither_plan *p, int64_t k, uint64_t coin)
{
    const int64_t m = (p->rows + p->workers - 1) / p->workers;
    return (void)coin, (k + 1) % (m / p->batch + 1) == 0;
}

const dither_estimator dither_estimator_saga = {
    .name = "saga",
    .summary = "a table with the last slope of every row",
    .source = "Defazio, Bach and Lacoste-Julien, 2014",
    .options = "",
    .table = 1,
    .drawn = 1,
    .renews = renews,
};
