#include "nccl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct link {
    const dither_nccl_calls *calls;
    dither_comm *host;
    const dk_device *device;
    void *nccl, *stream;
    int mark;        /* that settle waits for; -1: for all */
    int device_code; /* with DEVICE_FAILED */
} link;

enum { DEVICE_FAILED = -2 }; /* beside NCCL's codes */

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* NCCL lets go of a communicator only when no graph is left that has its work. */
static void forget_graphs(const link *l)
{
    if (l->device->forget) l->device->forget(l->device->context);
}

/* This rank's failure, which the others don't know of. What hangs on the device ends with NCCL's kernels. */
static void give_up(dither_comm *comm)
{
    link *l = comm->context;
    forget_graphs(l);
    if (l->nccl) l->calls->abort(l->nccl);
    l->nccl = NULL;
    comm->alone = l->host->alone = 1;
}

static dither_status fail_call(dither_comm *comm, int code, const char *what, dither_error *error)
{
    link *l = comm->context;
    const int of_device = code == DEVICE_FAILED;
    const char *text = of_device ? l->device->explain(l->device->context, l->device_code) : l->calls->explain(code);
    const char *detail = of_device ? "" : l->calls->detail(l->nccl);
    dither_fail(error, DITHER_DEVICE, "NCCL, %s: %s%s%.200s", what, text, *detail ? "; " : "", detail);
    give_up(comm); /* after the words, which belong to the communicator */
    return DITHER_DEVICE;
}

/* Another rank has failed: what the host's communicator says of it. */
static dither_status fail_with_others(dither_comm *comm, dither_error *error)
{
    link *l = comm->context;
    give_up(comm);
    l->host->alone = 0;
    const dither_status status = dither_comm_gather_word(l->host, 0, error);
    l->host->alone = 1;
    return status != DITHER_OK ? status : dither_fail(error, DITHER_DEVICE, "another rank failed");
}

/* Waits until `pending` says that nothing is, checks meanwhile that NCCL and the other ranks are well, and, with a time
 * limit, that this comes to an end. */
static dither_status wait_for(dither_comm *comm, int (*pending)(link *), const char *what, dither_error *error)
{
    link *l = comm->context;
    const struct timespec pause = {.tv_nsec = 20000};
    double began = 0;
    for (int64_t turn = 0;; turn++) {
        const int code = pending(l);
        if (code == DITHER_NCCL_DONE) return DITHER_OK;
        if (code != DITHER_NCCL_IN_PROGRESS) return fail_call(comm, code, what, error);
        if (turn < 1000) continue; /* a few microseconds is what it mostly takes */
        if (began == 0) began = seconds_now();
        if (l->host->broken && l->host->broken(l->host)) return fail_with_others(comm, error);
        if (l->host->timeout > 0 && seconds_now() - began > l->host->timeout) {
            give_up(comm);
            return dither_fail(error, DITHER_DEVICE, "NCCL, %s: not done after %g s (--timeout)", what, l->host->timeout);
        }
        nanosleep(&pause, NULL);
    }
}

/* The last call is queued. */
static int queue_pending(link *l) { return l->calls->state(l->nccl); }

/* What settle waits for is done. */
static int work_pending(link *l)
{
    const int state = l->calls->state(l->nccl);
    if (state != DITHER_NCCL_DONE) return state;
    l->device_code = l->mark < 0 ? l->device->idle(l->device->context) : l->device->passed(l->device->context, l->mark);
    if (l->device_code == DK_BUSY) return DITHER_NCCL_IN_PROGRESS;
    return l->device_code ? DEVICE_FAILED : DITHER_NCCL_DONE;
}

static dither_status finish_call(dither_comm *comm, int code, const char *what, dither_error *error)
{
    if (code != DITHER_NCCL_DONE && code != DITHER_NCCL_IN_PROGRESS) return fail_call(comm, code, what, error);
    return code == DITHER_NCCL_DONE ? DITHER_OK : wait_for(comm, queue_pending, what, error);
}

static dither_status is_open(const dither_comm *comm, dither_error *error)
{
    const link *l = comm->context;
    return l->nccl ? DITHER_OK : dither_fail(error, DITHER_DEVICE, "NCCL: the communicator has failed before");
}

static int is_error(int code) { return code != DITHER_NCCL_DONE && code != DITHER_NCCL_IN_PROGRESS; }

/* The group is closed whatever happens in it; its first failure is what counts. */
static int close_group(const link *l, int failed)
{
    const int ended = l->calls->group_end();
    return failed ? failed : ended;
}

/* Parts of different lengths: one broadcast a rank, together. */
static int gather_parts(const dither_comm *comm, char *data, const size_t *bytes)
{
    const link *l = comm->context;
    int failed = 0;
    const int started = l->calls->group_start();
    if (is_error(started)) return started;
    for (int r = 0; r < comm->ranks; data += bytes[r++]) {
        if (!bytes[r] || failed) continue;
        const int code = l->calls->broadcast(l->nccl, data, bytes[r], r, l->stream);
        if (is_error(code)) failed = code;
    }
    return close_group(l, failed);
}

static dither_status allgather(dither_comm *comm, void *data, const size_t *bytes, dither_error *error)
{
    dither_status status = DITHER_OK;
    const link *l = comm->context;
    size_t total = bytes[0];
    int equal = 1;
    TRY(is_open(comm, error));
    for (int r = 1; r < comm->ranks; r++) equal = equal && bytes[r] == bytes[0], total += bytes[r];
    if (!total) return DITHER_OK;
    const int code = equal ? l->calls->allgather(l->nccl, (char *)data + (size_t)comm->rank * bytes[0], data, bytes[0], l->stream)
                           : gather_parts(comm, data, bytes);
    TRY(finish_call(comm, code, "all-gather", error));
out:
    return status;
}

static dither_status alltoall(dither_comm *comm, const void *send, const size_t *send_at, const size_t *send_bytes,
                              void *receive, const size_t *receive_at, const size_t *receive_bytes, dither_error *error)
{
    dither_status status = DITHER_OK;
    const link *l = comm->context;
    int failed = 0;
    TRY(is_open(comm, error));
    const int started = l->calls->group_start();
    if (is_error(started)) return fail_call(comm, started, "exchange", error);
    for (int r = 0; r < comm->ranks && !failed; r++) {
        int code = DITHER_NCCL_DONE;
        if (r == comm->rank) continue;
        if (send_bytes[r]) code = l->calls->send(l->nccl, (const char *)send + send_at[r], send_bytes[r], r, l->stream);
        if (!is_error(code) && receive_bytes[r])
            code = l->calls->receive(l->nccl, (char *)receive + receive_at[r], receive_bytes[r], r, l->stream);
        if (is_error(code)) failed = code;
    }
    TRY(finish_call(comm, close_group(l, failed), "exchange", error));
out:
    return status;
}

static dither_status broadcast(dither_comm *comm, void *data, size_t bytes, int root, dither_error *error)
{
    dither_status status = DITHER_OK;
    const link *l = comm->context;
    TRY(is_open(comm, error));
    if (bytes) TRY(finish_call(comm, l->calls->broadcast(l->nccl, data, bytes, root, l->stream), "broadcast", error));
out:
    return status;
}

static dither_status allreduce(dither_comm *comm, void *data, size_t count, int reduction, dither_error *error)
{
    dither_status status = DITHER_OK;
    const link *l = comm->context;
    TRY(is_open(comm, error));
    if (count) TRY(finish_call(comm, l->calls->allreduce(l->nccl, data, count, reduction, l->stream), "all-reduce", error));
out:
    return status;
}

static dither_status settle(dither_comm *comm, int mark, dither_error *error)
{
    dither_status status = DITHER_OK;
    ((link *)comm->context)->mark = mark;
    TRY(is_open(comm, error));
    TRY(wait_for(comm, work_pending, "waiting for the GPU", error));
out:
    return status;
}

static void close_link(dither_comm *comm, dither_status unknown)
{
    link *l = comm->context;
    forget_graphs(l);
    if (l->nccl && unknown == DITHER_OK && !l->host->alone) {
        const int code = l->calls->finalize(l->nccl);
        const dither_status status = finish_call(comm, code, "leaving", NULL);
        if (status == DITHER_OK && l->nccl) l->calls->destroy(l->nccl);
    } else if (l->nccl) {
        l->calls->abort(l->nccl);
    }
    free(l);
}

static dither_status join(dither_comm *comm, dither_error *error)
{
    dither_status status = DITHER_OK;
    link *l = comm->context;
    unsigned char id[DITHER_NCCL_ID_BYTES] = {0};
    int code = DITHER_NCCL_DONE;
    if (comm->rank == 0) code = l->calls->unique_id(id);
    /* all learn of it: nobody waits for an id that never comes */
    const dither_status made = code == DITHER_NCCL_DONE ? DITHER_OK
                               : dither_fail(error, DITHER_DEVICE, "NCCL, start: %s", l->calls->explain(code));
    TRY(dither_comm_agree(l->host, made, error));
    TRY(l->host->broadcast(l->host, id, sizeof id, 0, error));
    code = l->calls->init(&l->nccl, comm->ranks, id, comm->rank);
    if (is_error(code)) return fail_call(comm, code, "start", error);
    TRY(wait_for(comm, queue_pending, "start", error));
out:
    return status;
}

dither_status dither_comm_nccl(const dither_nccl_calls *calls, dither_comm *host, const dk_device *device,
                               dither_comm **out, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_comm *comm = NULL;
    link *l = NULL;
    TRY_ALLOC(l, 1);
    *l = (link){.calls = calls, .host = host, .device = device, .stream = device->stream(device->context)};
    TRY_ALLOC(comm, 1);
    *comm = (dither_comm){.name = "nccl", .rank = host->rank, .ranks = host->ranks, .neighbours = host->neighbours,
                          .neighbour = host->neighbour, .host = host, .context = l, .allgather = allgather,
                          .alltoall = alltoall, .broadcast = broadcast, .allreduce = allreduce, .settle = settle, .close = close_link};
    TRY_ALLOC(comm->words, host->ranks);
    /* a failure to join is known by all before anyone goes on: nobody is left alone with a communicator */
    TRY(dither_comm_agree(host, join(comm, error), error));
    *out = comm;
    return DITHER_OK;
out:
    if (comm) comm->alone = 1, dither_comm_free(comm, status);
    else free(l);
    return status;
}
