/* NCCL as the table of nccl.h. The library is loaded when it is asked for, so that a program built with it runs where it
 * is not. */
#include <dlfcn.h>
#include <nccl.h>
#include <stdio.h>
#include <string.h>

#include "comm/nccl.h"

_Static_assert(sizeof(ncclUniqueId) == DITHER_NCCL_ID_BYTES, "the size of NCCL's identifier has changed");

static struct {
    __typeof__(ncclGetUniqueId) *get_unique_id;
    __typeof__(ncclCommInitRankConfig) *init;
    __typeof__(ncclCommGetAsyncError) *state;
    __typeof__(ncclGroupStart) *group_start;
    __typeof__(ncclGroupEnd) *group_end;
    __typeof__(ncclAllGather) *allgather;
    __typeof__(ncclBroadcast) *broadcast;
    __typeof__(ncclAllReduce) *allreduce;
    __typeof__(ncclSend) *send;
    __typeof__(ncclRecv) *receive;
    __typeof__(ncclCommFinalize) *finalize;
    __typeof__(ncclCommDestroy) *destroy;
    __typeof__(ncclCommAbort) *abort;
    __typeof__(ncclGetErrorString) *explain;
    __typeof__(ncclGetLastError) *detail;
} nccl;

static int code_of(ncclResult_t result)
{
    if (result == ncclInProgress) return DITHER_NCCL_IN_PROGRESS;
    return result == ncclSuccess ? DITHER_NCCL_DONE : (int)result;
}

static int unique_id(void *id) { return code_of(nccl.get_unique_id(id)); }

static int init(void **comm, int ranks, const void *id, int rank)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId unique;
    config.blocking = 0;
    memcpy(&unique, id, sizeof unique);
    return code_of(nccl.init((ncclComm_t *)comm, ranks, unique, rank, &config));
}

/* The state of the communicator; or why it can't be told. */
static int state(void *comm)
{
    ncclResult_t is = ncclSuccess;
    const ncclResult_t asked = nccl.state(comm, &is);
    return code_of(asked == ncclSuccess ? is : asked);
}

static int group_start(void) { return code_of(nccl.group_start()); }
static int group_end(void) { return code_of(nccl.group_end()); }

static int allgather(void *comm, const void *from, void *to, size_t bytes, void *stream)
{
    return code_of(nccl.allgather(from, to, bytes, ncclUint8, comm, stream));
}

static int broadcast(void *comm, void *data, size_t bytes, int root, void *stream)
{
    return code_of(nccl.broadcast(data, data, bytes, ncclUint8, root, comm, stream));
}

static int allreduce(void *comm, void *data, size_t count, int reduction, void *stream)
{
    static const struct {
        ncclDataType_t type;
        ncclRedOp_t how;
    } as[] = {[DITHER_MAX_U32] = {ncclUint32, ncclMax}, [DITHER_SUM_U32] = {ncclUint32, ncclSum},
              [DITHER_SUM_U64] = {ncclUint64, ncclSum}, [DITHER_SUM_F32] = {ncclFloat32, ncclSum},
              [DITHER_SUM_BF16] = {ncclBfloat16, ncclSum}};
    return code_of(nccl.allreduce(data, data, count, as[reduction].type, as[reduction].how, comm, stream));
}

static int send(void *comm, const void *data, size_t bytes, int to, void *stream)
{
    return code_of(nccl.send(data, bytes, ncclUint8, to, comm, stream));
}

static int receive(void *comm, void *data, size_t bytes, int from, void *stream)
{
    return code_of(nccl.receive(data, bytes, ncclUint8, from, comm, stream));
}

static int finalize(void *comm) { return code_of(nccl.finalize(comm)); }
static int destroy(void *comm) { return code_of(nccl.destroy(comm)); }
static int abort_comm(void *comm) { return code_of(nccl.abort(comm)); }
static const char *explain(int code) { return nccl.explain((ncclResult_t)code); }

static const char *detail(void *comm)
{
    const char *text = nccl.detail(comm);
    return text ? text : "";
}

static const dither_nccl_calls calls = {
    unique_id, init, state, group_start, group_end, allgather, broadcast, allreduce, send, receive, finalize, destroy, abort_comm, explain,
    detail};

/* Loaded once and never unloaded. Several threads may ask at once: they write the same. */
const dither_nccl_calls *dither_nccl_library(const char **why)
{
    static _Thread_local char lacks[128];
    void *const library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    const struct {
        void **to;
        const char *name;
    } wanted[] = {{(void **)&nccl.get_unique_id, "ncclGetUniqueId"}, {(void **)&nccl.init, "ncclCommInitRankConfig"},
                  {(void **)&nccl.state, "ncclCommGetAsyncError"}, {(void **)&nccl.group_start, "ncclGroupStart"},
                  {(void **)&nccl.group_end, "ncclGroupEnd"}, {(void **)&nccl.allgather, "ncclAllGather"},
                  {(void **)&nccl.broadcast, "ncclBroadcast"}, {(void **)&nccl.allreduce, "ncclAllReduce"},
                  {(void **)&nccl.send, "ncclSend"}, {(void **)&nccl.receive, "ncclRecv"},
                  {(void **)&nccl.finalize, "ncclCommFinalize"}, {(void **)&nccl.destroy, "ncclCommDestroy"},
                  {(void **)&nccl.abort, "ncclCommAbort"}, {(void **)&nccl.explain, "ncclGetErrorString"},
                  {(void **)&nccl.detail, "ncclGetLastError"}};
    if (!library) return *why = "libnccl.so.2 is not found: install libnccl2, or set LD_LIBRARY_PATH to its folder", NULL;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        *wanted[i].to = dlsym(library, wanted[i].name);
        if (*wanted[i].to) continue;
        snprintf(lacks, sizeof lacks, "libnccl.so.2 has no %s: it is older than version 2.14, the first with what is needed", wanted[i].name);
        return *why = lacks, NULL;
    }
    return &calls;
}
