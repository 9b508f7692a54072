/* cuRAND's Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011), by the formulas of the paper. tests/test_philox.c holds
 * the project's own against NVIDIA's library where there is one. */
#ifndef DITHER_EMULATED_CURAND_PHILOX_H
#define DITHER_EMULATED_CURAND_PHILOX_H

static inline uint4 curand_Philox4x32_10(uint4 counter, uint2 key)
{
    for (int round = 0; round < 10; round++) {
        const uint64_t left = (uint64_t)0xD2511F53u * counter.x, right = (uint64_t)0xCD9E8D57u * counter.z;
        counter = make_uint4((unsigned)(right >> 32) ^ counter.y ^ key.x, (unsigned)right,
                             (unsigned)(left >> 32) ^ counter.w ^ key.y, (unsigned)left);
        key.x += 0x9E3779B9u, key.y += 0xBB67AE85u;
    }
    return counter;
}

#endif
