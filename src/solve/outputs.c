/* An objective with several outputs. Its vectors, class after class outside, are laid out feature after feature here, so
 * that an entry of a row meets the K values of its feature side by side. */
#include <string.h>

#include "losses.h"
#include "objective.h"

/* to[c K + k] = from[k F + c] */
static void spread(const dither_objective *f, const double *from, double *to)
{
    const int64_t features = f->data->features;
    for (int64_t c = 0; c < features; c++)
        for (int k = 0; k < f->outputs; k++) to[c * f->outputs + k] = from[k * features + c];
}

static void gather(const dither_objective *f, const double *from, double *to)
{
    const int64_t features = f->data->features;
    for (int k = 0; k < f->outputs; k++)
        for (int64_t c = 0; c < features; c++) to[k * features + c] = from[c * f->outputs + k];
}

/* out[k] = a_j.x_k */
static void row_dots(const dither_objective *f, int64_t j, const double *x, double *out)
{
    const dither_data *data = f->data;
    const int outputs = f->outputs;
    memset(out, 0, (size_t)outputs * sizeof *out);
    for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++) {
        const double value = data->value[e], *at = x + (int64_t)data->column[e] * outputs;
        for (int k = 0; k < outputs; k++) out[k] += value * at[k];
    }
}

static double *margins_of(const dither_objective *f, int64_t j) { return f->margin + (j - f->begin) * f->outputs; }
static double *slopes_of(const dither_objective *f, int64_t j) { return f->slope + (j - f->begin) * f->outputs; }

void dither_outputs_gradient(dither_objective *f, const double *x, double *gradient)
{
    const dither_data *data = f->data;
    const int outputs = f->outputs;
    const size_t bytes = (size_t)f->d * sizeof *f->sums;
    memset(f->sums, 0, bytes);
    spread(f, x, f->spread);
    dither_relay_take(f->relay, f->sums, bytes);
    for (int64_t j = f->begin; j < f->end; j++) {
        double *const margin = margins_of(f, j), *const slope = slopes_of(f, j);
        row_dots(f, j, f->spread, margin);
        memcpy(slope, margin, (size_t)outputs * sizeof *slope);
        dk_multi_slopes(f->loss, slope, outputs, f->y[j]);
        for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++)
            for (int k = 0; k < outputs; k++)
                dither_sum_add(&f->sums[(int64_t)data->column[e] * outputs + k], slope[k] * data->value[e]);
    }
    dither_relay_pass(f->relay, f->sums, bytes);
    for (int64_t i = 0; i < f->d; i++) f->spread[i] = dither_sum_value(&f->sums[i]) / (double)data->rows;
    gather(f, f->spread, gradient);
    for (int64_t i = 0; i < f->d; i++) gradient[i] += f->l2 * x[i];
}

void dither_outputs_value(const dither_objective *f, dither_sum *total)
{
    for (int64_t j = f->begin; j < f->end; j++)
        dither_sum_add(total, dk_multi_value(f->loss, margins_of(f, j), f->outputs, f->y[j]));
}

void dither_outputs_bregman(const dither_objective *f, const double *delta, dither_sum *total)
{
    spread(f, delta, f->spread);
    for (int64_t j = f->begin; j < f->end; j++) {
        row_dots(f, j, f->spread, f->row);
        dither_sum_add(total, dk_multi_bregman(f->loss, margins_of(f, j), f->row, f->outputs, f->y[j]));
    }
}

int dither_outputs_separated(const dither_objective *f)
{
    for (int64_t j = f->begin; j < f->end; j++) {
        const double *z = margins_of(f, j);
        for (int k = 0; k < f->outputs; k++)
            if (k != (int)f->y[j] && !(z[(int)f->y[j]] > z[k])) return 0;
    }
    return 1;
}

void dither_objective_curvature(const dither_objective *f, const double *v, double *out)
{
    const dither_data *data = f->data;
    const int outputs = f->outputs;
    double *const in = f->spread, *const sum = in + f->d;
    spread(f, v, in);
    const size_t bytes = (size_t)f->d * sizeof *sum;
    memset(sum, 0, bytes);
    dither_relay_take(f->relay, sum, bytes);
    for (int64_t j = f->begin; j < f->end; j++) {
        row_dots(f, j, in, f->row);
        dk_multi_curvature(f->loss, slopes_of(f, j), f->row, outputs, f->y[j]);
        for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++) {
            double *const at = sum + (int64_t)data->column[e] * outputs;
            for (int k = 0; k < outputs; k++) at[k] += data->value[e] * f->row[k];
        }
    }
    dither_relay_pass(f->relay, sum, bytes);
    gather(f, sum, out);
    for (int64_t i = 0; i < f->d; i++) out[i] /= (double)data->rows;
}

void dither_objective_diagonal(const dither_objective *f, double *out)
{
    const dither_data *data = f->data;
    const int outputs = f->outputs;
    double *const sum = f->spread;
    const size_t bytes = (size_t)f->d * sizeof *sum;
    memset(sum, 0, bytes);
    dither_relay_take(f->relay, sum, bytes);
    for (int64_t j = f->begin; j < f->end; j++) {
        const double *const slope = slopes_of(f, j);
        for (int k = 0; k < outputs; k++) { /* the k-th element of the Hessian's product with the k-th unit vector */
            memset(f->row, 0, (size_t)outputs * sizeof *f->row);
            f->row[k] = 1;
            dk_multi_curvature(f->loss, slope, f->row, outputs, f->y[j]);
            for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++)
                sum[(int64_t)data->column[e] * outputs + k] += f->row[k] * data->value[e] * data->value[e];
        }
    }
    dither_relay_pass(f->relay, sum, bytes);
    gather(f, sum, out);
    for (int64_t i = 0; i < f->d; i++) out[i] /= (double)data->rows;
}
