/* Messages between GPUs by NCCL: device memory is handed over, in the order of the device's stream, and no call waits
 * for the device. Words that the host needs go over the communicator beside it. */
#ifndef DITHER_NCCL_H
#define DITHER_NCCL_H

#include "comm.h"
#include "kernels.h"

enum { DITHER_NCCL_ID_BYTES = 128, DITHER_NCCL_DONE = 0, DITHER_NCCL_IN_PROGRESS = -1 };

/* What is used of NCCL, as a table: the library's own (nccl_calls.c), or a test's. Functions return DITHER_NCCL_DONE,
 * DITHER_NCCL_IN_PROGRESS, or a code that `explain` puts into words; none blocks. `data` is the device's. */
typedef struct dither_nccl_calls {
    int (*unique_id)(void *id); /* DITHER_NCCL_ID_BYTES, of rank 0 */
    int (*init)(void **comm, int ranks, const void *id, int rank);
    int (*state)(void *comm);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*allgather)(void *comm, const void *from, void *to, size_t bytes, void *stream); /* bytes: of a rank */
    int (*broadcast)(void *comm, void *data, size_t bytes, int root, void *stream);
    int (*allreduce)(void *comm, void *data, size_t count, int reduction, void *stream); /* DITHER_MAX_U32, ... */
    /* to or from one rank, in a group with the other side's */
    int (*send)(void *comm, const void *data, size_t bytes, int to, void *stream);
    int (*receive)(void *comm, void *data, size_t bytes, int from, void *stream);
    int (*finalize)(void *comm);
    int (*destroy)(void *comm);
    int (*abort)(void *comm);
    const char *(*explain)(int code);
    const char *(*detail)(void *comm); /* more of the last failure; "" for none. comm may be NULL */
} dither_nccl_calls;

/* NCCL itself, loaded when first asked for; NULL and *why, a sentence in static storage, when it is not there. */
const dither_nccl_calls *dither_nccl_library(const char **why);

/* Collective. `host`, which outlives it, is the ranks' communicator for words, and gives the time limit; `device` is
 * this rank's. Then sums, gathers, exchanges and broadcasts are of the device's memory, queued on its stream. */
dither_status dither_comm_nccl(const dither_nccl_calls *calls, dither_comm *host, const dk_device *device,
                               dither_comm **out, dither_error *error);

#endif
