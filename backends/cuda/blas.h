/* SPDX-License-Identifier: MIT
 * Products of matrices, by cuBLAS.
 */
#ifndef CUDA_BLAS_H
#define CUDA_BLAS_H

#include "device.h"

rein_status blas_open(struct device *d);
void blas_close(struct device *d);

/* Row-major c[m][n] = op(a) op(b) + (accumulate ? c : 0), with op(a) [m][k] and op(b) [k][n], of float32 or both of one
 * narrow type; sums are float32. */
struct product {
    int64_t m, n, k, lda, ldb, ldc;
    const void *a, *b;
    uint32_t dtype; /* of a and b */
    bool a_t, b_t, accumulate;
    float *c;
};
rein_status blas_product(struct device *d, const struct product *p);

/* The same with a weight for b: c = a W^T (`transposed`), or a W. */
struct weight_product {
    const struct rein_weight *w;
    bool transposed, accumulate;
    int64_t m, lda, ldc;
    const float *a;
    float *c;
};
rein_status weight_multiply(struct device *d, const struct weight_product *p);

/* out[c] += the sum of column c of x[n][cols] in an order fixed by n. */
rein_status column_sums(struct device *d, const float *x, int64_t n, int64_t cols, int64_t ld, float *out);

/* x[n][cols] = 0 */
rein_status rows_clear(struct device *d, float *x, int64_t n, int64_t cols, int64_t ld);

#endif
