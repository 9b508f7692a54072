/* Natural dithering: with nu = ||x||_p of the block, |x_i| / nu is rounded to one of its two neighbours among the s + 1
 * levels 0, 2^(1-s), .., 1/2, 1. Above 2^(1-s), adding 23 random bits to the mantissa and cutting it off does it, as
 * in natural compression; below, a comparison. Symbol: sign * (number of the level) + s. */
#define natural_dither_SUMMARY "natural dithering: powers of two times the l_p norm, s levels"
#define natural_dither_SOURCE "Horvath et al., Natural compression, 2019, arXiv:1905.10988"
#define natural_dither_OPTIONS "levels norm block"
#define natural_dither_FORM DK_FORM_SYMBOLS
#define natural_dither_UNBIASED(codec) 1

HD int natural_dither_stat(const dk_codec *c) { return dither_stat(c); }
HD int64_t natural_dither_symbols(const dk_codec *c) { return dither_symbols(c); }

/* Norms below 2^-100 are scaled up as in dither: 1 / nu must not overflow. */
HD dk_scaler natural_dither_scaler(const dk_codec *c, float scale)
{
    dk_codec one = *c;
    one.levels = 1;
    dk_scaler k = dither_scaler(&one, scale);
    k.levels = c->levels;
    return k;
}

/* 2^(1-levels), levels at most DK_NATURAL_LEVELS */
#define DK_NATURAL_LEVELS 100
HD float natural_dither_lowest(int32_t levels)
{
    dk_bits32 b;
    b.u = (uint32_t)(128 - levels) << 23;
    return b.f;
}

HD uint32_t natural_dither_quantize(const dk_scaler *k, float v, uint32_t r)
{
    dk_bits32 bits, t;
    bits.f = v;
    const int32_t negative = -(int32_t)(bits.u >> 31);
    bits.u &= 0x7FFFFFFFu;
    const float scaled = bits.f * k->pre * k->mul, lowest = natural_dither_lowest(k->levels);
    t.f = scaled < 1.0f ? scaled : 1.0f; /* NaN becomes 1; its scale makes it NaN again */
    const float u = (float)(int32_t)(r >> 8) * 0x1p-24f;
    const int32_t above = (int32_t)((t.u + (r >> 9)) >> 23) - 127 + k->levels;
    const int32_t level = t.f < lowest ? u * lowest < t.f : above;
    return (uint32_t)(((level ^ negative) - negative) + k->levels);
}

HD float natural_dither_value(const dk_scaler *k, uint32_t symbol)
{
    dk_bits32 power;
    const int32_t level = (int32_t)symbol - k->levels, magnitude = level < 0 ? -level : level;
    power.u = magnitude ? (uint32_t)(127 - k->levels + magnitude) << 23 : 0;
    power.u |= level < 0 ? 0x80000000u : 0u;
    return power.f * k->unit * k->post;
}

static inline double natural_dither_omega(const dk_codec *c, int64_t d)
{
    const double root = c->norm == 1 ? (double)d : DK_HOST_SQRT((double)d);
    double q = 2 * root;
    for (int i = 0; i < c->levels; i++) q /= 2;
    return 0.125 + (q < 1 ? q * q : q);
}
