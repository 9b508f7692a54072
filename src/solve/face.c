#include "face.h"

#include "prox.h"
#include "sum.h"

void dither_face_subgradient(const dither_face *face, int64_t d, const double *x, const double *gradient,
                            double *subgradient, unsigned char *is_free)
{
    const double a = face->a, b = face->b;
    for (int64_t c = 0; c < d; c++) {
        const double g = gradient[c];
        double v = g;
        int pinned = 0;
        if (face->kind == DK_PROX_L1) {
            pinned = x[c] == 0;
            v = pinned ? (g > a ? g - a : (g < -a ? g + a : 0.0)) : (x[c] > 0 ? g + a : g - a);
        } else if (face->kind == DK_PROX_BOX) {
            const int low = x[c] <= a, high = x[c] >= b;
            pinned = low || high;
            v = (low && g > 0) || (high && g < 0) ? 0.0 : g;
        }
        subgradient[c] = v;
        is_free[c] = !pinned;
    }
}

void dither_face_proximal_step(const dither_face *face, int64_t d, double L, const double *gradient, double *x)
{
    for (int64_t c = 0; c < d; c++)
        x[c] = dk_prox(face->kind, face->a, face->b, 1.0 / L, x[c] - gradient[c] / L);
}

void dither_face_step(const dither_face *face, int64_t d, const double *x, double t, const double *p, double *moved,
                      double *delta)
{
    for (int64_t c = 0; c < d; c++) {
        double to = x[c] + t * p[c];
        if (face->kind == DK_PROX_L1 && ((x[c] > 0 && to < 0) || (x[c] < 0 && to > 0))) to = 0;
        if (face->kind == DK_PROX_BOX) to = to < face->a ? face->a : (to > face->b ? face->b : to);
        moved[c] = to;
        delta[c] = to - x[c];
    }
}

void dither_face_project(const dither_face *face, int64_t d, double *x)
{
    if (face->kind == DK_PROX_BOX)
        for (int64_t c = 0; c < d; c++) x[c] = dk_prox(DK_PROX_BOX, face->a, face->b, 0, x[c]);
}

double dither_face_value(const dither_face *face, int64_t d, const double *x)
{
    dither_sum total = {0};
    if (face->kind == DK_PROX_L1)
        for (int64_t c = 0; c < d; c++) dither_sum_add(&total, dk_abs(x[c]));
    return face->a * dither_sum_value(&total);
}
