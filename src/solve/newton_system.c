#include "newton_system.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cholesky.h"
#include "losses.h"

dither_status dither_newton_system_create(const dither_objective *objective, int threads,
                                          dither_newton_system *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_data *data = objective->data;
    const int64_t d = objective->d;
    *out = (dither_newton_system){.objective = objective, .threads = threads, .damping = 1};
    const int one = objective->outputs == 1;
    out->flat = one && (dk_loss_curvature(objective->loss, 4, 1) == 0 || dk_loss_curvature(objective->loss, -4, 1) == 0);
    TRY_ALLOC(out->column_of, d);
    TRY_ALLOC(out->unknown_of, d);
    TRY_ALLOC(out->weight, objective->end - objective->begin);
    TRY_ALLOC(out->bound, d);
    TRY_ALLOC(out->ridge, d);
    TRY_ALLOC(out->scale, d);
    TRY_ALLOC(out->work, 6 * d);
    TRY_ALLOC(out->spread, one ? 0 : 2 * d);
    const double smoothness = dither_loss_smoothness(objective->loss) / (double)data->rows;
    dither_relay_take(objective->relay, out->bound, (size_t)d * sizeof *out->bound);
    for (int64_t k = 0; one && k < data->nonzeros; k++)
        out->bound[data->column[k]] += smoothness * data->value[k] * data->value[k];
    dither_relay_pass(objective->relay, out->bound, (size_t)d * sizeof *out->bound);
out:
    return status;
}

void dither_newton_system_release(dither_newton_system *system)
{
    free(system->column_of), free(system->unknown_of);
    free(system->own_row_start), free(system->own_column), free(system->own_value);
    free(system->weight), free(system->bound), free(system->ridge), free(system->scale);
    free(system->matrix);
    free(system->work), free(system->spread);
    *system = (dither_newton_system){0};
}

/* Copy the rows' entries in free columns. */
static dither_status copy_rows(dither_newton_system *system, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_data *data = system->objective->data;
    int64_t entries = 0;
    if (!system->own_row_start) {
        TRY_ALLOC(system->own_row_start, data->rows + 1);
        TRY_ALLOC(system->own_column, data->nonzeros);
        TRY_ALLOC(system->own_value, data->nonzeros);
    }
    for (int64_t j = 0; j < data->rows; j++) {
        for (int64_t k = data->row_start[j]; k < data->row_start[j + 1]; k++) {
            const int32_t unknown = system->unknown_of[data->column[k]];
            if (unknown < 0) continue;
            system->own_column[entries] = unknown;
            system->own_value[entries++] = data->value[k];
        }
        system->own_row_start[j + 1] = entries;
    }
    system->row_start = system->own_row_start, system->column = system->own_column, system->value = system->own_value;
out:
    return status;
}

static dither_status select_columns(dither_newton_system *system, const unsigned char *is_free, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_data *data = system->objective->data;
    int64_t unknowns = 0;
    for (int64_t c = 0; c < system->objective->d; c++) {
        system->unknown_of[c] = is_free[c] ? (int32_t)unknowns : -1;
        if (is_free[c]) system->column_of[unknowns++] = (int32_t)c;
    }
    system->unknowns = unknowns;
    system->row_start = data->row_start, system->column = data->column, system->value = data->value;
    if (unknowns < data->features && system->objective->outputs == 1) TRY(copy_rows(system, error));
    system->entries = 0;
    dither_relay_take(system->objective->relay, &system->entries, sizeof system->entries);
    system->entries += (double)system->row_start[data->rows];
    dither_relay_pass(system->objective->relay, &system->entries, sizeof system->entries);
out:
    return status;
}

void dither_newton_system_damp(dither_newton_system *system, double length)
{
    const double least = system->objective->l2 > 0 ? 0 : 1e-6, damping = system->damping;
    if (length >= 0.9) system->damping = damping > 1e-10 && damping > least ? damping / 4 : least;
    if (length < 0.1) system->damping = damping < 1e-10 ? 1e-10 : (damping < 0.1 ? 10 * damping : 1.0);
}

/* weight, and the sums of weight a_jc^2 into diagonal[unknowns] */
static void weigh_rows(dither_newton_system *system, double *diagonal)
{
    const dither_objective *objective = system->objective;
    const int64_t rows = objective->data->rows;
    const size_t bytes = (size_t)system->unknowns * sizeof *diagonal;
    if (objective->outputs > 1) {
        double *const all = system->spread;
        dither_objective_diagonal(objective, all);
        for (int64_t u = 0; u < system->unknowns; u++) diagonal[u] = all[system->column_of[u]];
        return;
    }
    memset(diagonal, 0, bytes);
    dither_relay_take(objective->relay, diagonal, bytes);
    for (int64_t j = objective->begin; j < objective->end; j++) {
        const int64_t here = j - objective->begin;
        const double curvature = dk_loss_curvature(objective->loss, objective->margin[here], objective->y[j]);
        const double weight = system->weight[here] = curvature / (double)rows;
        for (int64_t k = system->row_start[j]; k < system->row_start[j + 1]; k++)
            diagonal[system->column[k]] += weight * system->value[k] * system->value[k];
    }
    dither_relay_pass(objective->relay, diagonal, bytes);
}

dither_status dither_newton_system_refresh(dither_newton_system *system, const unsigned char *is_free,
                                           const double *extra, dither_error *error)
{
    dither_status status = DITHER_OK;
    double *const diagonal = system->work;
    TRY(select_columns(system, is_free, error));
    weigh_rows(system, diagonal);
    system->factored = 0;
    for (int64_t u = 0; u < system->unknowns; u++) {
        const int32_t c = system->column_of[u];
        const double damping = system->flat ? system->damping * system->bound[c] : 0.0;
        system->ridge[u] = system->objective->l2 + damping + (extra ? extra[c] : 0.0);
        const double total = diagonal[u] + system->ridge[u];
        system->scale[u] = total > 0 ? 1.0 / sqrt(total) : 0.0;
    }
out:
    return status;
}

/* With several outputs H is not a sum of outer products of rows: its product with a vector that is 0 outside F. */
static void product_outputs(dither_newton_system *system, const double *p, double *out)
{
    const int64_t d = system->objective->d;
    double *const full = system->spread, *const result = full + d;
    for (int64_t c = 0; c < d; c++) full[c] = system->unknown_of[c] < 0 ? 0.0 : p[system->unknown_of[c]];
    dither_objective_curvature(system->objective, full, result);
    for (int64_t u = 0; u < system->unknowns; u++) out[u] = result[system->column_of[u]] + system->ridge[u] * p[u];
}

void dither_newton_system_product(dither_newton_system *system, const double *p, double *out)
{
    const dither_objective *const f = system->objective;
    const int32_t *const column = system->column;
    const double *const value = system->value;
    const size_t bytes = (size_t)system->unknowns * sizeof *out;
    if (f->outputs > 1) {
        product_outputs(system, p, out);
        return;
    }
    for (int64_t u = 0; u < system->unknowns; u++) out[u] = system->ridge[u] * p[u];
    dither_relay_take(f->relay, out, bytes);
    for (int64_t j = f->begin; j < f->end; j++) {
        const int64_t begin = system->row_start[j], end = system->row_start[j + 1];
        double dot = 0;
        for (int64_t k = begin; k < end; k++) dot += value[k] * p[column[k]];
        dot *= system->weight[j - f->begin];
        for (int64_t k = begin; k < end; k++) out[column[k]] += dot * value[k];
    }
    dither_relay_pass(f->relay, out, bytes);
}

dither_status dither_newton_system_factor(dither_newton_system *system, double shift, int *definite,
                                          dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t order = dither_padded(system->unknowns);
    if (order > system->matrix_order) {
        free(system->matrix);
        system->matrix = NULL, system->matrix_order = 0;
        TRY_ALLOC(system->matrix, order * (order + DITHER_DEPTH));
        system->matrix_order = order;
    }
    system->panels = system->matrix + order * order;
    dither_hessian_assemble(system, order, shift);
    *definite = system->factored = dither_cholesky_factor(system->matrix, order, system->panels, system->threads);
out:
    return status;
}

/* Factor H, with as much added to its diagonal as that takes. Later calls start from the shift that worked. */
static dither_status factor(dither_newton_system *system, dither_error *error)
{
    dither_status status = DITHER_OK;
    for (int attempt = 0, definite; attempt < 10; attempt++) {
        TRY(dither_newton_system_factor(system, system->shift, &definite, error));
        if (definite) goto out;
        system->shift = system->shift > 0 ? 100 * system->shift : 1e-11;
    }
    FAIL(DITHER_INTERNAL, "the Hessian of %lld unknowns has no Cholesky factor", (long long)system->unknowns);
out:
    return status;
}

static dither_status solve_dense(dither_newton_system *system, const double *b, double *x, dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t n = system->unknowns, order = dither_padded(n);
    if (!system->factored) TRY(factor(system, error));
    double *const padded = system->panels; /* free again once the factor is there */
    for (int64_t u = 0; u < order; u++) padded[u] = u < n ? system->scale[u] * b[u] : 0.0;
    dither_cholesky_solve(system->matrix, order, padded);
    for (int64_t u = 0; u < n; u++) x[u] = system->scale[u] * padded[u];
out:
    return status;
}

/* How many steps of conjugate gradients cost what a factorization does. */
static double factor_steps(const dither_newton_system *system)
{
    return dither_hessian_cost(system) / (4 * system->entries + 10 * (double)system->unknowns);
}

/* Conjugate gradients for as many steps as a factorization costs, then that; at once where it costs few. */
static dither_status solve(dither_newton_system *system, const double *b, double tolerance, double *x, double *work,
                           dither_error *error)
{
    dither_status status = DITHER_OK;
    const int dense_fits = system->unknowns <= DITHER_DENSE_LIMIT && system->objective->outputs == 1;
    const double steps = dense_fits ? factor_steps(system) : INFINITY;
    int dense = dense_fits && (system->prefer_dense || system->factored || steps < 50);
    if (!dense) {
        const int64_t limit = dense_fits && steps < 5000 ? (int64_t)steps : 5000;
        const int reached = dither_conjugate_gradients(system, b, tolerance, limit, x, work);
        system->used_gradients = 1;
        dense = system->prefer_dense = dense_fits && !reached;
    }
    if (dense) TRY(solve_dense(system, b, x, error));
out:
    return status;
}

dither_status dither_newton_system_solve(dither_newton_system *system, const double *rhs, double tolerance,
                                         double *out, dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t d = system->objective->d;
    double *const b = system->work, *const x = b + d, *const work = x + d;
    for (int64_t u = 0; u < system->unknowns; u++) b[u] = rhs[system->column_of[u]];
    if (system->unknowns > 0) TRY(solve(system, b, tolerance, x, work, error));
    TRY(dither_relay_check(system->objective->relay, error));
    for (int64_t c = 0; c < d; c++) out[c] = system->unknown_of[c] < 0 ? 0.0 : x[system->unknown_of[c]];
out:
    return status;
}
