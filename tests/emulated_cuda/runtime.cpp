// Devices, memory, streams and events. A stream's work is done when something waits for it, by the thread that waits.
#include "emulation.h"

#include <csignal>
#include <fcntl.h>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <sys/mman.h>
#include <thread>
#include <time.h>
#include <unistd.h>
#include <vector>

#ifdef EMULATED_ASAN
#include <sanitizer/asan_interface.h>
#endif

using emulated::operation;

struct emulated_stream {
    int device = 0;
    bool held = false;
    std::deque<operation> queue;
    enum { OPEN, RECORDING, SPOILED } capture = OPEN; // SPOILED: by what can't be recorded
    std::thread::id recorder;
    std::vector<operation> recorded;
    std::vector<std::shared_ptr<void>> users; // of what was recorded
};

struct emulated_graph {
    std::vector<operation> work;
    std::vector<std::shared_ptr<void>> users;
};
struct emulated_graph_exec {
    int device;
    std::vector<operation> work;
    std::vector<std::shared_ptr<void>> users;
};

struct moment {
    bool done = false;
    timespec time = {};
};

struct emulated_event {
    cudaStream_t stream = nullptr; // that it was last recorded in
    std::shared_ptr<moment> last;
};

namespace {

std::recursive_mutex lock; // over everything; kernels run under it, one at a time
thread_local int device_here;
thread_local cudaError_t last_error;

cudaError_t fail(cudaError_t error)
{
    last_error = error;
    return error;
}

int devices()
{
    static const char *const text = getenv("EMULATED_CUDA_GPUS");
    return text ? atoi(text) : 4;
}

// ---- memory: one range of addresses, which only kernels and copies can touch. It is never used twice, so that what was
// freed stays recognizable. ----

constexpr size_t RANGE = (size_t)64 << 30, ALIGN = 256, GUARD = 256;
constexpr int FRESH = 0xA5, GONE = 0x5A, BETWEEN = 0xC3;

struct piece {
    size_t bytes;
    int device;
    bool freed;
};

struct {
    char *begin = nullptr, *end = nullptr;
    char *low = nullptr; // what lies before it was freed, and stays closed
    std::map<char *, piece> pieces;
    bool open = false;
} memory;

#ifndef EMULATED_ASAN // which explains it itself
struct sigaction before;

void explain_fault(int number, siginfo_t *info, void *)
{
    const char *at = (const char *)info->si_addr;
    static const char text[] = "emulated CUDA: the host's code touches the GPU's memory\n";
    if (at >= memory.begin && at < memory.begin + RANGE && write(2, text, sizeof text - 1) < 0) _exit(1);
    sigaction(number, &before, nullptr);
}
#endif

void protect(bool open)
{
    if (memory.open == open || memory.end == memory.begin) return;
    char *const first = (char *)((uintptr_t)memory.low & ~(uintptr_t)4095);
    const size_t bytes = ((size_t)(memory.end - first) + 4095) & ~(size_t)4095;
    if (bytes && mprotect(first, bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE)) EMULATED_DIE("mprotect failed");
    memory.open = open;
}

void make_range()
{
    if (memory.begin) return;
    void *const p = mmap(nullptr, RANGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) EMULATED_DIE("no room for the GPUs' memory");
    memory.begin = memory.end = memory.low = (char *)p;
#ifndef EMULATED_ASAN
    struct sigaction action = {};
    action.sa_sigaction = explain_fault, action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before);
#endif
}

void forbid(char *begin, size_t bytes)
{
#ifdef EMULATED_ASAN
    ASAN_POISON_MEMORY_REGION(begin, bytes);
#else
    memset(begin, BETWEEN, bytes);
#endif
}

size_t room(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN + GUARD; }

// What lies between the pieces is as it was.
void check_guards(const char *after)
{
#ifdef EMULATED_ASAN
    (void)after;
#else
    for (auto at = memory.pieces.lower_bound(memory.low); at != memory.pieces.end(); ++at) {
        const auto &[begin, p] = *at;
        for (char *c = begin + p.bytes; c < begin + room(p.bytes); c++)
            if (*c != (char)BETWEEN)
                EMULATED_DIE("%s wrote beyond the end of the %zu bytes of GPU memory at %p", after, p.bytes, (void *)begin);
    }
#endif
}

// The piece that holds it; or end().
auto piece_of(const void *at)
{
    auto found = memory.pieces.upper_bound((char *)at);
    if (found == memory.pieces.begin()) return memory.pieces.end();
    --found;
    return (char *)at < found->first + found->second.bytes ? found : memory.pieces.end();
}

bool on_device(const void *at) { return memory.begin && (char *)at >= memory.begin && (char *)at < memory.begin + RANGE; }

// ---- streams ----

std::set<cudaStream_t> streams;
std::map<std::string, int64_t> launches;

bool is_stream(cudaStream_t s)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    return streams.count(s) > 0;
}

void note(const char *name)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    launches[name]++;
}

struct note_launches {
    ~note_launches()
    {
        const char *path = getenv("EMULATED_CUDA_LAUNCHES");
        std::string text;
        for (const auto &[name, count] : launches) text += name + " " + std::to_string(count) + "\n";
        const int file = path && !text.empty() ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;
        if (file >= 0 && write(file, text.data(), text.size()) != (ssize_t)text.size()) EMULATED_DIE("%s: can't be written", path);
        if (file >= 0) close(file);
    }
} note_launches_at_exit;

// What waits, or asks, has no place in a recording: neither of the stream it is about nor of this thread.
bool spoils(cudaStream_t about)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    bool any = false;
    for (cudaStream_t s : streams)
        if (s->capture && (s == about || s->recorder == std::this_thread::get_id())) s->capture = s->SPOILED, any = true;
    return any;
}

void wait_for(cudaStream_t s, const bool *until = nullptr)
{
    const timespec pause = {0, 20000};
    for (int turn = 0; !emulated::run(s, until); turn++) {
        if (turn == 3000000) EMULATED_DIE("a stream waits for another rank for ever");
        nanosleep(&pause, nullptr);
    }
}

} // namespace

int emulated::current_device() { return device_here; }
int emulated::device_of(cudaStream_t s) { return s->device; }

void emulated::open_memory()
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    protect(true);
}

void emulated::check_device_memory(const void *begin, size_t bytes, const char *what)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    const auto p = piece_of(begin);
    protect(true);
    if (p == memory.pieces.end()) EMULATED_DIE("%s: %p is no memory of a GPU", what, begin);
    if (p->second.freed) EMULATED_DIE("%s: %p is memory of a GPU that was freed", what, begin);
    if ((char *)begin + bytes > p->first + p->second.bytes)
        EMULATED_DIE("%s: %zu bytes from %p on are more than the %zu of that memory", what, bytes, begin, p->second.bytes);
}

void emulated::enqueue(cudaStream_t s, operation what)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (!is_stream(s)) EMULATED_DIE("a stream is used that does not exist, or no more");
    if (s->held) EMULATED_DIE("something is queued on a stream while a call of NCCL before it is in progress");
    if (s->capture) s->recorded.push_back(std::move(what));
    else s->queue.push_back(std::move(what));
}

void emulated::use(cudaStream_t s, std::shared_ptr<void> user)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (is_stream(s) && s->capture) s->users.push_back(std::move(user));
}

void emulated::hold(cudaStream_t s, bool held)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (is_stream(s)) s->held = held;
}

bool emulated::run(cudaStream_t s, const bool *until)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (!is_stream(s) || s->queue.empty()) return true;
    while (!s->queue.empty() && !(until && *until) && s->queue.front()()) s->queue.pop_front();
    protect(false);
    return s->queue.empty() || (until && *until);
}

void emulated::launch(const char *name, dim3 grid, dim3 threads, cudaStream_t s, shared memory_of_block,
                      std::function<void()> thread)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    const bool fits = grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7FFFFFFFu && grid.y <= 65535 && grid.z <= 65535 &&
                      threads.x >= 1 && threads.x <= 1024 && threads.y == 1 && threads.z == 1;
    if (!fits) return (void)fail(cudaErrorInvalidConfiguration);
    if (!is_stream(s) || s->device != device_here) return (void)fail(cudaErrorInvalidResourceHandle);
    launches[name]++;
    enqueue(s, [=] {
        protect(true);
        run_grid(name, grid, threads, memory_of_block, thread);
        check_guards(name);
        return true;
    });
}

// ---- the functions of cuda_runtime.h ----

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = devices();
    return *count > 0 ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= devices()) return fail(cudaErrorInvalidDevice);
    device_here = device;
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureWrongThread: return "attempt to terminate a thread-local capture sequence from another thread";
    }
    return "unrecognized error code";
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    make_range();
    *out = nullptr;
    if (spoils(nullptr)) return fail(cudaErrorStreamCaptureUnsupported);
    if (bytes == 0) return cudaSuccess;
    if (bytes > (size_t)8 << 30 || room(bytes) + 4096 > (size_t)(memory.begin + RANGE - memory.end)) return fail(cudaErrorMemoryAllocation);
    char *const begin = memory.end;
    protect(false);
    memory.end += room(bytes);
    protect(true);
    memset(begin, FRESH, bytes);
    forbid(begin + bytes, room(bytes) - bytes);
    protect(false);
    memory.pieces[begin] = {bytes, device_here, false};
    note("cudaMalloc");
    *out = begin;
    return cudaSuccess;
}

// Waits for the work of the GPU, as CUDA's does.
cudaError_t cudaFree(void *at)
{
    if (!at) return cudaSuccess;
    if (spoils(nullptr)) return fail(cudaErrorStreamCaptureUnsupported);
    std::unique_lock<std::recursive_mutex> locked(lock);
    const auto p = memory.pieces.find((char *)at);
    if (p == memory.pieces.end() || p->second.freed) return fail(cudaErrorInvalidValue);
    const std::set<cudaStream_t> all = streams;
    for (cudaStream_t s : all) {
        if (!is_stream(s) || s->device != p->second.device) continue;
        locked.unlock();
        wait_for(s);
        locked.lock();
    }
    protect(true);
    check_guards("something");
    if (p->second.bytes < 1 << 20) memset(p->first, GONE, p->second.bytes);
    else madvise((void *)(((uintptr_t)p->first + 4095) & ~(uintptr_t)4095), (p->second.bytes - 4096) & ~(size_t)4095, MADV_DONTNEED);
    p->second.freed = true;
#ifdef EMULATED_ASAN
    forbid(p->first, p->second.bytes);
#endif
    protect(false);
    for (auto q = memory.pieces.lower_bound(memory.low); q != memory.pieces.end() && q->second.freed; ++q)
        memory.low = std::next(q) == memory.pieces.end() ? memory.end : std::next(q)->first;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s)
{
    if (bytes == 0) return cudaSuccess;
    const bool into = kind != cudaMemcpyDeviceToHost, out_of = kind != cudaMemcpyHostToDevice;
    if (into != on_device(to) || out_of != on_device(from)) return fail(cudaErrorInvalidValue);
    emulated::enqueue(s, [=] {
        if (into) emulated::check_device_memory(to, bytes, "cudaMemcpyAsync, to");
        if (out_of) emulated::check_device_memory(from, bytes, "cudaMemcpyAsync, from");
        if ((const char *)from < (char *)to + bytes && (char *)to < (const char *)from + bytes)
            EMULATED_DIE("cudaMemcpyAsync: what is copied and where to overlap");
        memcpy(to, from, bytes);
        return true;
    });
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s)
{
    if (bytes == 0) return cudaSuccess;
    if (!on_device(to)) return fail(cudaErrorInvalidValue);
    emulated::enqueue(s, [=] {
        emulated::check_device_memory(to, bytes, "cudaMemsetAsync");
        memset(to, value, bytes);
        return true;
    });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (device_here >= devices()) return fail(cudaErrorNoDevice);
    if (flags > cudaStreamNonBlocking) return fail(cudaErrorInvalidValue);
    *out = new emulated_stream();
    (*out)->device = device_here;
    streams.insert(*out);
    return cudaSuccess;
}

// What is queued comes to its end, unless it waits for another rank.
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (!is_stream(s)) return fail(cudaErrorInvalidResourceHandle);
    emulated::run(s);
    streams.erase(s);
    delete s;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    if (!is_stream(s)) return fail(cudaErrorInvalidResourceHandle);
    if (spoils(s)) return fail(cudaErrorStreamCaptureUnsupported);
    note("cudaStreamSynchronize");
    wait_for(s);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t s)
{
    if (!is_stream(s)) return fail(cudaErrorInvalidResourceHandle);
    if (spoils(s)) return fail(cudaErrorStreamCaptureUnsupported);
    if (!emulated::run(s)) return cudaErrorNotReady;
    note("cudaStreamQuery");
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (!is_stream(s)) return fail(cudaErrorInvalidResourceHandle);
    if (s->capture) return fail(cudaErrorStreamCaptureUnsupported);
    if (s->held) EMULATED_DIE("a recording begins while a call of NCCL is in progress");
    s->capture = s->RECORDING, s->recorder = std::this_thread::get_id();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    *out = nullptr;
    if (!is_stream(s) || !s->capture) return fail(cudaErrorInvalidValue);
    if (s->recorder != std::this_thread::get_id()) return fail(cudaErrorStreamCaptureWrongThread);
    const bool spoiled = s->capture == s->SPOILED || s->held;
    if (!spoiled) *out = new emulated_graph{std::move(s->recorded), std::move(s->users)};
    s->recorded.clear(), s->users.clear();
    s->capture = s->OPEN;
    return spoiled ? fail(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new emulated_graph_exec{device_here, graph->work, graph->users};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t s)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (!is_stream(s) || s->device != graph->device) return fail(cudaErrorInvalidResourceHandle);
    for (const operation &o : graph->work) emulated::enqueue(s, o);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    *out = new emulated_event();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s)
{
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (!is_stream(s)) return fail(cudaErrorInvalidResourceHandle);
    if (s->capture) EMULATED_DIE("an event in a recording is not known here");
    const std::shared_ptr<moment> m = std::make_shared<moment>();
    event->stream = s, event->last = m;
    emulated::enqueue(s, [m] {
        m->done = true;
        clock_gettime(CLOCK_MONOTONIC, &m->time);
        return true;
    });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (spoils(event->stream)) return fail(cudaErrorStreamCaptureUnsupported);
    note("cudaEventSynchronize");
    if (event->stream) wait_for(event->stream, &event->last->done);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    if (spoils(event->stream)) return fail(cudaErrorStreamCaptureUnsupported);
    if (event->stream && !emulated::run(event->stream, &event->last->done)) return cudaErrorNotReady;
    note("cudaEventQuery");
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    if (!from->stream || !to->stream) return fail(cudaErrorInvalidResourceHandle);
    if (!from->last->done || !to->last->done) return fail(cudaErrorNotReady);
    const timespec &a = from->last->time, &b = to->last->time;
    *milliseconds = (float)(1e3 * (double)(b.tv_sec - a.tv_sec) + 1e-6 * (double)(b.tv_nsec - a.tv_nsec));
    return cudaSuccess;
}
