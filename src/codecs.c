#include "codecs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "variable.h"

#define X(name) static int name##_unbiased(const dk_codec *codec) { return (void)codec, name##_UNBIASED(codec); }
DITHER_CODECS(X)
#undef X
#define X(name) {DITHER_SHOWN_##name, name##_SUMMARY, name##_SOURCE, name##_OPTIONS, name##_FORM, name##_unbiased, name##_omega},
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

int dither_codec_is_variable(const dk_codec *codec)
{
    return dk_codec_is_masked(codec->kind) || dk_wire_is_variable(codec->wire);
}

int dither_wire_carries(int wire, const dk_codec *codec)
{
    if (dk_codec_form(codec->kind) != DK_FORM_SYMBOLS) return wire == DK_WIRE_float;
    return dk_wire_fits(wire, dk_codec_symbols(codec->kind, codec));
}

/* ---- the expected size of a message of variable length ---- */

enum { SAMPLE = 16 * DK_TILE };
/* Coders that are sequential within a tile take many times longer: they must save a quarter of the bytes. */
#define WORTHWHILE 0.75

static float normal_word(uint64_t *state)
{
    double u[2];
    for (int j = 0; j < 2; j++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        u[j] = (double)((*state >> 11) + 1) * 0x1p-53;
    }
    return (float)(sqrt(-2 * log(u[0])) * cos(6.283185307179586 * u[1]));
}

/* The scale of a block of `length` standard normal coordinates: the mean of its statistic, nearly. */
static double normal_scale(int stat, double clip, double length)
{
    const double logarithm = log(2 * length + 1), root = sqrt(2 * logarithm);
    if (stat == DK_STAT_SUM1) return 0.7978845608 * length;
    if (stat == DK_STAT_SUM2) return sqrt(length);
    const double largest = root - (log(logarithm) + 2.5310242) / (2 * root) + 0.57721566 / root; /* Gumbel's law of the maximum */
    return stat == DK_STAT_CLIP && clip < largest ? clip : largest;
}

static double bytes_of_sample(const dk_codec *codec, const dk_layout *y, dk_symbol *symbols, uint32_t *room, dk_coder_local *l)
{
    const int stat = dk_codec_stat(codec->kind, codec);
    const dk_scaler scaler = dk_codec_scaler(codec->kind, codec, (float)normal_scale(stat, codec->clip, (double)y->block));
    const dk_tile first = dk_tile_at(y, 0);
    const int n = first.n, tiles = y->tiles < SAMPLE / n ? (int)y->tiles : SAMPLE / n;
    dk_coder c = {.symbols = y->symbols, .bits = y->symbol_bits, .zero = dk_zero_symbol(y->symbols), .model = room};
    uint64_t state = 1;
    double bytes = 0;
    for (int i = 0; i < n * tiles; i++) {
        const float v = normal_word(&state);
        symbols[i] = (dk_symbol)dk_codec_quantize(codec->kind, &scaler, v, (uint32_t)((state * 0x9E3779B97F4A7C15u) >> 32));
    }
    dk_wire_model(codec->wire, &c, symbols, n * tiles, room, l);
    c.model_words = y->model_words ? l->result : 0;
    int64_t nonzeros = 0;
    for (int i = 0; i < n * tiles; i++) nonzeros += symbols[i] != c.zero;
    const int64_t together = (int64_t)1 << dk_group_for(y->tiles, nonzeros * y->tiles / tiles);
    const int segment = n * (int)(together < tiles ? together : tiles);
    for (int i = 0; i < n * tiles; i += segment) {
        const int length = i + segment < n * tiles ? segment : n * tiles - i;
        dk_wire_write(codec->wire, &c, symbols + i, length, (uint8_t *)(room + y->model_words), l);
        bytes += l->result;
    }
    return 4 * (double)(y->scale_words + DK_HEADER + c.model_words) + bytes * (double)y->d / (n * tiles);
}

/* Bytes of a message when the coordinates are normal; infinity without the memory to find out. */
static double expected_bytes(const dk_codec *codec, const dk_layout *y)
{
    dk_symbol *symbols = malloc(SAMPLE * sizeof *symbols);
    uint32_t *room = malloc((size_t)(y->model_words + SAMPLE / DK_TILE * dk_wire_words(codec->wire, y->symbols, y->symbol_bits, DK_TILE)) * sizeof *room);
    dk_coder_local *l = malloc(sizeof *l);
    const double bytes = symbols && room && l ? bytes_of_sample(codec, y, symbols, room, l) : INFINITY;
    free(symbols), free(room), free(l);
    return bytes;
}

int dither_wire_shortest(const dk_codec *codec, int64_t d, int64_t block, int real_bytes, int variable)
{
    int best = DK_WIRE_float;
    double best_bytes = INFINITY;
    for (int wire = 0; wire < DK_WIRE_COUNT; wire++) {
        dk_codec candidate = *codec;
        dk_layout layout;
        candidate.wire = wire;
        if (!dither_wire_carries(wire, codec)) continue;
        dk_layout_make(&layout, &candidate, d, block, real_bytes);
        if (layout.variable && !variable) continue;
        const double bytes = layout.variable ? expected_bytes(&candidate, &layout) / WORTHWHILE : 4 * (double)layout.message_words;
        if (bytes < best_bytes) best = wire, best_bytes = bytes;
    }
    return best;
}
