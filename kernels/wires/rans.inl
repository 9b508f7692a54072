/* An entropy coder: range asymmetric numeral systems (rANS; Duda, 2009) with one table of frequencies a message. The
 * state is in [2^23, 2^31) and gives off bytes; frequencies add up to 2^16. The message's model is the frequency of
 * every symbol, plus 1, in Elias gamma. A segment is the last state, 4 bytes, then the bytes in the order in which the
 * decoder takes them; the encoder goes from the last symbol to the first. The decoder must end in the state 2^23, where
 * the encoder began, with no byte left. A segment is sequential: one lane works; the tables are built by all. */
#define rans_SUMMARY "entropy coder (rANS): the entropy of the message's symbols, and 2 % at most for many coordinates"
#define rans_SOURCE "Duda, 2009, arXiv:0902.0271; Duda, 2013, arXiv:1311.2540"
DK_VARIABLE_LENGTH(rans)

#define RANS_LOW (1u << 23)
#define RANS_TOTAL (1u << 16)
#define RANS_STEP (RANS_TOTAL / DK_CODER_SLOTS) /* frequencies that share a slot of the table */

HD int rans_fits(int64_t symbols) { return symbols >= 2 && symbols <= DK_CODER_SYMBOLS; }
/* a symbol takes 16 bits at most, and a hair for rounding */
HD int64_t rans_bytes(int64_t symbols, int bits, int64_t n) { return (void)symbols, (void)bits, n * 2 + n / 1024 + 8; }
HD int64_t rans_model_words(int64_t symbols) { return (symbols * 33 + 31) / 32; }

/* Frequencies from counts, each that occurs at least 1, RANS_TOTAL in all: rounded down, then the largest makes up. */
HD void rans_normalize(uint32_t *count, int symbols)
{
    uint64_t total = 0;
    int64_t excess = -(int64_t)RANS_TOTAL;
    for (int s = 0; s < symbols; s++) total += count[s];
    for (int s = 0; s < symbols && total; s++) {
        const uint64_t share = (uint64_t)count[s] * RANS_TOTAL / total;
        count[s] = count[s] && !share ? 1 : (uint32_t)share;
        excess += count[s];
    }
    while (excess != 0 && total) {
        int top = 0;
        for (int s = 1; s < symbols; s++) top = count[s] > count[top] ? s : top;
        const int64_t give = excess < 0 || excess < count[top] / 2 ? excess : (count[top] + 1) / 2;
        count[top] = (uint32_t)(count[top] - give);
        excess -= give;
    }
}

/* The model of a message's symbols, into out; result: its words */
BODY void rans_model(const dk_coder *c, const dk_symbol *in, int64_t n, uint32_t *out, dk_coder_local *l)
{
    EACH(s, c->symbols)
        l->count[s] = 0;
    EACH_END
    for (int64_t begin = 0; begin < n; begin += DK_TILE) {
        EACH(i, (int)(n - begin < DK_TILE ? n - begin : DK_TILE))
            DK_INCREMENT(&l->count[in[begin + i]]);
        EACH_END
    }
    EACH(one, 1)
        dk_bit_writer w = dk_bit_writer_make((uint8_t *)out);
        rans_normalize(l->count, c->symbols);
        for (int s = one; s < c->symbols; s++) dk_elias_put(0, &w, l->count[s] + 1);
        int32_t bytes = dk_put_end(&w, 0);
        for (; bytes % 4; bytes++) ((uint8_t *)out)[bytes] = 0;
        l->result = bytes / 4;
    EACH_END
}

/* Frequencies and where they begin, from the model; result: 1 if it is one. */
BODY void rans_open(const dk_coder *c, dk_coder_local *l)
{
    EACH(one, 1)
        dk_bit_reader r = dk_bit_reader_make((const uint8_t *)c->model, 4 * c->model_words);
        uint32_t sum = (uint32_t)one;
        for (int s = 0; s < c->symbols; s++) {
            const uint32_t f = dk_elias_get(0, &r) - 1;
            l->count[s] = f <= RANS_TOTAL ? f : 0;
            l->start[s] = sum;
            sum += l->count[s];
            if (sum > RANS_TOTAL) sum = RANS_TOTAL + 1;
        }
        l->result = sum == RANS_TOTAL && !dk_overrun(&r);
    EACH_END
}

HD int32_t rans_write_segment(const dk_coder_local *l, const dk_symbol *in, int n, uint8_t *out, int32_t room)
{
    uint32_t x = RANS_LOW;
    int32_t at = room;
    for (int i = n - 1; i >= 0; i--) {
        const uint32_t f = l->count[in[i]];
        while (x >= f << 15) out[--at] = (uint8_t)x, x >>= 8;
        const uint32_t q = x / f;
        x = q * RANS_TOTAL + l->start[in[i]] + (x - q * f);
    }
    for (int i = 0; i < 4; i++) out[--at] = (uint8_t)(x >> 8 * i);
    for (int32_t i = 0; i < room - at; i++) out[i] = out[at + i];
    return room - at;
}

BODY void rans_write(const dk_coder *c, const dk_symbol *in, int n, uint8_t *out, dk_coder_local *l)
{
    rans_open(c, l);
    EACH(one, 1)
        l->result = one + rans_write_segment(l, in, n, out, (int32_t)rans_bytes(c->symbols, c->bits, n));
    EACH_END
}

HD int rans_read_segment(const dk_coder_local *l, const uint8_t *in, int32_t bytes, int n, dk_symbol *out)
{
    if (bytes < 4) return 0;
    uint32_t x = (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
    int32_t at = 4;
    if (x >> 31 || x < RANS_LOW) return 0;
    for (int i = 0; i < n; i++) {
        const uint32_t slot = x % RANS_TOTAL;
        uint32_t s = l->slot[slot / RANS_STEP];
        while (slot >= l->start[s] + l->count[s]) s++; /* ends: the frequencies add up to RANS_TOTAL */
        out[i] = (dk_symbol)s;
        x = l->count[s] * (x / RANS_TOTAL) + slot - l->start[s];
        while (x < RANS_LOW && at < bytes) x = x << 8 | in[at++];
        if (x < RANS_LOW) return 0;
    }
    return x == RANS_LOW && at == bytes;
}

BODY void rans_read(const dk_coder *c, const uint8_t *in, int32_t bytes, int n, dk_symbol *out, dk_coder_local *l)
{
    rans_open(c, l);
    if (!l->result) return;
    EACH(s, c->symbols)
        const uint32_t end = l->start[s] + l->count[s];
        for (uint32_t j = (l->start[s] + RANS_STEP - 1) / RANS_STEP; j * RANS_STEP < end; j++) l->slot[j] = (dk_symbol)s;
    EACH_END
    EACH(one, 1)
        l->result = one + rans_read_segment(l, in, bytes, n, out);
    EACH_END
}
