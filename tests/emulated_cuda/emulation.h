/* The parts of the emulation know this of each other. */
#ifndef DITHER_EMULATION_H
#define DITHER_EMULATION_H

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#define EMULATED_ITSELF
#include "cuda_runtime.h"

#define EMULATED_DIE(...) \
    do { \
        fprintf(stderr, "emulated CUDA: " __VA_ARGS__); \
        fputc('\n', stderr); \
        abort(); \
    } while (0)

namespace emulated {

/* What is queued: false when it has to wait for another rank, and is to be tried again. */
using operation = std::function<bool()>;

/* Blocks and threads of one kernel, in the order that EMULATED_CUDA_ORDER says. */
void run_grid(const char *name, dim3 grid, dim3 block, shared memory, const std::function<void()> &thread);

void enqueue(cudaStream_t stream, operation what);
/* Where the stream is recorded, `user` lives as long as the graphs that come of it. */
void use(cudaStream_t stream, std::shared_ptr<void> user);
/* While a call that does not block is not finished, its place in the queue is not known: nothing else may be queued. */
void hold(cudaStream_t stream, bool held);
/* All that can be done without waiting for another rank; or, with `until`, until that is true. True when that is so. */
bool run(cudaStream_t stream, const bool *until = nullptr);
int device_of(cudaStream_t stream);
int current_device();
/* What is about to touch the GPUs' memory, while it is run, says so: opening it takes longer than much of what is run. */
void open_memory();
/* open_memory, which fails the program unless [begin, begin + bytes) lies in one piece of memory of a GPU. */
void check_device_memory(const void *begin, size_t bytes, const char *what);

} // namespace emulated

#endif
