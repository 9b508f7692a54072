#include "comm.h"

static dither_status allgather(dither_comm *comm, const dk_rank *rank, dither_error *error)
{
    (void)error;
    if (!rank->layout.variable) /* else the device counts: dither_rank_sent */
        comm->bytes_handed += (uint64_t)rank->count * (uint64_t)rank->layout.message_words * 4;
    return DITHER_OK;
}

static void close_comm(dither_comm *comm) { (void)comm; }

void dither_comm_local(dither_comm *out)
{
    *out = (dither_comm){.name = "local", .ranks = 1, .allgather = allgather, .close = close_comm};
}
