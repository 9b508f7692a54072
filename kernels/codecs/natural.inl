/* Natural compression: |x| = 2^e (1 + f) becomes 2^e or, with probability f, 2^(e+1). Adding 23 random bits to the
 * mantissa and cutting it off does just that, exactly unbiased, subnormals included. Symbol: sign and exponent.
 * |x| >= 2^127 may round to infinity, which stops the run like any value that is not finite. */
#define natural_SUMMARY "natural compression: powers of two, 9 bits a coordinate"
#define natural_SOURCE "Horvath et al., Natural compression, 2019, arXiv:1905.10988"
#define natural_OPTIONS ""
#define natural_FORM DK_FORM_SYMBOLS
#define natural_UNBIASED(codec) 1

HD int natural_stat(const dk_codec *c) { return (void)c, DK_STAT_NONE; }
HD int64_t natural_symbols(const dk_codec *c) { return (void)c, 512; }
HD dk_scaler natural_scaler(const dk_codec *c, float scale)
{
    return (void)c, (void)scale, dk_scaler_make(1, 1, 1, 1, 0);
}

HD uint32_t natural_quantize(const dk_scaler *k, float v, uint32_t r)
{
    dk_bits32 bits;
    bits.f = v;
    (void)k;
    const uint32_t magnitude = bits.u & 0x7FFFFFFFu;
    const uint32_t rounded = (magnitude + (r & 0x7FFFFFu)) >> 23; /* at most 255, infinity's exponent */
    return (bits.u >> 31) << 8 | (magnitude >= 0x7F800000u ? 255u : rounded);
}

HD float natural_value(const dk_scaler *k, uint32_t symbol)
{
    dk_bits32 bits;
    bits.u = (symbol >> 8) << 31 | (symbol & 255u) << 23;
    return (void)k, bits.f;
}

static inline double natural_omega(const dk_codec *c, int64_t d) { return (void)c, (void)d, 0.125; }
