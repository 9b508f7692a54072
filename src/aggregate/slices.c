#include "slices.h"

#include "tile.h"

dk_codec dither_back_codec(const dither_plan *p, int lossy)
{
    const dither_options *o = p->options;
    const int64_t block = dither_back_block(p), levels = p->codec.kind == DK_CODEC_dither || p->codec.kind == DK_CODEC_kbit
                                                             ? p->codec.levels : 1;
    dk_codec codec = {.kind = DK_CODEC_identity, .wire = DK_WIRE_float};
    if (!lossy) return codec;
    codec = (dk_codec){.kind = DK_CODEC_dither, .levels = (int32_t)(o->downlink_levels_set ? o->downlink_levels : levels)};
    codec.wire = dither_wire_shortest(&codec, p->d, block, p->single ? 4 : 8, 0);
    return codec;
}

int64_t dither_back_block(const dither_plan *p)
{
    return p->block > 0 && p->block < p->d ? p->block : DK_TILE;
}

void dither_layouts_make(dither_layouts *out, const dither_plan *p, const dk_codec *back)
{
    const int real = p->single ? 4 : 8;
    dk_layout_make(&out->up, &p->codec, p->d, p->block, real);
    dk_layout_make(&out->back, back, p->d, dither_back_block(p), real);
    out->up_raw = dk_codec_form(p->codec.kind) == DK_FORM_RAW ? real / 4 : 0;
    out->back_raw = dk_codec_form(back->kind) == DK_FORM_RAW ? real / 4 : 0;
}

static int64_t word_of(const dk_layout *y, int raw, int64_t tile)
{
    if (tile == y->tiles) return y->message_words;
    const dk_tile t = dk_tile_at(y, tile);
    return raw ? t.lo * raw : t.word;
}

static int64_t block_of(const dk_layout *y, int64_t tile) { return tile == y->tiles ? y->blocks : dk_tile_at(y, tile).block; }

dither_slice dither_slice_of(const dither_layouts *l, int ranks, int rank, int star)
{
    const dk_layout *up = &l->up, *back = &l->back;
    const int whole = back->tiles_per_block > 1; /* blocks of several tiles are not cut */
    const int64_t units = whole ? back->blocks : back->tiles, each = whole ? back->tiles_per_block : 1;
    int64_t begin = units * rank / ranks * each, end = units * (rank + 1) / ranks * each;
    if (star) begin = 0, end = rank == 0 ? back->tiles : 0;
    dither_slice s = {.begin = begin < back->tiles ? begin : back->tiles, .end = end < back->tiles ? end : back->tiles};
    if (s.begin == s.end) return s;
    s.lo = dk_tile_at(back, s.begin).lo;
    s.hi = s.end == back->tiles ? back->d : dk_tile_at(back, s.end).lo;
    s.up.word = word_of(up, l->up_raw, s.begin), s.up.word_end = word_of(up, l->up_raw, s.end);
    s.back.word = word_of(back, l->back_raw, s.begin), s.back.word_end = word_of(back, l->back_raw, s.end);
    if (up->scale_words) {
        s.up.scale = up->blocks > 1 ? block_of(up, s.begin) : 0;
        s.up.scale_end = up->blocks > 1 ? block_of(up, s.end) : 1;
    }
    if (back->scale_words) s.back.scale = block_of(back, s.begin), s.back.scale_end = block_of(back, s.end);
    return s;
}
