/* The communicator: who moves bytes between ranks. Every byte that a worker's message takes is counted here, where
 * it is handed over. */
#ifndef DITHER_COMM_H
#define DITHER_COMM_H

#include "error.h"
#include "kernels.h"

typedef struct dither_comm dither_comm;
struct dither_comm {
    const char *name;
    int rank, ranks;
    uint64_t bytes_handed; /* by this rank's workers, all messages so far */
    /* Make all workers' messages known to this rank: its own workers' are in place in rank->messages. */
    dither_status (*allgather)(dither_comm *comm, const dk_rank *rank, dither_error *error);
    void (*close)(dither_comm *comm);
};

/* One rank that hosts all workers: the messages are where they have to be. */
void dither_comm_local(dither_comm *out);

#endif
