/* What the wires that code nonzeros share. Symbols stand for levels about the middle of the alphabet: symbol =
 * level + middle, |level| <= middle. */
#ifndef DITHER_SPARSE_H
#define DITHER_SPARSE_H

#include "bits.h"

/* The symbol of zero: the middle of an odd alphabet; 0 in those that keep the sign in the top bit. */
HD uint32_t dk_zero_symbol(int64_t symbols) { return symbols & 1 ? (uint32_t)(symbols / 2) : 0; }

/* The first i' >= i with a symbol that is not `zero`, or n. */
HD int dk_next_nonzero(const uint16_t *in, int i, int n, uint32_t zero)
{
    for (; i + 16 <= n; i += 16) {
        uint32_t any = 0;
        for (int j = 0; j < 16; j++) any |= in[i + j] ^ zero;
        if (any) break;
    }
    while (i < n && in[i] == zero) i++;
    return i;
}

HD uint32_t dk_level_magnitude(uint32_t symbol, uint32_t zero) { return symbol < zero ? zero - symbol : symbol - zero; }

/* Elias's codes of k >= 1; omega: 1 for the omega code, 0 for gamma. */
HD int dk_elias_size(int omega, uint32_t k)
{
    if (!omega) return 2 * dk_log2(k) + 1;
    int size = 1;
    while (k > 1) {
        const int bits = dk_log2(k);
        size += bits + 1, k = (uint32_t)bits;
    }
    return size;
}

HD void dk_elias_put(int omega, dk_bit_writer *w, uint32_t k)
{
    uint32_t code = omega ? 0 : k;
    int size = omega ? 1 : dk_log2(k) + 1;
    if (!omega) dk_put(w, 0, size - 1);
    while (omega && k > 1) {
        const int bits = dk_log2(k);
        code |= k << size;
        size += bits + 1, k = (uint32_t)bits;
    }
    dk_put(w, code, size);
}

/* 0 for what is no code of a number below 2^21: no gap and no level is larger (DK_GROUP). */
HD uint32_t dk_elias_get(int omega, dk_bit_reader *r)
{
    uint64_t v = dk_peek(r);
    if (!omega) {
        const uint32_t top = (uint32_t)(v >> 43); /* 21 bits */
        if (top == 0) return 0;
        const int zeros = 20 - dk_log2(top);
        r->at += 2 * zeros + 1;
        return (uint32_t)(v >> (63 - 2 * zeros));
    }
    uint32_t k = 1;
    while (v >> 63) {
        if (k > 20) return 0;
        const int size = (int)k + 1;
        k = (uint32_t)(v >> (64 - size));
        v <<= size;
        r->at += size;
    }
    r->at++;
    return k;
}

#endif
