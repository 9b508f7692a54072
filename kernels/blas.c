#include "blas.h"

#ifdef DITHER_HAVE_CBLAS

#include <cblas.h>
#include <dlfcn.h>
#include <stddef.h>

static struct {
    __typeof__(cblas_dgemv) *dgemv;
    __typeof__(cblas_sgemv) *sgemv;
    __typeof__(cblas_dgemm) *dgemm;
    __typeof__(cblas_sgemm) *sgemm;
} cblas;

#define AS(flag) ((flag) ? CblasTrans : CblasNoTrans)

static void gemv_f64(int transposed, int rows, int columns, double alpha, const double *a, int ld, const double *x,
                     double beta, double *y)
{
    cblas.dgemv(CblasRowMajor, AS(transposed), rows, columns, alpha, a, ld, x, 1, beta, y, 1);
}

static void gemv_f32(int transposed, int rows, int columns, float alpha, const float *a, int ld, const float *x,
                     float beta, float *y)
{
    cblas.sgemv(CblasRowMajor, AS(transposed), rows, columns, alpha, a, ld, x, 1, beta, y, 1);
}

static void gemm_f64(int ta, int tb, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb,
                     double *c, int ldc)
{
    cblas.dgemm(CblasRowMajor, AS(ta), AS(tb), m, n, k, alpha, a, lda, b, ldb, 0, c, ldc);
}

static void gemm_f32(int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                     float *c, int ldc)
{
    cblas.sgemm(CblasRowMajor, AS(ta), AS(tb), m, n, k, alpha, a, lda, b, ldb, 0, c, ldc);
}

static const dk_blas blas = {gemv_f64, gemv_f32, gemm_f64, gemm_f32};

/* Several threads may ask at once: they write the same. */
const dk_blas *dk_blas_library(const char **why)
{
    static const char *const names[] = {DITHER_CBLAS_LIBRARY, "libopenblas.so.0", "libblas.so.3"};
    const struct {
        void **to;
        const char *name;
    } wanted[] = {{(void **)&cblas.dgemv, "cblas_dgemv"}, {(void **)&cblas.sgemv, "cblas_sgemv"},
                  {(void **)&cblas.dgemm, "cblas_dgemm"}, {(void **)&cblas.sgemm, "cblas_sgemm"}};
    void (*threads)(int);
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++) library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library) return *why = DITHER_CBLAS_LIBRARY ", which this build found, is not there any more: install libopenblas0", NULL;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        *wanted[i].to = dlsym(library, wanted[i].name);
        if (!*wanted[i].to) return *why = "the library of BLAS has no CBLAS interface: install libopenblas0", NULL;
    }
    *(void **)&threads = dlsym(library, "openblas_set_num_threads");
    if (threads) threads(1);
    return &blas;
}

#else

const dk_blas *dk_blas_library(const char **why)
{
    return *why = "this build has no BLAS for the CPU: install libopenblas-dev and build again", (const dk_blas *)0;
}

#endif
