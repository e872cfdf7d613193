/* SPDX-License-Identifier: MIT
 * cuBLAS: matrices are column-major, sums are float32. Products of float32 are CBLAS'; those of narrow types and TF32 are summed
 * as tensor cores do it.
 */
#include "stream.h"

#include <algorithm>
#include <cblas.h>
#include <cmath>
#include <rein/half.h>
#include <vector>

struct cublasContext {
    int device;
    cudaStream_t stream;
};

namespace emu {

static size_t handles;

size_t blas_handles() {
    return handles;
}

struct product {
    bool transpose_a, transpose_b;
    int m, n, k;
    float alpha, beta;
    const void *a, *b;
    cudaDataType type;
    int lda, ldb, ldc;
    float *c;
    bool tf32;
    int device;
};

static size_t type_size(cudaDataType type) {
    return type == CUDA_R_32F ? 4 : 2;
}

static float widen(const void *x, cudaDataType type, size_t i, bool tf32) {
    float value = 0;
    uint32_t bits;

    if (type == CUDA_R_16BF)
        return rein_from_bf16(((const uint16_t *)x)[i]);
    if (type == CUDA_R_16F)
        return rein_from_f16(((const uint16_t *)x)[i]);
    memcpy(&bits, (const float *)x + i, sizeof(bits));
    if (tf32 && (bits & 0x7f800000u) != 0x7f800000u)
        bits = (bits + 0x1000u) & ~0x1fffu; /* ten bits of mantissa */
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* A [rows][columns] factor as floats without gaps, checked. */
static std::vector<float> factor(const product &p, const void *x, int rows, int columns, int ld) {
    const size_t size = type_size(p.type);
    std::vector<float> out((size_t)rows * (size_t)columns);

    for (int j = 0; j < columns; j++) {
        const char *column = (const char *)x + (size_t)j * (size_t)ld * size;
        check_range("cublasGemmEx", p.device, column, (size_t)rows * size, true);
        for (int i = 0; i < rows; i++)
            out[(size_t)j * (size_t)rows + (size_t)i] = widen(column, p.type, (size_t)i, p.tf32);
    }
    return out;
}

/* x without the bits that weigh less than `unit`, a power of two. */
static double cut(double x, double unit) {
    return std::trunc(x / unit) * unit;
}

/* sum + the products of up to STEP pairs, which are exact: all are shifted to the largest one's exponent and cut off there, one
 * bit below float32's mantissa, added, and the sum is cut off, not rounded (Fasi, Higham, Mikaitis and Pranesh, "Numerical
 * behavior of NVIDIA tensor cores", PeerJ CS 2021; the shortest step and fewest extra bits of the GPUs that matter here). */
enum { STEP = 8 };
static float tensor_core(float sum, const float *a, size_t astep, const float *b, size_t bstep, int n) {
    double term[STEP + 1] = {sum}, most = std::fabs((double)sum), total = 0;
    int exponent;

    for (int i = 0; i < n; i++) {
        term[i + 1] = (double)a[(size_t)i * astep] * b[(size_t)i * bstep];
        most = std::fmax(most, std::fabs(term[i + 1]));
        total += term[i + 1];
    }
    if (!std::isfinite(total + sum) || most == 0)
        return (float)(total + sum);
    std::frexp(most, &exponent);
    total = 0;
    for (int i = 0; i <= n; i++)
        total += cut(term[i], std::ldexp(1, exponent - 25));
    if (total == 0)
        return 0;
    std::frexp(total, &exponent);
    return (float)cut(total, std::ldexp(1, std::max(exponent - 24, -149)));
}

/* c = alpha op(a) op(b) + beta c, a and b as factor() made them */
static void tensor_product(const product &p, const float *a, const float *b) {
    const size_t m = (size_t)p.m, n = (size_t)p.n, k = (size_t)p.k;
    const size_t arow = p.transpose_a ? k : 1, astep = p.transpose_a ? 1 : m;
    const size_t bcolumn = p.transpose_b ? 1 : k, bstep = p.transpose_b ? n : 1;

    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < m; i++) {
            float sum = 0, *c = p.c + j * (size_t)p.ldc + i;
            for (size_t l = 0; l < k; l += STEP)
                sum = tensor_core(sum, a + i * arow + l * astep, astep, b + j * bcolumn + l * bstep, bstep,
                                  (int)std::min(k - l, (size_t)STEP));
            *c = p.beta != 0 ? p.alpha * sum + p.beta * *c : p.alpha * sum;
        }
}

static void run_product(const product &p) {
    const int rows_a = p.transpose_a ? p.k : p.m, rows_b = p.transpose_b ? p.n : p.k;

    if (broken(p.device) || p.m == 0 || p.n == 0)
        return;
    const std::vector<float> a = factor(p, p.a, rows_a, p.transpose_a ? p.m : p.k, p.lda);
    const std::vector<float> b = factor(p, p.b, rows_b, p.transpose_b ? p.k : p.n, p.ldb);
    for (int j = 0; j < p.n; j++)
        check_range("cublasGemmEx", p.device, p.c + (size_t)j * (size_t)p.ldc, (size_t)p.m * sizeof(float), p.beta != 0);
    if (p.type != CUDA_R_32F || p.tf32)
        tensor_product(p, a.data(), b.data());
    else
        cblas_sgemm(CblasColMajor, p.transpose_a ? CblasTrans : CblasNoTrans, p.transpose_b ? CblasTrans : CblasNoTrans, p.m,
                    p.n, p.k, p.alpha, a.data(), rows_a > 0 ? rows_a : 1, b.data(), rows_b > 0 ? rows_b : 1, p.beta, p.c,
                    p.ldc);
    for (int j = 0; j < p.n; j++)
        mark_range(p.c + (size_t)j * (size_t)p.ldc, (size_t)p.m * sizeof(float), WRITTEN_BY_HOST);
}

static bool wrong(const product &p, cublasOperation_t transa, cublasOperation_t transb) {
    const int rows_a = transa == CUBLAS_OP_N ? p.m : p.k, rows_b = transb == CUBLAS_OP_N ? p.k : p.n;
    const uintptr_t at = (uintptr_t)p.a | (uintptr_t)p.b;

    return p.m < 0 || p.n < 0 || p.k < 0 || p.lda < (rows_a > 1 ? rows_a : 1) || p.ldb < (rows_b > 1 ? rows_b : 1) ||
           p.ldc < (p.m > 1 ? p.m : 1) || at % type_size(p.type) || (uintptr_t)p.c % sizeof(float);
}

} // namespace emu

using namespace emu;

cublasStatus_t cublasCreate(cublasHandle_t *out) {
    LOCK;
    if (fails())
        return CUBLAS_STATUS_ALLOC_FAILED;
    *out = new cublasContext{current_device(), NULL};
    handles++;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
    LOCK;
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    delete handle;
    handles--;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
    LOCK;
    if (fails())
        return CUBLAS_STATUS_NOT_INITIALIZED;
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) {
    LOCK;
    return fails() ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *space, size_t bytes) {
    LOCK;
    if (fails() || (uintptr_t)space % 256 || (bytes > 0 && device_of((uintptr_t)space) != handle->device))
        return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
                            const void *alpha, const void *a, cudaDataType atype, int lda, const void *b, cudaDataType btype,
                            int ldb, const void *beta, void *c, cudaDataType ctype, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t) {
    LOCK;
    if (fails())
        return CUBLAS_STATUS_EXECUTION_FAILED;
    if (atype != btype || ctype != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (stream_check(handle->stream) != cudaSuccess)
        return CUBLAS_STATUS_EXECUTION_FAILED;
    const product p = {transa == CUBLAS_OP_T, transb == CUBLAS_OP_T, m, n, k, *(const float *)alpha, *(const float *)beta,
                       a, b, atype, lda, ldb, ldc, (float *)c, compute == CUBLAS_COMPUTE_32F_FAST_TF32, handle->device};
    if (wrong(p, transa, transb)) {
        complain("cublasGemmEx: m %d n %d k %d lda %d ldb %d ldc %d: invalid", m, n, k, lda, ldb, ldc);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    stream_push(handle->stream, [p] { run_product(p); });
    return CUBLAS_STATUS_SUCCESS;
}

static const struct {
    cublasStatus_t status;
    const char *name, *text;
} statuses[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized"},
    {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "the resource allocation failed"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE", "an unsupported value or parameter was passed to the function"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED", "the function failed to launch on the GPU"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "the functionality requested is not supported"},
};

const char *cublasGetStatusName(cublasStatus_t status) {
    for (const auto &s : statuses)
        if (s.status == status)
            return s.name;
    return "unrecognized";
}

const char *cublasGetStatusString(cublasStatus_t status) {
    for (const auto &s : statuses)
        if (s.status == status)
            return s.text;
    return "unrecognized";
}
