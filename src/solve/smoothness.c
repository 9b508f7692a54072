#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lanczos.h"
#include "losses.h"
#include "newton_system.h"

/* A^T A or A A^T, whichever is smaller, for the rows [begin, end). Both have the same largest eigenvalue. */
typedef struct gram {
    const dither_data *data;
    int64_t begin, end;
    dither_relay *relay; /* NULL: all of these rows are here */
    double *sum; /* d: A^T q of the second */
} gram;

/* Those of the rows that are here */
static int64_t first_row(const gram *g) { return g->relay ? dither_data_begin(g->data) : g->begin; }
static int64_t last_row(const gram *g) { return g->relay ? dither_data_end(g->data) : g->end; }

static void row_add(const dither_data *data, int64_t j, double factor, double *x)
{
    for (int64_t k = data->row_start[j]; k < data->row_start[j + 1]; k++) x[data->column[k]] += factor * data->value[k];
}

/* out[d] = A^T A q */
static void apply_columns(void *context, const double *q, double *out)
{
    const gram *g = context;
    const size_t bytes = (size_t)g->data->features * sizeof *out;
    memset(out, 0, bytes);
    dither_relay_take(g->relay, out, bytes);
    for (int64_t j = first_row(g); j < last_row(g); j++) row_add(g->data, j, dither_row_dot(g->data, j, q), out);
    dither_relay_pass(g->relay, out, bytes);
}

/* out[rows] = A A^T q. Only the columns that these rows touch are cleared: a shard of few rows costs little however
 * many features there are. */
static void apply_rows(void *context, const double *q, double *out)
{
    const gram *g = context;
    const dither_data *data = g->data;
    const size_t bytes = (size_t)data->features * sizeof *g->sum, all = (size_t)(g->end - g->begin) * sizeof *out;
    for (int64_t k = data->row_start[g->begin]; k < data->row_start[g->end]; k++) g->sum[data->column[k]] = 0;
    if (g->relay) memset(g->sum, 0, bytes);
    dither_relay_take(g->relay, g->sum, bytes);
    for (int64_t j = first_row(g); j < last_row(g); j++) row_add(data, j, q[j - g->begin], g->sum);
    dither_relay_pass(g->relay, g->sum, bytes);
    dither_relay_take(g->relay, out, all);
    for (int64_t j = first_row(g); j < last_row(g); j++) out[j - g->begin] = dither_row_dot(data, j, g->sum);
    dither_relay_pass(g->relay, out, all);
}

static double row_square(const dither_data *data, int64_t j)
{
    double total = 0;
    for (int64_t k = data->row_start[j]; k < data->row_start[j + 1]; k++) total += data->value[k] * data->value[k];
    return total;
}

static dither_status gram_norm(const dither_data *data, int64_t begin, int64_t end, dither_relay *relay, double *out,
                               dither_error *error)
{
    dither_status status = DITHER_OK;
    gram g = {.data = data, .begin = begin, .end = end, .relay = relay};
    const int64_t rows = end - begin;
    double trace = 0, norm = 0;
    *out = 0;
    dither_relay_take(relay, &trace, sizeof trace);
    for (int64_t j = first_row(&g); j < last_row(&g); j++) trace += row_square(data, j);
    dither_relay_pass(relay, &trace, sizeof trace);
    if (!dk_finite(trace)) FAIL(DITHER_BAD_DATA, "the squares of the features overflow: scale the features");
    if (rows <= 1 || data->features == 1) {
        *out = rows > 0 ? trace / (double)rows : 0;
    } else {
        const int by_rows = rows < data->features;
        if (by_rows) TRY_ALLOC(g.sum, data->features);
        TRY(dither_lanczos_bound(by_rows ? rows : data->features, by_rows ? apply_rows : apply_columns, &g,
                                 trace * (1 + 1e-12), &norm, error));
        *out = norm / (double)rows;
    }
    TRY(dither_relay_check(relay, error));
out:
    free(g.sum);
    return status;
}

dither_status dither_gram_norm(const dither_data *data, int64_t begin, int64_t end, double *out, dither_error *error)
{
    return gram_norm(data, begin, end, NULL, out, error);
}

/* ---- the strong convexity of least squares ---- */

/* out[d] = (A^T A / N)^{-1} q */
static void apply_inverse(void *context, const double *q, double *out)
{
    dither_newton_system_solve(context, q, 0, out, NULL); /* has its factor, so it can't fail */
}

/* *out = the smallest eigenvalue of the Hessian of a loss with constant curvature, without l2, from below within 1 %:
 * one over the largest of the inverse. The shift of the scaled diagonal leaves room for the rounding of the factor;
 * what is singular with it counts as 0. */
static dither_status least_curvature(const dither_problem *problem, double *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t d = problem->data->features;
    dither_objective objective = {0};
    dither_newton_system system = {0};
    unsigned char *all = NULL;
    double largest = 0;
    int definite;
    *out = 0;
    if (problem->data->rows < d || d > DITHER_DENSE_LIMIT) goto out;
    TRY_ALLOC(all, d);
    memset(all, 1, (size_t)d);
    TRY(dither_objective_create(problem, 0, &objective, error));
    TRY(dither_newton_system_create(&objective, problem->threads, &system, error));
    TRY(dither_newton_system_refresh(&system, all, NULL, error));
    TRY(dither_newton_system_factor(&system, -1e-10, &definite, error));
    if (!definite) goto out;
    TRY(dither_lanczos_bound(d, apply_inverse, &system, INFINITY, &largest, error));
    *out = 1 / largest;
out:
    dither_newton_system_release(&system);
    dither_objective_release(&objective);
    free(all);
    return status;
}

int dither_problem_is_convex(const dither_problem *problem)
{
    return problem->nonconvex == 0 && dither_loss_strong(problem->loss) >= 0;
}

dither_status dither_smoothness_find(const dither_problem *problem, dither_smoothness *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_data *data = problem->data;
    const double smoothness = dither_loss_smoothness(problem->loss), strong = dither_loss_strong(problem->loss);
    double largest = 0, pooled = 0, least = 0;
    dither_relay_take(problem->relay, &largest, sizeof largest);
    for (int64_t j = dither_data_begin(data); j < dither_data_end(data); j++) {
        const double square = row_square(data, j);
        largest = square > largest ? square : largest;
    }
    dither_relay_pass(problem->relay, &largest, sizeof largest);
    TRY(gram_norm(data, 0, data->rows, problem->relay, &pooled, error));
    if (strong > 0 && strong == smoothness) TRY(least_curvature(problem, &least, error));
    /* the second derivative of x^2/(1 + x^2) is between -1/2 and 2 */
    out->row_max = smoothness * largest + problem->l2 + 2 * problem->nonconvex;
    out->pooled = smoothness * pooled + problem->l2 + 2 * problem->nonconvex;
    out->mu = dither_problem_is_convex(problem) ? problem->l2 + least : 0;
out:
    return status;
}
