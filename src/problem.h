/* Options and data -> the optimisation problem. */
#ifndef DITHER_PROBLEM_H
#define DITHER_PROBLEM_H

#include "options.h"
#include "solve/solve.h"

/* problem->y is owned; label_values are what -1 and +1 stand for (unset for regression: *classes is 0). */
dither_status dither_problem_make(const dither_data *data, const dither_options *options, dither_problem *out,
                                  double label_values[2], int *classes, dither_error *error);
void dither_problem_free(dither_problem *problem);

size_t dither_loss_count(void);
const char *dither_loss_name(int loss);    /* as on the command line: "least-squares" */
const char *dither_loss_summary(int loss);
int dither_loss_find(const char *name);    /* -1 if unknown */
int dither_loss_classes(int loss);

#endif
