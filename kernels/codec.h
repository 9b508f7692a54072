/* The codecs, one file each in codecs/. A file NAME.inl defines
 *   NAME_SUMMARY, NAME_SOURCE (paper), NAME_FORM (DK_FORM_...), NAME_UNBIASED(codec) (0 or 1),
 *   NAME_OPTIONS (that it takes)
 *   NAME_omega(codec, d)        E||Q(x) - x||^2 <= omega ||x||^2 for a block of d coordinates; host only
 * and, for DK_FORM_SYMBOLS (others say DK_NO_SYMBOLS(NAME)),
 *   NAME_stat(codec)            the statistic of a block that scales it
 *   NAME_symbols(codec)         size of the alphabet, at most 65536
 *   NAME_scaler(codec, scale)   what coordinates of a block with this scale are multiplied with
 *   NAME_quantize(scaler, v, r) the symbol of v, rounded with the random word r
 *   NAME_value(scaler, symbol)  what the receiver, and the sender's memory, take the symbol for
 * The build finds the files: dither_registry.h lists them. */
#ifndef DITHER_CODEC_H
#define DITHER_CODEC_H

#include "kernels.h"
#include "exact_math.h"

typedef struct dk_scaler {
    float pre;  /* v * pre is in the normal range of float32 */
    float mul;  /* |v| * pre * mul in [0, levels] */
    float unit; /* symbol's level to value, times ... */
    float post; /* ... the inverse of pre */
    int32_t levels;
} dk_scaler;

/* not a compound literal: nvcc 13.0 can't compile those in device code */
HD dk_scaler dk_scaler_make(float pre, float mul, float unit, float post, int32_t levels)
{
    dk_scaler k;
    k.pre = pre, k.mul = mul, k.unit = unit, k.post = post, k.levels = levels;
    return k;
}

#define DK_HOST_SQRT(x) __builtin_sqrt(x)
/* sqrt of IEEE 754, correctly rounded on every device */
#ifdef __CUDACC__
#define DK_SQRT(x) __dsqrt_rn(x)
#else
#define DK_SQRT(x) __builtin_sqrt(x)
#endif

/* v >= 0 as float32, rounded up: a norm must not be smaller than what it scales. */
HD float dk_round_up(double v)
{
    dk_bits32 f;
    f.f = (float)v;
    f.u += (double)f.f < v;
    return f.f;
}

/* |v| as a pattern of bits, which are in the order of the values */
HD uint32_t dk_magnitude_bits(float v)
{
    dk_bits32 b;
    b.f = v;
    return b.u & 0x7FFFFFFFu;
}

HD float dk_magnitude(float v)
{
    dk_bits32 b;
    b.f = v;
    b.u &= 0x7FFFFFFFu;
    return b.f;
}

/* A random word below this keeps a coordinate: `keep` of d in the mean, the chance rounded down to 32 bits, but not to 0.
 * For host and device. */
#define DK_MASK_LIMIT(keep, d) (((uint64_t)(keep) << 32) / (uint64_t)(d) + ((uint64_t)(keep) << 32 < (uint64_t)(d)))

/* The float32 scale of a block of n coordinates for DK_STAT_CLIP: their largest, but no more than `clip` standard
 * deviations about their mean. A largest that is not finite stays. */
HD float dk_clipped_scale(double clip, double largest, double sum, double square, int64_t n)
{
    const double mean = sum / (double)n, variance = square / (double)n - mean * mean;
    const double limit = clip * DK_SQRT(variance > 0 ? variance : 0.0);
    return dk_round_up(limit > 0 && largest > limit && largest - largest == 0 ? limit : largest);
}

/* The float32 scale of a block whose statistic is v. */
HD float dk_scale_of(int stat, double v) { return dk_round_up(stat == DK_STAT_SUM2 ? DK_SQRT(v) : v); }

#define DK_NO_SYMBOLS(name) \
    HD int name##_stat(const dk_codec *c) { return (void)c, DK_STAT_NONE; } \
    HD int64_t name##_symbols(const dk_codec *c) { return (void)c, 0; } \
    HD dk_scaler name##_scaler(const dk_codec *c, float scale) { return (void)c, (void)scale, dk_scaler_make(0, 0, 0, 0, 0); } \
    HD uint32_t name##_quantize(const dk_scaler *k, float v, uint32_t r) { return (void)k, (void)v, r; } \
    HD float name##_value(const dk_scaler *k, uint32_t symbol) { return (void)k, (float)symbol; }

#include DITHER_CODEC_FILES

#define X(name) case DK_CODEC_##name: return name##_FORM;
HD int dk_codec_form(int kind) { switch (kind) { DITHER_CODECS(X) } return 0; }
#undef X
/* host code, in C and in CUDA */
#define X(name) case DK_CODEC_##name: return name##_FORM == DK_FORM_GATHER;
static inline int dk_codec_is_gather(int kind) { switch (kind) { DITHER_CODECS(X) } return 0; }
#undef X
#define X(name) case DK_CODEC_##name: return name##_FORM == DK_FORM_MASK;
static inline int dk_codec_is_masked(int kind) { switch (kind) { DITHER_CODECS(X) } return 0; }
#undef X
#define X(name) case DK_CODEC_##name: return name##_stat(c);
HD int dk_codec_stat(int kind, const dk_codec *c) { switch (kind) { DITHER_CODECS(X) } return 0; }
#undef X
#define X(name) case DK_CODEC_##name: return name##_symbols(c);
HD int64_t dk_codec_symbols(int kind, const dk_codec *c) { switch (kind) { DITHER_CODECS(X) } return 0; }
#undef X
#define X(name) case DK_CODEC_##name: return name##_scaler(c, scale);
HD dk_scaler dk_codec_scaler(int kind, const dk_codec *c, float scale)
{
    switch (kind) { DITHER_CODECS(X) }
    return dk_scaler_make(0, 0, 0, 0, 0);
}
#undef X
#define X(name) case DK_CODEC_##name: return name##_quantize(k, v, r);
HD uint32_t dk_codec_quantize(int kind, const dk_scaler *k, float v, uint32_t r)
{
    switch (kind) { DITHER_CODECS(X) }
    return 0;
}
#undef X
#define X(name) case DK_CODEC_##name: return name##_value(k, symbol);
HD float dk_codec_value(int kind, const dk_scaler *k, uint32_t symbol)
{
    switch (kind) { DITHER_CODECS(X) }
    return 0;
}
#undef X

#endif
