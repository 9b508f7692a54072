/* TernGrad's ternary gradients: sign(x_i) nu with probability |x_i| / nu, else 0, with nu = max |x_i| of the block. With
 * --clip C, coordinates beyond C standard deviations (about the block's mean) are first cut to that: nu is no larger, so
 * that E||Q(x)||^2 <= C ||x||^2, and E Q(x) = clip(x) exactly, which is not x. Where all coordinates are alike there is
 * no deviation to clip at, and none are. On a scale that all workers share, all are clipped at it. */
#define ternary_SUMMARY "ternary: a coordinate's sign times the block's largest, or 0; with --clip, larger ones are cut"
#define ternary_SOURCE "Wen et al., TernGrad, 2017, arXiv:1705.07878"
#define ternary_OPTIONS "block clip"
#define ternary_FORM DK_FORM_SYMBOLS
#define ternary_UNBIASED(codec) ((codec)->clip == 0)

HD int ternary_stat(const dk_codec *c) { return c->clip > 0 ? DK_STAT_CLIP : DK_STAT_MAX; }
HD int64_t ternary_symbols(const dk_codec *c) { return (void)c, 3; }

HD dk_scaler ternary_scaler(const dk_codec *c, float scale)
{
    dk_codec one = *c;
    one.levels = 1;
    return dither_scaler(&one, scale);
}

/* dither's quantizer takes what is beyond the scale for the scale itself: that is the clipping */
HD uint32_t ternary_quantize(const dk_scaler *k, float v, uint32_t r) { return dither_quantize(k, v, r); }
HD float ternary_value(const dk_scaler *k, uint32_t symbol) { return dither_value(k, symbol); }

/* Without clipping dither's with s = 1, p = inf. With it, the error's square is that much at most, or ||x||^2, or, as
 * nu <= C ||x|| / sqrt(d), what docs/theory.md derives. */
static inline double ternary_omega(const dk_codec *c, int64_t d)
{
    const double all = (DK_HOST_SQRT((double)d) - 1) / 2, C = c->clip > 1 ? c->clip : 1;
    const double clipped = C <= 4 ? 1 + C * C / 8 : C - 1, least = all < clipped ? all : clipped;
    return c->clip == 0 ? all : (least > 1 ? least : 1);
}
