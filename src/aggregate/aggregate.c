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
    if (comm->ranks > 1 && !rank->on_host)
        if (!(out->staging = dither_calloc((size_t)p->workers, message))) FAIL(DITHER_INTERNAL, "out of memory");
out:
    return status;
}

dither_status dither_aggregate_gather(dither_aggregate *a, const dither_rank *rank, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dk_rank *k = &rank->k;
    const dk_device *v = &rank->device;
    const size_t message = (size_t)k->layout.message_words * 4, mine = a->bytes[a->comm->rank];
    a->worker_bytes += (double)message;
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

void dither_aggregate_close(dither_aggregate *a)
{
    free(a->bytes), free(a->staging);
    *a = (dither_aggregate){0};
}
