#include <math.h>
#include <string.h>

#include "cholesky.h"
#include "newton_system.h"

double dither_hessian_cost(const dither_newton_system *system)
{
    const double n = (double)system->unknowns;
    double total = n * n * n / 3;
    for (int64_t j = 0; j < system->objective->data->rows; j++) {
        const double entries = (double)(system->row_start[j + 1] - system->row_start[j]);
        total += entries * entries;
    }
    return total;
}

/* Row by row: the outer product of a row with itself touches the square of its entries. */
static void add_sparse(dither_newton_system *system, int64_t order)
{
    const int32_t *const column = system->column;
    const double *const value = system->value;
    for (int64_t j = 0; j < system->objective->data->rows; j++) {
        const int64_t begin = system->row_start[j], end = system->row_start[j + 1];
        for (int64_t k = begin; k < end; k++) {
            const double factor = system->weight[j] * value[k];
            double *const line = system->matrix + column[k] * order;
            for (int64_t m = begin; m <= k; m++) line[column[m]] += factor * value[m];
        }
    }
}

/* In blocks of rows, spread out and scaled by the square root of their weight: H += P^T P. */
static void add_dense(dither_newton_system *system, int64_t order)
{
    const int64_t rows = system->objective->data->rows;
    double *const panels = system->panels;
    for (int64_t top = 0; top < rows; top += DITHER_DEPTH) {
        const int64_t depth = rows - top < DITHER_DEPTH ? rows - top : DITHER_DEPTH;
        memset(panels, 0, (size_t)(order * depth) * sizeof *panels);
        for (int64_t r = 0; r < depth; r++) {
            const double root = sqrt(system->weight[top + r]);
            for (int64_t k = system->row_start[top + r]; k < system->row_start[top + r + 1]; k++)
                panels[dither_panel_index(r, system->column[k], depth)] = root * system->value[k];
        }
        dither_rank_update(system->matrix, order, order, panels, depth, 1.0, system->threads);
    }
}

void dither_hessian_assemble(dither_newton_system *system, int64_t order, double shift)
{
    const int64_t n = system->unknowns, rows = system->objective->data->rows;
    memset(system->matrix, 0, (size_t)(order * order) * sizeof *system->matrix);
    if (4 * system->row_start[rows] > rows * n)
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
