#include "newton.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "losses.h"
#include "prox.h"

#define NEAR 1e-10  /* decrement / P from where on Newton's method is taken to converge quadratically */
#define FLOOR 1e-26 /* decrement / P at the origin of a step that ends where the rounding of x does not let go on */
#define SHORT 1e-13 /* gradient / gradient at the origin that counts as near whatever P is: P* may be 0 */
#define TINY 1e-20  /* gradient / gradient at the origin that is as good as 0 */
#define PATIENCE 3  /* iterations near the minimum that don't halve the gradient */
#define TRIALS 60   /* halvings of a step, */
#define FOLDS 6     /* so many of them before it's cut at the first kink */

/* Make x the present point. Returns whether more of the subgradient is in the pinned coordinates than in the free
 * ones: then, and not while the face itself is far from its minimum, pinned ones are let free. */
static int evaluate(dither_newton *newton, const double *x, double *norm)
{
    const int64_t d = newton->objective->d;
    const double *const v = newton->subgradient;
    double pinned = 0;
    dither_objective_gradient(newton->objective, x, newton->gradient);
    dither_face_subgradient(newton->face, d, x, newton->gradient, newton->subgradient, newton->is_free);
    for (int64_t c = 0; c < d; c++) pinned += newton->is_free[c] ? 0.0 : v[c] * v[c];
    const double all = dither_dot(v, v, d);
    *norm = sqrt(all);
    return pinned > 0.5 * all;
}

dither_status dither_newton_create(dither_objective *objective, dither_newton_system *system,
                                   const dither_face *face, double smoothness, dither_newton *out,
                                   dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t d = objective->d;
    *out = (dither_newton){.objective = objective, .system = system, .face = face, .smoothness = smoothness};
    out->limit = DITHER_NEWTON_LIMIT;
    TRY_ALLOC(out->gradient, d);
    TRY_ALLOC(out->subgradient, d);
    TRY_ALLOC(out->direction, d);
    TRY_ALLOC(out->moved, d);
    TRY_ALLOC(out->delta, d);
    TRY_ALLOC(out->best, d);
    TRY_ALLOC(out->is_free, d);
    dither_face_project(face, d, out->best);
    evaluate(out, out->best, &out->start_norm);
    out->start = dither_objective_value(objective, out->best);
out:
    return status;
}

void dither_newton_release(dither_newton *newton)
{
    free(newton->gradient), free(newton->subgradient), free(newton->direction);
    free(newton->moved), free(newton->delta), free(newton->best), free(newton->is_free);
    *newton = (dither_newton){0};
}

/* x := prox(x - grad/L), L of f with its l2 term */
static void proximal_step(dither_newton *newton, double *x)
{
    const double L = newton->smoothness + newton->objective->l2;
    dither_face_proximal_step(newton->face, newton->objective->d, L, newton->gradient, x);
}

/* direction = -H_FF^{-1} v_F at the present point. The tolerance of an inexact solve shrinks with the gradient
 * (Eisenstat and Walker, "Choosing the forcing terms in an inexact Newton method", 1996); a loss made of quadratic
 * pieces has its minimum at the end of an exact one. */
static dither_status find_direction(dither_newton *newton, double share, dither_error *error)
{
    dither_status status = DITHER_OK;
    const int64_t d = newton->objective->d;
    const double root = sqrt(share);
    TRY(dither_newton_system_refresh(newton->system, newton->is_free, NULL, error));
    const double tolerance = newton->system->flat ? 1e-6 : (root > 0.1 ? 0.1 : (root < 1e-4 ? 1e-4 : root));
    TRY(dither_newton_system_solve(newton->system, newton->subgradient, tolerance, newton->direction, error));
    newton->decrement = dither_dot(newton->subgradient, newton->direction, d);
    newton->step_norm = sqrt(dither_dot(newton->direction, newton->direction, d));
    for (int64_t c = 0; c < d; c++) newton->direction[c] = -newton->direction[c];
out:
    return status;
}

/* The largest t <= 1 for which x + t p has not left the face of x. */
static double first_kink(const dither_newton *newton, const double *x)
{
    const dither_face *face = newton->face;
    double t = 1;
    for (int64_t c = 0; c < newton->objective->d; c++) {
        const double p = newton->direction[c];
        double room = INFINITY;
        if (face->kind == DK_PROX_L1 && x[c] * p < 0) room = dk_abs(x[c]);
        if (face->kind == DK_PROX_BOX && p != 0) room = p > 0 ? face->b - x[c] : x[c] - face->a;
        if (room < t * dk_abs(p)) t = room / dk_abs(p);
    }
    return t;
}

/* x := x + t p within its face, t = 1, 1/2, ... the first that lowers P by 1e-4 of the slope's promise (Armijo). P is
 * smooth on the face with gradient v, so P's change is v.delta and a Bregman divergence: no difference of two
 * values of P. Steps that fold many coordinates onto the face's border may fail; one to the first of them can't.
 * Returns t, 0 where none was found. */
static double search_line(const dither_newton *newton, double *x)
{
    const int64_t d = newton->objective->d;
    const double kink = first_kink(newton, x);
    double t = 1;
    for (int trial = 0; trial < TRIALS; trial++, t /= 2) {
        if (trial == FOLDS && t > kink) t = kink;
        dither_face_step(newton->face, d, x, t, newton->direction, newton->moved, newton->delta);
        const double promise = dither_dot(newton->subgradient, newton->delta, d);
        if (!(promise < 0)) continue;
        if (promise + dither_objective_bregman(newton->objective, newton->delta) <= 1e-4 * promise) {
            memcpy(x, newton->moved, (size_t)d * sizeof *x);
            return t;
        }
    }
    return 0;
}

/* A loss that only tends to its infimum has no minimiser without a regulariser where the rows can be separated. */
static int is_unbounded(const dither_newton *newton, const double *x)
{
    const dither_objective *objective = newton->objective;
    return (objective->loss == DK_LOSS_logistic || objective->outputs > 1) && objective->l2 == 0 && newton->face->kind == DK_PROX_NONE &&
           dither_objective_separated(objective) &&
           dither_dot(x, x, objective->d) > newton->reach * newton->reach;
}

int dither_newton_is_near(const dither_newton *newton, const double *x)
{
    const dither_newton_system *system = newton->system;
    if (newton->norm <= SHORT * newton->start_norm) return 1;
    if (system->flat && system->damping > 1e-6) return 0; /* a damped decrement says nothing */
    const double value = dither_objective_value(newton->objective, x) +
                         dither_face_value(newton->face, newton->objective->d, x);
    return newton->decrement <= NEAR * value;
}

/* What a run came to whose best point x is the present one. Where P falls for ever in a direction that no single x
 * shows, like for data that can be separated but for ties, its gradient vanishes while Newton's step does not; with
 * a loss of quadratic pieces there is always a minimum. */
static dither_newton_outcome judge(const dither_newton *newton, int polish, const double *x)
{
    const dither_objective *f = newton->objective;
    const double size = 1 + sqrt(dither_dot(x, x, f->d));
    const int attained = f->l2 > 0 || newton->face->kind != DK_PROX_NONE || newton->system->flat ||
                         dither_loss_strong(f->loss) > 0;
    if (newton->norm == 0) return DITHER_NEWTON_REACHED;
    if (!dither_newton_is_near(newton, x)) return DITHER_NEWTON_STALLED;
    return polish && !attained && newton->step_norm > 1e-3 * size ? DITHER_NEWTON_UNBOUNDED : DITHER_NEWTON_REACHED;
}

/* One Newton step from the present point x, or a proximal gradient step where that gets nowhere. */
static dither_status advance(dither_newton *newton, double share, double *x, dither_error *error)
{
    dither_status status = DITHER_OK;
    TRY(find_direction(newton, share, error));
    const double length = search_line(newton, x);
    dither_newton_system_damp(newton->system, length);
    if (length == 0) proximal_step(newton, x);
out:
    return status;
}

/* Take note of the present point x with that norm. Returns whether the run is at its end. */
static int is_finished(dither_newton *newton, int polish, double norm, const double *x, int *stalled)
{
    const int halved = norm < 0.5 * newton->norm;
    if (norm < newton->norm) {
        newton->norm = norm;
        memcpy(newton->best, x, (size_t)newton->objective->d * sizeof *x);
    }
    if (norm <= TINY * newton->start_norm || !dk_finite(norm)) return 1;
    const int near = dither_newton_is_near(newton, x);
    *stalled = near && !halved ? *stalled + 1 : 0;
    return near && (!polish || *stalled >= PATIENCE || newton->decrement <= FLOOR * newton->start);
}

dither_status dither_newton_minimise(dither_newton *newton, int polish, double *x, dither_error *error)
{
    dither_status status = DITHER_OK;
    double first = 0, norm;
    newton->norm = newton->decrement = INFINITY;
    for (int iteration = 0, stalled = 0; iteration < newton->limit; iteration++) {
        const int outside = evaluate(newton, x, &norm);
        TRY(dither_relay_check(newton->objective->relay, error));
        if (iteration == 0) first = norm;
        if (is_finished(newton, polish, norm, x, &stalled)) break;
        if (is_unbounded(newton, x)) {
            newton->outcome = DITHER_NEWTON_UNBOUNDED;
            goto out;
        }
        if (outside) {
            proximal_step(newton, x);
            evaluate(newton, x, &norm);
        }
        TRY(advance(newton, norm / first, x, error));
        newton->iterations++;
    }
    memcpy(x, newton->best, (size_t)newton->objective->d * sizeof *x);
    evaluate(newton, x, &norm);
    newton->outcome = judge(newton, polish, x);
out:
    return status;
}
