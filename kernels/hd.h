/* One source, two compilers: the macros that let a kernel body be plain C for the C compiler and a thread
 * block's program for nvcc.
 *
 * A body is a function that one CPU thread, or one CUDA thread block, runs on a tile of the data. It is written
 * as a sequence of phases; every phase is a loop whose iterations are independent of each other:
 *
 *     EACH(i, count)            for i in [0, count), in any order; EACH_END is also the barrier,
 *         out[i] = f(in[i]);    so a phase may read all that the phase before it wrote
 *     EACH_END
 *
 * and of octet phases, for sums whose order decides the bits: 8 lanes work on one item, lane t adds the terms
 * t, t+8, t+16, ... and a fixed tree adds the lanes.
 *
 *     EACH_OCTET(r, count)
 *         REAL total;
 *         OCTET_SUM(total, REAL, k, length, a[k] * b[k]);   all 8 lanes get the total
 *         OCTET_ONCE y[r] = total;
 *     EACH_END
 *
 * Also OCTET_EACH(e, begin, end) .. OCTET_EACH_END: the lanes of an octet share the range; EACH_IN_BLOCKS(b, blocks, i, m, limit, prelude) .. EACH_IN_BLOCKS_END: i in [0, min(m, limit)) of every block
 * b, where `limit` and the statement `prelude` may depend on b; EACH_ANY(flag, i, count, condition): flag becomes 1
 * if the condition holds anywhere; OCTET_MAX: the largest of non-negative terms, NaN if one of them is.
 *
 * Nothing returns early inside a phase. What lives across phases lives in memory: TILE_LOCAL arrays (shared
 * memory on a GPU, the stack on a CPU) or the arena. With DITHER_REVERSE_LANES the CPU runs EACH backwards, which
 * exposes any dependence of one iteration on another: the result must not change. */
#ifndef DITHER_HD_H
#define DITHER_HD_H

#include <stdint.h>

#if defined(__FAST_MATH__)
#error "dither's results are exact to the bit: do not compile it with -ffast-math"
#endif

#define DK_THREADS 256 /* lanes of a CUDA thread block */
#define DK_LARGER(a, b) ((a) > (b) || (a) != (a) ? (a) : (b)) /* a NaN in either stays */

#ifdef __CUDACC__

#define HD static __device__ __forceinline__
#define BODY static __device__ __forceinline__
#define CALLED static __device__ __noinline__ /* a body too long to be copied to where it is used */
#define TILE_LOCAL __shared__
#define DK_RESTRICT __restrict__
#define EACH(i, count) for (int i = (int)threadIdx.x, i##_n = (count); i < i##_n; i += DK_THREADS) {
#define EACH_END } __syncthreads();
#define EACH_IN_BLOCKS(b, blocks, i, m, limit, ...) \
    for (int e_ = (int)threadIdx.x, m_ = (m), en_ = (blocks) * m_; e_ < en_; e_ += DK_THREADS) { \
        const int b = e_ / m_, i = e_ % m_; \
        if (i < (limit)) { \
            __VA_ARGS__;
#define EACH_IN_BLOCKS_END } } __syncthreads();

#define EACH_OCTET(r, count) \
    for (int64_t r = threadIdx.x >> 3, r##_n = (count); r < r##_n; r += DK_THREADS / 8) {
#define OCTET_SUM(total, type, k, length, term) \
    do { \
        type sum_ = 0; \
        for (int64_t k = threadIdx.x & 7, n_ = (length); k < n_; k += 8) sum_ += (term); \
        sum_ += __shfl_xor_sync(0xFFu << (threadIdx.x & 24), sum_, 4); \
        sum_ += __shfl_xor_sync(0xFFu << (threadIdx.x & 24), sum_, 2); \
        sum_ += __shfl_xor_sync(0xFFu << (threadIdx.x & 24), sum_, 1); \
        total = sum_; \
    } while (0)
#define OCTET_MAX(total, k, length, term) \
    do { \
        double max_ = 0; \
        for (int64_t k = threadIdx.x & 7, n_ = (length); k < n_; k += 8) max_ = DK_LARGER(term, max_); \
        for (int step_ = 4; step_ > 0; step_ /= 2) { \
            const double other_ = __shfl_xor_sync(0xFFu << (threadIdx.x & 24), max_, step_); \
            max_ = DK_LARGER(other_, max_); \
        } \
        total = max_; \
    } while (0)
#define OCTET_ONCE if ((threadIdx.x & 7) == 0)
#define OCTET_EACH(e, begin, end) for (int64_t e = (begin) + (threadIdx.x & 7), e##_n = (end); e < e##_n; e += 8) {
#define OCTET_EACH_END }
#define EACH_ANY(flag, i, count, condition) \
    EACH(i, count) \
        if (condition) flag = 1; \
    EACH_END
#define EACH_MAP(i, count, ...) EACH(i, count) __VA_ARGS__; EACH_END
#define EACH_MAX(result, i, count, term) \
    do { \
        uint32_t max_ = 0; \
        EACH(one_, 1) result = 0; EACH_END \
        for (int i = (int)threadIdx.x, n_ = (count); i < n_; i += DK_THREADS) max_ = (term) > max_ ? (term) : max_; \
        atomicMax(&(result), __reduce_max_sync(0xFFFFFFFFu, max_)); \
        __syncthreads(); \
    } while (0)
#define DK_STORE(address, value) *(address) = (value)
#define DK_INCREMENT(address) atomicAdd(address, 1u) /* of tile-local memory: lanes may count in the same place */

#else

#define HD static inline __attribute__((always_inline, unused))
#define BODY static inline __attribute__((always_inline, unused))
#define CALLED static __attribute__((noinline, unused))
#define TILE_LOCAL __attribute__((aligned(64)))
#define DK_RESTRICT restrict
#ifdef DITHER_REVERSE_LANES
#define EACH(i, count) for (int i = (int)(count)-1; i >= 0; i--) {
#define EACH_OCTET(r, count) for (int64_t r = (int64_t)(count)-1; r >= 0; r--) {
#else
#define EACH(i, count) for (int i = 0, i##_n = (int)(count); i < i##_n; i++) {
#define EACH_OCTET(r, count) for (int64_t r = 0, r##_n = (count); r < r##_n; r++) {
#endif
#define EACH_END }
#define EACH_IN_BLOCKS(b, blocks, i, m, limit, ...) \
    EACH(b, blocks) \
        __VA_ARGS__; \
        const int m_##b = (int)(m), l_##b = (int)(limit), s_##b = m_##b < l_##b ? m_##b : l_##b; \
        EACH(i, s_##b)
#define EACH_IN_BLOCKS_END } }

#define OCTET_SUM(total, type, k, length, term) \
    do { \
        type lane_[8] = {0}; \
        const int64_t n_ = (length); \
        int64_t k0_ = 0; \
        for (; k0_ + 8 <= n_; k0_ += 8) \
            for (int t_ = 0; t_ < 8; t_++) { \
                const int64_t k = k0_ + t_; \
                lane_[t_] += (term); \
            } \
        for (int t_ = 0; k0_ + t_ < n_; t_++) { \
            const int64_t k = k0_ + t_; \
            lane_[t_] += (term); \
        } \
        total = ((lane_[0] + lane_[4]) + (lane_[2] + lane_[6])) + ((lane_[1] + lane_[5]) + (lane_[3] + lane_[7])); \
    } while (0)
#define OCTET_MAX(total, k, length, term) \
    do { \
        double max_ = 0; \
        for (int64_t k = 0, n_ = (length); k < n_; k++) max_ = DK_LARGER(term, max_); \
        total = max_; \
    } while (0)
#define OCTET_ONCE
#define OCTET_EACH(e, begin, end) for (int64_t e = (begin), e##_n = (end); e < e##_n; e++) {
#define OCTET_EACH_END }
#define EACH_ANY(flag, i, count, condition) \
    do { \
        int any_ = 0; \
        for (int i = 0, n_ = (count); i < n_; i++) any_ |= (condition); \
        flag |= any_; \
    } while (0)
#ifdef DITHER_REVERSE_LANES
#define EACH_MAP(i, count, ...) EACH(i, count) __VA_ARGS__; EACH_END
#else
/* In chunks of 16, the last of which overlaps the one before it, so that none is left to scalar code. */
#define EACH_MAP(i, count, ...) \
    do { \
        const int n_ = (count); \
        if (n_ >= 16) { \
            for (int first_ = 0; first_ < n_; first_ += 16) { \
                const int from_ = first_ + 16 <= n_ ? first_ : n_ - 16; \
                for (int t_ = 0; t_ < 16; t_++) { \
                    const int i = from_ + t_; \
                    __VA_ARGS__; \
                } \
            } \
        } else { \
            EACH(i, n_) __VA_ARGS__; EACH_END \
        } \
    } while (0)
#endif
#define EACH_MAX(result, i, count, term) \
    do { \
        uint32_t max_ = 0; \
        for (int i = 0, n_ = (count); i < n_; i++) max_ = (term) > max_ ? (term) : max_; \
        result = max_; \
    } while (0)
/* several threads may store the same value at once */
#define DK_STORE(address, value) __atomic_store_n(address, value, __ATOMIC_RELAXED)
#define DK_INCREMENT(address) (++*(address))
#endif

#endif
