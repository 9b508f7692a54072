#include "evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "gap.h"
#include "prox.h"

/* grad f at `at`, the device's copy of x: the mean of the workers' gradients in their order, + l2 x and the
 * non-convex term. */
static dither_status full_gradient(dither_evaluator *e, dither_rank *r, const void *at, const double *x, double *out,
                                   dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_rank *k = &r->k;
    dk_rank there = *k;
    there.x = (void *)at;
    TRY_DEVICE(r, r->device.refresh(r->device.context, &there, k->eval_table, k->gradient, 0), "gradient");
    TRY(dither_rank_read(r, k->gradient, k->count * k->stride, e->gradients, error));
    memset(out, 0, (size_t)k->d * sizeof *out);
    for (int rank = 0; rank < e->comm->ranks; rank++) {
        for (int w = 0; rank == e->comm->rank && w < k->count; w++)
            for (int64_t c = 0; c < k->d; c++) out[c] += e->gradients[w * k->stride + c];
        TRY(e->comm->broadcast(e->comm, out, (size_t)k->d * sizeof *out, rank, error));
    }
    for (int64_t c = 0; c < k->d; c++) {
        const double s = 1 + x[c] * x[c];
        out[c] = out[c] / k->workers + k->l2 * x[c] + 2 * k->nonconvex * x[c] / (s * s);
    }
out:
    return status;
}

dither_status dither_evaluator_open(dither_evaluator *out, dither_comm *comm, dither_rank *r, int64_t rows,
                                    const dither_optimum *optimum, dither_error *error)
{
    dither_status status = DITHER_OK;
    dk_rank *k = &r->k;
    const dk_device *v = &r->device;
    const int64_t sums = 2 * r->eval_chunks;
    *out = (dither_evaluator){.comm = comm, .rows = rows, .optimum = optimum};
    TRY_ALLOC(out->x, k->stride);
    TRY_ALLOC(out->star, k->stride);
    TRY_ALLOC(out->grad_star, k->stride);
    TRY_ALLOC(out->scratch, k->stride > sums ? k->stride : sums);
    TRY_ALLOC(out->gradients, k->count * k->stride);
    if (optimum) {
        memcpy(out->star, optimum->x, (size_t)k->d * sizeof(double));
        TRY(dither_rank_write(r, k->x, k->d, out->star, error));
        TRY(full_gradient(out, r, k->x, out->star, out->grad_star, error));
        TRY(dither_rank_write(r, k->x, k->d, out->x, error)); /* back to zero */
    }
    TRY_DEVICE(r, v->upload(v->context, (void *)k->x_star, out->star, (size_t)k->d * 8), "upload");
out:
    if (status != DITHER_OK) dither_evaluator_close(out);
    return status;
}

/* Sums of phi and of its divergence, chunk by chunk in order. */
static dither_status row_sums(dither_evaluator *e, dither_rank *r, double sums[2], dither_error *error)
{
    dither_status status = DITHER_OK;
    dk_rank *k = &r->k;
    const dk_device *v = &r->device;
    for (int64_t c = 0; c < k->d; c++) e->scratch[c] = e->x[c] - e->star[c];
    TRY_DEVICE(r, v->upload(v->context, (void *)k->x_diff, e->scratch, (size_t)k->d * 8), "upload");
    TRY_DEVICE(r, v->evaluate(v->context, k), "evaluation");
    TRY_DEVICE(r, v->download(v->context, e->scratch, k->eval_sums, (size_t)r->eval_chunks * 16), "evaluation");
    sums[0] = sums[1] = 0;
    for (int rank = 0; rank < e->comm->ranks; rank++) {
        for (int64_t c = 0; rank == e->comm->rank && c < r->eval_chunks; c++)
            sums[0] += e->scratch[2 * c], sums[1] += e->scratch[2 * c + 1];
        TRY(e->comm->broadcast(e->comm, sums, 2 * sizeof *sums, rank, error));
    }
out:
    return status;
}

/* ||grad f(x)||, or ||x - prox(x - gamma grad f(x))|| / gamma with a regulariser. */
static double mapping_norm(const dk_rank *k, double gamma, const double *x, const double *g)
{
    double sum = 0, moved2 = 0;
    for (int64_t c = 0; c < k->d; c++) moved2 += (x[c] - gamma * g[c]) * (x[c] - gamma * g[c]);
    const double shrink = k->prox == DK_PROX_BALL && sqrt(moved2) > k->prox_a ? k->prox_a / sqrt(moved2) : 1;
    for (int64_t c = 0; c < k->d; c++) {
        const double to = dk_prox(k->prox, k->prox_a, k->prox_b, gamma, x[c] - gamma * g[c]) * shrink;
        const double m = k->prox == DK_PROX_NONE ? g[c] : (x[c] - to) / gamma;
        sum += m * m;
    }
    return sqrt(sum);
}

dither_status dither_evaluate(dither_evaluator *e, dither_rank *r, const void *at, double gamma, dither_point *point,
                              dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_rank *k = &r->k;
    double sums[2], norm2 = 0, dist2 = 0, saturated = 0;
    TRY(dither_rank_read(r, at, k->d, e->x, error));
    TRY(row_sums(e, r, sums, error));
    for (int64_t c = 0; c < k->d; c++) {
        const double delta = e->x[c] - e->star[c];
        norm2 += e->x[c] * e->x[c], dist2 += delta * delta;
        saturated += e->x[c] * e->x[c] / (1 + e->x[c] * e->x[c]);
    }
    const double rows = (double)e->rows;
    point->loss = sums[0] / rows + k->l2 / 2 * norm2 + k->nonconvex * saturated +
                  dither_regulariser(k->prox, k->prox_a, k->prox_b, e->x, k->d);
    point->gap = point->dist2 = NAN;
    if (e->optimum) {
        point->dist2 = dist2;
        point->gap = sums[1] / rows + k->l2 / 2 * dist2 +
                     dither_regulariser_gap(k->prox, k->prox_a, k->prox_b, e->x, e->star, e->grad_star, k->d);
    }
    TRY(full_gradient(e, r, at, e->x, e->scratch, error));
    point->grad_norm = mapping_norm(k, gamma, e->x, e->scratch);
out:
    return status;
}

void dither_evaluator_close(dither_evaluator *e)
{
    free(e->x), free(e->star), free(e->grad_star), free(e->scratch), free(e->gradients);
    *e = (dither_evaluator){0};
}
