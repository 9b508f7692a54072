#include "wire.h"

static int64_t symbol_bits(int64_t symbols)
{
    int64_t bits = 0;
    while (((int64_t)1 << bits) < symbols) bits++;
    return bits;
}

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* Payload bits before padding: tile by tile, of which all but one or two have the same size. */
static int64_t payload_bits(const dk_layout *l, int wire)
{
    const int bits = l->symbol_bits;
    if (l->tiles_per_block > 1) {
        const int64_t last = l->d - (l->blocks - 1) * l->block;
        int64_t total = 0;
        for (int part = 0; part < 2; part++) {
            const int64_t length = part ? last : l->block, pieces = length / DK_TILE;
            const int64_t one = pieces * dk_wire_bits(wire, l->symbols, bits, DK_TILE) +
                                dk_wire_bits(wire, l->symbols, bits, length % DK_TILE);
            total += part ? one : one * (l->blocks - 1);
        }
        return total;
    }
    const int64_t full = l->blocks_per_tile * l->block, whole = l->d / full;
    return whole * dk_wire_bits(wire, l->symbols, bits, full) + dk_wire_bits(wire, l->symbols, bits, l->d % full);
}

static int64_t payload_words(const dk_layout *l, int wire)
{
    const int bits = l->symbol_bits;
    if (l->tiles_per_block > 1) {
        const int64_t last = l->d - (l->blocks - 1) * l->block;
        return (l->blocks - 1) * l->block_words + last / DK_TILE * l->tile_words +
               dk_wire_words(wire, l->symbols, bits, last % DK_TILE);
    }
    const int64_t full = l->blocks_per_tile * l->block;
    return l->d / full * l->tile_words + dk_wire_words(wire, l->symbols, bits, l->d % full);
}

void dk_layout_make(dk_layout *out, const dk_codec *codec, int64_t d, int64_t block, int real_bytes)
{
    dk_layout l = {.d = d};
    const int form = dk_codec_form(codec->kind);
    l.block = block > 0 && block < d ? block : d;
    l.blocks = (d + l.block - 1) / l.block;
    l.tiles_per_block = (l.block + DK_TILE - 1) / DK_TILE;
    l.blocks_per_tile = l.block > DK_TILE ? 1 : min64(min64(DK_TILE / l.block, DK_TILE_BLOCKS), l.blocks);
    l.tiles = l.tiles_per_block > 1 ? (l.blocks - 1) * l.tiles_per_block +
                                          (d - (l.blocks - 1) * l.block + DK_TILE - 1) / DK_TILE
                                    : (l.blocks + l.blocks_per_tile - 1) / l.blocks_per_tile;
    if (form == DK_FORM_SYMBOLS) {
        l.symbols = (int32_t)dk_codec_symbols(codec->kind, codec);
        l.symbol_bits = (int32_t)symbol_bits(l.symbols);
        l.scale_words = dk_codec_stat(codec->kind, codec) == DK_STAT_NONE ? 0 : l.blocks;
        const int64_t n = l.tiles_per_block > 1 ? DK_TILE : l.blocks_per_tile * l.block;
        l.tile_words = dk_wire_words(codec->wire, l.symbols, l.symbol_bits, n);
        if (l.tiles_per_block > 1)
            l.block_words = (l.block / DK_TILE) * l.tile_words +
                            dk_wire_words(codec->wire, l.symbols, l.symbol_bits, l.block % DK_TILE);
        l.variable = l.coded = dk_wire_is_variable(codec->wire);
        l.model_words = dk_wire_model_words(codec->wire, l.symbols);
        /* header, model and a table of 16 bits a tile at most */
        const int64_t extra = l.variable ? 2 + l.model_words + (l.tiles + 1) / 2 : 0;
        l.message_words = l.scale_words + extra + payload_words(&l, codec->wire);
        l.bits = 32 * (l.scale_words + extra) + payload_bits(&l, codec->wire);
    } else {
        l.variable = form == DK_FORM_MASK;
        l.message_words = form == DK_FORM_RAW ? d * real_bytes / 4 : (form == DK_FORM_MASK ? d : codec->keep);
        l.bits = 32 * l.message_words;
    }
    *out = l;
}

/* Powers of two are unpacked by shifts, any other base by divisions: only where it saves bytes. */
int dk_digits_make(dk_digits *out, int64_t levels, int64_t workers, int64_t d)
{
    const uint64_t top = 2 * (uint64_t)levels * (uint64_t)workers;
    int64_t best = INT64_MAX;
    if (levels > INT32_MAX || workers > INT32_MAX || top >= UINT32_MAX) return 1;
    for (int form = 0; form < 4; form++) {
        dk_digits l = {.word_bytes = form & 1 ? 8 : 4, .base = top + 1};
        if (form < 2) l.shift = (int32_t)symbol_bits((int64_t)top + 1), l.base = (uint64_t)1 << l.shift;
        const uint64_t most = form & 1 ? UINT64_MAX : UINT32_MAX;
        uint64_t power = 1; /* wraps after the last digit only */
        for (uint64_t all = most; all >= l.base - 1; all = (all - (l.base - 1)) / l.base, power *= l.base)
            if (l.per_word < 40) l.power[l.per_word++] = power;
        if (!l.per_word) continue;
        l.words = (d + l.per_word - 1) / l.per_word;
        if (l.words * l.word_bytes < best) *out = l, best = l.words * l.word_bytes;
    }
    return 0;
}
