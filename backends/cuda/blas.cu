/* SPDX-License-Identifier: MIT
 * cuBLAS, found when the backend is opened: half a gigabyte to map is not for `rein plugins`.
 */
#include "blas.h"
#include "reduce.h"

#include <climits>
#include <cstdio>
#include <cstring>
#ifndef REIN_CUDA_EMU
#include <dlfcn.h>
#endif

/* What NVIDIA recommends for Hopper; given once, so that the same product always takes the same way. */
enum { CUBLAS_WORKSPACE = 32 << 20 };

struct cublas {
    void *library;
    cublasHandle_t handle;
    decltype(&cublasCreate) create;
    decltype(&cublasDestroy) destroy;
    decltype(&cublasSetStream) set_stream;
    decltype(&cublasSetWorkspace) set_workspace;
    decltype(&cublasGetStatusName) status_name;
    decltype(&cublasGetStatusString) status_string;
    cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int, const void *,
                           const void *, cudaDataType, int, const void *, cudaDataType, int, const void *, void *,
                           cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t);
};

#ifdef REIN_CUDA_EMU
#define RESOLVE(c, member, name) ((c)->member = name)
static const char *load_library(struct cublas *c) {
    (void)c;
    return NULL;
}
#else
#define STRING(x)                #x
#define SYMBOL(x)                STRING(x)
#define RESOLVE(c, member, name) resolve((c)->library, SYMBOL(name), &(c)->member)

template <class F> static bool resolve(void *library, const char *name, F **out) {
    *out = reinterpret_cast<F *>(dlsym(library, name));
    return *out != NULL;
}

/* NULL, or why not. */
static const char *load_library(struct cublas *c) {
    c->library = dlopen("libcublas.so." SYMBOL(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
    return c->library ? NULL : dlerror();
}
#endif

static rein_status blas_check(struct device *d, cublasStatus_t s, const char *what) {
    char text[250];

    if (s == CUBLAS_STATUS_SUCCESS)
        return REIN_OK;
    cudaGetLastError(); /* a cause is told with it */
    snprintf(text, sizeof(text), "cuda: %s: %.60s: %.120s", what, d->cublas->status_name(s),
             d->cublas->status_string(s));
    return d->host->fail(d->host->ctx, s == CUBLAS_STATUS_ALLOC_FAILED ? REIN_ERR_NOMEM : REIN_ERR_DEVICE, text);
}

/* The library is never unloaded: it leaves threads and handlers behind. */
rein_status blas_open(struct device *d) {
    struct cublas *c = static_cast<struct cublas *>(d->host->alloc(d->host->ctx, sizeof(*c)));
    const char *why;
    rein_status rc;

    if (!c)
        return device_nomem(d);
    memset(c, 0, sizeof(*c));
    d->cublas = c;
    why = load_library(c);
    if (why) {
        char text[250];
        snprintf(text, sizeof(text), "cuda: cuBLAS cannot be loaded: %.200s", why);
        return d->host->fail(d->host->ctx, REIN_ERR_DEVICE, text);
    }
    if (!RESOLVE(c, create, cublasCreate) || !RESOLVE(c, destroy, cublasDestroy) ||
        !RESOLVE(c, set_stream, cublasSetStream) || !RESOLVE(c, set_workspace, cublasSetWorkspace) ||
        !RESOLVE(c, status_name, cublasGetStatusName) || !RESOLVE(c, status_string, cublasGetStatusString) ||
        !RESOLVE(c, gemm, cublasGemmEx))
        return d->host->fail(d->host->ctx, REIN_ERR_DEVICE, "cuda: cuBLAS lacks a function");
    rc = device_memory(d, CUBLAS_WORKSPACE, "workspace of cuBLAS", &d->cublas_workspace);
    if (rc)
        return rc;
    rc = blas_check(d, c->create(&c->handle), "cublasCreate");
    if (rc) {
        c->handle = NULL;
        return rc;
    }
    rc = blas_check(d, c->set_stream(c->handle, d->stream), "cublasSetStream");
    return rc ? rc
              : blas_check(d, c->set_workspace(c->handle, d->cublas_workspace, CUBLAS_WORKSPACE), "cublasSetWorkspace");
}

void blas_close(struct device *d) {
    if (d->cublas && d->cublas->handle)
        d->cublas->destroy(d->cublas->handle);
    if (d->cublas_workspace)
        cudaFreeAsync(d->cublas_workspace, d->stream);
    if (d->cublas)
        d->host->free(d->host->ctx, d->cublas);
}

static cudaDataType data_type(uint32_t dtype) {
    return dtype == REIN_F32 ? CUDA_R_32F : dtype == REIN_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

/* cuBLAS thinks in columns: it computes c^T = op(b)^T op(a)^T. */
rein_status blas_product(struct device *d, const struct product *p) {
    const float one = 1, beta = p->accumulate ? 1 : 0;
    const cudaDataType type = data_type(p->dtype);

    if (p->m == 0 || p->n == 0 || (p->k == 0 && p->accumulate))
        return REIN_OK;
    if (p->k == 0)
        return rows_clear(d, p->c, p->m, p->n, p->ldc);
    if (most(most(p->m, p->n), p->k) > INT_MAX || most(most(p->lda, p->ldb), p->ldc) > INT_MAX)
        return d->host->fail(d->host->ctx, REIN_ERR_UNSUPPORTED, "cuda: a matrix has more than 2^31 rows or columns");
    return blas_check(
        d,
        d->cublas->gemm(d->cublas->handle, p->b_t ? CUBLAS_OP_T : CUBLAS_OP_N, p->a_t ? CUBLAS_OP_T : CUBLAS_OP_N,
                        (int)p->n, (int)p->m, (int)p->k, &one, p->b, type, (int)p->ldb, p->a, type, (int)p->lda, &beta,
                        p->c, CUDA_R_32F, (int)p->ldc,
                        d->config.tf32 && p->dtype == REIN_F32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                        CUBLAS_GEMM_DEFAULT),
        "cublasGemmEx");
}
