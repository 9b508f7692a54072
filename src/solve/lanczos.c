#include "lanczos.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sum.h"

#define STEPS 1000
#define SLACK 0.008 /* how far above the largest Ritz value the bound may stay */

/* After k steps M Q = Q T + beta_k q_{k+1} e_k^T with T tridiagonal, alpha on its diagonal and beta beside it. */
typedef struct lanczos {
    int k;
    double alpha[STEPS], beta[STEPS];
} lanczos;

/* Whether no eigenvalue >= u can have gone unseen. With p the characteristic polynomial of T,
 * p(M) q_1 = beta_1 ... beta_k q_{k+1}. Along an eigenvector to lambda >= u that is p(lambda) w, w being the share of
 * the start vector q_1 along it; p grows beyond its roots, so |w| <= beta_1 ... beta_k / p(u). p(u) is the product
 * of the pivots of u I - T, all positive exactly if u is above all eigenvalues of T. */
static int excludes(const lanczos *t, double u, double least_share)
{
    double pivot = 1, share = 1;
    for (int i = 0; i < t->k; i++) {
        pivot = u - t->alpha[i] - (i > 0 ? t->beta[i - 1] * t->beta[i - 1] / pivot : 0.0);
        if (!(pivot > 0)) return 0;
        share *= t->beta[i] / pivot;
    }
    return share < least_share;
}

/* The u in [low, high] from which on `excludes` holds, by bisection from above. Any share is below infinity: with
 * that it is T's largest eigenvalue. */
static double threshold(const lanczos *t, double low, double high, double least_share)
{
    for (int i = 0; i < 60 && high - low > 1e-14 * high; i++) {
        const double middle = low + (high - low) / 2;
        if (excludes(t, middle, least_share))
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* No eigenvalue of T is larger (Gershgorin). */
static double circles(const lanczos *t)
{
    double most = 0;
    for (int i = 0; i < t->k; i++) {
        const double reach = t->alpha[i] + t->beta[i] + (i > 0 ? t->beta[i - 1] : 0.0);
        most = reach > most ? reach : most;
    }
    return most * (1 + 1e-12);
}

/* Entries of both signs and of sizes 1/2 to 1, so that no direction along few coordinates is missed. */
static void start_vector(int64_t n, double *q)
{
    uint64_t state = 0x9E3779B97F4A7C15u;
    for (int64_t i = 0; i < n; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* Marsaglia, "Xorshift RNGs", 2003 */
        const double size = 0.5 + (double)(state >> 12) * 0x1p-53;
        q[i] = state & 1 ? size : -size;
    }
    const double norm = sqrt(dither_dot(q, q, n));
    for (int64_t i = 0; i < n; i++) q[i] /= norm;
}

/* One step for M / unit: alpha and beta of T, and the next basis vector in q, the one before in previous. next: n. */
static void extend(lanczos *t, int64_t n, dither_operator *apply, void *context, double unit, double *q,
                   double *previous, double *next)
{
    apply(context, q, next);
    for (int64_t i = 0; i < n; i++) next[i] /= unit;
    const double before = t->k > 0 ? t->beta[t->k - 1] : 0, alpha = dither_dot(q, next, n);
    for (int64_t i = 0; i < n; i++) next[i] -= alpha * q[i] + before * previous[i];
    const double beta = sqrt(dither_dot(next, next, n));
    for (int64_t i = 0; i < n; i++) {
        previous[i] = q[i];
        q[i] = beta > 0 ? next[i] / beta : 0.0;
    }
    t->alpha[t->k] = alpha, t->beta[t->k++] = beta;
}

dither_status dither_lanczos_bound(int64_t n, dither_operator *apply, void *context, double trace, double *out,
                                   dither_error *error)
{
    dither_status status = DITHER_OK;
    const double least_share = 1e-6 / sqrt((double)n);
    const double unit = trace > 0 && trace < INFINITY ? trace : 1; /* so that squares don't underflow */
    double *vectors = NULL, low = 0, high;
    lanczos *t = NULL;
    int enough = !(trace > 0);
    TRY_ALLOC(vectors, 3 * n);
    TRY_ALLOC(t, 1);
    start_vector(n, vectors);
    while (!enough && t->k < STEPS) {
        extend(t, n, apply, context, unit, vectors, vectors + n, vectors + 2 * n);
        low = threshold(t, low, circles(t), INFINITY);
        enough = excludes(t, (1 + SLACK) * low, least_share) || !(t->beta[t->k - 1] > 0);
    }
    high = (1 + SLACK) * low;
    while (low > 0 && high < trace / unit && !excludes(t, high, least_share)) high *= 1 + SLACK;
    high = low > 0 ? unit * threshold(t, low, high, least_share) * (1 + 1e-12) : trace; /* 1e-12: rounding */
    *out = high < trace ? high : trace;
out:
    free(vectors), free(t);
    return status;
}
