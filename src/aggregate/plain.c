/* Sums of floats that are left to the communicator: what training without compression does. */
#include "aggregate.h"

const char *dither_plain_missing(const dither_plan *p)
{
    return p->codec.kind == DK_CODEC_identity ? NULL : "--codec identity: it sums the gradients themselves";
}

/* A ring sends every element twice, but for the part that a rank owns. */
double dither_plain_link_bytes(const dither_plan *p, int ranks)
{
    return 2.0 * (ranks - 1) / ranks * (double)p->d * (p->aggregate->plain / 8);
}

size_t dither_plain_staging_bytes(const dither_aggregate *a, const dither_rank *rank)
{
    return (size_t)rank->k.d * (size_t)(a->kind->plain / 8);
}

dither_status dither_plain_exchange(dither_aggregate *a, const dither_rank *rank, const dk_round *round, int gradient,
                                    dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_device *v = &rank->device;
    const dk_rank *k = &rank->k;
    TRY_DEVICE(rank, v->work(v->context, k, round, gradient | DK_ENCODE), "gradients");
    TRY(dither_aggregate_reduce(a, rank, k->plain, k->d, (size_t)(k->plain_bits / 8), a->kind->reduction, "sums", error));
out:
    return status;
}
