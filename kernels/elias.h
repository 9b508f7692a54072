/* A segment in Elias's codes (Elias, 1975). Its first bit tells which of two forms is shorter (Alistarh et al., QSGD):
 *   0, sparse: for every nonzero code(distance from the one before), its sign, and if there are levels above 1 (zero > 1)
 *      code(|level|), to the end of the bytes
 *   1, dense:  for every coordinate code(|level| + 1), and its sign when that is not 1
 * Padding: ones for omega, zeros for gamma; no code can be read out of them. A segment is sequential: one lane works. */
#ifndef DITHER_ELIAS_H
#define DITHER_ELIAS_H

#include "sparse.h"

HD int64_t dk_elias_bytes(int omega, int64_t symbols, int64_t n)
{
    return (1 + n * (1 + dk_elias_size(omega, (uint32_t)(symbols / 2) + 1)) + 7) / 8;
}

HD int dk_elias_is_dense(int omega, const uint16_t *in, int n, uint32_t zero)
{
    int sparse = 0, dense = n, last = -1;
    for (int i = dk_next_nonzero(in, 0, n, zero); i < n; i = dk_next_nonzero(in, i + 1, n, zero)) {
        const uint32_t level = dk_level_magnitude(in[i], zero);
        sparse += dk_elias_size(omega, (uint32_t)(i - last)) + (zero > 1 ? dk_elias_size(omega, level) : 0) + 1;
        dense += dk_elias_size(omega, level + 1);
        last = i;
    }
    return dense < sparse;
}

HD int32_t dk_elias_write(int omega, const uint16_t *in, int n, uint32_t zero, uint8_t *out)
{
    dk_bit_writer w = dk_bit_writer_make(out);
    const int dense = dk_elias_is_dense(omega, in, n, zero);
    int last = -1;
    dk_put(&w, (uint32_t)dense, 1);
    for (int i = 0; dense && i < n; i++) {
        dk_elias_put(omega, &w, dk_level_magnitude(in[i], zero) + 1);
        if (in[i] != zero) dk_put(&w, in[i] < zero, 1);
    }
    for (int i = dense ? n : dk_next_nonzero(in, 0, n, zero); i < n; i = dk_next_nonzero(in, i + 1, n, zero)) {
        dk_elias_put(omega, &w, (uint32_t)(i - last));
        dk_put(&w, in[i] < zero, 1);
        if (zero > 1) dk_elias_put(omega, &w, dk_level_magnitude(in[i], zero));
        last = i;
    }
    return dk_put_end(&w, omega);
}

HD int dk_elias_read_sparse(int omega, dk_bit_reader *r, int n, uint32_t zero, uint16_t *out)
{
    int position = -1;
    while (!dk_at_end(r, omega)) {
        const uint32_t gap = dk_elias_get(omega, r), negative = dk_get(r, 1);
        const uint32_t level = zero > 1 ? dk_elias_get(omega, r) : 1;
        if (!gap || !level || level > zero || gap >= (uint32_t)(n - position) || dk_overrun(r)) return 0;
        position += (int)gap;
        out[position] = (uint16_t)(negative ? zero - level : zero + level);
    }
    return 1;
}

/* `out` holds n zeros before. 0 for bytes that no sender makes. */
HD int dk_elias_read(int omega, const uint8_t *in, int32_t bytes, int n, uint32_t zero, uint16_t *out)
{
    dk_bit_reader r = dk_bit_reader_make(in, bytes);
    if (!dk_get(&r, 1)) return dk_elias_read_sparse(omega, &r, n, zero, out);
    for (int i = 0; i < n; i++) {
        const uint32_t code = dk_elias_get(omega, &r), negative = code > 1 ? dk_get(&r, 1) : 0;
        if (!code || code - 1 > zero || dk_overrun(&r)) return 0;
        out[i] = (uint16_t)(negative ? zero - (code - 1) : zero + (code - 1));
    }
    return dk_at_end(&r, omega);
}

#endif
