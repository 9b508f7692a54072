/* Matrix products of a GPU by cuBLAS, for ranks that have their rows as a dense matrix (dk_dense). The library is some
 * hundred megabytes, so it is loaded when it is asked for. Matrices are the caller's,
 * row after row: to cuBLAS, which has them column after column, they are transposed. */
#ifndef DITHER_CUBLAS_H
#define DITHER_CUBLAS_H

#include <cublas_v2.h>
#include <dlfcn.h>

enum { DK_CUBLAS_CODE = 1 << 20 }; /* a device function's code for cuBLAS's status s: s more than this */

static struct {
    decltype(&cublasCreate_v2) create;
    decltype(&cublasDestroy_v2) destroy;
    decltype(&cublasSetStream_v2) set_stream;
    decltype(&cublasSetMathMode) set_math;
    decltype(&cublasGetStatusString) explain;
    decltype(&cublasDgemv_v2) dgemv;
    decltype(&cublasSgemv_v2) sgemv;
    decltype(&cublasDgemm_v2) dgemm;
    decltype(&cublasSgemm_v2) sgemm;
} cublas;

#define DK_TEXT_(x) #x
#define DK_TEXT(x) DK_TEXT_(x)
#define DK_CUBLAS_NAME "libcublas.so." DK_TEXT(CUBLAS_VER_MAJOR)

/* nullptr, or why it can't be used. Loaded once and never unloaded; several threads may ask at once: they write the same. */
static const char *cublas_load(void)
{
    void *const library = dlopen(DK_CUBLAS_NAME, RTLD_NOW | RTLD_LOCAL);
    const struct {
        void **to;
        const char *name;
    } wanted[] = {{(void **)&cublas.create, "cublasCreate_v2"}, {(void **)&cublas.destroy, "cublasDestroy_v2"},
                  {(void **)&cublas.set_stream, "cublasSetStream_v2"}, {(void **)&cublas.set_math, "cublasSetMathMode"},
                  {(void **)&cublas.explain, "cublasGetStatusString"}, {(void **)&cublas.dgemv, "cublasDgemv_v2"},
                  {(void **)&cublas.sgemv, "cublasSgemv_v2"}, {(void **)&cublas.dgemm, "cublasDgemm_v2"},
                  {(void **)&cublas.sgemm, "cublasSgemm_v2"}};
    if (!library) return DK_CUBLAS_NAME " is not found: install it, or set LD_LIBRARY_PATH to its folder";
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!(*wanted[i].to = dlsym(library, wanted[i].name))) return DK_CUBLAS_NAME " lacks a function that is needed";
    return nullptr;
}

static int cublas_code(cublasStatus_t s) { return s == CUBLAS_STATUS_SUCCESS ? 0 : DK_CUBLAS_CODE + (int)s; }

/* y := alpha op(A) x */
static int cublas_gemv(cublasHandle_t h, cublasOperation_t op, int m, int n, double alpha, const double *a, int lda,
                       const double *x, double *y)
{
    const double zero = 0;
    return cublas_code(cublas.dgemv(h, op, m, n, &alpha, a, lda, x, 1, &zero, y, 1));
}

static int cublas_gemv(cublasHandle_t h, cublasOperation_t op, int m, int n, float alpha, const float *a, int lda,
                       const float *x, float *y)
{
    const float zero = 0;
    return cublas_code(cublas.sgemv(h, op, m, n, &alpha, a, lda, x, 1, &zero, y, 1));
}

/* C := alpha op(A) op(B) */
static int cublas_gemm(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, double alpha,
                       const double *a, int lda, const double *b, int ldb, double *c, int ldc)
{
    const double zero = 0;
    return cublas_code(cublas.dgemm(h, ta, tb, m, n, k, &alpha, a, lda, b, ldb, &zero, c, ldc));
}

static int cublas_gemm(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, float alpha,
                       const float *a, int lda, const float *b, int ldb, float *c, int ldc)
{
    const float zero = 0;
    return cublas_code(cublas.sgemm(h, ta, tb, m, n, k, &alpha, a, lda, b, ldb, &zero, c, ldc));
}

#endif
