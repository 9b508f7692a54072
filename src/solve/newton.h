/* Newton's method on a smooth problem and on the faces of one with kinks or bounds. */
#ifndef DITHER_NEWTON_H
#define DITHER_NEWTON_H

#include "face.h"
#include "newton_system.h"

#define DITHER_NEWTON_LIMIT 500 /* iterations of a run, unless limit is set to something else */

typedef enum dither_newton_outcome {
    DITHER_NEWTON_REACHED,   /* the gradient is at the level of rounding */
    DITHER_NEWTON_UNBOUNDED, /* P has no minimiser: it falls for ever in some direction */
    DITHER_NEWTON_STALLED    /* out of iterations */
} dither_newton_outcome;

typedef struct dither_newton {
    dither_objective *objective;  /* borrowed, like the next two; afterwards its present point is the result */
    dither_newton_system *system;
    const dither_face *face;
    double smoothness; /* of f without its l2 term, from above */
    double start, start_norm; /* of the origin: f, and the norm of the smallest subgradient */
    int limit;         /* iterations of a run at most */
    double reach;      /* a run that only ever goes farther ends where ||x|| exceeds this; 0 to start with */
    /* of the last run */
    dither_newton_outcome outcome;
    double norm;      /* of the smallest subgradient at the result */
    double decrement; /* v_F . H_FF^{-1} v_F at the last point: about 2 (P(x) - P*) */
    double step_norm; /* of the last whole Newton step */
    int iterations;   /* of all runs */
    /* d each */
    double *gradient, *subgradient, *direction, *moved, *delta, *best;
    unsigned char *is_free;
} dither_newton;

dither_status dither_newton_create(dither_objective *objective, dither_newton_system *system,
                                   const dither_face *face, double smoothness, dither_newton *out,
                                   dither_error *error);
void dither_newton_release(dither_newton *newton);

/* Whether the present point x[d] is near the minimum, going by norm and decrement. */
int dither_newton_is_near(const dither_newton *newton, const double *x);

/* Minimise P from x[d], in place. With `polish` until the subgradient's norm falls no further, else until P is near
 * its minimum. What came of it stands in newton->outcome; an error is only a lack of memory. */
dither_status dither_newton_minimise(dither_newton *newton, int polish, double *x, dither_error *error);

#endif
