#include "problem.h"

#include <stdlib.h>
#include <string.h>
#include "losses.h"

static const char *const loss_names[] = {DITHER_MODEL_SHOWN};

#define X(name) {name##_SUMMARY, name##_CLASSES},
static const struct {
    const char *summary;
    int classes;
} losses[] = {DITHER_MODELS(X)};
#undef X

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
                                  double label_values[2], int *classes, dither_error *error)
{
    dither_status status = DITHER_OK;
    double *y = NULL;
    const int loss = dither_loss_find(options->loss);
    TRY_ALLOC(y, data->rows);
    *classes = losses[loss].classes;
    if (*classes)
        TRY(dither_labels_map(data, options->labels, y, label_values, error));
    else
        memcpy(y, data->label, (size_t)data->rows * sizeof *y);
    *out = (dither_problem){.data = data, .y = y, .loss = loss};
    out->threads = options->threads_set ? (int)options->threads : 0;
    out->l2 = options->l2_set ? options->l2 : 1.0 / (double)data->rows;
    out->nonconvex = options->nonconvex;
    TRY(dither_parse_prox(options->prox, &out->prox, &out->prox_a, &out->prox_b, error));
    return DITHER_OK;
out:
    free(y);
    out->y = NULL;
    return status;
}

void dither_problem_free(dither_problem *problem)
{
    if (problem) free((void *)problem->y);
}

dither_status dither_optimum_find(const dither_data *data, const dither_options *options, dither_optimum **out,
                                  dither_error *error)
{
    dither_problem problem = {0};
    double label_values[2];
    int classes;
    *out = NULL;
    dither_status status = dither_problem_make(data, options, &problem, label_values, &classes, error);
    if (status == DITHER_OK) status = dither_solve(&problem, !options->no_cache, out, error);
    dither_problem_free(&problem);
    return status;
}
