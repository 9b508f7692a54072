/* Where the tiles of a layout are: pure arithmetic, the same for encoder and decoder. */
#ifndef DITHER_TILE_H
#define DITHER_TILE_H

#include "wire.h"

HD dk_tile dk_tile_at(const dk_layout *y, int64_t index)
{
    dk_tile t;
    int64_t end;
    if (y->tiles_per_block > 1) {
        const int64_t piece = index % y->tiles_per_block;
        t.block = index / y->tiles_per_block;
        t.lo = t.block * y->block + piece * DK_TILE;
        t.word = y->scale_words + t.block * y->block_words + piece * y->tile_words;
        end = (t.block + 1) * y->block < t.lo + DK_TILE ? (t.block + 1) * y->block : t.lo + DK_TILE;
        t.blocks = 1;
    } else {
        t.block = index * y->blocks_per_tile;
        t.lo = t.block * y->block;
        t.word = y->scale_words + index * y->tile_words;
        end = t.lo + y->blocks_per_tile * y->block;
        t.blocks = (int32_t)(y->blocks - t.block < y->blocks_per_tile ? y->blocks - t.block : y->blocks_per_tile);
    }
    t.n = (int32_t)((end < y->d ? end : y->d) - t.lo);
    return t;
}

#endif
