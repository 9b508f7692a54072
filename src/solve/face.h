/* What a regulariser does to each coordinate: where it pins it (a kink of l1, a bound of a box) and what it adds to
 * the gradient elsewhere. On the face of a point - the free coordinates keep their sign or stay inside their bounds,
 * the pinned ones stay where they are - the problem is smooth. */
#ifndef DITHER_FACE_H
#define DITHER_FACE_H

#include <stdint.h>

typedef struct dither_face {
    int kind;    /* DK_PROX_NONE, DK_PROX_L1 with weight a, DK_PROX_BOX with bounds a <= b */
    double a, b;
} dither_face;

/* subgradient[d] = the shortest element of gradient + dR(x); is_free[c] = 1 where x_c is not pinned. */
void dither_face_subgradient(const dither_face *face, int64_t d, const double *x, const double *gradient,
                            double *subgradient, unsigned char *is_free);

/* x := prox_{R/L}(x - gradient/L): with L the smoothness of f a step that never increases P, and that lets
 * coordinates free and pins others. */
void dither_face_proximal_step(const dither_face *face, int64_t d, double L, const double *gradient, double *x);

/* delta[d] = the step from x towards x + t p that stays in the closure of the face of x: a coordinate that would
 * change its sign or leave its bounds stops exactly at the zero or the bound. moved[d] = the point reached. */
void dither_face_step(const dither_face *face, int64_t d, const double *x, double t, const double *p, double *moved,
                      double *delta);

/* x[d] := the point nearest to x where R is finite. */
void dither_face_project(const dither_face *face, int64_t d, double *x);

/* R(x) */
double dither_face_value(const dither_face *face, int64_t d, const double *x);

#endif
