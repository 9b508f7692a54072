#include "codecs.h"

#include <string.h>
#include "wire.h"

#define X(name) {DITHER_SHOWN_##name, name##_SUMMARY, name##_SOURCE, name##_OPTIONS, name##_FORM, name##_UNBIASED, name##_omega},
const dither_codec_info dither_codecs[DK_CODEC_COUNT] = {DITHER_CODECS(X)};
#undef X
#define X(name) {DITHER_SHOWN_##name, name##_SUMMARY, name##_SOURCE},
const dither_wire_info dither_wires[DK_WIRE_COUNT] = {DITHER_WIRES(X)};
#undef X

int dither_codec_find(const char *name)
{
    for (int i = 0; i < DK_CODEC_COUNT; i++)
        if (!strcmp(dither_codecs[i].name, name)) return i;
    return -1;
}

int dither_codec_takes(int kind, const char *option)
{
    const size_t length = strlen(option);
    for (const char *p = dither_codecs[kind].options; *p; p += strcspn(p, " "), p += *p == ' ')
        if (strcspn(p, " ") == length && !memcmp(p, option, length)) return 1;
    return 0;
}

int dither_wire_find(const char *name)
{
    for (int i = 0; i < DK_WIRE_COUNT; i++)
        if (!strcmp(dither_wires[i].name, name)) return i;
    return -1;
}

double dither_codec_omega(const dk_codec *codec, int64_t d, int64_t block)
{
    /* omega grows with the block, so the longest block, which is never the last one alone, decides */
    return dither_codecs[codec->kind].omega(codec, block > 0 && block < d ? block : d);
}

int dither_wire_carries(int wire, const dk_codec *codec)
{
    if (dk_codec_form(codec->kind) != DK_FORM_SYMBOLS) return wire == DK_WIRE_float;
    return dk_wire_fits(wire, dk_codec_symbols(codec->kind, codec));
}

int dither_wire_shortest(const dk_codec *codec, int64_t d, int64_t block, int real_bytes)
{
    int best = DK_WIRE_float;
    int64_t best_words = INT64_MAX;
    for (int wire = 0; wire < DK_WIRE_COUNT; wire++) {
        dk_codec candidate = *codec;
        dk_layout layout;
        candidate.wire = wire;
        if (!dither_wire_carries(wire, codec)) continue;
        dk_layout_make(&layout, &candidate, d, block, real_bytes);
        if (layout.message_words < best_words) best = wire, best_words = layout.message_words;
    }
    return best;
}
