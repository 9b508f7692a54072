/* Many consecutive Philox words at once. The formula is philox.h's; what differs by target is only how 32 x 32 -> 64
 * bit products are made side by side, which compilers do not find: the even lanes multiply in place, the odd ones
 * shifted down, and a masked shuffle puts the halves back. test_philox holds all targets to dk_philox. */
#ifndef DITHER_PHILOX_FILL_H
#define DITHER_PHILOX_FILL_H

#include "philox.h"

#if !defined(__CUDACC__) && (defined(__AVX512F__) || defined(__AVX2__))
#include <immintrin.h>

#if defined(__AVX512F__)
typedef __m512i dk_lanes;
enum { DK_LANES = 16 };
#define DK_V(name) _mm512_##name
#define DK_XOR _mm512_xor_si512
HD dk_lanes dk_high(dk_lanes even, dk_lanes odd) { return _mm512_mask_shuffle_epi32(odd, 0x5555, even, (_MM_PERM_ENUM)0xF5); }
HD dk_lanes dk_low(dk_lanes even, dk_lanes odd) { return _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, (_MM_PERM_ENUM)0xA0); }
/* vector lane 4 l + e holds block 4 e + l: the unpacking then leaves consecutive blocks in each register */
HD dk_lanes dk_block_order(void) { return _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15); }
HD void dk_store(uint32_t *to, dk_lanes v) { _mm512_storeu_si512((void *)to, v); }
#else
typedef __m256i dk_lanes;
enum { DK_LANES = 8 };
#define DK_V(name) _mm256_##name
#define DK_XOR _mm256_xor_si256
HD dk_lanes dk_high(dk_lanes even, dk_lanes odd) { return _mm256_blend_epi32(_mm256_shuffle_epi32(even, 0xF5), odd, 0xAA); }
HD dk_lanes dk_low(dk_lanes even, dk_lanes odd) { return _mm256_blend_epi32(even, _mm256_shuffle_epi32(odd, 0xA0), 0xAA); }
HD dk_lanes dk_block_order(void) { return _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7); }
HD void dk_store(uint32_t *to, dk_lanes v) { _mm256_storeu_si256((__m256i *)(void *)to, v); }
#endif

HD void dk_philox_round(dk_lanes c[4], uint32_t k0, uint32_t k1)
{
    const dk_lanes m0 = DK_V(set1_epi32)((int)0xD2511F53u), m1 = DK_V(set1_epi32)((int)0xCD9E8D57u);
    const dk_lanes even0 = DK_V(mul_epu32)(c[0], m0), odd0 = DK_V(mul_epu32)(DK_V(srli_epi64)(c[0], 32), m0);
    const dk_lanes even1 = DK_V(mul_epu32)(c[2], m1), odd1 = DK_V(mul_epu32)(DK_V(srli_epi64)(c[2], 32), m1);
    const dk_lanes n0 = DK_XOR(DK_XOR(dk_high(even1, odd1), c[1]), DK_V(set1_epi32)((int)k0));
    const dk_lanes n2 = DK_XOR(DK_XOR(dk_high(even0, odd0), c[3]), DK_V(set1_epi32)((int)k1));
    c[1] = dk_low(even1, odd1), c[3] = dk_low(even0, odd0), c[0] = n0, c[2] = n2;
}

/* The words of DK_LANES blocks from `block` on, none of whose low halves wraps around. */
HD void dk_philox_lanes(uint64_t seed, uint64_t sub, uint64_t block, uint32_t *out)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    dk_lanes c[4] = {DK_V(add_epi32)(DK_V(set1_epi32)((int)(uint32_t)block), dk_block_order()),
                     DK_V(set1_epi32)((int)(uint32_t)(block >> 32)), DK_V(set1_epi32)((int)(uint32_t)sub),
                     DK_V(set1_epi32)((int)(uint32_t)(sub >> 32))};
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) dk_philox_round(c, k0, k1);
    const dk_lanes a = DK_V(unpacklo_epi32)(c[0], c[1]), b = DK_V(unpackhi_epi32)(c[0], c[1]);
    const dk_lanes d = DK_V(unpacklo_epi32)(c[2], c[3]), e = DK_V(unpackhi_epi32)(c[2], c[3]);
    dk_store(out, DK_V(unpacklo_epi64)(a, d));
    dk_store(out + DK_LANES, DK_V(unpackhi_epi64)(a, d));
    dk_store(out + 2 * DK_LANES, DK_V(unpacklo_epi64)(b, e));
    dk_store(out + 3 * DK_LANES, DK_V(unpackhi_epi64)(b, e));
}
#endif

/* The words of `blocks` blocks from `first` on, and of a few more up to a multiple of 16: room for 64 ceil(blocks /
 * 16) words. */
BODY void dk_philox_fill(uint64_t seed, uint64_t sub, uint64_t first, int blocks, uint32_t *DK_RESTRICT out)
{
    const int rounded = (blocks + 15) & ~15;
#if !defined(__CUDACC__) && (defined(__AVX512F__) || defined(__AVX2__))
    if ((uint32_t)first + (uint64_t)rounded <= (uint64_t)1 << 32) {
        EACH(v, rounded / DK_LANES)
            dk_philox_lanes(seed, sub, first + (uint64_t)(v * DK_LANES), out + 4 * v * DK_LANES);
        EACH_END
        return;
    }
#endif
    EACH(q, rounded)
        const dk_words words = dk_philox(seed, sub, first + (uint64_t)q);
        out[4 * q] = words.w[0];
        out[4 * q + 1] = words.w[1];
        out[4 * q + 2] = words.w[2];
        out[4 * q + 3] = words.w[3];
    EACH_END
}

#endif
