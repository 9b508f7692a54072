/* bfloat16 by stochastic rounding: 16 random bits are added to the lower half of a float32, which is then cut off.
 * Exactly unbiased, subnormals included. Symbol: the upper half. omega is that of normal numbers: f (1 - f) ulp^2 with
 * ulp = 2^(e-7) is at most 2^-16 x^2. The largest values may round to infinity, which stops the run. */
#define bf16_SUMMARY "bfloat16 by stochastic rounding, 16 bits a coordinate"
#define bf16_SOURCE "Gupta et al., Deep learning with limited numerical precision, 2015, arXiv:1502.02551"
#define bf16_OPTIONS ""
#define bf16_FORM DK_FORM_SYMBOLS
#define bf16_UNBIASED(codec) 1

HD int bf16_stat(const dk_codec *c) { return (void)c, DK_STAT_NONE; }
HD int64_t bf16_symbols(const dk_codec *c) { return (void)c, 65536; }
HD dk_scaler bf16_scaler(const dk_codec *c, float scale)
{
    return (void)c, (void)scale, dk_scaler_make(1, 1, 1, 1, 0);
}

HD uint32_t bf16_quantize(const dk_scaler *k, float v, uint32_t r)
{
    dk_bits32 bits;
    bits.f = v;
    (void)k;
    const uint32_t special = (bits.u & 0x7F800000u) == 0x7F800000u, nan = special && bits.u << 9;
    return (bits.u + (special ? 0 : r & 0xFFFFu)) >> 16 | nan << 6; /* a NaN stays one */
}

HD float bf16_value(const dk_scaler *k, uint32_t symbol)
{
    dk_bits32 bits;
    bits.u = symbol << 16;
    return (void)k, bits.f;
}

static inline double bf16_omega(const dk_codec *c, int64_t d) { return (void)c, (void)d, 0x1p-16; }
