/* Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3" (SC 2011). Every random word is a pure function of (seed; iteration, worker, stream, index), so the
 * order in which lanes, threads and ranks ask for them can't matter. Word i of a subsequence is word i & 3 of the
 * block with counter i >> 2: the layout of cuRAND's curand_init(seed, subsequence, offset) with curand4. */
#ifndef DITHER_PHILOX_H
#define DITHER_PHILOX_H

#include "hd.h"
#ifdef __CUDACC__
#include <curand_philox4x32_x.h>
#endif

/* What a subsequence is for. The numbers are part of the reproducibility contract: never reuse one. */
enum dk_stream {
    DK_STREAM_UPLINK = 0,   /* rounding of the workers' messages */
    DK_STREAM_SAMPLE = 1,   /* which rows a worker draws */
    DK_STREAM_COIN = 2,     /* the snapshot coin, common to all workers */
    DK_STREAM_DOWNLINK = 3, /* rounding of the server's messages */
    DK_STREAM_MASK = 4,     /* which coordinates rand-r keeps */
    DK_STREAM_INIT = 5,     /* initial points, shuffles */
    DK_STREAM_DELAY = 6     /* simulated delays */
};
#define DK_WORKER_ALL 0xFFFFu /* the "worker" of what all workers share */

typedef struct {
    uint32_t w[4];
} dk_words;

/* iteration < 2^40, worker < 2^16, stream < 2^8 */
HD uint64_t dk_subsequence(int64_t iteration, uint32_t worker, uint32_t stream)
{
    return (uint64_t)iteration << 24 | (uint64_t)(worker & 0xFFFFu) << 8 | (stream & 0xFFu);
}

HD dk_words dk_philox(uint64_t seed, uint64_t subsequence, uint64_t block)
{
    dk_words out;
#ifdef __CUDACC__
    const uint4 counter = make_uint4((uint32_t)block, (uint32_t)(block >> 32), (uint32_t)subsequence,
                                     (uint32_t)(subsequence >> 32));
    const uint4 r = curand_Philox4x32_10(counter, make_uint2((uint32_t)seed, (uint32_t)(seed >> 32)));
    out.w[0] = r.x, out.w[1] = r.y, out.w[2] = r.z, out.w[3] = r.w;
#else
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32);
    uint32_t c2 = (uint32_t)subsequence, c3 = (uint32_t)(subsequence >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1, c3 = (uint32_t)p0, c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    out.w[0] = c0, out.w[1] = c1, out.w[2] = c2, out.w[3] = c3;
#endif
    return out;
}

/* Word `index` of a subsequence. */
HD uint32_t dk_word(uint64_t seed, uint64_t subsequence, uint64_t index)
{
    return dk_philox(seed, subsequence, index >> 2).w[index & 3];
}

/* Index in [0, m): multiply-shift, off uniform by less than m / 2^32. */
HD int64_t dk_index(uint32_t word, int64_t m) { return (int64_t)(((uint64_t)word * (uint64_t)m) >> 32); }

/* The coin that all workers share: true with probability threshold / 2^32. */
HD int dk_coin(uint64_t seed, int64_t iteration, uint64_t threshold)
{
    return dk_word(seed, dk_subsequence(iteration, DK_WORKER_ALL, DK_STREAM_COIN), 0) < threshold;
}

#endif
