/* Projection on ||x|| <= a after the step: the norm's square by tile, their sum, the scaling. */

BODY void FN(norm_tile)(const dk_rank *k, const dk_tile *t, int64_t tile)
{
    const REAL *x = (const REAL *)k->x + t->lo;
    EACH_OCTET(one, 1)
        double total;
        OCTET_SUM(total, double, i, t->n, (double)x[i] * (double)x[i]);
        OCTET_ONCE k->tile_norm[tile + one] = total;
    EACH_END
}

BODY void FN(norm_total)(const dk_rank *k)
{
    EACH_OCTET(one, 1)
        double total;
        OCTET_SUM(total, double, i, k->layout.tiles, k->tile_norm[i]);
        OCTET_ONCE k->tile_norm[k->layout.tiles + one] = total;
    EACH_END
}

BODY void FN(project_tile)(const dk_rank *k, int64_t tile)
{
    const dk_tile t = dk_tile_at(&k->layout, tile);
    REAL *x = (REAL *)k->x + t.lo;
    const double norm = DK_SQRT(k->tile_norm[k->layout.tiles]);
    const double factor = norm > k->prox_a ? k->prox_a / norm : 1.0;
    EACH(i, t.n)
        x[i] = (REAL)((double)x[i] * factor);
    EACH_END
}
