/* bfloat16: the upper half of a float32. */
#ifndef DITHER_BFLOAT16_H
#define DITHER_BFLOAT16_H

#include "exact_math.h"

/* To nearest, ties to even; a NaN stays one. */
HD uint16_t dk_bfloat16_nearest(float v)
{
    dk_bits32 b;
    b.f = v;
    if (v != v) return (uint16_t)(b.u >> 16 | 0x40);
    return (uint16_t)((b.u + 0x7FFF + (b.u >> 16 & 1)) >> 16);
}

HD float dk_bfloat16_value(uint16_t half)
{
    dk_bits32 b;
    b.u = (uint32_t)half << 16;
    return b.f;
}

#endif
