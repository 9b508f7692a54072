#include "aggregate/aggregate.h"

const dither_aggregate_kind dither_aggregate_fp32 = {
    .name = "fp32",
    .summary = "float32 gradients, summed by the communicator in an order of its own: a baseline, not bit-reproducible",
    .source = "",
    .plain = 32,
    .reduction = DITHER_SUM_F32,
    .wire = "fp32",
    .missing = dither_plain_missing,
    .link_bytes = dither_plain_link_bytes,
    .staging_bytes = dither_plain_staging_bytes,
    .exchange = dither_plain_exchange,
};
