/* Messages whose length depends on their content. In 32-bit words:
 *   scales    layout.scale_words
 *   header    bits 0-15: bytes of the shortest tile; 16-20: bits w of an entry of the table; 21-31: words of the model
 *   model     what the wire tells of the whole message
 *   table     for every tile w bits: by how many bytes it is longer than the shortest; least significant bit first
 *   tiles     their bytes one after the other, then zeros up to a word
 * so that a receiver finds any tile by adding up the table, and tiles are decoded in parallel. Sending takes four
 * passes over the symbols that encode_tile has left in rank->symbols: model, write, table, place. */
#ifndef DITHER_VARIABLE_H
#define DITHER_VARIABLE_H

#include "tile.h"

HD dk_coder dk_variable_coder(const dk_rank *k, const uint32_t *message)
{
    const dk_layout *y = &k->layout;
    dk_coder c;
    c.symbols = y->symbols, c.bits = y->symbol_bits, c.zero = dk_zero_symbol(y->symbols);
    c.model = message + y->scale_words + 1;
    c.model_words = (int32_t)(message[y->scale_words] >> 21);
    return c;
}

HD uint32_t *dk_message_of(const dk_rank *k, int worker) { return k->messages + worker * k->layout.message_words; }
/* of the message of `worker`: where its tiles begin, in bytes, where the last one ends, and 1 if it is well formed */
HD int64_t *dk_pieces_of(const dk_rank *k, int worker) { return k->piece_at + worker * (k->layout.tiles + 2); }

/* 1. the model of this rank's worker w */
CALLED void dk_variable_model(const dk_rank *k, int w)
{
    TILE_LOCAL dk_coder_local l;
    uint32_t *message = dk_message_of(k, k->first + w), *header = message + k->layout.scale_words;
    const dk_coder c = dk_variable_coder(k, message);
    dk_wire_model(k->codec.wire, &c, k->symbols + w * k->stride, k->d, header + 1, &l);
    EACH(one, 1)
        header[one] = k->layout.model_words ? (uint32_t)l.result << 21 : 0;
    EACH_END
}

/* 2. the bytes of one tile, into rank->pieces */
CALLED void dk_variable_write(const dk_rank *k, int w, int64_t tile)
{
    TILE_LOCAL dk_coder_local l;
    const dk_layout *y = &k->layout;
    const dk_tile t = dk_tile_at(y, tile);
    const int64_t piece = w * y->tiles + tile;
    const dk_symbol *in = k->symbols + w * k->stride + t.lo;
    const dk_coder c = dk_variable_coder(k, dk_message_of(k, k->first + w));
    TILE_LOCAL int some;
    EACH(one, 1)
        some = one;
    EACH_END
    EACH_ANY(some, i, t.n, in[i] != c.zero);
    if (some) dk_wire_write(k->codec.wire, &c, in, t.n, (uint8_t *)(k->pieces + piece * y->tile_words), &l);
    EACH(one, 1)
        k->piece_bytes[piece] = some ? (uint32_t)l.result : (uint32_t)one;
    EACH_END
}

HD int64_t dk_table_words(const dk_layout *y, uint32_t header) { return (y->tiles * (header >> 16 & 31) + 31) / 32; }

/* Entry e of the table, of `width` bits */
HD uint32_t dk_table_entry(const uint32_t *table, int64_t e, int width)
{
    const int64_t at = e * width;
    const int shift = (int)(at & 31);
    uint64_t v = width ? table[at >> 5] >> shift : 0;
    if (shift + width > 32) v |= (uint64_t)table[(at >> 5) + 1] << (32 - shift);
    return (uint32_t)(v & (((uint64_t)1 << width) - 1));
}

/* Where the tiles of the message of `worker` are; it is not trusted. Each of up to 256 lanes adds up a run of tiles. */
CALLED void dk_variable_open(const dk_rank *k, int worker)
{
    TILE_LOCAL int64_t part[DK_THREADS + 1];
    TILE_LOCAL int bad;
    const dk_layout *y = &k->layout;
    const uint32_t *message = dk_message_of(k, worker), header = message[y->scale_words], least = header & 0xFFFF;
    const int width = (int)(header >> 16 & 31);
    const int64_t table_at = y->scale_words + 1 + (header >> 21), first = table_at + dk_table_words(y, header);
    const int lanes = (int)(y->tiles < DK_THREADS ? y->tiles : DK_THREADS);
    const int64_t run = (y->tiles + lanes - 1) / lanes;
    int64_t *at = dk_pieces_of(k, worker);
    EACH(one, 1)
        part[one] = 0;
        bad = one + (width > 16 || (header >> 21) > (uint32_t)y->model_words || first > y->message_words);
    EACH_END
    if (!bad) {
        EACH(lane, lanes)
            int64_t sum = 0;
            for (int64_t e = lane * run; e < (lane + 1) * run && e < y->tiles; e++) {
                at[e] = sum;
                sum += least + dk_table_entry(message + table_at, e, width);
            }
            part[lane] = sum;
        EACH_END
        EACH(one, 1)
            int64_t sum = 4 * first + one;
            for (int lane = 0; lane <= lanes; lane++) {
                const int64_t here = lane < lanes ? part[lane] : 0;
                part[lane] = sum, sum += here;
            }
            bad = part[lanes] > 4 * y->message_words || (k->message_bytes && part[lanes] != k->message_bytes[worker]);
        EACH_END
        EACH(lane, lanes)
            for (int64_t e = lane * run; e < (lane + 1) * run && e < y->tiles; e++) at[e] += part[lane];
        EACH_END
    }
    EACH(one, 1)
        at[y->tiles] = bad ? one : part[lanes];
        at[y->tiles + 1] = !bad;
    EACH_END
}

/* 3. the table of this rank's worker w, and the length of its message */
CALLED void dk_variable_table(const dk_rank *k, int w)
{
    TILE_LOCAL uint32_t longest, inverse_shortest;
    const dk_layout *y = &k->layout;
    const int worker = k->first + w;
    uint32_t *message = dk_message_of(k, worker), *header = message + y->scale_words;
    const uint32_t *bytes = k->piece_bytes + w * y->tiles;
    EACH_MAX(longest, i, (int)y->tiles, bytes[i]);
    EACH_MAX(inverse_shortest, i, (int)y->tiles, 0xFFFFu - bytes[i]);
    const uint32_t shortest = 0xFFFFu - inverse_shortest, spread = longest - shortest;
    const int width = spread ? dk_log2(spread) + 1 : 0;
    uint32_t *table = header + 1 + (*header >> 21);
    EACH(one, 1)
        header[one] |= (uint32_t)width << 16 | shortest;
    EACH_END
    EACH(j, (int)dk_table_words(y, *header))
        uint32_t word = 0;
        for (int64_t e = (int64_t)j * 32 / width; e < y->tiles && e * width < (int64_t)j * 32 + 32; e++) {
            const int64_t shift = e * width - (int64_t)j * 32;
            const uint32_t v = bytes[e] - shortest;
            word |= shift >= 0 ? v << shift : v >> -shift;
        }
        table[j] = word;
    EACH_END
    if (k->message_bytes) {
        EACH(one, 1)
            int64_t total = 4 * (table - message + dk_table_words(y, *header)) + one;
            for (int64_t e = 0; e < y->tiles; e++) total += bytes[e];
            k->message_bytes[worker] = total;
        EACH_END
    }
    dk_variable_open(k, worker);
    EACH(one, 1)
        const int64_t end = dk_pieces_of(k, worker)[y->tiles];
        for (int64_t i = end + one; i % 4; i++) ((uint8_t *)message)[i] = 0;
        if (k->sent) k->sent[w] += end;
    EACH_END
}

/* 4. one tile to its place in the message */
CALLED void dk_variable_place(const dk_rank *k, int w, int64_t tile)
{
    const dk_layout *y = &k->layout;
    const int64_t piece = w * y->tiles + tile;
    const uint8_t *DK_RESTRICT from = (const uint8_t *)(k->pieces + piece * y->tile_words);
    uint8_t *DK_RESTRICT to = (uint8_t *)dk_message_of(k, k->first + w) + dk_pieces_of(k, k->first + w)[tile];
    EACH(i, (int)k->piece_bytes[piece])
        to[i] = from[i];
    EACH_END
}

/* The symbols of one tile of a message that is open; 0 if its bytes are none that a sender makes. */
CALLED int dk_variable_read(const dk_rank *k, int worker, int64_t tile, int n, dk_symbol *out)
{
    TILE_LOCAL dk_coder_local l;
    const uint32_t *message = dk_message_of(k, worker);
    const int64_t *at = dk_pieces_of(k, worker), length = at[tile + 1] - at[tile];
    const dk_coder c = dk_variable_coder(k, message);
    const int good = at[k->layout.tiles + 1] && length <= 4 * k->layout.tile_words;
    EACH(i, n)
        out[i] = (dk_symbol)c.zero;
    EACH_END
    if (!good || length == 0) return good;
    dk_wire_read(k->codec.wire, &c, (const uint8_t *)message + at[tile], (int32_t)length, n, out, &l);
    return l.result;
}

#endif
