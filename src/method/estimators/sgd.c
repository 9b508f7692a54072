#include "method/estimator.h"

const dither_estimator dither_estimator_sgd = {
    .name = "sgd",
    .summary = "the gradient of a drawn batch",
    .source = "Robbins and Monro, 1951",
    .options = "",
};
