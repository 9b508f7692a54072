#include "ball.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_LIMIT 100
#define POLISH_LIMIT 30

/* On the sphere x(c) = argmin f + (c/2)||x||^2 has norm R for the multiplier c. */
typedef struct sphere {
    dither_newton *newton;
    double radius, l2; /* l2 of the problem itself */
    double *x, *tangent, *step, *gradient, *best; /* d each */
    unsigned char *all;                           /* d ones */
} sphere;

static double norm_of(const double *x, int64_t d) { return sqrt(dither_dot(x, x, d)); }

/* tangent = (H + cI)^{-1} x at the present point x, whose derivative by c is -tangent. */
static dither_status find_tangent(sphere *s, dither_error *error)
{
    dither_status status = DITHER_OK;
    TRY(dither_newton_system_refresh(s->newton->system, s->all, NULL, error));
    TRY(dither_newton_system_solve(s->newton->system, s->x, 1e-4, s->tangent, error));
out:
    return status;
}

/* The root of 1/R - 1/||x(c)||, which is nearly linear in c (More and Sorensen, "Computing a trust region step",
 * 1983), by Newton's method inside a bracket: ||x(c)|| <= ||grad f_0(0)|| / (l2 + c). To about four digits. */
static dither_status find_multiplier(sphere *s, int outside, double *multiplier, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_objective *const f = s->newton->objective;
    const int64_t d = f->d;
    dither_objective_gradient(f, s->step /* zeros */, s->gradient);
    double low = 0, high = norm_of(s->gradient, d) / s->radius;
    double c = outside ? 0 : high;
    if (!outside) memset(s->x, 0, (size_t)d * sizeof *s->x);
    for (int i = 0; i < ROOT_LIMIT; i++) {
        f->l2 = s->l2 + c;
        TRY(dither_newton_minimise(s->newton, 0, s->x, error));
        const double norm = norm_of(s->x, d);
        if (fabs(norm - s->radius) <= 1e-4 * s->radius) break;
        if (norm > s->radius)
            low = c;
        else
            high = c;
        TRY(find_tangent(s, error));
        const double slope = dither_dot(s->x, s->tangent, d);
        double next = c + (norm - s->radius) / s->radius * (norm * norm / slope);
        /* outside the bracket, or below it where low is but a guess: by a factor */
        if (!(next > low && next < high)) next = low > 0 ? sqrt(low) * sqrt(high) : high / 16;
        c = next;
    }
    *multiplier = c;
out:
    return status;
}

/* Newton's method for grad f(x) + c x = 0, (||x||^2 - R^2)/2 = 0 in x and c at once, until the residual on the
 * sphere falls no further. */
static dither_status polish(sphere *s, double c, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_newton *const newton = s->newton;
    dither_objective *const f = newton->objective;
    const int64_t d = f->d;
    newton->norm = INFINITY;
    for (int i = 0, stalled = 0; i < POLISH_LIMIT && stalled < 3; i++) {
        const double norm = norm_of(s->x, d);
        for (int64_t k = 0; k < d; k++) s->x[k] *= s->radius / norm;
        f->l2 = s->l2;
        dither_objective_gradient(f, s->x, s->gradient);
        c = -dither_dot(s->gradient, s->x, d) / (s->radius * s->radius);
        c = c > 0 ? c : 0;
        for (int64_t k = 0; k < d; k++) s->gradient[k] += c * s->x[k];
        const double residual = norm_of(s->gradient, d);
        stalled = residual < 0.9 * newton->norm ? 0 : stalled + 1;
        if (residual < newton->norm) {
            newton->norm = residual;
            memcpy(s->best, s->x, (size_t)d * sizeof *s->x);
        }
        f->l2 = s->l2 + c;
        TRY(find_tangent(s, error));
        TRY(dither_newton_system_solve(newton->system, s->gradient, 1e-4, s->step, error));
        newton->decrement = dither_dot(s->gradient, s->step, d);
        /* x is on the sphere: the step's radial part is taken out by the multiplier's */
        const double change = dither_dot(s->x, s->step, d) / dither_dot(s->x, s->tangent, d);
        for (int64_t k = 0; k < d; k++) s->x[k] -= s->step[k] - change * s->tangent[k];
        newton->iterations++;
    }
    memcpy(s->x, s->best, (size_t)d * sizeof *s->x);
    dither_objective_gradient(f, s->x, s->gradient);
    newton->outcome = dither_newton_is_near(newton, s->x) ? DITHER_NEWTON_REACHED : DITHER_NEWTON_STALLED;
out:
    return status;
}

/* From 0 to the minimum without the ball. *inside: whether that is the answer, as it also is where P falls farther out
 * but by nothing that shows; *exists: whether there is a minimum at all. */
static dither_status try_inside(sphere *s, int *inside, int *exists, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_newton *const newton = s->newton;
    const int64_t d = newton->objective->d;
    newton->reach = 2 * s->radius;
    TRY(dither_newton_minimise(newton, 0, s->x, error));
    if (norm_of(s->x, d) <= newton->reach) TRY(dither_newton_minimise(newton, 1, s->x, error));
    *exists = newton->outcome != DITHER_NEWTON_UNBOUNDED;
    *inside = newton->outcome != DITHER_NEWTON_STALLED && norm_of(s->x, d) <= s->radius;
    if (*inside) newton->outcome = DITHER_NEWTON_REACHED;
out:
    return status;
}

static dither_status minimise(sphere *s, dither_error *error)
{
    dither_status status = DITHER_OK;
    dither_newton *const newton = s->newton;
    const int64_t d = newton->objective->d;
    double c = 0;
    int inside = 0, exists = 0;
    if (s->radius == 0) {
        newton->norm = 0, newton->outcome = DITHER_NEWTON_REACHED;
        goto out;
    }
    memset(s->all, 1, (size_t)d);
    TRY(try_inside(s, &inside, &exists, error));
    if (inside) goto out;
    TRY(find_multiplier(s, exists, &c, error));
    TRY(polish(s, c, error));
out:
    return status;
}

dither_status dither_ball_minimise(dither_newton *newton, double radius, double *x, dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t d = newton->objective->d;
    sphere s = {.newton = newton, .radius = radius, .l2 = newton->objective->l2, .x = x};
    TRY_ALLOC(s.tangent, d);
    TRY_ALLOC(s.step, d);
    TRY_ALLOC(s.gradient, d);
    TRY_ALLOC(s.best, d);
    TRY_ALLOC(s.all, d);
    memset(x, 0, (size_t)d * sizeof *x);
    TRY(minimise(&s, error));
out:
    newton->objective->l2 = s.l2;
    free(s.tangent), free(s.step), free(s.gradient), free(s.best), free(s.all);
    return status;
}
