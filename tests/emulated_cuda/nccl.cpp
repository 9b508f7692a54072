// Ranks meet in a piece of shared memory, so that it does not matter whether they are threads or processes.
#include "emulation.h"
#include "nccl.h"

#include <algorithm>
#include <atomic>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <random>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

enum { RANKS = 8, ROOM = 16 << 20 }; // most ranks; bytes that one can bring to a call

struct call {
    enum { GATHER, BROADCAST, REDUCE, SEND, RECEIVE } kind;
    size_t count;
    int type, how; // how: the reduction, the root, or the other rank
    const void *from;
    void *to;
};

// A rank brings its data to call number n when all have taken what they want of call n - 1.
struct seat {
    std::atomic<int> joined;
    std::atomic<uint64_t> brought, taken;
    uint64_t place; // of its GPU
    call what;
};

// A message on its way from one rank to another: there is none when as many were taken as were put.
struct box {
    std::atomic<uint64_t> put, taken;
    size_t bytes;
};

struct room {
    seat seats[RANKS];
    box boxes[RANKS][RANKS]; // [from][to]
    alignas(4096) char data[RANKS][ROOM];
    char messages[RANKS][RANKS][ROOM];
};

size_t size_of(int type)
{
    switch (type) {
    case ncclUint8: return 1;
    case ncclBfloat16: return 2;
    case ncclUint64: return 8;
    default: return 4;
    }
}

float wide(uint16_t v)
{
    const uint32_t bits = (uint32_t)v << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
}

uint16_t narrow(float v) // to nearest, ties to even
{
    uint32_t bits;
    memcpy(&bits, &v, 4);
    if (v != v) return 0x7FFF;
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

template <class T, class F> void fold(void *to, const void *from, size_t count, F f)
{
    T *a = (T *)to;
    const T *b = (const T *)from;
    for (size_t i = 0; i < count; i++) a[i] = f(a[i], b[i]);
}

void combine(const call &c, void *to, const void *from)
{
    if (c.type == ncclUint32 && c.how == ncclMax) fold<uint32_t>(to, from, c.count, [](uint32_t a, uint32_t b) { return std::max(a, b); });
    else if (c.type == ncclUint32 && c.how == ncclSum) fold<uint32_t>(to, from, c.count, std::plus<uint32_t>());
    else if (c.type == ncclUint64 && c.how == ncclSum) fold<uint64_t>(to, from, c.count, std::plus<uint64_t>());
    else if (c.type == ncclFloat32 && c.how == ncclSum) fold<float>(to, from, c.count, std::plus<float>());
    else if (c.type == ncclBfloat16 && c.how == ncclSum)
        fold<uint16_t>(to, from, c.count, [](uint16_t a, uint16_t b) { return narrow(wide(a) + wide(b)); });
    else EMULATED_DIE("an all-reduce of type %d with operation %d is not known here", c.type, c.how);
}

// What outlives the handle: calls that are queued refer to it.
struct member {
    room *shared = nullptr;
    std::string name;
    int rank = 0, ranks = 0;
    uint64_t calls = 0; // collective ones that are done
    std::vector<int> stages; // of the calls of the group whose turn it is
    std::atomic<bool> aborted{false};
    std::atomic<int> in_graphs{0}; // its calls that were recorded, while there are the graphs

    ~member()
    {
        if (!shared) return;
        munmap(shared, sizeof *shared);
        shm_unlink(name.c_str()); // where it is still there
    }
};

bool all_have(const member &m, std::atomic<uint64_t> seat::*number, uint64_t least)
{
    for (int r = 0; r < m.ranks; r++)
        if ((m.shared->seats[r].*number).load() < least) return false;
    return true;
}

void check_same(const member &m)
{
    static const char *const names[] = {"all-gather", "broadcast", "all-reduce"};
    const call &a = m.shared->seats[m.rank].what;
    for (int r = 0; r < m.ranks; r++) {
        const call &b = m.shared->seats[r].what;
        if (a.kind != b.kind || a.count != b.count || a.type != b.type || a.how != b.how)
            EMULATED_DIE("NCCL: call %llu of rank %d is %s (count %zu, type %d, operation or root %d), of rank %d it is %s (count "
                         "%zu, type %d, operation or root %d)", (unsigned long long)m.calls + 1, m.rank, names[a.kind], a.count,
                         a.type, a.how, r, names[b.kind], b.count, b.type, b.how);
    }
}

void take(const member &m, const call &c, char *to)
{
    const size_t bytes = c.count * size_of(c.type);
    emulated::open_memory();
    if (c.kind == call::BROADCAST) memcpy(to, m.shared->data[c.how], bytes);
    for (int r = 0; r < m.ranks && c.kind == call::GATHER; r++) memcpy(to + (size_t)r * bytes, m.shared->data[r], bytes);
    for (int r = 0; r < m.ranks && c.kind == call::REDUCE; r++) {
        if (r == 0) memcpy(to, m.shared->data[0], bytes);
        else combine(c, to, m.shared->data[r]);
    }
}

// One try at a call, when its turn in the stream has come.
bool meet(member &m, const call &c)
{
    seat &mine = m.shared->seats[m.rank];
    const uint64_t number = m.calls + 1;
    const size_t bytes = c.count * size_of(c.type);
    if (mine.brought.load() < number) {
        if (!all_have(m, &seat::taken, m.calls)) return false;
        emulated::check_device_memory(c.from, bytes, "NCCL, from");
        emulated::check_device_memory(c.to, bytes * (c.kind == call::GATHER ? (size_t)m.ranks : 1), "NCCL, to");
        if (bytes > ROOM) EMULATED_DIE("NCCL: %zu bytes are more than the %d of this emulation", bytes, ROOM);
        memcpy(m.shared->data[m.rank], c.from, bytes);
        mine.what = c;
        mine.brought.store(number);
    }
    if (!all_have(m, &seat::brought, number)) return false;
    check_same(m);
    take(m, c, (char *)c.to);
    mine.taken.store(m.calls = number);
    return true;
}

// A message is sent when the other has taken it. stage: 1 when it was put.
bool send(member &m, const call &c, int &stage)
{
    box &b = m.shared->boxes[m.rank][c.how];
    const size_t bytes = c.count * size_of(c.type);
    if (stage == 0) {
        if (b.put.load() != b.taken.load()) return false;
        emulated::check_device_memory(c.from, bytes, "ncclSend");
        if (bytes > ROOM) EMULATED_DIE("NCCL: %zu bytes are more than the %d of this emulation", bytes, ROOM);
        memcpy(m.shared->messages[m.rank][c.how], c.from, bytes);
        b.bytes = bytes, b.put++, stage = 1;
    }
    return b.put.load() == b.taken.load();
}

bool receive(member &m, const call &c)
{
    box &b = m.shared->boxes[c.how][m.rank];
    const size_t bytes = c.count * size_of(c.type);
    if (b.put.load() == b.taken.load()) return false;
    if (b.bytes != bytes)
        EMULATED_DIE("NCCL: rank %d sends %zu bytes to rank %d, which receives %zu", c.how, b.bytes, m.rank, bytes);
    emulated::check_device_memory(c.to, bytes, "ncclRecv");
    memcpy(c.to, m.shared->messages[c.how][m.rank], bytes);
    b.taken++;
    return true;
}

// One try at the calls of a group: what goes between two ranks all at once, but messages of one pair in order.
bool advance_group(member &m, const std::vector<call> &group)
{
    enum { DONE = 2 };
    bool waits[call::RECEIVE + 1][RANKS] = {}, all = true;
    if (m.aborted) return true;
    m.stages.resize(group.size());
    for (size_t i = 0; i < group.size(); i++) {
        const call &c = group[i];
        bool &before = waits[c.kind < call::SEND ? 0 : c.kind][c.kind < call::SEND ? 0 : c.how];
        int &stage = m.stages[i];
        if (stage == DONE) continue;
        const bool done = !before && (c.kind == call::SEND ? send(m, c, stage) : c.kind == call::RECEIVE ? receive(m, c) : meet(m, c));
        if (done) stage = DONE;
        else all = false, before = true;
    }
    if (all) m.stages.clear();
    return all;
}

struct queued {
    ncclComm_t comm;
    cudaStream_t stream;
    std::vector<call> group;
};

thread_local int groups;
thread_local std::vector<queued> grouped; // one a communicator

} // namespace

struct emulated_communicator {
    std::shared_ptr<member> self;
    int device = 0, pending = 0;  // pending: times that it is still said to be in progress
    bool open = false, leaving = false;
    ncclResult_t failed = ncclSuccess;
    cudaStream_t stream = nullptr; // of the last call
    std::vector<call> calls;       // in progress
};

namespace {

// Calls that do not block reach the stream some time after they were made.
ncclResult_t begin()
{
    const std::vector<queued> calls = std::move(grouped);
    grouped.clear();
    for (const queued &q : calls) {
        emulated::hold(q.stream, true);
        q.comm->pending = 2, q.comm->stream = q.stream, q.comm->calls = q.group;
    }
    return calls.empty() ? ncclSuccess : ncclInProgress;
}

ncclResult_t add(const call &c, ncclComm_t comm, cudaStream_t stream)
{
    if (!comm->open || comm->leaving || comm->failed) return ncclInvalidUsage;
    if (c.kind >= call::SEND && (c.how < 0 || c.how >= comm->self->ranks)) return ncclInvalidArgument;
    if (comm->pending) EMULATED_DIE("NCCL: a call while the one before it is in progress");
    if (emulated::device_of(stream) != comm->device) EMULATED_DIE("NCCL: a stream of another GPU than the communicator's");
    auto q = std::find_if(grouped.begin(), grouped.end(), [=](const queued &g) { return g.comm == comm; });
    if (q == grouped.end()) q = grouped.insert(q, {comm, stream, {}});
    if (q->stream != stream) EMULATED_DIE("NCCL: several streams in one group are not known here");
    q->group.push_back(c);
    return groups ? ncclSuccess : begin();
}

// All have joined: two on one GPU is an error.
ncclResult_t look_around(const member &m)
{
    for (int a = 0; a < m.ranks; a++)
        for (int b = 0; b < a; b++)
            if (m.shared->seats[a].place == m.shared->seats[b].place) return ncclInvalidUsage;
    return ncclSuccess;
}

void advance(ncclComm_t comm)
{
    const member &m = *comm->self;
    if (!comm->open) {
        int joined = 0;
        for (int r = 0; r < m.ranks; r++) joined += m.shared->seats[r].joined.load();
        if (joined < m.ranks) return;
        comm->failed = look_around(m), comm->open = true;
        shm_unlink(m.name.c_str());
    }
    if (comm->pending && --comm->pending) return;
    if (!comm->calls.empty()) {
        const std::shared_ptr<member> self = comm->self;
        emulated::hold(comm->stream, false);
        self->in_graphs++;
        emulated::use(comm->stream, std::shared_ptr<void>(nullptr, [self](void *) { self->in_graphs--; }));
        emulated::enqueue(comm->stream, [self, group = std::move(comm->calls)] { return advance_group(*self, group); });
        comm->calls.clear();
    }
    if (comm->leaving && comm->stream && !emulated::run(comm->stream)) comm->pending = 1;
}

} // namespace

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    static std::atomic<int> made;
    snprintf(id->internal, sizeof id->internal, "/emulated-nccl-%d-%d-%08x", (int)getpid(), made++, std::random_device()());
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config)
{
    if (config->blocking) EMULATED_DIE("NCCL: communicators that block are not known here");
    if (ranks < 1 || rank < 0 || rank >= ranks) return ncclInvalidArgument;
    if (ranks > RANKS) EMULATED_DIE("NCCL: %d ranks are more than the %d of this emulation", ranks, RANKS);
    const std::shared_ptr<member> m = std::make_shared<member>();
    const int file = shm_open(id.internal, O_RDWR | O_CREAT, 0600);
    void *p = MAP_FAILED;
    if (file >= 0 && ftruncate(file, sizeof(room)) == 0)
        p = mmap(nullptr, sizeof(room), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    if (p == MAP_FAILED) return ncclSystemError;
    m->shared = (room *)p, m->name = id.internal, m->rank = rank, m->ranks = ranks;
    const char *host = getenv("NCCL_HOSTID");
    seat &mine = m->shared->seats[rank];
    mine.place = std::hash<std::string>()(std::string(host ? host : "") + "/" + std::to_string(emulated::current_device()));
    if (mine.joined.exchange(1)) EMULATED_DIE("NCCL: rank %d joins twice", rank);
    *out = new emulated_communicator();
    (*out)->self = m, (*out)->device = emulated::current_device();
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state)
{
    advance(comm);
    *state = comm->failed ? comm->failed : (!comm->open || comm->pending ? ncclInProgress : ncclSuccess);
    return ncclSuccess;
}

ncclResult_t ncclGroupStart()
{
    groups++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd()
{
    if (!groups) return ncclInvalidUsage;
    return --groups ? ncclSuccess : begin();
}

ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream)
{
    return add({call::GATHER, count, type, 0, from, to}, comm, stream);
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream)
{
    return add({call::BROADCAST, count, type, root, from, to}, comm, stream);
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t how, ncclComm_t comm,
                           cudaStream_t stream)
{
    return add({call::REDUCE, count, type, how, from, to}, comm, stream);
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int to, ncclComm_t comm, cudaStream_t stream)
{
    return add({call::SEND, count, type, to, from, nullptr}, comm, stream);
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int from, ncclComm_t comm, cudaStream_t stream)
{
    return add({call::RECEIVE, count, type, from, nullptr, to}, comm, stream);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    if (comm->leaving || !comm->open) return ncclInvalidUsage;
    comm->leaving = true, comm->pending = 2;
    return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    if (!comm->leaving || comm->pending) EMULATED_DIE("NCCL: a communicator is destroyed before it is finalized");
    if (comm->self.use_count() > 1) EMULATED_DIE("NCCL: a communicator is destroyed while a graph or a stream has its work");
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    if (comm->self->in_graphs) EMULATED_DIE("NCCL: a communicator is aborted while a graph has its work"); // NCCL waits for ever
    if (!comm->calls.empty()) emulated::hold(comm->stream, false);
    comm->self->aborted = true;
    delete comm;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclSuccess: return "no error";
    case ncclSystemError: return "unhandled system error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclInProgress: return "NCCL operation in progress";
    }
    return "unknown result code";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    return comm && comm->failed == ncclInvalidUsage ? "Duplicate GPU detected" : "";
}
