#include "newton_system.h"

/* Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952, with z = D^{-1} r. */
int dither_conjugate_gradients(dither_newton_system *system, const double *b, double tolerance, int64_t limit,
                               double *x, double *work)
{
    const int64_t n = system->unknowns;
    double *const r = work, *const z = r + n, *const p = z + n, *const q = p + n;
    for (int64_t u = 0; u < n; u++) {
        x[u] = 0, r[u] = b[u];
        p[u] = z[u] = system->scale[u] * system->scale[u] * r[u];
    }
    double rz = dither_dot(r, z, n);
    const double stop = tolerance * tolerance * rz;
    for (int64_t step = 0; step < limit; step++) {
        if (!(rz > stop) || dither_relay_failed(system->objective->relay)) return 1;
        dither_newton_system_product(system, p, q);
        const double curvature = dither_dot(p, q, n);
        if (!(curvature > 1e-14 * rz)) return 1; /* H is singular along p: what has been found so far has to do */
        const double alpha = rz / curvature;
        for (int64_t u = 0; u < n; u++) {
            x[u] += alpha * p[u];
            r[u] -= alpha * q[u];
            z[u] = system->scale[u] * system->scale[u] * r[u];
        }
        const double before = rz;
        rz = dither_dot(r, z, n);
        for (int64_t u = 0; u < n; u++) p[u] = z[u] + rz / before * p[u];
    }
    return 0;
}
