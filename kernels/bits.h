/* Streams of bits, the most significant first, for the wires of variable length. A stream ends on a byte: it is
 * padded with fewer than 8 copies of a bit with which no code can end. Readers never go beyond the last byte; past it
 * they see zeros, and their position tells. */
#ifndef DITHER_BITS_H
#define DITHER_BITS_H

#include "hd.h"

typedef struct dk_bit_writer {
    uint8_t *out;
    uint64_t buffer; /* its last `fill` bits are not written yet: fewer than 32 */
    int32_t fill, bytes;
} dk_bit_writer;

typedef struct dk_bit_reader {
    const uint8_t *in;
    int32_t at, end; /* in bits */
} dk_bit_reader;

HD dk_bit_writer dk_bit_writer_make(uint8_t *out)
{
    dk_bit_writer w;
    w.out = out, w.buffer = 0, w.fill = 0, w.bytes = 0;
    return w;
}

/* The last `length` <= 32 bits of code, the others being zero. */
HD void dk_put(dk_bit_writer *w, uint32_t code, int length)
{
    w->buffer = w->buffer << length | code;
    w->fill += length;
    if (w->fill < 32) return;
    w->fill -= 32;
    const uint32_t four = (uint32_t)(w->buffer >> w->fill);
    uint8_t *o = w->out + w->bytes;
    o[0] = (uint8_t)(four >> 24), o[1] = (uint8_t)(four >> 16), o[2] = (uint8_t)(four >> 8), o[3] = (uint8_t)four;
    w->bytes += 4;
}

/* Pad with copies of `bit`; the bytes in all. */
HD int32_t dk_put_end(dk_bit_writer *w, int bit)
{
    const int pad = (8 - w->fill % 8) % 8;
    w->buffer = w->buffer << pad | (bit ? (1u << pad) - 1 : 0);
    for (w->fill += pad; w->fill > 0;) {
        w->fill -= 8;
        w->out[w->bytes++] = (uint8_t)(w->buffer >> w->fill);
    }
    return w->bytes;
}

HD dk_bit_reader dk_bit_reader_make(const uint8_t *in, int32_t bytes)
{
    dk_bit_reader r;
    r.in = in, r.at = 0, r.end = 8 * bytes;
    return r;
}

/* At least the next 57 bits, at the top of the word. */
HD uint64_t dk_peek(const dk_bit_reader *r)
{
    const int32_t first = r->at >> 3, bytes = r->end >> 3;
    uint64_t v = 0;
    if (first + 8 <= bytes)
        for (int i = 0; i < 8; i++) v = v << 8 | r->in[first + i];
    else
        for (int i = 0; i < 8; i++) v = v << 8 | (first + i < bytes ? r->in[first + i] : 0);
    return v << (r->at & 7);
}

HD uint32_t dk_get(dk_bit_reader *r, int length) /* 0 to 32 */
{
    const uint64_t v = dk_peek(r);
    r->at += length;
    return (uint32_t)(v >> 32 >> (32 - length));
}

HD int dk_overrun(const dk_bit_reader *r) { return r->at > r->end; }

/* Nothing but padding is left. */
HD int dk_at_end(const dk_bit_reader *r, int bit)
{
    const int32_t left = r->end - r->at;
    if (left <= 0) return left == 0;
    if (left >= 8) return 0;
    const uint32_t rest = r->in[(r->end >> 3) - 1] & ((1u << left) - 1);
    return rest == (bit ? (1u << left) - 1 : 0);
}

/* floor(log2 k), k >= 1 */
HD int dk_log2(uint32_t k)
{
#ifdef __CUDACC__
    return 31 - __clz((int)k);
#else
    return 31 - __builtin_clz(k);
#endif
}

#endif
