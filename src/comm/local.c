/* One rank alone, with nobody to exchange anything with. */
#include "comm.h"

#include <stdlib.h>
#include <string.h>

/* Of one rank, nothing; of one that only pretends to have others, their parts are its own. */
static dither_status allgather(dither_comm *comm, void *data, const size_t *bytes, dither_error *error)
{
    char *to = data;
    (void)error;
    for (int r = 0; r < comm->ranks; to += bytes[r++])
        if (r) memcpy(to, data, bytes[r] < bytes[0] ? bytes[r] : bytes[0]);
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

static dither_status open_alone(const char *name, int ranks, dither_comm **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_comm *comm = NULL;
    TRY_ALLOC(comm, 1);
    *comm = (dither_comm){.name = name, .ranks = ranks, .neighbours = 1,
                          .allgather = allgather, .alltoall = alltoall, .broadcast = broadcast, .allreduce = allreduce, .close = close_comm};
    TRY_ALLOC(comm->words, ranks);
    *out = comm;
    return DITHER_OK;
out:
    free(comm);
    return status;
}

dither_status dither_comm_local(dither_comm **out, dither_error *error) { return open_alone("local", 1, out, error); }

dither_status dither_comm_null(int ranks, dither_comm **out, dither_error *error) { return open_alone("none", ranks, out, error); }
