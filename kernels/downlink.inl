/* Messages on their way back: who has a part of all messages decodes them, and quantizes the direction again. */

/* The direction h + mean of one tile, and h there. */
BODY void FN(direction_tile)(const dk_rank *k, const dk_round *r, int64_t tile, REAL *out)
{
    TILE_LOCAL REAL acc[DK_TILE];
    TILE_LOCAL dk_symbol symbol[DK_TILE + 32];
    TILE_LOCAL dk_scaler scaler[DK_TILE_BLOCKS];
    const dk_tile t = dk_tile_at(&k->layout, tile);
    FN(decode_tile)(k, tile, &t, acc, symbol, scaler);
    FN(step_direction)(k, r, &t, acc);
    EACH(i, t.n)
        out[t.lo + i] = acc[i];
    EACH_END
}
