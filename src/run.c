/* dither_train: set up, iterate, trace. One iteration is Algorithm 1 of Horvath et al., 2019:
 *
 *   work       every worker: g_i from a batch, the message Q(g_i - h_i), h_i += alpha Q(g_i - h_i)
 *   refresh    if the shared coin falls (L-SVRG): tables and mu_i at x^k; full gradients: in every iteration
 *   allgather  all messages to all ranks
 *   step       g = h + mean of messages, h += alpha mean, x = prox(x - gamma g)
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/comm.h"
#include "evaluate.h"
#include "hash.h"
#include "philox.h"
#include "result.h"

typedef struct run {
    dither_plan plan;
    dither_rank rank;
    dither_comm comm;
    dither_optimum *optimum; /* NULL without a reference */
    dither_evaluator evaluator;
    int64_t iteration;
    double gradients;        /* evaluations of all workers so far */
    double trained;          /* seconds of iterations, evaluations left out */
    double started;          /* clock at the last (re)start of the iterations */
    double loss0;
    const char *stop;
    dither_point point;
} run;

static double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dither_status refresh(run *r, int keep_table, dither_error *error)
{
    dk_rank *k = &r->rank.k;
    const dk_device *v = &r->rank.device;
    if (!keep_table) r->gradients += (double)r->plan.rows;
    return dither_rank_check(&r->rank, v->refresh(v->context, k, k->table, k->mu, keep_table), "full gradients", error);
}

/* The snapshot of iteration k is taken at x^k, before the step: host and device compute the same coin. */
static dither_status renew_snapshot(run *r, int64_t k, dither_error *error)
{
    const dither_plan *p = &r->plan;
    const int64_t m = (p->rows + p->workers - 1) / p->workers;
    if (p->estimator == DITHER_LSVRG && dk_coin(p->seed, k, p->coin)) return refresh(r, 0, error);
    /* SAGA's mu_i collects rounding errors with each row: sum it anew once a pass */
    if (p->estimator == DITHER_SAGA && (k + 1) % (m / p->batch + 1) == 0) return refresh(r, 1, error);
    return DITHER_OK;
}

static dither_status iterate(run *r, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_plan *p = &r->plan;
    const dk_rank *k = &r->rank.k;
    const dk_device *v = &r->rank.device;
    const dk_round round = {.iteration = r->iteration, .gamma = dither_plan_gamma(p, r->iteration), .alpha = p->alpha};
    if (p->estimator == DITHER_FULL) {
        TRY(refresh(r, 0, error));
        TRY_DEVICE(&r->rank, v->work(v->context, k, &round, DK_GRADIENT_DENSE | DK_ENCODE), "encoding");
    } else {
        TRY_DEVICE(&r->rank, v->work(v->context, k, &round, DK_GRADIENT_SAMPLED | DK_ENCODE), "encoding");
        r->gradients += (double)p->workers * p->batch;
        TRY(renew_snapshot(r, r->iteration, error));
    }
    TRY(r->comm.allgather(&r->comm, k, error));
    TRY_DEVICE(&r->rank, v->step(v->context, k, &round), "step");
    r->iteration++;
out:
    return status;
}

/* Not finite, or a loss far above where it began. */
static dither_status check_divergence(run *r, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_device *v = &r->rank.device;
    const dither_plan *p = &r->plan;
    int64_t bad = 0;
    TRY_DEVICE(&r->rank, v->download(v->context, &bad, r->rank.k.bad, sizeof bad), "state");
    const double theory = p->gamma / 10;
    if (bad)
        FAIL(DITHER_DIVERGED, "diverged: x is not finite at iteration %lld with gamma %g; try --gamma %g or --gamma theory",
             (long long)(bad - 1), p->gamma, theory);
    if (!(r->point.loss <= 1000 * (r->loss0 > 1 ? r->loss0 : 1)))
        FAIL(DITHER_DIVERGED,
             "diverged: the loss is %g at iteration %lld with gamma %g, after %g at x = 0; try --gamma %g or --gamma theory",
             r->point.loss, (long long)r->iteration, p->gamma, r->loss0, theory);
out:
    return status;
}

static dither_status trace_point(run *r, dither_observer observer, void *user, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_plan *p = &r->plan;
    dither_point *t = &r->point;
    t->iteration = r->iteration;
    t->epochs = r->gradients / (double)p->rows;
    t->uplink_bits = (double)r->iteration * (double)r->rank.k.layout.bits;
    t->wire_bytes = (double)r->comm.bytes_handed / p->workers;
    if (r->rank.k.layout.variable) {
        int64_t bytes;
        TRY(dither_rank_sent(&r->rank, &bytes, error));
        t->wire_bytes = (double)bytes / p->workers;
        t->uplink_bits = 8 * t->wire_bytes;
    }
    t->seconds = r->trained;
    TRY(dither_evaluate(&r->evaluator, &r->rank, dither_plan_gamma(p, r->iteration), t, error));
    if (r->iteration == 0) r->loss0 = t->loss;
    TRY(check_divergence(r, error));
    if (p->stop_gap > 0 && t->gap <= p->stop_gap) r->stop = "target-gap";
    if (observer && observer(user, t) && !r->stop) r->stop = "observer";
    return DITHER_OK;
out:
    if (status == DITHER_DIVERGED && observer) observer(user, t);
    return status;
}

/* Iterations until the next evaluation. auto: a pass over the data, later 1/64 of the iterations done, so that
 * traces of any length have a few hundred points; a function of the iteration alone, so that every run of one
 * configuration stops at the same iteration. */
static int64_t next_trace(const dither_plan *p, int64_t iteration)
{
    if (p->trace_every) return iteration + p->trace_every;
    const int64_t draws = (int64_t)p->workers * p->batch, pass = p->estimator == DITHER_FULL ? 1 : p->rows / draws;
    const int64_t later = iteration / 64, step = pass > later ? pass : later;
    return iteration + (step > 0 ? step : 1);
}

static void check_limits(run *r)
{
    const dither_plan *p = &r->plan;
    if (r->iteration >= p->stop_iterations)
        r->stop = "iterations";
    else if (r->gradients >= p->stop_epochs * (double)p->rows)
        r->stop = "epochs";
    else if (p->stop_seconds < INFINITY && r->trained + clock_seconds() - r->started >= p->stop_seconds)
        r->stop = "max-seconds";
}

static dither_status loop(run *r, dither_observer observer, void *user, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_plan *p = &r->plan;
    TRY(trace_point(r, observer, user, error));
    r->started = clock_seconds();
    if (p->estimator == DITHER_LSVRG || p->estimator == DITHER_SAGA) TRY(refresh(r, 0, error));
    int64_t trace_at = next_trace(p, 0);
    if (!r->stop) check_limits(r);
    while (!r->stop) {
        TRY(iterate(r, error));
        check_limits(r);
        if (r->iteration < trace_at && !r->stop) continue;
        r->trained += clock_seconds() - r->started;
        TRY(trace_point(r, observer, user, error));
        r->started = clock_seconds();
        trace_at = next_trace(p, r->iteration);
    }
out:
    return status;
}

/* Hash of x, then h, then every h_i in the order of the workers. */
static dither_status state_hash(run *r, uint64_t *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_rank *k = &r->rank.k;
    const dk_device *v = &r->rank.device;
    const size_t bytes = (size_t)k->d * (k->single ? 4 : 8), stride = (size_t)k->stride * (k->single ? 4 : 8);
    char *vector = NULL;
    TRY_ALLOC(vector, bytes);
    *out = 0;
    for (int i = -2; i < (k->memory ? k->count : 0); i++) {
        const char *from = i == -2 ? k->x : (i == -1 ? k->h_mean : (const char *)k->h + (size_t)i * stride);
        TRY_DEVICE(&r->rank, v->download(v->context, vector, from, bytes), "state");
        *out = dither_hash64(*out, vector, bytes);
    }
out:
    free(vector);
    return status;
}

static dither_status make_result(run *r, dither_result **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_result *result = NULL;
    TRY(dither_result_make(&r->plan, r->rank.device.name, &result, error));
    result->stop = r->stop ? r->stop : "diverged";
    result->iterations = r->iteration;
    result->last = r->point;
    result->f = r->point.loss;
    result->fstar = r->optimum ? r->optimum->fstar : NAN;
    result->certificate = r->optimum ? r->optimum->certificate : NAN;
    TRY(dither_rank_read(&r->rank, r->rank.k.x, r->plan.features, result->x, error));
    TRY(state_hash(r, &result->state_hash, error));
    *out = result;
    return DITHER_OK;
out:
    dither_result_free(result);
    return status;
}

static dither_status set_up(run *r, const dither_data *data, const dither_options *options, dither_error *error)
{
    dither_status status = DITHER_OK;
    TRY(dither_plan_make(data, options, &r->plan, error));
    TRY(dither_rank_open(&r->rank, &r->plan, 0, r->plan.workers, error));
    if (!strcmp(options->reference, "auto"))
        TRY(dither_solve(&r->plan.problem, !options->no_cache, &r->optimum, error));
    TRY(dither_evaluator_open(&r->evaluator, &r->rank, r->optimum, error));
    dither_comm_local(&r->comm);
out:
    return status;
}

dither_status dither_train(const dither_data *data, const dither_options *options, dither_observer observer,
                           void *user, dither_result **out, dither_error *error)
{
    run r = {0};
    dither_status status = DITHER_OK;
    *out = NULL;
    TRY(set_up(&r, data, options, error));
    status = loop(&r, observer, user, error);
    if (status == DITHER_OK || status == DITHER_DIVERGED) {
        const dither_status made = make_result(&r, out, status == DITHER_OK ? error : NULL);
        if (status == DITHER_OK) status = made;
    }
out:
    dither_evaluator_close(&r.evaluator);
    dither_optimum_free(r.optimum);
    dither_rank_close(&r.rank);
    dither_plan_free(&r.plan);
    return status;
}
