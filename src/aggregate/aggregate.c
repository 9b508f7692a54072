#include "aggregate.h"

#include <stdlib.h>

dither_status dither_aggregate_open(dither_aggregate *out, dither_comm *comm, const dither_plan *p,
                                    const dither_rank *rank, dither_error *error)
{
    dither_status status = DITHER_OK;
    const size_t message = (size_t)rank->k.layout.message_words * 4;
    *out = (dither_aggregate){.comm = comm};
    TRY_ALLOC(out->bytes, comm->ranks);
    for (int r = 0; r < comm->ranks; r++)
        out->bytes[r] = message * (size_t)(dither_plan_rank_worker(p, comm->ranks, r + 1) -
                                           dither_plan_rank_worker(p, comm->ranks, r));
    const size_t gathered = (size_t)p->workers * message, scales = (size_t)rank->k.layout.blocks * 4;
    const size_t sums = (size_t)p->lanes.words * (size_t)p->lanes.word_bytes, reduced = sums > scales ? sums : scales;
    const size_t bytes = p->aggregate == DITHER_ALLGATHER ? gathered : reduced;
    if (comm->ranks > 1 && !rank->on_host)
        if (!(out->staging = dither_calloc(bytes, 1))) FAIL(DITHER_INTERNAL, "out of memory");
out:
    return status;
}

dither_status dither_aggregate_gather(dither_aggregate *a, const dither_rank *rank, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_rank *k = &rank->k;
    const dk_device *v = &rank->device;
    const size_t message = (size_t)k->layout.message_words * 4, mine = a->bytes[a->comm->rank];
    a->worker_bytes += (double)message, a->worker_bits += (double)k->layout.bits;
    if (a->comm->ranks == 1) return DITHER_OK;
    char *all = a->staging ? a->staging : (void *)k->messages, *own = all + (size_t)k->first * message;
    if (a->staging)
        TRY_DEVICE(rank, v->download(v->context, own, (char *)k->messages + (size_t)k->first * message, mine), "messages");
    TRY(a->comm->allgather(a->comm, all, a->bytes, error));
    if (a->staging)
        TRY_DEVICE(rank, v->upload(v->context, k->messages, all, message * (size_t)k->workers), "messages");
    a->comm->sent += mine;
    a->comm->received += message * (size_t)k->workers - mine;
out:
    return status;
}

/* One exact reduction of an array of the device, counted. */
static dither_status reduce(dither_aggregate *a, const dither_rank *rank, void *data, int64_t count, size_t each,
                            int reduction, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_device *v = &rank->device;
    const size_t bytes = (size_t)count * each;
    a->worker_bytes += (double)bytes, a->worker_bits += 8 * (double)bytes;
    if (a->comm->ranks == 1) return DITHER_OK;
    if (a->staging) TRY_DEVICE(rank, v->download(v->context, a->staging, data, bytes), "sums");
    TRY(a->comm->allreduce(a->comm, a->staging ? a->staging : data, (size_t)count, reduction, error));
    if (a->staging) TRY_DEVICE(rank, v->upload(v->context, data, a->staging, bytes), "sums");
    a->comm->sent += bytes;
    a->comm->received += bytes;
out:
    return status;
}

dither_status dither_aggregate_scales(dither_aggregate *a, const dither_rank *rank, dither_error *error)
{
    return reduce(a, rank, rank->k.shared, rank->k.layout.blocks, 4, DITHER_MAX_U32, error);
}

dither_status dither_aggregate_sum(dither_aggregate *a, const dither_rank *rank, dither_error *error)
{
    const dk_digits *l = &rank->k.lanes;
    return reduce(a, rank, rank->k.lane_words, l->words, (size_t)l->word_bytes,
                  l->word_bytes == 4 ? DITHER_SUM_U32 : DITHER_SUM_U64, error);
}

void dither_aggregate_close(dither_aggregate *a)
{
    free(a->bytes), free(a->staging);
    *a = (dither_aggregate){0};
}
