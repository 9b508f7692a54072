/* The quantized values as float32, unpacked: what a program sends that quantizes without coding. The receiver gets
 * the very values that the other wires stand for, so training gives the same bits. Raw and gathered messages always
 * travel like this. The body writes the values itself (encode.inl, decode.inl): there are no symbols to pack. */
#define float_SUMMARY "the values themselves: 32 bits a coordinate (64 for identity in f64)"
#define float_SOURCE ""
DK_FIXED_LENGTH(float)

HD int float_fits(int64_t symbols) { return (void)symbols, 1; }
HD int64_t float_bits(int64_t symbols, int bits, int64_t n) { return (void)symbols, (void)bits, n * 32; }
HD int64_t float_words(int64_t symbols, int bits, int64_t n) { return (void)symbols, (void)bits, n; }
BODY void float_pack(const dk_symbol *in, int n, int bits, uint32_t *out) { (void)in, (void)n, (void)bits, (void)out; }
BODY void float_unpack(const uint32_t *in, int n, int bits, dk_symbol *out)
{
    (void)in, (void)n, (void)bits, (void)out;
}
