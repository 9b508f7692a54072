/* Every message to every rank, where all are decoded in the order of the workers. */
#include "aggregate/aggregate.h"

static const char *missing(const dither_plan *p) { return (void)p, NULL; }

/* In a ring every message passes through every rank but those that have it. */
static double link_bytes(const dither_plan *p, int ranks)
{
    dk_layout layout;
    dk_layout_make(&layout, &p->codec, p->features, p->block, p->single ? 4 : 8);
    return (p->workers - p->workers / ranks) * 4.0 * (double)layout.message_words;
}

static size_t staging_bytes(const dither_aggregate *a, const dither_rank *rank)
{
    return (void)a, (size_t)rank->k.workers * (size_t)rank->k.layout.message_words * 4;
}

static dither_status exchange(dither_aggregate *a, const dither_rank *rank, const dk_round *round, int gradient,
                              dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_device *v = &rank->device;
    const dk_rank *k = &rank->k;
    TRY_DEVICE(rank, v->work(v->context, k, round, gradient | DK_ENCODE), "encoding");
    a->worker_bytes += 4 * (double)k->layout.message_words, a->worker_bits += (double)k->layout.bits;
    TRY(dither_aggregate_gather(a, rank, k->messages, a->bytes, "messages", error));
out:
    return status;
}

const dither_aggregate_kind dither_aggregate_allgather = {
    .name = "allgather",
    .summary = "every message to every rank, decoded there in the order of the workers",
    .source = "",
    .exact = 1,
    .missing = missing,
    .link_bytes = link_bytes,
    .staging_bytes = staging_bytes,
    .exchange = exchange,
};
