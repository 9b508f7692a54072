/* The step, one tile of coordinates at a time:
 *     s = sum_i q_i,  g = h + s/n,  h += alpha s/n,  x = prox_{gamma R}(x - gamma g),  g perhaps shaped by stepper.inl
 * (VR-DIANA, Algorithm 1; h before its update). */

/* acc: the sum s -> the direction g; and h */
BODY void FN(step_direction)(const dk_rank *k, const dk_round *r, const dk_tile *t, REAL *acc)
{
    REAL *h = (REAL *)k->h_mean + t->lo;
    const REAL share = (REAL)(1.0 / k->workers), alpha = (REAL)r->alpha;
    if (k->memory) {
        EACH(i, t->n)
            const REAL mean = acc[i] * share;
            acc[i] = h[i] + mean;
            h[i] += alpha * mean;
        EACH_END
    } else {
        EACH(i, t->n)
            acc[i] *= share;
        EACH_END
    }
}

/* x := prox(x - gamma g), the ball's projection left to ball.inl */
BODY void FN(step_move)(const dk_rank *k, const dk_round *r, const dk_tile *t, const REAL *g)
{
    REAL *x = (REAL *)k->x + t->lo;
    const REAL gamma = (REAL)r->gamma;
    if (k->prox == DK_PROX_NONE || k->prox == DK_PROX_BALL) {
        EACH(i, t->n)
            x[i] -= gamma * g[i];
        EACH_END
    } else {
        EACH(i, t->n)
            x[i] = (REAL)dk_prox(k->prox, k->prox_a, k->prox_b, r->gamma, (double)(x[i] - gamma * g[i]));
        EACH_END
    }
}

BODY void FN(step_tile)(const dk_rank *k, const dk_round *r, int64_t tile)
{
    TILE_LOCAL REAL acc[DK_TILE];
    TILE_LOCAL dk_symbol symbol[DK_TILE + 32];
    TILE_LOCAL dk_scaler scaler[DK_TILE_BLOCKS];
    TILE_LOCAL int bad;
    const dk_tile t = dk_tile_at(&k->layout, tile);
    const REAL *x = (const REAL *)k->x + t.lo;
    EACH(one, 1)
        bad = one;
    EACH_END
    FN(decode_tile)(k, tile, &t, acc, symbol, scaler);
    FN(step_direction)(k, r, &t, acc);
    if (k->stepper != DK_STEPPER_PLAIN) FN(stepper_tile)(k, r, &t, acc);
    FN(step_move)(k, r, &t, acc);
    EACH_ANY(bad, i, t.n, !(x[i] - x[i] == 0));
    EACH(one, 1)
        if (bad && *k->bad == 0) DK_STORE(k->bad, r->iteration + 1 + one);
    EACH_END
    if (k->prox == DK_PROX_BALL) FN(norm_tile)(k, &t, tile);
}
