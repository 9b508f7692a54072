/* Options and data -> the optimisation problem. */
#ifndef DITHER_PROBLEM_H
#define DITHER_PROBLEM_H

#include "options.h"
#include "solve/solve.h"

/* y and label_values are owned. */
dither_status dither_problem_make(const dither_data *data, const dither_options *options, dither_problem *out,
                                  dither_error *error);
void dither_problem_free(dither_problem *problem);

size_t dither_loss_count(void);
const char *dither_loss_name(int loss);    /* as on the command line: "least-squares" */
const char *dither_loss_summary(int loss);
int dither_loss_find(const char *name);    /* -1 if unknown */
enum { DITHER_CLASSES_ANY = -1 };
int dither_loss_classes(int loss); /* 0: labels are numbers; 2: two values; DITHER_CLASSES_ANY: one for each class */

#endif
