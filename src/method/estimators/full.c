#include "method/estimator.h"

const dither_estimator dither_estimator_full = {
    .name = "full",
    .summary = "the gradient of all the worker's rows",
    .source = "",
    .options = "",
    .full = 1,
};
