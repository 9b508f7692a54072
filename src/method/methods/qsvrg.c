/* QSVRG: SVRG whose snapshot's gradient is the exact one of all workers.
 *
 *   epoch   H = grad f(y), from the workers' gradients, uncompressed, to all
 *   T times x = prox(x - gamma (1/n) sum_i Q(grad f_ij(x) - grad f_ij(y) + H))
 *   then    y := the mean of the T iterates, or the last; x := y
 *
 * With mu_i := H (without l2 y, which is in neither table nor mu_i) these are the common iteration's stages. H is
 * gathered and summed by the stages of an uncompressed message: in the order of the workers, on every rank. */
#include "method/stages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct qsvrg {
    dk_rank raw;             /* the rank, as seen by an uncompressed exchange of mu_i whose step ends in `mean` */
    dither_aggregate gather; /* of those messages */
    void *messages;          /* the device's, n x d real */
    void *mean, *zero;       /* real stride: H; nothing */
    void *inner;             /* real stride: mean of the epoch's iterates */
    int64_t done;            /* iterations of the epoch */
    int averaged;
} qsvrg;

static dither_status plan_qsvrg(dither_plan *p, int ranks, dither_error *error)
{
    (void)ranks;
    if (p->estimator == &dither_estimator_svrg) return DITHER_OK;
    return dither_fail(error, DITHER_USAGE, "--method qsvrg is made of --estimator svrg; with %s use qsgd or diana",
                       p->estimator->name);
}

static dither_status open_exchange(dither_run *run, qsvrg *s, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_rank *rank = &run->rank;
    const dk_device *v = &rank->device;
    const dk_codec exact = {.kind = DK_CODEC_identity, .wire = DK_WIRE_float};
    dither_plan plan = run->plan;
    dither_rank raw;
    s->raw = rank->k;
    s->raw.codec = exact;
    s->raw.memory = 0, s->raw.prox = 0, s->raw.stepper = DK_STEPPER_PLAIN, s->raw.l2 = 0, s->raw.nonconvex = 0;
    s->raw.shared = NULL, s->raw.plain = NULL;
    dk_layout_make(&s->raw.layout, &exact, rank->k.d, 0, rank->k.single ? 4 : 8);
    const size_t message = (size_t)s->raw.layout.message_words * 4;
    TRY_DEVICE(rank, v->alloc(v->context, (size_t)rank->k.workers * message, &s->messages), "full gradients");
    s->raw.messages = s->messages, s->raw.x = s->mean;
    plan.aggregate = &dither_aggregate_allgather;
    raw = *rank, raw.k = s->raw;
    TRY(dither_aggregate_open(&s->gather, run->comm, &plan, &raw, error));
out:
    return status;
}

static dither_status start(dither_run *run, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_options *o = run->plan.options;
    const dither_rank *rank = &run->rank;
    const dk_device *v = &rank->device;
    const size_t vector = (size_t)rank->k.stride * (rank->k.single ? 4 : 8);
    qsvrg *s;
    TRY_ALLOC(s, 1);
    run->own = s;
    s->averaged = strcmp(o->epoch_end, "auto") ? !strcmp(o->epoch_end, "mean") : !strcmp(o->gamma, "theory");
    TRY_DEVICE(rank, v->alloc(v->context, vector, &s->mean), "the mean gradient");
    TRY_DEVICE(rank, v->alloc(v->context, vector, &s->zero), "zeros");
    TRY_DEVICE(rank, v->alloc(v->context, vector, &s->inner), "the mean of an epoch");
    TRY(open_exchange(run, s, error));
out:
    return status;
}

/* The snapshot at x: table, and mu_i := H for every worker. */
static dither_status snapshot(dither_run *run, dither_error *error)
{
    dither_status status = DITHER_OK;
    qsvrg *s = run->own;
    const dk_device *v = &run->rank.device;
    const dk_rank *k = &run->rank.k;
    const size_t vector = (size_t)k->stride * (k->single ? 4 : 8);
    const dk_round minus = {.iteration = run->iteration, .gamma = -1}; /* 0 + the mean */
    dither_rank raw = run->rank;
    raw.k = s->raw;
    TRY(dither_stage_refresh(run, 0, error));
    TRY(s->gather.kind->exchange(&s->gather, &raw, &minus, DK_GRADIENT_DENSE, error));
    run->aggregate.worker_bytes += s->gather.worker_bytes, run->aggregate.worker_bits += s->gather.worker_bits;
    s->gather.worker_bytes = s->gather.worker_bits = 0;
    TRY_DEVICE(&run->rank, v->copy(v->context, s->mean, s->zero, vector), "the mean gradient");
    TRY_DEVICE(&run->rank, v->step(v->context, &raw.k, &minus), "the mean gradient");
    for (int w = 0; w < k->count; w++)
        TRY_DEVICE(&run->rank, v->copy(v->context, (char *)k->mu + (size_t)w * vector, s->mean, vector), "the mean gradient");
out:
    return status;
}

static dither_status iterate(dither_run *run, dither_error *error)
{
    dither_status status = DITHER_OK;
    qsvrg *s = run->own;
    const dither_plan *p = &run->plan;
    const dk_device *v = &run->rank.device;
    const dk_rank *k = &run->rank.k;
    const dk_round round = dither_stage_round(run);
    if (s->done == 0) TRY(snapshot(run, error));
    TRY(dither_stage_exchange(run, &round, DK_GRADIENT_SAMPLED, error));
    run->gradients += (double)p->workers * p->batch;
    TRY(dither_stage_step(run, &round, error));
    s->done++;
    if (s->averaged) TRY_DEVICE(&run->rank, v->blend(v->context, k, s->inner, k->x, k->d, 1 / (double)s->done, NULL), "mean of an epoch");
    if (s->done < p->epoch_length) return DITHER_OK;
    if (s->averaged) TRY_DEVICE(&run->rank, v->blend(v->context, k, k->x, s->inner, k->d, 1, NULL), "mean of an epoch");
    s->done = 0;
out:
    return status;
}

static void finish(dither_run *run)
{
    qsvrg *s = run->own;
    const dk_device *v = &run->rank.device;
    void *const arrays[] = {s ? s->messages : NULL, s ? s->mean : NULL, s ? s->zero : NULL, s ? s->inner : NULL};
    if (!s) return;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (arrays[i]) v->release(v->context, arrays[i]);
    dither_aggregate_close(&s->gather);
    free(s);
}

/* 0.1 / L_max. The mean message's second moment is at most 4 c L_max (f(x) - f* + f(y) - f*), c = 1 + omega/n, so that an
 * epoch multiplies the gap by 1/(mu gamma (1 - q) T) + q/(1 - q), q = 2 c gamma L_max (Johnson and Zhang, 2013, with c;
 * docs/step-sizes.md). gamma is smaller where c is large. */
static double theory(const dither_facts *f)
{
    const double c = 1 + f->omega / f->n;
    return 0.1 / (f->L_max * (c > 1.25 ? c / 1.25 : 1));
}

/* T with which that is 0.9: infinite, and so not taken, where mu = 0. */
static double epoch(const dither_facts *f)
{
    const double gamma = theory(f), q = 2 * (1 + f->omega / f->n) * gamma * f->L_max;
    return f->mu > 0 ? 1 / (f->mu * gamma * (1 - q) * (0.9 - q / (1 - q))) : INFINITY;
}

const dither_method dither_method_qsvrg = {
    .name = "qsvrg",
    .summary = "quantized SVRG: the snapshot's full gradient uncompressed, once an epoch",
    .source = "Alistarh et al., 2017, arXiv:1610.02132",
    .estimator = &dither_estimator_svrg,
    .codec = DK_CODEC_dither,
    .euclidean = 1,
    .options = "epoch-end",
    .theory = theory,
    .epoch = epoch,
    .plan = plan_qsvrg,
    .start = start,
    .iterate = iterate,
    .close = finish,
};
