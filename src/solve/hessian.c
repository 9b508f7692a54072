#include <math.h>
#include <string.h>

#include "cholesky.h"
#include "newton_system.h"

double dither_hessian_cost(const dither_newton_system *system)
{
    const dither_objective *const f = system->objective;
    const double n = (double)system->unknowns;
    double total = n * n * n / 3;
    dither_relay_take(f->relay, &total, sizeof total);
    for (int64_t j = f->begin; j < f->end; j++) {
        const double entries = (double)(system->row_start[j + 1] - system->row_start[j]);
        total += entries * entries;
    }
    dither_relay_pass(f->relay, &total, sizeof total);
    return total;
}

/* Row by row: the outer product of a row with itself touches the square of its entries. */
static void add_sparse(dither_newton_system *system, int64_t order)
{
    const dither_objective *const f = system->objective;
    const int32_t *const column = system->column;
    const double *const value = system->value;
    const size_t bytes = (size_t)(order * order) * sizeof *system->matrix;
    dither_relay_take(f->relay, system->matrix, bytes);
    for (int64_t j = f->begin; j < f->end; j++) {
        const int64_t begin = system->row_start[j], end = system->row_start[j + 1];
        for (int64_t k = begin; k < end; k++) {
            const double factor = system->weight[j - f->begin] * value[k];
            double *const line = system->matrix + column[k] * order;
            for (int64_t m = begin; m <= k; m++) line[column[m]] += factor * value[m];
        }
    }
    dither_relay_pass(f->relay, system->matrix, bytes);
}

/* In blocks of rows, spread out and scaled by the square root of their weight: H += P^T P. A block that has rows of two
 * ranks is begun by one and ended by the next. */
static void add_dense(dither_newton_system *system, int64_t order)
{
    const dither_objective *const f = system->objective;
    const int64_t rows = f->data->rows;
    double *const panels = system->panels;
    const size_t both = (size_t)(order * (order + DITHER_DEPTH)) * sizeof *panels; /* the matrix, the panels behind it */
    dither_relay_take(f->relay, system->matrix, both);
    for (int64_t j = f->begin; j < f->end; j++) {
        const int64_t r = j % DITHER_DEPTH, top = j - r;
        const int64_t depth = rows - top < DITHER_DEPTH ? rows - top : DITHER_DEPTH;
        const double root = sqrt(system->weight[j - f->begin]);
        if (r == 0) memset(panels, 0, (size_t)(order * depth) * sizeof *panels);
        for (int64_t k = system->row_start[j]; k < system->row_start[j + 1]; k++)
            panels[dither_panel_index(r, system->column[k], depth)] = root * system->value[k];
        if (r == depth - 1) dither_rank_update(system->matrix, order, order, panels, depth, 1.0, system->threads);
    }
    dither_relay_pass(f->relay, system->matrix, both);
}

void dither_hessian_assemble(dither_newton_system *system, int64_t order, double shift)
{
    const int64_t n = system->unknowns;
    memset(system->matrix, 0, (size_t)(order * order) * sizeof *system->matrix);
    if (4 * system->entries > (double)system->objective->data->rows * (double)n)
        add_dense(system, order);
    else
        add_sparse(system, order);
    for (int64_t u = 0; u < n; u++) {
        double *const line = system->matrix + u * order;
        for (int64_t w = 0; w < u; w++) line[w] *= system->scale[u] * system->scale[w];
    }
    /* the scaled diagonal is 1 whatever its rounded sum says, and so it is for padding and columns of zeros */
    for (int64_t u = 0; u < order; u++) system->matrix[u * order + u] = 1.0 + shift;
}
