#include "gap.h"

#include <math.h>
#include "prox.h"

double dither_regulariser(int prox, double a, double b, const double *x, int64_t d)
{
    double one = 0, two = 0;
    for (int64_t c = 0; c < d; c++) one += fabs(x[c]), two += x[c] * x[c];
    switch (prox) {
    case DK_PROX_L1: return a * one;
    case DK_PROX_L2: return a / 2 * two;
    case DK_PROX_ELASTIC: return a * one + b / 2 * two;
    default: return 0; /* indicators: iterates are feasible */
    }
}

/* a|x| - a|x*| + g (x - x*), where optimality says g = -a sign(x*) if x* is not zero and |g| <= a if it is */
static double absolute_gap(double a, double x, double star, double g)
{
    if (star == 0) return a * fabs(x) + (g > a ? a : (g < -a ? -a : g)) * x;
    return (x > 0) == (star > 0) ? 0 : 2 * a * fabs(x);
}

/* On the sphere grad f(x*) = -c x*, and <x*, x* - x> = (||x - x*||^2 + r^2 - ||x||^2) / 2. */
static double ball_gap(double r, const double *x, const double *star, const double *g, int64_t d)
{
    double xx = 0, ss = 0, gs = 0, dist2 = 0;
    for (int64_t c = 0; c < d; c++) {
        xx += x[c] * x[c], ss += star[c] * star[c], gs += g[c] * star[c];
        dist2 += (x[c] - star[c]) * (x[c] - star[c]);
    }
    if (sqrt(ss) < r * (1 - 1e-12)) return 0; /* x* is inside: grad f(x*) = 0 */
    const double inside = r - sqrt(xx), slack = inside < 1e-15 * r ? 0 : inside * (r + sqrt(xx));
    return -gs / ss * (dist2 + slack) / 2;
}

double dither_regulariser_gap(int prox, double a, double b, const double *x, const double *x_star,
                              const double *grad_star, int64_t d)
{
    double sum = 0;
    if (prox == DK_PROX_NONE) return 0;
    if (prox == DK_PROX_BALL) return ball_gap(a, x, x_star, grad_star, d);
    for (int64_t c = 0; c < d; c++) {
        const double delta = x[c] - x_star[c], g = grad_star[c];
        switch (prox) {
        case DK_PROX_L1: sum += absolute_gap(a, x[c], x_star[c], g); break;
        case DK_PROX_L2: sum += a / 2 * delta * delta; break;
        case DK_PROX_ELASTIC: sum += absolute_gap(a, x[c], x_star[c], g) + b / 2 * delta * delta; break;
        case DK_PROX_BOX: /* the gradient can only point out of the box, and only at a bound */
            if (x_star[c] == a || x_star[c] == b) sum += fabs(g * delta);
            break;
        default: break;
        }
    }
    return sum;
}
