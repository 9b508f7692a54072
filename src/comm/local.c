#include "comm.h"

#include <stdlib.h>

static dither_status allgather(dither_comm *comm, void *data, const size_t *bytes, dither_error *error)
{
    (void)comm, (void)data, (void)bytes, (void)error;
    return DITHER_OK;
}

static dither_status alltoall(dither_comm *comm, const void *send, const size_t *send_at, const size_t *send_bytes,
                              void *receive, const size_t *receive_at, const size_t *receive_bytes, dither_error *error)
{
    (void)comm, (void)send, (void)send_at, (void)send_bytes, (void)receive, (void)receive_at, (void)receive_bytes, (void)error;
    return DITHER_OK;
}

static dither_status broadcast(dither_comm *comm, void *data, size_t bytes, int root, dither_error *error)
{
    (void)comm, (void)data, (void)bytes, (void)root, (void)error;
    return DITHER_OK;
}

static dither_status allreduce(dither_comm *comm, void *data, size_t count, int reduction, dither_error *error)
{
    (void)comm, (void)data, (void)count, (void)reduction, (void)error;
    return DITHER_OK;
}

static void close_comm(dither_comm *comm, dither_status unknown) { (void)comm, (void)unknown; }

dither_status dither_comm_local(dither_comm **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_comm *comm = NULL;
    TRY_ALLOC(comm, 1);
    *comm = (dither_comm){.name = "local", .ranks = 1, .neighbours = 1,
                          .allgather = allgather, .alltoall = alltoall, .broadcast = broadcast, .allreduce = allreduce, .close = close_comm};
    TRY_ALLOC(comm->words, 1);
    *out = comm;
    return DITHER_OK;
out:
    free(comm);
    return status;
}
