/* dither_train: set up, iterate, trace. One iteration is Algorithm 1 of Horvath et al., 2019:
 *
 *   work       every worker: g_i from a batch, the message Q(g_i - h_i), h_i += alpha Q(g_i - h_i)
 *   refresh    if the shared coin falls (L-SVRG): tables and mu_i at x^k; full gradients: in every iteration
 *   exchange   all messages to all ranks, or their sum
 *   step       g = h + mean of messages, h += alpha mean, x = prox(x - gamma g)
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aggregate/aggregate.h"
#include "evaluate.h"
#include "hash.h"
#include "philox.h"
#include "result.h"

typedef struct run {
    dither_plan plan;
    dither_rank rank;
    dither_comm *comm;       /* not owned */
    dither_aggregate aggregate;
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

/* Gradients, messages, and those to all ranks: gathered, or summed as integers on a scale that all share. */
static dither_status exchange(run *r, const dk_round *round, int gradient, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_rank *k = &r->rank.k;
    const dk_device *v = &r->rank.device;
    if (r->plan.aggregate == DITHER_ALLREDUCE) {
        TRY_DEVICE(&r->rank, v->work(v->context, k, round, gradient | DK_SCALES), "scales");
        TRY(dither_aggregate_scales(&r->aggregate, &r->rank, error));
        TRY_DEVICE(&r->rank, v->work(v->context, k, round, DK_ENCODE), "encoding");
        TRY(dither_aggregate_sum(&r->aggregate, &r->rank, error));
    } else {
        TRY_DEVICE(&r->rank, v->work(v->context, k, round, gradient | DK_ENCODE), "encoding");
        TRY(dither_aggregate_gather(&r->aggregate, &r->rank, error));
    }
out:
    return status;
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
        TRY(exchange(r, &round, DK_GRADIENT_DENSE, error));
    } else {
        TRY(exchange(r, &round, DK_GRADIENT_SAMPLED, error));
        r->gradients += (double)p->workers * p->batch;
        TRY(renew_snapshot(r, r->iteration, error));
    }
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

/* One rank's wish to end is enough. */
static dither_status observe(run *r, dither_observer observer, void *user, dither_error *error)
{
    dither_status status = DITHER_OK;
    TRY(dither_comm_gather_word(r->comm, observer && observer(user, &r->point), error));
    for (int rank = 0; rank < r->comm->ranks; rank++)
        if (r->comm->words[rank] && !r->stop) r->stop = "observer";
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
    t->uplink_bits = p->aggregate == DITHER_ALLGATHER ? (double)r->iteration * (double)r->rank.k.layout.bits
                                                      : 8 * r->aggregate.worker_bytes;
    t->wire_bytes = r->aggregate.worker_bytes;
    if (r->rank.k.layout.variable) { /* the device counts what it sends */
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
    TRY(observe(r, observer, user, error));
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

/* Clocks differ between ranks: rank 0's counts. */
static dither_status time_is_up(const run *r, int *out, dither_error *error)
{
    double seconds = r->trained + clock_seconds() - r->started;
    const dither_status status = r->comm->broadcast(r->comm, &seconds, sizeof seconds, 0, error);
    *out = seconds >= r->plan.stop_seconds;
    return status;
}

static dither_status check_limits(run *r, dither_error *error)
{
    const dither_plan *p = &r->plan;
    dither_status status = DITHER_OK;
    int late = 0;
    if (p->stop_seconds < INFINITY) TRY(time_is_up(r, &late, error));
    if (r->iteration >= p->stop_iterations)
        r->stop = "iterations";
    else if (r->gradients >= p->stop_epochs * (double)p->rows)
        r->stop = "epochs";
    else if (late)
        r->stop = "max-seconds";
out:
    return status;
}

static dither_status loop(run *r, dither_observer observer, void *user, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_plan *p = &r->plan;
    TRY(trace_point(r, observer, user, error));
    r->started = clock_seconds();
    if (p->estimator == DITHER_LSVRG || p->estimator == DITHER_SAGA) TRY(refresh(r, 0, error));
    int64_t trace_at = next_trace(p, 0);
    if (!r->stop) TRY(check_limits(r, error));
    while (!r->stop) {
        TRY(iterate(r, error));
        TRY(check_limits(r, error));
        if (r->iteration < trace_at && !r->stop) continue;
        r->trained += clock_seconds() - r->started;
        TRY(trace_point(r, observer, user, error));
        r->started = clock_seconds();
        trace_at = next_trace(p, r->iteration);
    }
out:
    return status;
}

static dither_status hash_vector(const run *r, const void *from, void *scratch, uint64_t *hash, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_device *v = &r->rank.device;
    const size_t bytes = (size_t)r->rank.k.d * (r->rank.k.single ? 4 : 8);
    TRY_DEVICE(&r->rank, v->download(v->context, scratch, from, bytes), "state");
    *hash = dither_hash64(*hash, scratch, bytes);
out:
    return status;
}

/* Hash of x, then h, then every h_i in the order of the workers: it passes from rank to rank. x and h are on every
 * rank, and have to be the same there. */
static dither_status state_hash(run *r, uint64_t *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_rank *k = &r->rank.k;
    const size_t stride = (size_t)k->stride * (k->single ? 4 : 8);
    double *scratch = NULL;
    TRY_ALLOC(scratch, k->d);
    *out = 0;
    TRY(hash_vector(r, k->x, scratch, out, error));
    TRY(hash_vector(r, k->h_mean, scratch, out, error));
    TRY(dither_comm_gather_word(r->comm, (int64_t)*out, error));
    for (int rank = 1; rank < r->comm->ranks; rank++)
        if (r->comm->words[rank] != r->comm->words[0]) FAIL(DITHER_INTERNAL, "ranks 0 and %d have different states", rank);
    for (int rank = 0; rank < r->comm->ranks; rank++) {
        for (int w = 0; rank == r->comm->rank && k->memory && w < k->count; w++)
            TRY(hash_vector(r, (const char *)k->h + (size_t)w * stride, scratch, out, error));
        TRY(r->comm->broadcast(r->comm, out, sizeof *out, rank, error));
    }
out:
    free(scratch);
    return status;
}

/* What crossed the communicator, of the busiest rank. */
static dither_status count_traffic(run *r, dither_result *result, dither_error *error)
{
    dither_status status = DITHER_OK;
    const uint64_t mine[2] = {r->comm->sent, r->comm->received};
    double *most[2] = {&result->sent_bytes, &result->received_bytes};
    for (int i = 0; i < 2; i++) {
        TRY(dither_comm_gather_word(r->comm, (int64_t)mine[i], error));
        for (int rank = 0; rank < r->comm->ranks; rank++)
            if ((double)r->comm->words[rank] > *most[i]) *most[i] = (double)r->comm->words[rank];
    }
    result->comm = r->comm->name;
    result->ranks = r->comm->ranks;
out:
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
    TRY(count_traffic(r, result, error));
    *out = result;
    return DITHER_OK;
out:
    dither_result_free(result);
    return status;
}

/* The optimum that rank 0 found. */
static dither_status share_optimum(run *r, dither_error *error)
{
    dither_status status = DITHER_OK;
    double facts[2] = {0};
    if (r->comm->rank == 0) {
        facts[0] = r->optimum->fstar, facts[1] = r->optimum->certificate;
    } else {
        TRY_ALLOC(r->optimum, 1);
        TRY_ALLOC(r->optimum->x, r->plan.features);
    }
    TRY(r->comm->broadcast(r->comm, facts, sizeof facts, 0, error));
    TRY(r->comm->broadcast(r->comm, r->optimum->x, (size_t)r->plan.features * sizeof(double), 0, error));
    r->optimum->fstar = facts[0], r->optimum->certificate = facts[1];
out:
    return status;
}

/* Every rank's own part of the set-up. */
static dither_status set_up_rank(run *r, const dither_data *data, const dither_options *options, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_comm *comm = r->comm;
    TRY(dither_plan_make(data, options, comm->ranks, &r->plan, error));
    if (r->plan.workers < comm->ranks)
        FAIL(DITHER_USAGE, "--workers %d: there are %d ranks, and each hosts one worker at least", r->plan.workers,
             comm->ranks);
    const int first = dither_plan_rank_worker(&r->plan, comm->ranks, comm->rank);
    const int count = dither_plan_rank_worker(&r->plan, comm->ranks, comm->rank + 1) - first;
    TRY(dither_rank_open(&r->rank, &r->plan, first, count, comm->neighbours, error));
    TRY(dither_aggregate_open(&r->aggregate, comm, &r->plan, &r->rank, error));
out:
    return status;
}

/* Ranks that were given different data or options would compute without an error, and nothing that makes sense. */
static dither_status compare_inputs(run *r, const dither_data *data, dither_error *error)
{
    dither_status status = DITHER_OK;
    const double steps[] = {r->plan.gamma, r->plan.alpha, r->plan.omega, r->plan.problem.l2};
    uint64_t h = dither_hash64(data->hash, steps, sizeof steps);
    h = dither_hash64(h, &r->plan.codec, sizeof r->plan.codec);
    TRY(dither_comm_gather_word(r->comm, (int64_t)h, error));
    for (int rank = 1; rank < r->comm->ranks; rank++)
        if (r->comm->words[rank] != r->comm->words[0])
            FAIL(DITHER_USAGE, "rank %d has other data or options than rank 0", rank);
out:
    return status;
}

/* Whatever fails in here fails on all ranks. */
static dither_status set_up(run *r, const dither_data *data, const dither_options *options, dither_error *error)
{
    dither_status status = DITHER_OK, solved = DITHER_OK;
    TRY(dither_comm_agree(r->comm, set_up_rank(r, data, options, error), error));
    TRY(compare_inputs(r, data, error));
    if (r->comm->rank == 0 && !strcmp(options->reference, "auto"))
        solved = dither_solve(&r->plan.problem, !options->no_cache, &r->optimum, error);
    TRY(dither_comm_agree(r->comm, solved, error));
out:
    return status;
}

static dither_status train(run *r, dither_observer observer, void *user, dither_result **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    if (!strcmp(r->plan.options->reference, "auto")) TRY(share_optimum(r, error));
    TRY(dither_evaluator_open(&r->evaluator, r->comm, &r->rank, r->plan.rows, r->optimum, error));
    status = loop(r, observer, user, error);
    if (status != DITHER_OK && status != DITHER_DIVERGED) goto out;
    const dither_status made = make_result(r, out, status == DITHER_OK ? error : NULL);
    if (made != DITHER_OK) status = made;
out:
    /* the others come to the same end of a run that diverges; of any other failure they know nothing */
    if (status != DITHER_OK && status != DITHER_DIVERGED) r->comm->alone = 1;
    return status;
}

dither_status dither_train_ranks(dither_comm *comm, const dither_data *data, const dither_options *options,
                                 dither_observer observer, void *user, dither_result **out, dither_error *error)
{
    dither_comm *own = NULL;
    run r = {0};
    dither_status status = DITHER_OK;
    *out = NULL;
    if (!comm) TRY(dither_comm_local(&own, error));
    r.comm = comm ? comm : own;
    TRY(set_up(&r, data, options, error));
    TRY(train(&r, observer, user, out, error));
out:
    dither_evaluator_close(&r.evaluator);
    dither_optimum_free(r.optimum);
    dither_aggregate_close(&r.aggregate);
    dither_rank_close(&r.rank);
    dither_plan_free(&r.plan);
    dither_comm_free(own, status);
    return status;
}

dither_status dither_train(const dither_data *data, const dither_options *options, dither_observer observer,
                           void *user, dither_result **out, dither_error *error)
{
    return dither_train_ranks(NULL, data, options, observer, user, out, error);
}
