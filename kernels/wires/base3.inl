/* Base 3: five symbols of three in a byte (3^5 = 243), 1.6 bits a coordinate against log2(3) = 1.585. Byte j of a
 * tile of n symbols holds symbols j, j+B, .., j+4B with B = ceil(n / 5), so that neighbouring lanes work on
 * neighbouring symbols. */
#define base3_SUMMARY "five ternary symbols a byte: 1.6 bits a coordinate (s = 1)"
#define base3_SOURCE ""
DK_FIXED_LENGTH(base3)

HD int base3_fits(int64_t symbols) { return symbols == 3; }
HD int64_t base3_bits(int64_t symbols, int bits, int64_t n) { return (void)symbols, (void)bits, (n + 4) / 5 * 8; }
HD int64_t base3_words(int64_t symbols, int bits, int64_t n)
{
    return (void)symbols, (void)bits, ((n + 4) / 5 + 3) / 4;
}

BODY void base3_pack(const dk_symbol *in, int n, int bits, uint32_t *out)
{
    const int bytes = (n + 4) / 5;
    uint8_t *DK_RESTRICT o = (uint8_t *)out;
    (void)bits;
    EACH_MAP(j, bytes, {
        o[j] = (uint8_t)(in[j] + 3 * in[j + bytes] + 9 * in[j + 2 * bytes] + 27 * in[j + 3 * bytes] +
                         81 * in[j + 4 * bytes]);
    });
    EACH(j, (4 - bytes % 4) % 4)
        o[bytes + j] = 0;
    EACH_END
}

/* q / 3 is q * 171 >> 9 below 512. A byte of 243 and up, which no sender makes, gives a last symbol of 3. */
BODY void base3_unpack(const uint32_t *in, int n, int bits, dk_symbol *DK_RESTRICT out)
{
    const int bytes = (n + 4) / 5;
    const uint8_t *DK_RESTRICT b = (const uint8_t *)in;
    (void)bits;
    EACH_MAP(j, bytes, {
        const uint16_t q0 = b[j];
        const uint16_t q1 = (uint16_t)(q0 * 171u >> 9), q2 = (uint16_t)(q1 * 171u >> 9);
        const uint16_t q3 = (uint16_t)(q2 * 171u >> 9), q4 = (uint16_t)(q3 * 171u >> 9);
        out[j] = (uint16_t)(q0 - 3 * q1);
        out[j + bytes] = (uint16_t)(q1 - 3 * q2);
        out[j + 2 * bytes] = (uint16_t)(q2 - 3 * q3);
        out[j + 3 * bytes] = (uint16_t)(q3 - 3 * q4);
        out[j + 4 * bytes] = q4;
    });
}
