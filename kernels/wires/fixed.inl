/* Fixed width: symbol i of a tile in bits [i b, (i+1) b), least significant bit first, so any symbol can be read
 * on its own. 32 symbols fill exactly b words: each group of 32 is packed by itself. */
#define fixed_SUMMARY "fixed width: ceil(log2(2s+1)) bits a coordinate"
#define fixed_SOURCE ""
DK_FIXED_LENGTH(fixed)

HD int fixed_fits(int64_t symbols) { return symbols > 0 && symbols <= 65536; }
HD int64_t fixed_bits(int64_t symbols, int bits, int64_t n) { return (void)symbols, n * bits; }
HD int64_t fixed_words(int64_t symbols, int bits, int64_t n) { return (void)symbols, (n * bits + 31) / 32; }

/* 32 / b symbols a word, b a power of two known to the compiler: no symbol straddles words. */
BODY void fixed_pack_even(const dk_symbol *in, int words, const int b, uint32_t *out)
{
    EACH(w, words)
        uint32_t v = 0;
        for (int j = 0; j < 32 / b; j++) v |= (uint32_t)in[w * (32 / b) + j] << (j * b);
        out[w] = v;
    EACH_END
}

BODY void fixed_unpack_even(const uint32_t *in, int n, const int b, dk_symbol *out)
{
    EACH(w, (n * b + 31) / 32)
        const uint32_t v = in[w];
        for (int j = 0; j < 32 / b; j++) out[w * (32 / b) + j] = (dk_symbol)(v >> (j * b) & ((1u << b) - 1));
    EACH_END
}

BODY void fixed_pack(const dk_symbol *in, int n, int bits, uint32_t *out)
{
    const int words = (n * bits + 31) / 32;
    switch (bits) {
    case 2: fixed_pack_even(in, words, 2, out); return;
    case 4: fixed_pack_even(in, words, 4, out); return;
    case 8: fixed_pack_even(in, words, 8, out); return;
    case 16: fixed_pack_even(in, words, 16, out); return;
    default: break;
    }
    EACH(g, (n + 31) / 32)
        uint64_t buffer = 0;
        int fill = 0, o = g * bits;
        for (int k = 0; k < 32; k++) {
            buffer |= (uint64_t)in[g * 32 + k] << fill;
            fill += bits;
            if (fill >= 32) {
                if (o < words) out[o] = (uint32_t)buffer;
                o++, buffer >>= 32, fill -= 32;
            }
        }
    EACH_END
}

BODY void fixed_unpack(const uint32_t *in, int n, int bits, dk_symbol *out)
{
    const int words = (n * bits + 31) / 32;
    switch (bits) {
    case 2: fixed_unpack_even(in, n, 2, out); return;
    case 4: fixed_unpack_even(in, n, 4, out); return;
    case 8: fixed_unpack_even(in, n, 8, out); return;
    case 16: fixed_unpack_even(in, n, 16, out); return;
    default: break;
    }
    EACH(g, (n + 31) / 32)
        uint64_t buffer = 0;
        int fill = 0, o = g * bits;
        for (int k = 0; k < 32; k++) {
            if (fill < bits) {
                buffer |= (uint64_t)(o < words ? in[o] : 0) << fill;
                o++, fill += 32;
            }
            out[g * 32 + k] = (dk_symbol)(buffer & ((1u << bits) - 1));
            buffer >>= bits, fill -= bits;
        }
    EACH_END
}
