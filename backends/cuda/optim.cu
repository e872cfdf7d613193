/* SPDX-License-Identifier: MIT
 * AdamW and the sum of squares.
 */
#include "device.h"
#include "reduce.h"

#include <cmath>

enum { BLOCK = 256, SUM_CHUNK = 1 << 14, MOST_SUMS = 1024 };

struct factors {
    float grad_scale, shrink, beta1, one_beta1, beta2, one_beta2, rate, root2, eps;
};

/* rate = lr / (1 - b1^step), root2 = 1 / sqrt(1 - b2^step): computed once, in double. */
template <class T>
static __global__ void adamw(struct factors a, int64_t n, T *p, float *master, const float *g, float *m, float *v) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) {
        const float t = g[i] * a.grad_scale;
        float x = master ? master[i] : widen(p[i]);
        const float mean = a.beta1 * m[i] + a.one_beta1 * t, square = a.beta2 * v[i] + a.one_beta2 * t * t;

        x -= a.shrink * x;
        x -= a.rate * mean / (sqrtf(square) * a.root2 + a.eps);
        m[i] = mean;
        v[i] = square;
        if (master)
            master[i] = x;
        p[i] = narrow<T>(x);
    }
}

template <class T> static rein_status run_adamw(struct device *d, const struct rein_adamw *a, const struct factors &c) {
    const unsigned blocks = (unsigned)least(blocks_of(a->n, BLOCK), 32 * (int64_t)d->multiprocessors);

    return RUN(d, adamw<T>, blocks, BLOCK, 0, c, a->n, static_cast<T *>(a->p), a->master, a->g, a->m, a->v);
}

extern "C" rein_status cuda_adamw(void *dev, const struct rein_adamw *a) {
    struct device *d = device_enter(dev);
    struct factors c = {};

    if (!dtype_known(a->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0)
        return REIN_OK;
    c.grad_scale = (float)a->grad_scale;
    c.shrink = (float)(a->lr * a->weight_decay);
    c.beta1 = (float)a->beta1;
    c.one_beta1 = (float)(1.0 - a->beta1);
    c.beta2 = (float)a->beta2;
    c.one_beta2 = (float)(1.0 - a->beta2);
    c.rate = (float)(a->lr / (1.0 - pow(a->beta1, (double)a->step)));
    c.root2 = (float)(1.0 / sqrt(1.0 - pow(a->beta2, (double)a->step)));
    c.eps = (float)a->eps;
    return a->dtype == REIN_F32    ? run_adamw<float>(d, a, c)
           : a->dtype == REIN_BF16 ? run_adamw<bf16>(d, a, c)
                                   : run_adamw<f16>(d, a, c);
}

/* sums[block] = the sum of squares of the block's share: elements block * share .. */
static __global__ void sum_squares(const float *x, int64_t n, int64_t share, double *sums) {
    SHARED_ARRAY(double, part, BLOCK / WARP);
    const int64_t begin = blockIdx.x * share, end = begin + share < n ? begin + share : n;
    double sum = 0;

    for (int64_t i = begin + threadIdx.x; i < end; i += BLOCK)
        sum += (double)x[i] * x[i];
    sum = block_sum<double>(sum, part);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

/* *out = the sum of n numbers, by one block */
static __global__ void sum_sums(const double *sums, int n, double *out) {
    SHARED_ARRAY(double, part, BLOCK / WARP);
    double sum = 0;

    for (int i = (int)threadIdx.x; i < n; i += BLOCK)
        sum += sums[i];
    sum = block_sum<double>(sum, part);
    if (threadIdx.x == 0)
        *out = sum;
}

extern "C" rein_status cuda_sum_squares(void *dev, const struct rein_sum_squares *a) {
    struct device *d = device_enter(dev);
    const int64_t share = most(SUM_CHUNK, (a->n + MOST_SUMS - 1) / MOST_SUMS);
    const unsigned blocks = blocks_of(a->n, share);
    double *sums, *out;
    rein_status rc = device_array(d, WORK_SUMS, MOST_SUMS, &sums);

    if (rc == REIN_OK)
        rc = result_slot(d, a->out, &out);
    if (rc == REIN_OK && blocks > 0)
        rc = RUN(d, sum_squares, blocks, BLOCK, 0, a->x, a->n, share, sums);
    if (rc == REIN_OK)
        rc = RUN(d, sum_sums, 1, BLOCK, 0, sums, (int)blocks, out);
    return rc ? rc : result_fetch(d);
}
