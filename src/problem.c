#include "problem.h"

#include <stdlib.h>
#include <string.h>
#include "losses.h"

static const char *const loss_names[] = {DITHER_MODEL_SHOWN, DITHER_MULTI_MODEL_SHOWN};

#define X(name) {name##_SUMMARY, name##_CLASSES},
#define Y(name) {name##_SUMMARY, DITHER_CLASSES_ANY},
static const struct {
    const char *summary;
    int classes;
} losses[] = {DITHER_MODELS(X) DITHER_MULTI_MODELS(Y)};
#undef X
#undef Y

size_t dither_loss_count(void) { return DK_LOSS_COUNT; }
const char *dither_loss_name(int loss) { return loss_names[loss]; }
const char *dither_loss_summary(int loss) { return losses[loss].summary; }
int dither_loss_classes(int loss) { return losses[loss].classes; }

int dither_loss_find(const char *name)
{
    for (int i = 0; i < DK_LOSS_COUNT; i++)
        if (!strcmp(loss_names[i], name)) return i;
    return -1;
}

dither_status dither_problem_make(const dither_data *data, const dither_options *options, dither_problem *out,
                                  dither_error *error)
{
    dither_status status = DITHER_OK;
    double *y = NULL, *values = NULL;
    const int loss = dither_loss_find(options->loss);
    *out = (dither_problem){.data = data, .loss = loss, .outputs = 1, .labels = losses[loss].classes};
    TRY_ALLOC(y, data->rows);
    out->y = y;
    if (out->labels == DITHER_CLASSES_ANY) {
        TRY(dither_labels_number(data, options->labels, y, &values, &out->labels, error));
        out->outputs = out->labels;
    } else if (out->labels) {
        TRY_ALLOC(values, 2);
        TRY(dither_labels_map(data, options->labels, y, values, error));
    } else {
        memcpy(y, data->label, (size_t)data->rows * sizeof *y);
    }
    out->label_values = values, values = NULL;
    out->threads = options->threads_set ? (int)options->threads : 0;
    out->l2 = options->l2_set ? options->l2 : 1.0 / (double)data->rows;
    out->nonconvex = options->nonconvex;
    TRY(dither_parse_prox(options->prox, &out->prox, &out->prox_a, &out->prox_b, error));
out:
    free(values);
    if (status != DITHER_OK) dither_problem_free(out);
    return status;
}

void dither_problem_free(dither_problem *problem)
{
    if (!problem) return;
    free((void *)problem->y);
    free((void *)problem->label_values);
    problem->y = problem->label_values = NULL;
}

dither_status dither_optimum_find(const dither_data *data, const dither_options *options, dither_optimum **out,
                                  dither_error *error)
{
    dither_problem problem = {0};
    *out = NULL;
    dither_status status = dither_problem_make(data, options, &problem, error);
    if (status == DITHER_OK) status = dither_solve(&problem, !options->no_cache, out, error);
    dither_problem_free(&problem);
    return status;
}
