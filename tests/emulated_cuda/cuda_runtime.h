/* What the driver of the kernels uses of CUDA, on the CPU: for tests. Included before a CUDA source, it lets a C++
 * compiler compile that as it is. Threads of a block are fibers; docs/reproducibility.md says what this shows of a
 * GPU and what it can't.
 *
 *     EMULATED_CUDA_GPUS=N          how many GPUs there are (4)
 *     EMULATED_CUDA_ORDER=ORDER     in which order blocks, and threads between barriers, run: forward, backward or
 *                                   shuffled:SEED
 *     EMULATED_CUDA_LAUNCHES=FILE   add a line "kernel launches" for each kernel launched, and "function calls" for cudaMalloc
 *                                   and each function by which the host has waited for a GPU */
#ifndef DITHER_EMULATED_CUDA_RUNTIME_H
#define DITHER_EMULATED_CUDA_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

typedef struct emulated_stream *cudaStream_t;
typedef struct emulated_event *cudaEvent_t;
typedef struct emulated_graph *cudaGraph_t;
typedef struct emulated_graph_exec *cudaGraphExec_t;

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureWrongThread = 908
} cudaError_t;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
enum { cudaStreamNonBlocking = 1 };

#ifdef __cplusplus
extern "C" {
#endif
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaEventCreate(cudaEvent_t *out);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to);
#ifdef __cplusplus
}

/* ---- the language: what follows is for C++ ---- */

/* the library's own headers use names that are macros from here on */
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>

struct uint2 { unsigned x, y; };
struct uint3 { unsigned x, y, z; };
struct uint4 { unsigned x, y, z, w; };
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

/* of the thread that runs: kernels run one at a time */
extern "C" uint3 threadIdx, blockIdx;
extern "C" dim3 blockDim, gridDim;

namespace emulated {

struct site { const char *file; int line, number; }; /* a place in the source; number: of several in one line */
struct shared { char *begin, *end; };                /* the shared memory of all kernels */
enum reduction { EXCHANGE, MAX };

int meet(const site &at, int any);
void in_warp(const site &at, unsigned mask, reduction how, unsigned other, void *value, size_t bytes);
void launch(const char *name, dim3 grid, dim3 block, cudaStream_t stream, shared memory, std::function<void()> thread);

template <class T> T exchange(const site &at, unsigned mask, T value, int other)
{
    in_warp(at, mask, EXCHANGE, (unsigned)other, &value, sizeof value);
    return value;
}

inline unsigned most(const site &at, unsigned mask, unsigned value)
{
    in_warp(at, mask, MAX, 0, &value, sizeof value);
    return value;
}

/* Parameters are captured by value, as a launch does. */
template <class... P, class... A>
void queue(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, cudaStream_t stream, shared memory, const A &...a)
{
    static_assert((sizeof(P) + ... + 0) <= 4096, "parameters of a kernel take up to 4 KB");
    const std::tuple<P...> captured(a...);
    launch(name, grid, block, stream, memory, [=] { std::apply(kernel, captured); });
}

} // namespace emulated

#ifdef __SANITIZE_ADDRESS__
#define EMULATED_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATED_ASAN 1
#endif
#endif

/* ---- as the compiler of CUDA knows them ---- */

#ifndef EMULATED_ITSELF

#define __CUDACC__ 1
#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
/* One copy is enough, since blocks run one after the other. In a section of its own it is filled with garbage before
 * each block; AddressSanitizer guards only variables that are not. */
#ifdef EMULATED_ASAN
#define __shared__ static
#define EMULATED_SHARED emulated::shared{nullptr, nullptr}
#else
extern "C" char __start_emulated_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_emulated_shared[] __attribute__((weak, visibility("hidden")));
#define __shared__ static __attribute__((section("emulated_shared")))
#define EMULATED_SHARED emulated::shared{__start_emulated_shared, __stop_emulated_shared}
#endif

#define EMULATED_HERE emulated::site{__FILE__, __LINE__, __COUNTER__}
#define __syncthreads() (void)emulated::meet(EMULATED_HERE, 0)
#define __syncthreads_or(any) emulated::meet(EMULATED_HERE, (any) != 0)
#define __shfl_xor_sync(mask, value, other) emulated::exchange(EMULATED_HERE, mask, value, other)
#define __reduce_max_sync(mask, value) emulated::most(EMULATED_HERE, mask, value)

template <class T> T atomicAdd(T *to, T value) { const T old = *to; *to = old + value; return old; }
template <class T> T atomicMax(T *to, T value) { const T old = *to; if (value > old) *to = value; return old; }
static inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
static inline double __dsqrt_rn(double v) { return __builtin_sqrt(v); }

/* LAUNCH of the driver, instead of <<<>>> */
#define EMULATED_NAME(kernel) EMULATED_TEXT(kernel)
#define EMULATED_TEXT(kernel) #kernel
#define LAUNCH(kernel, grid, stream, ...) \
    emulated::queue(EMULATED_NAME(kernel), kernel, grid, DK_THREADS, stream, EMULATED_SHARED, __VA_ARGS__)

#endif
#endif
#endif
