/* SPDX-License-Identifier: MIT
 * The fused head: logits of a chunk of rows by cuBLAS, then a block for each row.
 */
#include "head.h"
#include "reduce.h"

enum { BLOCK = 512 };

/* What the row kernels of a chunk need; arrays begin at the chunk's first row. */
struct rows {
    float *z;
    const float *bias;
    const int32_t *targets;
    int64_t vocabulary;
    float inv_temperature;
};

static __device__ __forceinline__ float logit(const struct rows &h, const float *z, int64_t j) {
    return (h.bias ? z[j] + h.bias[j] : z[j]) * h.inv_temperature;
}

/* The larger value, of equals the lower index. */
static __device__ __forceinline__ void keep_best(float *value, int32_t *index, float other, int32_t at) {
    if (other > *value || (other == *value && at < *index)) {
        *value = other;
        *index = at;
    }
}

/* Shared memory has room for a pair a warp. */
static __device__ int32_t block_best(float value, int32_t index, SHARED_PTR(float) values,
                                     SHARED_PTR(int32_t) indices) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) {
        const float other = __shfl_xor_sync(FULL_WARP, value, lane);
        keep_best(&value, &index, other, __shfl_xor_sync(FULL_WARP, index, lane));
    }
    if (threadIdx.x % WARP == 0) {
        values[threadIdx.x / WARP] = value;
        indices[threadIdx.x / WARP] = index;
    }
    __syncthreads();
    for (unsigned w = 0; w < blockDim.x / WARP; w++)
        keep_best(&value, &index, values[w], indices[w]);
    return index;
}

static __global__ void __launch_bounds__(MOST_ROW_BLOCK)
    head_rows(const struct rows h, float *logp, float *lse, float *entropy, int32_t *best) {
    SHARED_ARRAY(float, part, MOST_ROW_BLOCK / WARP);
    SHARED_ARRAY(float, values, MOST_ROW_BLOCK / WARP);
    SHARED_ARRAY(int32_t, indices, MOST_ROW_BLOCK / WARP);
    const int64_t i = blockIdx.x;
    const float *z = h.z + i * h.vocabulary;
    float top = -INFINITY, sum = 0, mean = 0;
    int32_t at = (int32_t)threadIdx.x < h.vocabulary ? (int32_t)threadIdx.x : 0;

    for (int64_t j = threadIdx.x; j < h.vocabulary; j += blockDim.x)
        keep_best(&top, &at, logit(h, z, j), (int32_t)j);
    at = block_best(top, at, values, indices);
    top = block_max(top, part);
    for (int64_t j = threadIdx.x; j < h.vocabulary; j += blockDim.x) {
        const float t = logit(h, z, j) - top, e = expf(t);
        sum += e;
        mean += e > 0.0f ? e * t : e; /* 0 * -inf is 0 here; a NaN stays */
    }
    sum = block_sum<float>(sum, part);
    mean = block_sum<float>(mean, part);
    if (threadIdx.x == 0) {
        const float log_sum = logf(sum);
        logp[i] = h.targets[i] < 0 ? 0.0f : logit(h, z, h.targets[i]) - top - log_sum;
        if (lse)
            lse[i] = top + log_sum;
        if (entropy)
            entropy[i] = log_sum - mean / sum;
        if (best)
            best[i] = at;
    }
}

extern "C" rein_status cuda_head(void *dev, const struct rein_head *a) {
    struct device *d = device_enter(dev);
    const int64_t step = chunk_rows(d, a->w, a->n);
    struct rows h = {};
    const int32_t *targets;
    rein_status rc;

    if (!dtype_known(a->w->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->w->rows == 0)
        return REIN_OK;
    rc = device_array(d, WORK_LOGITS, step * a->w->rows, &h.z);
    if (rc == REIN_OK)
        rc = staging_room(d, (size_t)a->n * sizeof(*targets));
    if (rc == REIN_OK)
        rc = device_stage(d, a->targets, a->n, &targets);
    h.bias = a->bias;
    h.vocabulary = a->w->rows;
    h.inv_temperature = a->inv_temperature;
    for (int64_t i = 0; i < a->n && rc == REIN_OK; i += step) {
        const int64_t rows = least(step, a->n - i);
        h.targets = targets + i;
        rc = chunk_logits(d, a->w, a->hidden + i * a->ldh, a->ldh, rows, h.z);
        if (rc == REIN_OK)
            rc = RUN(d, head_rows, (unsigned)rows, row_block(a->w->rows), 0, h, a->logp + i, a->lse ? a->lse + i : NULL,
                     a->entropy ? a->entropy + i : NULL, a->best ? a->best + i : NULL);
    }
    return rc;
}

/* z becomes the gradient of the logits before the temperature. */
static __global__ void __launch_bounds__(BLOCK) head_slopes(const struct rows h, const float *lse, const float *entropy,
                                                            const float *d_logp, const float *d_entropy) {
    const int64_t i = blockIdx.y;
    const int32_t target = h.targets[i];
    const float dl = target < 0 ? 0.0f : d_logp[i], de = d_entropy ? d_entropy[i] : 0.0f, total = lse[i];
    const float mean = d_entropy ? entropy[i] : 0.0f;
    float *z = h.z + i * h.vocabulary;

    for (int64_t j = (int64_t)blockIdx.x * BLOCK + threadIdx.x; j < h.vocabulary; j += (int64_t)gridDim.x * BLOCK) {
        const float log_p = logit(h, z, j) - total, p = expf(log_p);
        float g = dl * ((j == target ? 1.0f : 0.0f) - p);
        if (de != 0 && p > 0)
            g -= de * p * (log_p + mean);
        z[j] = g * h.inv_temperature;
    }
}

/* What comes of the slopes of `rows` rows of hidden states. */
static rein_status spread_slopes(struct device *d, const struct rein_head_dx *a, const float *z, int64_t i,
                                 int64_t rows) {
    const struct rein_weight *w = a->w;
    struct weight_product dx = {};
    struct product dw = {};
    rein_status rc = REIN_OK;

    if (a->dhidden) {
        dx.w = w;
        dx.accumulate = a->beta != 0;
        dx.m = rows;
        dx.lda = w->rows;
        dx.ldc = a->lddh;
        dx.a = z;
        dx.c = a->dhidden + i * a->lddh;
        rc = weight_multiply(d, &dx);
    }
    if (a->dw && rc == REIN_OK) {
        dw.m = w->rows;
        dw.n = w->cols;
        dw.k = rows;
        dw.lda = w->rows;
        dw.ldb = a->ldh;
        dw.ldc = a->lddw;
        dw.a = z;
        dw.b = a->hidden + i * a->ldh;
        dw.dtype = REIN_F32;
        dw.a_t = true;
        dw.accumulate = true;
        dw.c = a->dw;
        rc = blas_product(d, &dw);
    }
    return rc || !a->dbias ? rc : column_sums(d, z, rows, w->rows, w->rows, a->dbias);
}

extern "C" rein_status cuda_head_dx(void *dev, const struct rein_head_dx *a) {
    struct device *d = device_enter(dev);
    const int64_t step = least(chunk_rows(d, a->w, a->n), MOST_GRID_YZ);
    struct rows h = {};
    const int32_t *targets;
    rein_status rc;

    if (!dtype_known(a->w->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->w->rows == 0)
        return REIN_OK;
    rc = device_array(d, WORK_LOGITS, step * a->w->rows, &h.z);
    if (rc == REIN_OK)
        rc = staging_room(d, (size_t)a->n * sizeof(*targets));
    if (rc == REIN_OK)
        rc = device_stage(d, a->targets, a->n, &targets);
    h.bias = a->bias;
    h.vocabulary = a->w->rows;
    h.inv_temperature = a->inv_temperature;
    for (int64_t i = 0; i < a->n && rc == REIN_OK; i += step) {
        const int64_t rows = least(step, a->n - i);
        h.targets = targets + i;
        rc = chunk_logits(d, a->w, a->hidden + i * a->ldh, a->ldh, rows, h.z);
        if (rc == REIN_OK)
            rc = RUN(d, head_slopes, plane(rows, a->w->rows, BLOCK), BLOCK, 0, h, a->lse + i,
                     a->d_entropy ? a->entropy + i : NULL, a->d_logp + i, a->d_entropy ? a->d_entropy + i : NULL);
        if (rc == REIN_OK)
            rc = spread_slopes(d, a, h.z, i, rows);
    }
    return rc;
}
