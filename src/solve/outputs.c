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

void dither_outputs_gradient(dither_objective *f, const double *x, double *gradient)
{
    const dither_data *data = f->data;
    const int outputs = f->outputs;
    memset(f->sums, 0, (size_t)f->d * sizeof *f->sums);
    spread(f, x, f->spread);
    for (int64_t j = 0; j < data->rows; j++) {
        double *const slope = f->slope + j * outputs;
        row_dots(f, j, f->spread, f->margin + j * outputs);
        memcpy(slope, f->margin + j * outputs, (size_t)outputs * sizeof *slope);
        dk_multi_slopes(f->loss, slope, outputs, f->y[j]);
        for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++)
            for (int k = 0; k < outputs; k++)
                dither_sum_add(&f->sums[(int64_t)data->column[e] * outputs + k], slope[k] * data->value[e]);
    }
    for (int64_t i = 0; i < f->d; i++) f->spread[i] = dither_sum_value(&f->sums[i]) / (double)data->rows;
    gather(f, f->spread, gradient);
    for (int64_t i = 0; i < f->d; i++) gradient[i] += f->l2 * x[i];
}

double dither_outputs_value(const dither_objective *f)
{
    dither_sum loss = {0};
    for (int64_t j = 0; j < f->data->rows; j++)
        dither_sum_add(&loss, dk_multi_value(f->loss, f->margin + j * f->outputs, f->outputs, f->y[j]));
    return dither_sum_value(&loss);
}

double dither_outputs_bregman(const dither_objective *f, const double *delta)
{
    dither_sum total = {0};
    spread(f, delta, f->spread);
    for (int64_t j = 0; j < f->data->rows; j++) {
        row_dots(f, j, f->spread, f->row);
        dither_sum_add(&total, dk_multi_bregman(f->loss, f->margin + j * f->outputs, f->row, f->outputs, f->y[j]));
    }
    return dither_sum_value(&total);
}

int dither_outputs_separated(const dither_objective *f)
{
    for (int64_t j = 0; j < f->data->rows; j++) {
        const double *z = f->margin + j * f->outputs;
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
    memset(sum, 0, (size_t)f->d * sizeof *sum);
    for (int64_t j = 0; j < data->rows; j++) {
        row_dots(f, j, in, f->row);
        dk_multi_curvature(f->loss, f->slope + j * outputs, f->row, outputs, f->y[j]);
        for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++) {
            double *const at = sum + (int64_t)data->column[e] * outputs;
            for (int k = 0; k < outputs; k++) at[k] += data->value[e] * f->row[k];
        }
    }
    gather(f, sum, out);
    for (int64_t i = 0; i < f->d; i++) out[i] /= (double)data->rows;
}

void dither_objective_diagonal(const dither_objective *f, double *out)
{
    const dither_data *data = f->data;
    const int outputs = f->outputs;
    double *const sum = f->spread;
    memset(sum, 0, (size_t)f->d * sizeof *sum);
    for (int64_t j = 0; j < data->rows; j++) {
        const double *const slope = f->slope + j * outputs;
        for (int k = 0; k < outputs; k++) { /* the k-th element of the Hessian's product with the k-th unit vector */
            memset(f->row, 0, (size_t)outputs * sizeof *f->row);
            f->row[k] = 1;
            dk_multi_curvature(f->loss, slope, f->row, outputs, f->y[j]);
            for (int64_t e = data->row_start[j]; e < data->row_start[j + 1]; e++)
                sum[(int64_t)data->column[e] * outputs + k] += f->row[k] * data->value[e] * data->value[e];
        }
    }
    gather(f, sum, out);
    for (int64_t i = 0; i < f->d; i++) out[i] /= (double)data->rows;
}
