/* The wires, one file each in wires/: how the symbols of a tile become bytes. A file NAME.inl defines
 *   NAME_SUMMARY, NAME_SOURCE
 *   NAME_fits(symbols)                 can it carry this alphabet?
 * and, if a tile's size follows from n alone, DK_FIXED_LENGTH(NAME) and
 *   NAME_words(symbols, bits, n)       words of a tile of n symbols
 *   NAME_bits(symbols, bits, n)        the same before padding to words
 *   NAME_pack(in, n, bits, out)        in: n symbols, then 32 zeros
 *   NAME_unpack(in, n, bits, out)      out: room for n + 32
 * or else, DK_VARIABLE_LENGTH(NAME) and
 *   NAME_bytes(symbols, bits, n)       most bytes of a segment: some whole tiles, n symbols in all, at most 2^20
 *   NAME_model_words(symbols), NAME_model(coder, in, n, out, local)   what all segments of a message share (DK_NO_MODEL)
 *   NAME_write(coder, in, n, out, local)        local->result: the bytes, at least 1 and at most NAME_bytes
 *   NAME_read(coder, in, bytes, n, out, local)  out: n zero symbols before; local->result: 0 if no sender makes this.
 *                                               Any bytes may come: nothing outside in and out is touched
 * A segment without bytes is n zeros: no file sees it. `in` and `out` of symbols are tile-local where the length is fixed;
 * bodies run as phases of one tile (hd.h). dk_symbol is uint16_t. variable.h has the format of the message. */
#ifndef DITHER_WIRE_H
#define DITHER_WIRE_H

#include "codec.h"
#include "sparse.h"
#include "elias.h"

typedef uint16_t dk_symbol;

#define DK_CODER_SYMBOLS 1024 /* largest alphabet with a model */
#define DK_CODER_SLOTS 4096u  /* of a table from frequencies to symbols */

/* What a variable-length coder is told. */
typedef struct dk_coder {
    int32_t symbols, bits; /* of the alphabet */
    uint32_t zero;         /* dk_zero_symbol(symbols) */
    int32_t model_words;
    const uint32_t *model;
} dk_coder;

/* Its tile-local memory. */
typedef struct dk_coder_local {
    uint32_t count[DK_CODER_SYMBOLS], start[DK_CODER_SYMBOLS];
    dk_symbol slot[DK_CODER_SLOTS];
    int32_t result;
} dk_coder_local;

#define DK_NO_MODEL(name) \
    HD int64_t name##_model_words(int64_t symbols) { return (void)symbols, 0; } \
    BODY void name##_model(const dk_coder *c, const dk_symbol *in, int64_t n, uint32_t *out, dk_coder_local *l) \
    { \
        (void)c, (void)in, (void)n, (void)out; \
        EACH(one, 1) \
            l->result = one; \
        EACH_END \
    }
#define DK_FIXED_LENGTH(name) \
    enum { name##_VARIABLE = 0 }; \
    DK_NO_MODEL(name) \
    BODY void name##_write(const dk_coder *c, const dk_symbol *in, int n, uint8_t *out, dk_coder_local *l) \
    { \
        (void)c, (void)in, (void)n, (void)out, (void)l; \
    } \
    BODY void name##_read(const dk_coder *c, const uint8_t *in, int32_t bytes, int n, dk_symbol *out, dk_coder_local *l) \
    { \
        (void)c, (void)in, (void)bytes, (void)n, (void)out, (void)l; \
    }
/* the layout's words of a tile are then the most that it can take */
#define DK_VARIABLE_LENGTH(name) \
    enum { name##_VARIABLE = 1 }; \
    HD int64_t name##_bytes(int64_t symbols, int bits, int64_t n); \
    HD int64_t name##_words(int64_t symbols, int bits, int64_t n) { return (name##_bytes(symbols, bits, n) + 3) / 4; } \
    HD int64_t name##_bits(int64_t symbols, int bits, int64_t n) { return 8 * name##_bytes(symbols, bits, n); } \
    BODY void name##_pack(const dk_symbol *in, int n, int bits, uint32_t *out) { (void)in, (void)n, (void)bits, (void)out; } \
    BODY void name##_unpack(const uint32_t *in, int n, int bits, dk_symbol *out) { (void)in, (void)n, (void)bits, (void)out; }

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

/* ---- variable length; functions of their own, called rather than copied into every codec's body ---- */

#define X(name) case DK_WIRE_##name: return name##_VARIABLE;
static inline int dk_wire_is_variable(int wire) { switch (wire) { DITHER_WIRES(X) } return 0; }
#undef X
#define X(name) case DK_WIRE_##name: return name##_model_words(symbols);
HD int64_t dk_wire_model_words(int wire, int64_t symbols) { switch (wire) { DITHER_WIRES(X) } return 0; }
#undef X
#define X(name) case DK_WIRE_##name: if (name##_VARIABLE) name##_model(c, in, n, out, l); break;
CALLED void dk_wire_model(int wire, const dk_coder *c, const dk_symbol *in, int64_t n, uint32_t *out, dk_coder_local *l)
{
    switch (wire) { DITHER_WIRES(X) }
}
#undef X
#define X(name) case DK_WIRE_##name: if (name##_VARIABLE) name##_write(c, in, n, out, l); break;
CALLED void dk_wire_write(int wire, const dk_coder *c, const dk_symbol *in, int n, uint8_t *out, dk_coder_local *l)
{
    switch (wire) { DITHER_WIRES(X) }
}
#undef X
#define X(name) case DK_WIRE_##name: if (name##_VARIABLE) name##_read(c, in, bytes, n, out, l); break;
CALLED void dk_wire_read(int wire, const dk_coder *c, const uint8_t *in, int32_t bytes, int n, dk_symbol *out,
                         dk_coder_local *l)
{
    switch (wire) { DITHER_WIRES(X) }
}
#undef X

#endif
