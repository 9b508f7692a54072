/* From the direction g, the same on all ranks, to what x moves by, times -gamma:
 *   momentum  v = beta1 v + g;  v                              (Polyak, 1964)
 *   adam      m = beta1 m + (1 - beta1) g,  u = beta2 u + (1 - beta2) g^2;  m' / (sqrt(u') + epsilon) with
 *             m' = m / (1 - beta1^t), u' = u / (1 - beta2^t) in step t = 1, 2, ...    (Kingma and Ba, 2015, Algorithm 1)
 * one tile at a time, in place. */

BODY void FN(stepper_tile)(const dk_rank *k, const dk_round *r, const dk_tile *t, REAL *g)
{
    REAL *v = (REAL *)k->velocity + t->lo, *u = (REAL *)k->square + t->lo;
    const REAL beta1 = (REAL)k->beta1, beta2 = (REAL)k->beta2, rest1 = (REAL)(1 - k->beta1), rest2 = (REAL)(1 - k->beta2);
    const REAL first = (REAL)r->first, second = (REAL)r->second, epsilon = (REAL)k->epsilon;
    if (k->stepper == DK_STEPPER_MOMENTUM) {
        EACH(i, t->n)
            v[i] = beta1 * v[i] + g[i];
            g[i] = v[i];
        EACH_END
    } else if (k->stepper == DK_STEPPER_ADAM) {
        EACH(i, t->n)
            v[i] = beta1 * v[i] + rest1 * g[i];
            u[i] = beta2 * u[i] + rest2 * (g[i] * g[i]);
            g[i] = v[i] * first / ((REAL)DK_SQRT((double)(u[i] * second)) + epsilon);
        EACH_END
    }
}
