/* Random dithering: with nu = ||x||_p of the block and t = s |x_i| / nu, the level is floor(t) or floor(t) + 1,
 * the latter with probability t - floor(t); Q(x)_i = sign(x_i) nu level / s. Symbol: level + s with the sign in it.
 * Arithmetic is float32: t and the value each carry a relative error of at most 2^-22, and u has 24 bits, so that the
 * chance of the upper level is rounded up to a multiple of 2^-24. That is the bias: |E Q(x)_i - x_i| is at most
 * 2^-21 |x_i| + 2^-24 nu / s. */
#define dither_SUMMARY "l_p random dithering with s levels (p = 1, 2, inf), whole vector or blocks"
#define dither_SOURCE "Alistarh et al., QSGD, 2017 (p = 2); Horvath et al., 2019, arXiv:1904.05115 (any p)"
#define dither_OPTIONS "levels norm block"
#define dither_FORM DK_FORM_SYMBOLS
#define dither_UNBIASED(codec) 1

HD int dither_stat(const dk_codec *c)
{
    return c->norm == 0 ? DK_STAT_MAX : (c->norm == 1 ? DK_STAT_SUM1 : DK_STAT_SUM2);
}

HD int64_t dither_symbols(const dk_codec *c) { return 2 * (int64_t)c->levels + 1; }

/* A norm below 2^-100 is first multiplied by 2^100, so that s / nu does not overflow. A norm that is not finite
 * makes every value NaN, which stops all workers in the same iteration. */
HD dk_scaler dither_scaler(const dk_codec *c, float scale)
{
    dk_scaler k;
    const int tiny = scale < 0x1p-100f, finite = scale - scale == 0;
    k.levels = c->levels;
    k.pre = tiny ? 0x1p100f : 1.0f;
    k.post = tiny ? 0x1p-100f : 1.0f;
    const float nu = scale * k.pre;
    k.mul = nu > 0 && finite ? (float)((double)c->levels / (double)nu) : 0.0f;
    k.unit = finite ? (float)((double)nu / (double)c->levels) : scale - scale;
    return k;
}

HD uint32_t dither_quantize(const dk_scaler *k, float v, uint32_t r)
{
    dk_bits32 bits;
    bits.f = v;
    const int32_t negative = -(int32_t)(bits.u >> 31);
    bits.u &= 0x7FFFFFFFu;
    const float top = (float)k->levels, scaled = bits.f * k->pre * k->mul;
    const float t = scaled < top ? scaled : top; /* NaN becomes top: it must not reach the conversion */
    const int32_t floor_t = (int32_t)t;
    const float u = (float)(int32_t)(r >> 8) * 0x1p-24f;
    const int32_t level = floor_t + (u < t - (float)floor_t);
    return (uint32_t)(((level ^ negative) - negative) + k->levels);
}

HD float dither_value(const dk_scaler *k, uint32_t symbol)
{
    return (float)((int32_t)symbol - k->levels) * k->unit * k->post;
}

/* Tight for p = inf, and for p = 1, 2 with few levels; THEORY in docs/theory.md. */
static inline double dither_omega(const dk_codec *c, int64_t d)
{
    const double s = c->levels, dd = (double)d;
    if (c->norm == 0) return (DK_HOST_SQRT(1 + (dd - 1) / (s * s)) - 1) / 2;
    const double q = c->norm == 2 ? DK_HOST_SQRT(dd) : dd;
    return s <= q / 2 ? q / s - 1 : q * q / (4 * s * s);
}
