#include "combine.h"

#include "bfloat16.h"

size_t dither_combine_bytes(int reduction)
{
    return reduction == DITHER_SUM_U64 ? 8 : (reduction == DITHER_SUM_BF16 ? 2 : 4);
}

static void combine_u32(int largest, uint32_t *to, const uint32_t *from, size_t count)
{
    for (size_t e = 0; e < count; e++) to[e] = !largest ? to[e] + from[e] : (to[e] > from[e] ? to[e] : from[e]);
}

static void combine_u64(uint64_t *to, const uint64_t *from, size_t count)
{
    for (size_t e = 0; e < count; e++) to[e] += from[e];
}

static void combine_f32(float *to, const float *from, size_t count)
{
    for (size_t e = 0; e < count; e++) to[e] += from[e];
}

static void combine_bf16(uint16_t *to, const uint16_t *from, size_t count)
{
    for (size_t e = 0; e < count; e++)
        to[e] = dk_bfloat16_nearest(dk_bfloat16_value(to[e]) + dk_bfloat16_value(from[e]));
}

void dither_combine(int reduction, void *to, const void *from, size_t count)
{
    switch (reduction) {
    case DITHER_MAX_U32: combine_u32(1, to, from, count); break;
    case DITHER_SUM_U32: combine_u32(0, to, from, count); break;
    case DITHER_SUM_U64: combine_u64(to, from, count); break;
    case DITHER_SUM_F32: combine_f32(to, from, count); break;
    default: combine_bf16(to, from, count); break;
    }
}
