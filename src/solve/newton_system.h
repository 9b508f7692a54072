/* The linear systems of Newton's method, H_FF p_F = b_F with H = (1/N) sum_j phi''_j a_j a_j^T + l2 I restricted to
 * the free coordinates F (with several outputs, a block of H for each pair of classes): by conjugate gradients as long as they are cheaper than, or there are too many unknowns
 * for, a Cholesky factorization; with several outputs always by conjugate gradients. */
#ifndef DITHER_NEWTON_SYSTEM_H
#define DITHER_NEWTON_SYSTEM_H

#include "objective.h"

#define DITHER_DENSE_LIMIT 5000 /* unknowns of a dense factorization at most */

typedef struct dither_newton_system {
    const dither_objective *objective; /* borrowed; its present point is where H is taken */
    int64_t unknowns;
    int32_t *column_of, *unknown_of; /* unknown -> coordinate of x, coordinate -> unknown or -1 */
    /* the rows' entries in free columns, numbered by unknown: the data's own arrays when all columns are free */
    const int64_t *row_start;
    const int32_t *column;
    const double *value;
    int64_t *own_row_start;
    int32_t *own_column;
    double *own_value;
    double entries;   /* of all rows, in free columns */
    double *weight;   /* M: phi''_j / N, of the rows that are here */
    double *bound;    /* d: what (1/N) sum_j phi''_j a_jc^2 is at most */
    double *ridge;    /* unknowns: what H has on its diagonal besides the rows: l2 and more */
    double *scale;    /* unknowns: 1 / sqrt(the diagonal of H), 0 for a column of zeros */
    double *matrix, *panels; /* scaled H, then its factor; NULL until the first factorization; and, in the same memory
                                behind it, room for the factorization */
    int64_t matrix_order;    /* padded unknowns that both have room for */
    double shift;            /* added to the scaled diagonal, > 0 where H is singular */
    int threads;             /* for dense matrices */
    int flat;                /* the loss has parts without curvature, where a Newton step knows no length */
    double damping;          /* share of `bound` that is added to the diagonal for that reason */
    int factored;            /* matrix holds the factor at the present point */
    int prefer_dense;        /* conjugate gradients were dearer the last time */
    int used_gradients;      /* conjugate gradients have found a step */
    double *work;            /* 6 x d */
    double *spread;          /* 2 x d, with several outputs */
} dither_newton_system;

dither_status dither_newton_system_create(const dither_objective *objective, int threads,
                                          dither_newton_system *out, dither_error *error);
void dither_newton_system_release(dither_newton_system *system);

/* Take H at the objective's present point, for the columns with is_free[c] != 0; extra[d], unless NULL, is added to
 * its diagonal. */
dither_status dither_newton_system_refresh(dither_newton_system *system, const unsigned char *is_free,
                                           const double *extra, dither_error *error);

/* Choose the damping of the next steps by how far the last one could be gone: 1 the whole, 0 not at all. */
void dither_newton_system_damp(dither_newton_system *system, double length);

/* out[d] = H_FF^{-1} rhs_F, zero outside F, to the relative accuracy `tolerance` or better. Where H is singular its
 * diagonal is raised by a tiny share, so the result is always a direction in which rhs.out > 0 unless rhs_F = 0. */
dither_status dither_newton_system_solve(dither_newton_system *system, const double *rhs, double tolerance,
                                         double *out, dither_error *error);

/* ---- for the parts of the solver ---- */

/* out[unknowns] = H p */
void dither_newton_system_product(dither_newton_system *system, const double *p, double *out);

/* x[unknowns] = H^{-1} b by conjugate gradients with the diagonal as preconditioner, from 0, until the residual has
 * fallen by `tolerance` in the preconditioner's norm. work: 4 x unknowns. Returns whether it did within `limit`
 * steps; x is a direction of descent either way. */
int dither_conjugate_gradients(dither_newton_system *system, const double *b, double tolerance, int64_t limit,
                               double *x, double *work);

/* The scaled H + shift I into system->matrix, padded to `order`. */
void dither_hessian_assemble(dither_newton_system *system, int64_t order, double shift);

/* Factor the scaled H + shift I; later solves use the factor. *definite: whether it is positive definite. */
dither_status dither_newton_system_factor(dither_newton_system *system, double shift, int *definite,
                                          dither_error *error);

/* Multiplications that assembling and factoring take. With a relay, on all ranks at once. */
double dither_hessian_cost(const dither_newton_system *system);

#endif
