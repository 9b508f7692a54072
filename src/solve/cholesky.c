#include "cholesky.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool.h"
#include "sum.h"

#if defined(__x86_64__)
#define TARGET(isa) __attribute__((target(isa)))
#endif

/* Eight numbers, in as many registers as the instruction set needs. */
typedef double lanes __attribute__((vector_size(64), aligned(8), may_alias));

/* c[8][8] += sign * left^T right, `height` rows at a time: as many as the registers hold. Multiply and add stay
 * separate and r ascends, so the height and the width of the registers don't show in the result. */
#define DEFINE_TILE(name, attribute, height) \
    attribute static void name(double *c, int64_t stride, const double *left, const double *right, int64_t depth, \
                               double sign) \
    { \
        for (int top = 0; top < DITHER_TILE; top += (height)) { \
            lanes sum[height] = {{0}}; \
            for (int64_t r = 0; r < depth; r++) { \
                const lanes factor = *(const lanes *)(right + DITHER_TILE * r); \
                for (int i = 0; i < (height); i++) sum[i] += left[DITHER_TILE * r + top + i] * factor; \
            } \
            for (int i = 0; i < (height); i++) *(lanes *)(c + (top + i) * stride) += sign * sum[i]; \
        } \
    }

typedef void tile_function(double *, int64_t, const double *, const double *, int64_t, double);

DEFINE_TILE(tile_baseline, , 2)
#ifdef TARGET
DEFINE_TILE(tile_avx2, TARGET("avx2"), 4)
DEFINE_TILE(tile_avx512, TARGET("avx512f"), 8)
#endif

/* DITHER_ISA=baseline|avx2|avx512 asks for less than the processor has, as it does for the kernels. */
static tile_function *choose_tile(void)
{
#ifdef TARGET
    const char *asked = getenv("DITHER_ISA");
    const int most = !asked || !strcmp(asked, "avx512") ? 2 : !strcmp(asked, "avx2");
    if (most == 2 && __builtin_cpu_supports("avx512f")) return tile_avx512;
    if (most >= 1 && __builtin_cpu_supports("avx2")) return tile_avx2;
#endif
    return tile_baseline;
}

enum { BAND = 8 * DITHER_TILE }; /* rows whose panels stay in the cache next to the core */

typedef struct update {
    tile_function *tile;
    double *c;
    const double *panels;
    int64_t stride, n, depth;
    double sign;
} update;

static void update_bands(const void *job, int64_t begin, int64_t end)
{
    const update *u = job;
    for (int64_t band = begin; band < end; band++) {
        const int64_t top = band * BAND, bottom = top + BAND < u->n ? top + BAND : u->n;
        for (int64_t j = 0; j < bottom; j += DITHER_TILE)
            for (int64_t i = j > top ? j : top; i < bottom; i += DITHER_TILE)
                u->tile(u->c + i * u->stride + j, u->stride, u->panels + i * u->depth, u->panels + j * u->depth, u->depth,
                        u->sign);
    }
}

void dither_rank_update(double *c, int64_t stride, int64_t n, const double *panels, int64_t depth, double sign,
                        int threads)
{
    const int wanted = n < 512 ? 1 : (threads > 0 ? threads : (int)sysconf(_SC_NPROCESSORS_ONLN));
    const update job = {choose_tile(), c, panels, stride, n, depth, sign};
    dk_pool *pool = wanted > 1 ? dk_pool_create(wanted) : NULL;
    if (pool) dk_pool_run(pool, wanted, (n + BAND - 1) / BAND, update_bands, &job);
    else update_bands(&job, 0, (n + BAND - 1) / BAND);
    dk_pool_free(pool);
}

/* The n x n block at a, n <= DITHER_DEPTH, whose earlier columns have been subtracted already. */
static int factor_block(double *a, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double rest = a[i * stride + j];
            for (int64_t k = 0; k < j; k++) rest -= a[i * stride + k] * a[j * stride + k];
            if (j < i) {
                a[i * stride + j] = rest / a[j * stride + j];
            } else {
                if (!(rest > 1e-13)) return 0;
                a[i * stride + i] = sqrt(rest);
            }
        }
    return 1;
}

/* Rows [0, 8) of a below a factored block: a := a (block^T)^{-1}, also copied to panel[depth][8]. */
static void solve_rows(const double *block, double *a, int64_t stride, int64_t depth, double *panel)
{
    for (int64_t c = 0; c < depth; c++)
        for (int64_t i = 0; i < DITHER_TILE; i++) panel[DITHER_TILE * c + i] = a[i * stride + c];
    for (int64_t c = 0; c < depth; c++) {
        lanes rest = *(const lanes *)(panel + DITHER_TILE * c);
        for (int64_t k = 0; k < c; k++) rest -= block[c * stride + k] * *(const lanes *)(panel + DITHER_TILE * k);
        *(lanes *)(panel + DITHER_TILE * c) = rest / block[c * stride + c];
    }
    for (int64_t c = 0; c < depth; c++)
        for (int64_t i = 0; i < DITHER_TILE; i++) a[i * stride + c] = panel[DITHER_TILE * c + i];
}

/* Right-looking, in blocks of DITHER_DEPTH columns: factor the block on the diagonal, solve for the rows below it,
 * subtract their outer product from what is left. */
int dither_cholesky_factor(double *a, int64_t n, double *panels, int threads)
{
    for (int64_t j = 0; j < n; j += DITHER_DEPTH) {
        const int64_t depth = n - j < DITHER_DEPTH ? n - j : DITHER_DEPTH, below = j + depth;
        double *const block = a + j * n + j;
        if (!factor_block(block, n, depth)) return 0;
        for (int64_t i = below; i < n; i += DITHER_TILE)
            solve_rows(block, a + i * n + j, n, depth, panels + (i - below) * depth);
        dither_rank_update(a + below * n + below, n, n - below, panels, depth, -1.0, threads);
    }
    return 1;
}

void dither_cholesky_solve(const double *factor, int64_t n, double *x)
{
    for (int64_t i = 0; i < n; i++) x[i] = (x[i] - dither_dot(factor + i * n, x, i)) / factor[i * n + i];
    for (int64_t i = n - 1; i >= 0; i--) {
        x[i] /= factor[i * n + i];
        for (int64_t k = 0; k < i; k++) x[k] -= x[i] * factor[i * n + k];
    }
}
