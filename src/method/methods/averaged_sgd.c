/* Projected SGD whose answer is the mean of its iterates: on a ball of radius R around x = 0, with T iterations and
 *
 *   gamma = 1 / (L + 1/g),  g = (R / sigma) sqrt(2 / T):   E f(mean x_t) - f* <= R sqrt(2 sigma^2 / T) + L R^2 / T
 *
 * (Bubeck, Convex optimization, 2015, Thm 6.3). sigma^2 bounds the variance of the direction everywhere on the ball. For
 * the mean of n messages of independent batches, with E||Q(v) - v||^2 <= omega ||v||^2 and G^2 >= mean ||grad f_i||^2,
 *
 *   sigma^2 = ((1 + omega) sigma_i^2 + omega G^2) / n. */
#include "method/method.h"

#include <math.h>
#include "losses.h"
#include "plan.h"
#include "prox.h"

/* The largest slope of row j where ||x|| <= R: the losses are convex, so it is at an end of the margin's interval. */
static double steepest(const dither_plan *p, int64_t row, double length, double R)
{
    const double y = p->problem.y[row], z = length * R;
    return fmax(fabs(dk_loss_slope(p->problem.loss, -z, y)), fabs(dk_loss_slope(p->problem.loss, z, y)));
}

/* Bounds on the second moment of a row's gradient without l2, and on ||grad f_i||^2, of worker i. */
static void bound_worker(const dither_plan *p, int worker, double R, double *row2, double *mean2)
{
    const dither_data *data = p->problem.data;
    const int64_t begin = dither_plan_worker_row(p, worker), end = dither_plan_worker_row(p, worker + 1);
    const double weight = (double)p->workers / (double)p->rows, m = (double)(end - begin);
    double total = 0, squares = 0;
    for (int64_t r = begin; r < end; r++) {
        double square = 0;
        for (int64_t e = data->row_start[r]; e < data->row_start[r + 1]; e++) square += data->value[e] * data->value[e];
        const double length = sqrt(square), most = length * steepest(p, r, length, R);
        total += most, squares += most * most;
    }
    *row2 = weight * weight * m * squares;
    *mean2 = pow(weight * total + p->problem.l2 * R, 2);
}

static dither_status plan_averaged(dither_plan *p, int ranks, dither_error *error)
{
    const dither_options *o = p->options;
    dither_status status = DITHER_OK;
    const double R = p->problem.prox_a, n = p->workers;
    double sum[2] = {0}; /* means over the workers: second moment of a row's gradient, bound on ||grad f_i||^2 */
    int first, last;
    (void)ranks;
    if (p->problem.prox != DK_PROX_BALL)
        FAIL(DITHER_USAGE, "--method averaged-sgd is a theorem on a ball: give --prox ball:R, R at least ||x*||");
    if (!dither_problem_is_convex(&p->problem))
        FAIL(DITHER_USAGE, "--method averaged-sgd is a theorem on convex problems, and this one is not");
    if (p->problem.outputs > 1)
        FAIL(DITHER_USAGE, "--method averaged-sgd knows the steepest slopes of losses of one margin only");
    if (!o->iterations_set)
        FAIL(DITHER_USAGE, "--method averaged-sgd: the step depends on the number of iterations, give --iterations T");
    if (p->estimator->table)
        FAIL(DITHER_USAGE, "--method averaged-sgd takes --estimator sgd or full");
    dither_plan_workers_here(p, &first, &last);
    dither_relay_take(p->problem.relay, sum, sizeof sum);
    for (int i = first; i < last; i++) {
        double row, mean;
        bound_worker(p, i, R, &row, &mean);
        sum[0] += row / n, sum[1] += mean / n;
    }
    dither_relay_pass(p->problem.relay, sum, sizeof sum);
    const double drawn = p->estimator->full ? 0 : sum[0] / p->batch;
    const double own = o->sigma_set ? o->sigma * o->sigma : drawn;
    p->noise = ((1 + p->omega) * own + p->omega * sum[1]) / n;
out:
    return status;
}

static double theory(const dither_facts *f)
{
    const double sigma = sqrt(f->noise);
    return sigma > 0 && f->horizon > 0 ? 1 / (f->L + sigma / f->radius * sqrt(f->horizon / 2)) : 1 / f->L;
}

const dither_method dither_method_averaged_sgd = {
    .name = "averaged-sgd",
    .summary = "projected SGD, quantized or not; the answer is the mean of the iterates",
    .source = "Bubeck, Convex optimization, 2015, arXiv:1405.4980, Thm 6.3",
    .estimator = &dither_estimator_sgd,
    .codec = DK_CODEC_identity,
    .average = DITHER_AVERAGE_UNIFORM,
    .options = "sigma",
    .theory = theory,
    .practical = theory,
    .plan = plan_averaged,
};
