#include "aggregate/aggregate.h"

const dither_aggregate_kind dither_aggregate_bf16 = {
    .name = "bf16",
    .summary = "bfloat16 gradients, summed by the communicator, every partial sum rounded: a baseline, not bit-reproducible",
    .source = "",
    .plain = 16,
    .reduction = DITHER_SUM_BF16,
    .wire = "bf16",
    .missing = dither_plain_missing,
    .link_bytes = dither_plain_link_bytes,
    .staging_bytes = dither_plain_staging_bytes,
    .exchange = dither_plain_exchange,
};
