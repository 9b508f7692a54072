#include "emulation.h"
#include "cublas_v2.h"

struct emulated_cublas {
    cudaStream_t stream;
    int device;
};

namespace {

// Elements from the first to the last of a matrix of that many rows and columns.
size_t span(int rows, int columns, int ld) { return (size_t)ld * (size_t)(columns - 1) + (size_t)rows; }

template <class T> cublasStatus_t product(cublasHandle_t h, bool ta, bool tb, int m, int n, int k, const T *alpha, const T *a,
                                          int lda, const T *b, int ldb, const T *beta, T *c, int ldc)
{
    const int a_rows = ta ? k : m, a_columns = ta ? m : k, b_rows = tb ? n : k, b_columns = tb ? k : n;
    const T scale = *alpha, keep = *beta;
    if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (m < 1 || n < 1 || k < 1 || lda < a_rows || ldb < b_rows || ldc < m) return CUBLAS_STATUS_INVALID_VALUE;
    if (h->device != emulated::current_device()) EMULATED_DIE("cuBLAS: the handle is of another GPU");
    emulated::enqueue(h->stream, [=] {
        emulated::check_device_memory(a, span(a_rows, a_columns, lda) * sizeof(T), "cuBLAS, A");
        emulated::check_device_memory(b, span(b_rows, b_columns, ldb) * sizeof(T), "cuBLAS, B or x");
        emulated::check_device_memory(c, span(m, n, ldc) * sizeof(T), "cuBLAS, C or y");
        for (int j = 0; j < n; j++)
            for (int i = 0; i < m; i++) {
                T sum = 0;
                for (int e = 0; e < k; e++)
                    sum += (ta ? a[e + (size_t)i * lda] : a[i + (size_t)e * lda]) * (tb ? b[j + (size_t)e * ldb] : b[e + (size_t)j * ldb]);
                T &to = c[i + (size_t)j * ldc];
                to = scale * sum + (keep == 0 ? 0 : keep * to);
            }
        return true;
    });
    return CUBLAS_STATUS_SUCCESS;
}

template <class T> cublasStatus_t by_vector(cublasHandle_t h, cublasOperation_t op, int m, int n, const T *alpha, const T *a,
                                            int lda, const T *x, int incx, const T *beta, T *y, int incy)
{
    const int rows = op == CUBLAS_OP_T ? n : m, inner = op == CUBLAS_OP_T ? m : n;
    if (incx != 1 || incy != 1) return CUBLAS_STATUS_INVALID_VALUE; // not emulated
    return product(h, op == CUBLAS_OP_T, false, rows, 1, inner, alpha, a, lda, x, inner, beta, y, rows);
}

} // namespace

cublasStatus_t cublasCreate_v2(cublasHandle_t *out)
{
    *out = new emulated_cublas{nullptr, emulated::current_device()};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t mode)
{
    return mode == CUBLAS_PEDANTIC_MATH ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    if (status == CUBLAS_STATUS_NOT_INITIALIZED) return "the library was not initialized";
    return status == CUBLAS_STATUS_SUCCESS ? "success" : "an unsupported value or parameter was passed to the function";
}

cublasStatus_t cublasDgemv_v2(cublasHandle_t h, cublasOperation_t op, int m, int n, const double *alpha, const double *a,
                              int lda, const double *x, int incx, const double *beta, double *y, int incy)
{
    return by_vector(h, op, m, n, alpha, a, lda, x, incx, beta, y, incy);
}

cublasStatus_t cublasSgemv_v2(cublasHandle_t h, cublasOperation_t op, int m, int n, const float *alpha, const float *a,
                              int lda, const float *x, int incx, const float *beta, float *y, int incy)
{
    return by_vector(h, op, m, n, alpha, a, lda, x, incx, beta, y, incy);
}

cublasStatus_t cublasDgemm_v2(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                              const double *alpha, const double *a, int lda, const double *b, int ldb, const double *beta,
                              double *c, int ldc)
{
    return product(h, ta == CUBLAS_OP_T, tb == CUBLAS_OP_T, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                              const float *alpha, const float *a, int lda, const float *b, int ldb, const float *beta,
                              float *c, int ldc)
{
    return product(h, ta == CUBLAS_OP_T, tb == CUBLAS_OP_T, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
