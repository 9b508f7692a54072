/* k-bit randomized rounding: dithering with p = 2 and s = 2^k levels (k: --bits). */
#define kbit_SUMMARY "k-bit randomized rounding: dithering with p = 2 and s = 2^k levels"
#define kbit_SOURCE "Alistarh et al., QSGD, 2017, arXiv:1610.02132"
#define kbit_OPTIONS "bits block"
#define kbit_FORM DK_FORM_SYMBOLS
#define kbit_UNBIASED(codec) 1

HD int kbit_stat(const dk_codec *c) { return (void)c, DK_STAT_SUM2; }
HD int64_t kbit_symbols(const dk_codec *c) { return dither_symbols(c); }
HD dk_scaler kbit_scaler(const dk_codec *c, float scale) { return dither_scaler(c, scale); }
HD uint32_t kbit_quantize(const dk_scaler *k, float v, uint32_t r) { return dither_quantize(k, v, r); }
HD float kbit_value(const dk_scaler *k, uint32_t symbol) { return dither_value(k, symbol); }

static inline double kbit_omega(const dk_codec *c, int64_t d)
{
    dk_codec two = *c;
    two.norm = 2;
    return dither_omega(&two, d);
}
