/* A dense least-squares problem with few features, written down apart from the library, for tests of methods. */
#ifndef DITHER_TESTS_QUADRATIC_H
#define DITHER_TESTS_QUADRATIC_H

#include "theory.h"

#include "plan.h"

enum { D = 6, ROWS = 240, N = 4, M = ROWS / N };

typedef struct quadratic {
    dither_data *data;
    double l2, a[ROWS][D], y[ROWS];
    double H[D][D], b[D], x_star[D]; /* f(x) = x'Hx/2 - b'x + const */
} quadratic;

/* Gauss elimination without pivoting: A is symmetric and positive definite. */
static inline void solve(double (*A)[D], const double *b, double *x)
{
    double U[D][D + 1];
    for (int i = 0; i < D; i++) {
        memcpy(U[i], A[i], sizeof A[i]);
        U[i][D] = b[i];
    }
    for (int p = 0; p < D; p++)
        for (int i = p + 1; i < D; i++)
            for (int c = D; c >= p; c--) U[i][c] -= U[i][p] / U[p][p] * U[p][c];
    for (int p = D - 1; p >= 0; p--) {
        x[p] = U[p][D];
        for (int c = p + 1; c < D; c++) x[p] -= U[p][c] * x[c];
        x[p] /= U[p][p];
    }
}

/* Labels are noise, and `signal` times a function of the row: where it is small, x = 0 is near the optimum. */
static inline quadratic *quadratic_open(double l2, double signal, uint64_t seed)
{
    quadratic *q = calloc(1, sizeof *q);
    int64_t start[ROWS + 1] = {0};
    int32_t column[ROWS * D];
    q->l2 = l2;
    for (int r = 0; r < ROWS; r++) {
        q->y[r] = random_normal(&seed);
        for (int i = 0; i < D; i++) {
            q->a[r][i] = random_normal(&seed), column[r * D + i] = i;
            q->y[r] += signal * (1 + i + (r >= ROWS / 2)) * q->a[r][i];
        }
        start[r + 1] = start[r] + D;
        for (int i = 0; i < D; i++) {
            q->b[i] += q->a[r][i] * q->y[r] / ROWS;
            for (int c = 0; c < D; c++) q->H[i][c] += q->a[r][i] * q->a[r][c] / ROWS;
        }
    }
    for (int i = 0; i < D; i++) q->H[i][i] += l2;
    solve(q->H, q->b, q->x_star);
    assert_int_equal(dither_data_from_csr(ROWS, D, start, column, &q->a[0][0], q->y, &q->data, NULL), DITHER_OK);
    return q;
}

static inline void quadratic_close(quadratic *q)
{
    dither_data_free(q->data);
    free(q);
}

/* f(x) - f(x*) = (x - x*)'H(x - x*)/2 */
static inline double gap_of(const quadratic *q, const double *x)
{
    double gap = 0;
    for (int i = 0; i < D; i++)
        for (int c = 0; c < D; c++) gap += (x[i] - q->x_star[i]) * q->H[i][c] * (x[c] - q->x_star[c]) / 2;
    return gap;
}

/* Row r's gradient at x. */
static inline void row_gradient(const quadratic *q, int r, const double *x, double *g)
{
    double z = -q->y[r];
    for (int c = 0; c < D; c++) z += q->a[r][c] * x[c];
    for (int c = 0; c < D; c++) g[c] = z * q->a[r][c] + q->l2 * x[c];
}

static inline void gradient_at(const quadratic *q, const double *x, double *g)
{
    for (int i = 0; i < D; i++) {
        g[i] = -q->b[i];
        for (int c = 0; c < D; c++) g[i] += q->H[i][c] * x[c];
    }
}

#endif
