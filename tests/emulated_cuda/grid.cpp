// Blocks one after the other; the threads of a block as fibers, which change places where they meet.
#include "emulation.h"

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#ifdef EMULATED_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace {

using boost::context::fiber;
using emulated::site;

enum { MOST = 1024, WARP = 32, STACK = 256 << 10, HOST = MOST }; // HOST: the thread that runs the kernel

struct thread {
    fiber context;
    void *fake_stack = nullptr; // AddressSanitizer's
    const void *bottom = nullptr;
    size_t size = 0;
    enum { READY, AT_BARRIER, IN_WARP, EXITED } state = EXITED;
    site at = {};
    // in a warp
    unsigned mask = 0, other = 0;
    emulated::reduction how = emulated::EXCHANGE;
    uint64_t in = 0, out = 0;
};

struct state {
    thread of[MOST + 1];
    int made = 0; // fibers, which are used again and again
    const std::function<void()> *body = nullptr;
    const char *kernel = "";
    int count = 0, present = 0, waiting = 0; // of the block; not exited; at the barrier
    int any = 0, any_result = 0;             // of __syncthreads_or
    int order[MOST], place[MOST];            // who comes when, and the inverse
    uint64_t ready[MOST / 64];               // by place
    int current = HOST, previous = HOST;
};
state &block = *new state; // to the end of the program: fibers are not unwound

struct schedule {
    enum { FORWARD, BACKWARD, SHUFFLED } kind = FORWARD;
    std::mt19937 random;

    schedule()
    {
        const char *text = getenv("EMULATED_CUDA_ORDER");
        const std::string asked = text ? text : "forward";
        if (asked == "backward") kind = BACKWARD;
        else if (asked.rfind("shuffled:", 0) == 0) kind = SHUFFLED, random.seed((unsigned)atoi(text + 9));
        else if (asked != "forward") EMULATED_DIE("EMULATED_CUDA_ORDER=%s: use forward, backward or shuffled:SEED", text);
    }

    template <class T> void arrange(T *order, size_t count)
    {
        std::iota(order, order + count, T());
        if (kind == BACKWARD) std::reverse(order, order + count);
        if (kind == SHUFFLED) std::shuffle(order, order + count, random);
    }
} schedule;

[[noreturn]] void report_deadlock()
{
    static const char *const doing[] = {"is ready", "waits at __syncthreads", "waits for its warp", "has exited"};
    fprintf(stderr, "emulated CUDA: kernel %s, block (%u, %u, %u): its threads can't go on together\n", block.kernel, blockIdx.x,
            blockIdx.y, blockIdx.z);
    for (int i = 0, shown = 0; i < block.count && shown < 8; i++) {
        const thread &t = block.of[i], &before = block.of[i ? i - 1 : 0];
        if (i && t.state == before.state && t.at.number == before.at.number && t.mask == before.mask) continue;
        fprintf(stderr, "  thread %d and what follows like it: %s", i, doing[t.state]);
        if (t.state != thread::EXITED) fprintf(stderr, " at %s:%d (meeting point %d)", t.at.file, t.at.line, t.at.number);
        if (t.state == thread::IN_WARP) fprintf(stderr, ", mask %08x", t.mask);
        fputc('\n', stderr);
        shown++;
    }
    abort();
}

void arrive() // in the one that goes on
{
#ifdef EMULATED_ASAN
    thread &left = block.of[block.previous];
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(block.of[block.current].fake_stack, &bottom, &size);
    if (block.previous == HOST) left.bottom = bottom, left.size = size;
#endif
    threadIdx = {(unsigned)block.current, 0, 0};
}

void go_to(int to)
{
    if (to == block.current) return;
    const int self = block.current;
    block.previous = self, block.current = to;
#ifdef EMULATED_ASAN
    __sanitizer_start_switch_fiber(&block.of[self].fake_stack, block.of[to].bottom, block.of[to].size);
#endif
    fiber from = std::move(block.of[to].context).resume();
    block.of[block.previous].context = std::move(from);
    arrive();
}

void set_ready(int i)
{
    block.of[i].state = thread::READY;
    block.ready[block.place[i] / 64] |= (uint64_t)1 << block.place[i] % 64;
}

void set_waiting(int i, decltype(thread::state) state)
{
    block.of[i].state = state;
    block.ready[block.place[i] / 64] &= ~((uint64_t)1 << block.place[i] % 64);
}

// The next that is ready, in turn; -1: none.
int next_ready(int place)
{
    const int words = (block.count + 63) / 64;
    uint64_t some = block.ready[place / 64] & ~(uint64_t)0 << place % 64;
    for (int turn = 0, w = place / 64;; turn++) {
        if (some) return block.order[w * 64 + __builtin_ctzll(some)];
        if (turn == words) break;
        w = w + 1 < words ? w + 1 : 0;
        some = block.ready[w];
    }
    return -1;
}

void arrange_threads()
{
    schedule.arrange(block.order, (size_t)block.count);
    for (int i = 0; i < block.count; i++) block.place[block.order[i]] = i;
}

// All that are left stand at one barrier: they go on, in a new order.
void open_barrier()
{
    const site *at = nullptr;
    for (int i = 0; i < block.count; i++) {
        const thread &t = block.of[i];
        if (t.state == thread::EXITED) continue;
        if (t.state != thread::AT_BARRIER || (at && t.at.number != at->number)) report_deadlock();
        at = &t.at;
    }
    if (schedule.kind == schedule::SHUFFLED) arrange_threads();
    block.waiting = 0, block.any_result = block.any, block.any = 0;
    for (int i = 0; i < block.count; i++)
        if (block.of[i].state != thread::EXITED) set_ready(i);
}

// The one that runs waits or has exited.
void yield()
{
    int next = next_ready(block.place[block.current]);
    if (next < 0 && block.present == 0) return go_to(HOST);
    if (next < 0) {
        open_barrier(); // unless they stand elsewhere
        next = next_ready(0);
    }
    go_to(next);
}

[[noreturn]] void live(int i) // fiber i: one thread after another
{
    for (;; yield()) {
        (*block.body)();
        set_waiting(i, thread::EXITED);
        block.present--;
    }
}

void make_threads(int count)
{
    for (; block.made < count; block.made++) {
        const int i = block.made;
        boost::context::protected_fixedsize_stack allocator(STACK);
        const boost::context::stack_context stack = allocator.allocate();
        block.of[i].size = stack.size, block.of[i].bottom = (char *)stack.sp - stack.size;
        block.of[i].context = fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack), allocator,
                                    [i](fiber &&from) -> fiber {
                                        block.of[block.previous].context = std::move(from);
                                        arrive();
                                        live(i);
                                    });
    }
}

void run_block()
{
    std::fill(std::begin(block.ready), std::end(block.ready), 0);
    arrange_threads();
    block.present = block.count, block.waiting = block.any = 0;
    for (int i = 0; i < block.count; i++) set_ready(i);
    go_to(next_ready(0));
}

} // namespace

int emulated::meet(const site &at, int any)
{
    const int self = block.current;
    block.of[self].at = at;
    block.any |= any;
    set_waiting(self, thread::AT_BARRIER);
    yield();
    return block.any_result;
}

// The last of the mask to come finds what each gets.
void emulated::in_warp(const site &at, unsigned mask, reduction how, unsigned other, void *value, size_t bytes)
{
    const int self = block.current, first = self / WARP * WARP;
    thread &me = block.of[self];
    bool all = mask >> self % WARP & 1;
    me.at = at, me.mask = mask, me.how = how, me.other = other, me.in = 0;
    memcpy(&me.in, value, bytes);
    set_waiting(self, thread::IN_WARP);
    for (int l = 0; l < WARP; l++) {
        const thread &t = block.of[first + l];
        if (mask >> l & 1)
            all = all && first + l < block.count && t.state == thread::IN_WARP && t.at.number == at.number && t.mask == mask;
    }
    if (all) {
        uint64_t most = 0;
        for (int l = 0; l < WARP; l++)
            if (mask >> l & 1) most = std::max(most, block.of[first + l].in);
        for (int l = 0; l < WARP; l++) {
            if (!(mask >> l & 1)) continue;
            const int from = l ^ (int)block.of[first + l].other;
            if (how == EXCHANGE && (from >= WARP || !(mask >> from & 1))) report_deadlock();
            block.of[first + l].out = how == MAX ? most : block.of[first + from].in;
            set_ready(first + l);
        }
    } else {
        yield();
    }
    memcpy(value, &me.out, bytes);
}

void emulated::run_grid(const char *name, dim3 grid, dim3 threads, shared memory, const std::function<void()> &thread)
{
    std::vector<uint64_t> order((size_t)grid.x * grid.y * grid.z);
    block.kernel = name, block.body = &thread, block.count = (int)threads.x;
    blockDim = threads, gridDim = grid;
    make_threads(block.count);
    schedule.arrange(order.data(), order.size());
    for (const uint64_t b : order) {
        blockIdx = {(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y), (unsigned)(b / grid.x / grid.y)};
        if (memory.begin) memset(memory.begin, 0xA5, (size_t)(memory.end - memory.begin));
        run_block();
    }
}
