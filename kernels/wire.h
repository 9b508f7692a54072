/* The wires, one file each in wires/: how the symbols of a tile become 32-bit words. A file NAME.inl defines
 *   NAME_SUMMARY, NAME_SOURCE
 *   NAME_fits(symbols)                 can it carry this alphabet?
 *   NAME_words(symbols, bits, n)       words of a tile of n symbols
 *   NAME_bits(symbols, bits, n)        the same before padding to words
 *   NAME_pack(in, n, bits, out)        in: n symbols, then 32 zeros
 *   NAME_unpack(in, n, bits, out)      out: room for n + 32
 * `in` and `out` of symbols are tile-local; bodies run as phases of one tile (hd.h). dk_symbol is uint16_t. */
#ifndef DITHER_WIRE_H
#define DITHER_WIRE_H

#include "codec.h"

typedef uint16_t dk_symbol;

#include DITHER_WIRE_FILES

#define X(name) case DK_WIRE_##name: return name##_fits(symbols);
HD int dk_wire_fits(int wire, int64_t symbols) { switch (wire) { DITHER_WIRES(X) } return 0; }
#undef X
#define X(name) case DK_WIRE_##name: return name##_words(symbols, bits, n);
HD int64_t dk_wire_words(int wire, int64_t symbols, int bits, int64_t n)
{
    (void)symbols;
    switch (wire) { DITHER_WIRES(X) }
    return 0;
}
#undef X
#define X(name) case DK_WIRE_##name: return name##_bits(symbols, bits, n);
HD int64_t dk_wire_bits(int wire, int64_t symbols, int bits, int64_t n)
{
    (void)symbols;
    switch (wire) { DITHER_WIRES(X) }
    return 0;
}
#undef X
#define X(name) case DK_WIRE_##name: name##_pack(in, n, bits, out); break;
BODY void dk_wire_pack(int wire, const dk_symbol *in, int n, int bits, uint32_t *out)
{
    switch (wire) { DITHER_WIRES(X) }
}
#undef X
#define X(name) case DK_WIRE_##name: name##_unpack(in, n, bits, out); break;
BODY void dk_wire_unpack(int wire, const uint32_t *in, int n, int bits, dk_symbol *out)
{
    switch (wire) { DITHER_WIRES(X) }
}
#undef X

#endif
