#include "interior.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "prox.h"

#define LIMIT 100  /* iterations */
#define GAP 1e-15  /* sum of slack x multiplier / start at which to stop */
#define REACH 0.99 /* of the way to where a slack or a multiplier would be zero */

/* l1:  min f(u - v) + a sum(u + v), u, v >= 0     with multipliers y = a + g, z = a - g, g = grad f(x)
 * box: min f(x), u = x - a >= 0, v = b - x >= 0   with multipliers y - z = g
 * Newton's method for these equations and u y = v z = t, with t falling (Boyd and Vandenberghe, "Convex
 * Optimization", 2004, section 11.7). All arrays have d elements. */
typedef struct interior {
    dither_newton *newton;
    double *x, *g;
    double *u, *v, *y, *z, *du, *dv, *dy, *dz, *dx;
    double *ridge, *rhs, *memory; /* memory holds all but x, g and dx */
    unsigned char *all;
    double t;
} interior;

static dither_status start(interior *s, dither_error *error)
{
    dither_status status = DITHER_OK;
    const dither_face *face = s->newton->face;
    const int64_t d = s->newton->objective->d;
    double **const arrays[] = {&s->u, &s->v, &s->y, &s->z, &s->du, &s->dv, &s->dy, &s->dz, &s->ridge, &s->rhs};
    TRY_ALLOC(s->memory, 10 * d);
    TRY_ALLOC(s->all, d);
    for (int i = 0; i < 10; i++) *arrays[i] = s->memory + i * d;
    s->g = s->newton->gradient, s->dx = s->newton->direction;
    s->t = s->newton->start / (double)d;
    for (int64_t c = 0; c < d; c++) {
        const int l1 = face->kind == DK_PROX_L1;
        s->all[c] = 1;
        s->x[c] = l1 ? 0.0 : face->a + (face->b - face->a) / 2;
        s->u[c] = s->v[c] = l1 ? s->t / face->a : (face->b - face->a) / 2;
        s->y[c] = s->z[c] = s->t / s->u[c];
    }
out:
    return status;
}

/* dx from (H + ridge) dx = rhs, which is what is left when all else has been eliminated, then all else. */
static dither_status find_step(interior *s, dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t d = s->newton->objective->d;
    const int l1 = s->newton->face->kind == DK_PROX_L1;
    const double a = s->newton->face->a, t = s->t;
    for (int64_t c = 0; c < d; c++) {
        const double p = s->y[c] / s->u[c], q = s->z[c] / s->v[c], pull = t / s->u[c], push = t / s->v[c];
        s->ridge[c] = l1 ? p * q / (p + q) : p + q;
        s->rhs[c] = l1 ? (q * (pull - a - s->g[c]) - p * (push - a + s->g[c])) / (p + q) : pull - push - s->g[c];
    }
    TRY(dither_newton_system_refresh(s->newton->system, s->all, s->ridge, error));
    TRY(dither_newton_system_solve(s->newton->system, s->rhs, 1e-3, s->dx, error));
    for (int64_t c = 0; c < d; c++) {
        const double p = s->y[c] / s->u[c], q = s->z[c] / s->v[c], pull = t / s->u[c], push = t / s->v[c];
        const double curved = s->rhs[c] - s->ridge[c] * s->dx[c]; /* (H dx)_c */
        s->du[c] = l1 ? (pull - a - s->g[c] - curved) / p : s->dx[c];
        s->dv[c] = l1 ? (push - a + s->g[c] + curved) / q : -s->dx[c];
        s->dy[c] = pull - s->y[c] - p * s->du[c];
        s->dz[c] = push - s->z[c] - q * s->dv[c];
    }
out:
    return status;
}

/* The derivative along the step, `length` of it done, of the merit function f + a sum(u + v) - t sum log(u v), the
 * a-term for l1 only. s->g is the gradient there. */
static double merit_slope(const interior *s, double length)
{
    const double a = s->newton->face->kind == DK_PROX_L1 ? s->newton->face->a : 0.0;
    dither_sum total = {0};
    for (int64_t c = 0; c < s->newton->objective->d; c++) {
        dither_sum_add(&total, s->g[c] * s->dx[c]);
        dither_sum_add(&total, (a - s->t / (s->u[c] + length * s->du[c])) * s->du[c]);
        dither_sum_add(&total, (a - s->t / (s->v[c] + length * s->dv[c])) * s->dv[c]);
    }
    return dither_sum_value(&total);
}

static double reach(const double *value, const double *change, int64_t d, double length)
{
    for (int64_t c = 0; c < d; c++)
        if (value[c] + length / REACH * change[c] < 0) length = -REACH * value[c] / change[c];
    return length;
}

/* Go along the step as far as slacks and multipliers stay positive and the merit function, which is convex, has not
 * risen again by much: no value of it is needed. Returns the length. */
static double take_step(interior *s)
{
    const int64_t d = s->newton->objective->d;
    const double before = merit_slope(s, 0);
    double length = reach(s->u, s->du, d, 1), done = 0;
    length = reach(s->z, s->dz, d, reach(s->y, s->dy, d, reach(s->v, s->dv, d, length)));
    for (int trial = 0; trial < 30; trial++, length /= 2) {
        for (int64_t c = 0; c < d; c++) s->x[c] += (length - done) * s->dx[c];
        done = length;
        dither_objective_gradient(s->newton->objective, s->x, s->g);
        if (merit_slope(s, length) <= 0.5 * dk_abs(before)) break;
    }
    for (int64_t c = 0; c < d; c++) {
        s->u[c] += done * s->du[c], s->v[c] += done * s->dv[c];
        s->y[c] += done * s->dy[c], s->z[c] += done * s->dz[c];
    }
    return done;
}

/* Which coordinates are at a kink or a bound: those whose multiplier is larger than the slack, each on its own scale.
 * That of a coordinate is what moves margins by about 1; a multiplier's is a for l1, for a box what such a move
 * would cost. */
static void round_to_face(interior *s)
{
    const dither_newton *newton = s->newton;
    const dither_face *face = newton->face;
    const double top = dither_loss_smoothness(newton->objective->loss);
    for (int64_t c = 0; c < newton->objective->d; c++) {
        const double square = newton->system->bound[c] / top; /* mean of a_jc^2 */
        const double slack = square > 0 ? 1 / sqrt(square) : 1;
        const double multiplier = face->kind == DK_PROX_L1 ? face->a : newton->start / slack;
        const int low = s->y[c] / multiplier > s->u[c] / slack, high = s->z[c] / multiplier > s->v[c] / slack;
        if (face->kind == DK_PROX_L1 && low && high) s->x[c] = 0;
        if (face->kind == DK_PROX_BOX && (low || high)) s->x[c] = low ? face->a : face->b;
    }
}

dither_status dither_interior_minimise(dither_newton *newton, double *x, dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t d = newton->objective->d;
    interior s = {.newton = newton, .x = x};
    TRY(start(&s, error));
    dither_objective_gradient(newton->objective, x, s.g);
    for (int iteration = 0; iteration < LIMIT; iteration++) {
        TRY(find_step(&s, error));
        const double length = take_step(&s);
        const double gap = dither_dot(s.u, s.y, d) + dither_dot(s.v, s.z, d);
        newton->iterations++;
        dither_newton_system_damp(newton->system, length);
        if (!(gap > GAP * newton->start)) break;
        s.t = gap / (double)(2 * d) * (length > 0.9 ? 0.03 : 0.5);
    }
    round_to_face(&s);
out:
    free(s.memory), free(s.all);
    return status;
}
