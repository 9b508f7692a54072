/* Matrix products of the CPU by a library with the interface of CBLAS (OpenBLAS, BLIS, the reference), for ranks that
 * have their rows as a dense matrix (dk_dense). It is loaded when it is asked for: a library that comes with threads of its
 * own starts them at once. One thread makes each call; the driver's pool shares the calls. */
#ifndef DITHER_BLAS_H
#define DITHER_BLAS_H

/* Matrices lie row after row, each `ld` elements behind the one before it. */
typedef struct dk_blas {
    /* y := alpha A x + beta y, or with `transposed` A^T for A; A: rows x columns */
    void (*gemv_f64)(int transposed, int rows, int columns, double alpha, const double *a, int ld, const double *x,
                     double beta, double *y);
    void (*gemv_f32)(int transposed, int rows, int columns, float alpha, const float *a, int ld, const float *x,
                     float beta, float *y);
    /* C := alpha op(A) op(B), op being the transpose where the flag says so; C: m x n, op(A): m x k */
    void (*gemm_f64)(int ta, int tb, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb,
                     double *c, int ldc);
    void (*gemm_f32)(int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                     float *c, int ldc);
} dk_blas;

/* NULL where there is none; *why is then a sentence in static storage. Loaded once and never unloaded. */
const dk_blas *dk_blas_library(const char **why);

#endif
