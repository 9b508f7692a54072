/* Golomb-Rice codes: a number v as v >> k ones, a zero and the last k bits of v. In front 5 bits: k of the gaps between
 * nonzeros, and when the alphabet has levels above 1, 4 bits: k of the levels; then for every nonzero gap - 1, its sign
 * and, with levels above 1, |level| - 1, to the end of the bytes, padded with ones. The k come from the counts: near
 * log2(0.69 mean), which is near the entropy of a geometric law. Where that is not shorter than fixed width, the first
 * 5 bits are ones and fixed width follows, padded with ones. A segment is sequential: one lane works. */
#define rice_SUMMARY "Golomb-Rice codes of gaps and levels, parameters by segment: near the entropy when most are zero"
#define rice_SOURCE "Golomb, 1966; Rice and Plaunt, 1971"
DK_VARIABLE_LENGTH(rice)
DK_NO_MODEL(rice)

HD int rice_fits(int64_t symbols) { return symbols >= 3 && symbols <= 65535 && symbols % 2 == 1; }
HD int64_t rice_bytes(int64_t symbols, int bits, int64_t n) { return (void)symbols, (9 + n * bits + 7) / 8; }

/* k for `count` numbers v >= 0 whose sum is `total`: the largest with 2^k <= 0.69 (mean + 1), at most `most` */
HD int rice_parameter(int64_t total, int64_t count, int most)
{
    int k = 0;
    while (k < most && ((int64_t)200 << k) * count <= 69 * (total + count)) k++;
    return k;
}

HD void rice_put(dk_bit_writer *w, uint32_t v, int k)
{
    uint32_t ones = v >> k;
    for (; ones >= 32; ones -= 32) dk_put(w, 0xFFFFFFFFu, 32);
    dk_put(w, (uint32_t)((((uint64_t)1 << ones) - 1) << 1), (int)ones + 1 <= 32 ? (int)ones + 1 : 32);
    dk_put(w, v & ((1u << k) - 1), k);
}

#define RICE_MANY (1u << 21) /* no gap and no level is so large (DK_GROUP) */

/* RICE_MANY and more for what is no number below that. */
HD uint32_t rice_get(dk_bit_reader *r, int k)
{
    uint32_t ones = 0;
    for (;;) {
        const uint32_t gap = ~(uint32_t)(dk_peek(r) >> 32);
        const int here = gap ? 31 - dk_log2(gap) : 32;
        ones += (uint32_t)here, r->at += here;
        if (ones > RICE_MANY >> k || dk_overrun(r)) return RICE_MANY;
        if (here < 32) break;
    }
    r->at++;
    return ones << k | dk_get(r, k);
}

typedef struct rice_plan {
    int64_t bits;
    int gap_k, level_k;
} rice_plan;

HD rice_plan rice_plan_make(const dk_coder *c, const dk_symbol *in, int n)
{
    rice_plan p;
    int64_t count = 0, levels = 0;
    int last = -1;
    for (int i = dk_next_nonzero(in, 0, n, c->zero); i < n; i = dk_next_nonzero(in, i + 1, n, c->zero)) {
        count++, last = i;
        levels += dk_level_magnitude(in[i], c->zero) - 1;
    }
    p.gap_k = rice_parameter(last + 1 - count, count, 20);
    p.level_k = rice_parameter(levels, count, 14);
    p.bits = count * (1 + 1 + p.gap_k);
    last = -1;
    for (int i = dk_next_nonzero(in, 0, n, c->zero); i < n; i = dk_next_nonzero(in, i + 1, n, c->zero)) {
        p.bits += (i - last - 1) >> p.gap_k;
        if (c->zero > 1) p.bits += 1 + p.level_k + ((dk_level_magnitude(in[i], c->zero) - 1) >> p.level_k);
        last = i;
    }
    return p;
}

HD int32_t rice_write_tile(const dk_coder *c, const dk_symbol *in, int n, uint8_t *out)
{
    const rice_plan p = rice_plan_make(c, in, n);
    const int fixed = p.bits >= (int64_t)n * c->bits;
    dk_bit_writer w = dk_bit_writer_make(out);
    int last = -1;
    dk_put(&w, fixed ? 31u : (uint32_t)p.gap_k, 5);
    if (!fixed && c->zero > 1) dk_put(&w, (uint32_t)p.level_k, 4);
    for (int i = 0; fixed && i < n; i++) dk_put(&w, in[i], c->bits);
    for (int i = fixed ? n : dk_next_nonzero(in, 0, n, c->zero); i < n; i = dk_next_nonzero(in, i + 1, n, c->zero)) {
        rice_put(&w, (uint32_t)(i - last - 1), p.gap_k);
        dk_put(&w, in[i] < c->zero, 1);
        if (c->zero > 1) rice_put(&w, dk_level_magnitude(in[i], c->zero) - 1, p.level_k);
        last = i;
    }
    return dk_put_end(&w, 1);
}

HD int rice_read_fixed(const dk_coder *c, dk_bit_reader *r, int n, dk_symbol *out)
{
    for (int i = 0; i < n; i++) {
        const uint32_t symbol = dk_get(r, c->bits);
        if (symbol > 2 * c->zero || dk_overrun(r)) return 0;
        out[i] = (dk_symbol)symbol;
    }
    return dk_at_end(r, 1);
}

HD int rice_read_tile(const dk_coder *c, const uint8_t *in, int32_t bytes, int n, dk_symbol *out)
{
    dk_bit_reader r = dk_bit_reader_make(in, bytes);
    const int gap_k = (int)dk_get(&r, 5), level_k = gap_k < 31 && c->zero > 1 ? (int)dk_get(&r, 4) : 0;
    int position = -1;
    if (gap_k == 31) return rice_read_fixed(c, &r, n, out);
    if (gap_k > 20) return 0;
    while (!dk_at_end(&r, 1)) {
        const uint32_t gap = rice_get(&r, gap_k), negative = dk_get(&r, 1);
        const uint32_t level = 1 + (c->zero > 1 ? rice_get(&r, level_k) : 0);
        if (gap >= (uint32_t)(n - 1 - position) || level > c->zero || dk_overrun(&r)) return 0;
        position += (int)gap + 1;
        out[position] = (dk_symbol)(negative ? c->zero - level : c->zero + level);
    }
    return 1;
}

BODY void rice_write(const dk_coder *c, const dk_symbol *in, int n, uint8_t *out, dk_coder_local *l)
{
    EACH(one, 1)
        l->result = one + rice_write_tile(c, in, n, out);
    EACH_END
}

BODY void rice_read(const dk_coder *c, const uint8_t *in, int32_t bytes, int n, dk_symbol *out, dk_coder_local *l)
{
    EACH(one, 1)
        l->result = one + rice_read_tile(c, in, bytes, n, out);
    EACH_END
}
