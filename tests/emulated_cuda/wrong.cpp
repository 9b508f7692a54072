/* Does the emulation see what is wrong? emulated_wrong THING does one thing that a GPU forbids, or on which its results
 * would depend. tests/test_emulated.py knows what has to come of each. */
#include "cuda_runtime.h"

#include "nccl.h"
#include <pthread.h>

#define DK_THREADS 256

static __device__ void fill(int *a, int n) { for (int i = (int)threadIdx.x; i < n; i += DK_THREADS) a[i] = i; }

__global__ void branch_kernel(int *a)
{
    if (threadIdx.x < 100) __syncthreads();
    else {
        a[threadIdx.x] = 1;
        __syncthreads();
    }
}

__global__ void left_kernel(int *a)
{
    if (threadIdx.x == 7) __syncthreads();
    a[threadIdx.x] = 1;
    if (threadIdx.x == 7) return;
    __syncthreads();
    __syncthreads();
}

__global__ void lane_kernel(int *a)
{
    if (threadIdx.x == 3) return;
    a[threadIdx.x] = __shfl_xor_sync(0xFFu << (threadIdx.x & 24), (int)threadIdx.x, 4);
}

__global__ void mask_kernel(int *a) { a[threadIdx.x] = __shfl_xor_sync(threadIdx.x & 1 ? 0xFFu : 0xFFFFu, 1, 4); }

__global__ void outside_kernel(int *a) { fill(a, 1000 + (blockIdx.x == 1)); }

/* not synchronized: what a thread reads was written by another */
__global__ void race_kernel(int *a)
{
    __shared__ int s[DK_THREADS];
    s[threadIdx.x] = (int)threadIdx.x;
    a[threadIdx.x] = s[(threadIdx.x + 1) % DK_THREADS];
}

__global__ void blocks_kernel(int *a) { if (threadIdx.x == 0) a[0] = a[0] * 3 + (int)blockIdx.x; }

__global__ void shared_kernel(int *a)
{
    __shared__ int s;
    if (threadIdx.x == 0) a[0] = s;
}

__global__ void good_kernel(int *a)
{
    __shared__ int s[DK_THREADS];
    s[threadIdx.x] = (int)threadIdx.x;
    __syncthreads();
    a[threadIdx.x] = s[DK_THREADS - 1 - threadIdx.x];
}

static cudaStream_t stream;
static int *a, host[1000];

static void print_error() { printf("%s\n", cudaGetErrorString(cudaGetLastError())); }

static void download()
{
    cudaMemcpyAsync(host, a, 4 * DK_THREADS, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    unsigned hash = 0;
    for (int i = 0; i < DK_THREADS; i++) hash = hash * 31 + (unsigned)host[i];
    printf("%u\n", hash);
}

static void *rank(void *bytes) /* calls of different sizes */
{
    static ncclUniqueId id;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int ranks;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclComm_t comm;
    ncclResult_t state = ncclInProgress;
    cudaStream_t s;
    void *memory;
    config.blocking = 0;
    pthread_mutex_lock(&lock);
    if (ranks == 0) ncclGetUniqueId(&id);
    const int mine = ranks++;
    pthread_mutex_unlock(&lock);
    cudaSetDevice(mine);
    cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
    cudaMalloc(&memory, 64);
    ncclCommInitRankConfig(&comm, 2, id, mine, &config);
    while (state == ncclInProgress) ncclCommGetAsyncError(comm, &state);
    ncclBroadcast(memory, memory, *(size_t *)bytes, ncclUint8, 0, comm, s);
    if (*(size_t *)bytes == 5) cudaMemsetAsync(memory, 0, 1, s); /* too early */
    do ncclCommGetAsyncError(comm, &state);
    while (state == ncclInProgress);
    cudaStreamSynchronize(s);
    return nullptr;
}

static void two_ranks(size_t first, size_t second)
{
    size_t bytes[2] = {first, second};
    pthread_t other;
    pthread_create(&other, nullptr, rank, &bytes[1]);
    rank(&bytes[0]);
    pthread_join(other, nullptr);
}

static void good() { LAUNCH(good_kernel, 2, stream, a); download(); }
static void branch() { LAUNCH(branch_kernel, 1, stream, a); download(); }
static void left() { LAUNCH(left_kernel, 1, stream, a); download(); }
static void lane() { LAUNCH(lane_kernel, 1, stream, a); download(); }
static void mask() { LAUNCH(mask_kernel, 1, stream, a); download(); }
static void outside() { LAUNCH(outside_kernel, 2, stream, a); download(); }
static void race() { LAUNCH(race_kernel, 1, stream, a); download(); }
static void blocks() { cudaMemsetAsync(a, 0, 4, stream); LAUNCH(blocks_kernel, 10, stream, a); download(); }
static void shared() { LAUNCH(shared_kernel, 1, stream, a); download(); printf("%x\n", (unsigned)host[0]); }
static void no_blocks() { LAUNCH(good_kernel, 0, stream, a); print_error(); }
static void many_blocks() { LAUNCH(good_kernel, dim3(1, 65536), stream, a); print_error(); }
static void other_gpu() { cudaSetDevice(1); LAUNCH(good_kernel, 1, stream, a); print_error(); }
static void touch() { a[0] = 1; }
static void early() /* the copy is still to come */
{
    LAUNCH(good_kernel, 2, stream, a);
    cudaMemcpyAsync(host, a, 4, cudaMemcpyDeviceToHost, stream);
    printf("%d\n", host[0]);
}
static void freed()
{
    int *b;
    cudaMalloc((void **)&b, 400);
    cudaFree(b);
    cudaMemsetAsync(b, 0, 4, stream);
    download();
}
static void beyond() { cudaMemsetAsync(a + 900, 0, 404, stream); download(); }
static void fresh() { cudaMemcpyAsync(host, a, 4, cudaMemcpyDeviceToHost, stream); cudaStreamSynchronize(stream); printf("%x\n", (unsigned)host[0]); }
static void wait_in_recording()
{
    cudaGraph_t graph;
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cudaStreamSynchronize(stream);
    cudaStreamEndCapture(stream, &graph);
    print_error();
}
static void different_calls() { two_ranks(8, 12); }
static void queued_early() { two_ranks(5, 5); }

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        void (*run)();
    } things[] = {{"good", good}, {"branch", branch}, {"left", left}, {"lane", lane}, {"mask", mask}, {"outside", outside},
                  {"race", race}, {"blocks", blocks}, {"shared", shared}, {"no-blocks", no_blocks}, {"many-blocks", many_blocks},
                  {"other-gpu", other_gpu}, {"touch", touch}, {"early", early}, {"freed", freed}, {"beyond", beyond},
                  {"fresh", fresh}, {"wait-in-recording", wait_in_recording}, {"different-calls", different_calls},
                  {"queued-early", queued_early}};
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaMalloc((void **)&a, sizeof host);
    for (const auto &thing : things)
        if (argc == 2 && !strcmp(argv[1], thing.name)) return thing.run(), 0;
    return 2;
}
