#include "objective.h"

#include <stdlib.h>
#include <string.h>

#include "losses.h"

#define X(name) name##_SMOOTHNESS,
double dither_loss_smoothness(int loss) { return (const double[]){DITHER_MODELS(X) DITHER_MULTI_MODELS(X)}[loss]; }
#undef X
#define X(name) name##_STRONG,
double dither_loss_strong(int loss) { return (const double[]){DITHER_MODELS(X) DITHER_MULTI_MODELS(X)}[loss]; }
#undef X

dither_status dither_objective_create(const dither_problem *problem, double l2, dither_objective *out,
                                      dither_error *error)
{
    dither_status status = DITHER_OK;
    *out = (dither_objective){.data = problem->data, .y = problem->y, .loss = problem->loss, .l2 = l2,
                              .outputs = problem->outputs, .d = dither_problem_length(problem), .relay = problem->relay,
                              .begin = dither_data_begin(problem->data), .end = dither_data_end(problem->data)};
    TRY_ALLOC(out->margin, (out->end - out->begin) * out->outputs);
    TRY_ALLOC(out->sums, out->d);
    if (out->outputs == 1) return DITHER_OK;
    TRY_ALLOC(out->slope, (out->end - out->begin) * out->outputs);
    TRY_ALLOC(out->spread, 2 * out->d);
    TRY_ALLOC(out->row, out->outputs);
out:
    return status;
}

void dither_objective_release(dither_objective *objective)
{
    free(objective->margin);
    free(objective->sums);
    free(objective->slope), free(objective->spread), free(objective->row);
    *objective = (dither_objective){0};
}

void dither_objective_gradient(dither_objective *objective, const double *x, double *gradient)
{
    const dither_data *data = objective->data;
    dither_sum *sums = objective->sums;
    if (objective->outputs > 1) {
        dither_outputs_gradient(objective, x, gradient);
        return;
    }
    const size_t bytes = (size_t)data->features * sizeof *sums;
    memset(sums, 0, bytes);
    dither_relay_take(objective->relay, sums, bytes);
    for (int64_t j = objective->begin; j < objective->end; j++) {
        const double margin = objective->margin[j - objective->begin] = dither_row_dot(data, j, x);
        const double slope = dk_loss_slope(objective->loss, margin, objective->y[j]);
        for (int64_t k = data->row_start[j]; k < data->row_start[j + 1]; k++)
            dither_sum_add(&sums[data->column[k]], slope * data->value[k]);
    }
    dither_relay_pass(objective->relay, sums, bytes);
    for (int64_t c = 0; c < data->features; c++)
        gradient[c] = dither_sum_value(&sums[c]) / (double)data->rows + objective->l2 * x[c];
}

double dither_objective_value(const dither_objective *objective, const double *x)
{
    const dither_data *data = objective->data;
    dither_sum loss = {0}, square = {0};
    dither_relay_take(objective->relay, &loss, sizeof loss);
    if (objective->outputs > 1) dither_outputs_value(objective, &loss);
    for (int64_t j = objective->begin; objective->outputs == 1 && j < objective->end; j++)
        dither_sum_add(&loss, dk_loss_value(objective->loss, objective->margin[j - objective->begin], objective->y[j]));
    dither_relay_pass(objective->relay, &loss, sizeof loss);
    for (int64_t c = 0; c < objective->d; c++) dither_sum_add(&square, x[c] * x[c]);
    return dither_sum_value(&loss) / (double)data->rows + 0.5 * objective->l2 * dither_sum_value(&square);
}

double dither_objective_bregman(const dither_objective *objective, const double *delta)
{
    const dither_data *data = objective->data;
    dither_sum total = {0};
    dither_relay_take(objective->relay, &total, sizeof total);
    if (objective->outputs > 1) dither_outputs_bregman(objective, delta, &total);
    for (int64_t j = objective->begin; objective->outputs == 1 && j < objective->end; j++)
        dither_sum_add(&total, dk_loss_bregman(objective->loss, objective->margin[j - objective->begin],
                                               dither_row_dot(data, j, delta), objective->y[j]));
    dither_relay_pass(objective->relay, &total, sizeof total);
    return dither_sum_value(&total) / (double)data->rows +
           0.5 * objective->l2 * dither_dot(delta, delta, objective->d);
}

int dither_objective_separated(const dither_objective *objective)
{
    int separated = 1;
    dither_relay_take(objective->relay, &separated, sizeof separated);
    if (objective->outputs > 1) separated = separated && dither_outputs_separated(objective);
    for (int64_t j = objective->begin; objective->outputs == 1 && separated && j < objective->end; j++)
        separated = objective->y[j] * objective->margin[j - objective->begin] > 0;
    dither_relay_pass(objective->relay, &separated, sizeof separated);
    return separated;
}
