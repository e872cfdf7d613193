/* SPDX-License-Identifier: MIT
 * RMS norm and layer norm: a block for each row.
 */
#include "columns.h"
#include "device.h"

enum { MOST_BLOCK = 256, MOST_WARPS = MOST_BLOCK / WARP };

static unsigned block_for(int64_t cols) {
    return (unsigned)least(MOST_BLOCK, most((cols + WARP - 1) / WARP * WARP, WARP));
}

static __global__ void norm(const struct rein_norm a) {
    SHARED_ARRAY(float, part, MOST_WARPS);
    const int64_t i = blockIdx.x;
    const bool layer = a.kind == REIN_NORM_LAYER;
    const float *x = a.x + i * a.ldx, count = (float)a.cols;
    float *y = a.y + i * a.ldy, mean = 0, square = 0, rstd;

    if (layer) {
        for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x)
            mean += x[c];
        mean = block_sum<float>(mean, part) / count;
    }
    for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x)
        square += (x[c] - mean) * (x[c] - mean);
    rstd = 1.0f / sqrtf(block_sum<float>(square, part) / count + a.eps);
    for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
        const float normal = (x[c] - mean) * rstd;
        y[c] = layer ? normal * a.weight[c] + (a.bias ? a.bias[c] : 0.0f) : normal * (a.weight[c] + a.offset);
    }
    if (threadIdx.x == 0 && a.rstd)
        a.rstd[i] = rstd;
    if (threadIdx.x == 0 && a.mean && layer)
        a.mean[i] = mean;
}

extern "C" rein_status cuda_norm(void *dev, const struct rein_norm *a) {
    struct device *d = device_enter(dev);

    if (a->kind != REIN_NORM_RMS && a->kind != REIN_NORM_LAYER)
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    return RUN(d, norm, (unsigned)a->n, block_for(a->cols), 0, *a);
}

/* weights[blockIdx.y][c] and biases: the sums of dy * normalised x, and of dy, over a chunk of rows */
static __global__ void norm_dw(const struct rein_norm_dx a, int64_t chunk, float *weights, float *biases) {
    SHARED_ARRAY(float, part, COLUMN_BLOCK);
    const int64_t begin = blockIdx.y * chunk, end = begin + chunk < a.n ? begin + chunk : a.n;
    const int64_t c = (int64_t)blockIdx.x * WARP + threadIdx.x % WARP;
    float weight = 0, bias = 0;

    for (int64_t i = begin + threadIdx.x / WARP; i < end && c < a.cols; i += COLUMN_BLOCK / WARP) {
        const float mean = a.kind == REIN_NORM_LAYER ? a.mean[i] : 0.0f, dy = a.dy[i * a.lddy + c];
        weight += dy * ((a.x[i * a.ldx + c] - mean) * a.rstd[i]);
        bias += dy;
    }
    weight = across_warps(weight, part);
    bias = across_warps(bias, part);
    if (threadIdx.x < WARP && c < a.cols) {
        weights[blockIdx.y * a.cols + c] = weight;
        biases[blockIdx.y * a.cols + c] = bias;
    }
}

/* With n = (x - mean) rstd and g = dy * weight: dx = rstd (g - mean(g)[layer] - n mean(g n)). */
static __global__ void norm_dx(const struct rein_norm_dx a) {
    SHARED_ARRAY(float, part, MOST_WARPS);
    const int64_t i = blockIdx.x;
    const bool layer = a.kind == REIN_NORM_LAYER;
    const float *x = a.x + i * a.ldx, *dy = a.dy + i * a.lddy, count = (float)a.cols;
    const float rstd = a.rstd[i], mean = layer ? a.mean[i] : 0.0f, offset = layer ? 0.0f : a.offset;
    float *dx = a.dx + i * a.lddx, sum = 0, dot = 0;

    for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
        const float g = dy[c] * (a.weight[c] + offset);
        sum += g;
        dot += g * ((x[c] - mean) * rstd);
    }
    sum = layer ? block_sum<float>(sum, part) / count : 0.0f;
    dot = block_sum<float>(dot, part) / count;
    for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
        const float g = dy[c] * (a.weight[c] + offset);
        const float t = rstd * (g - sum - (x[c] - mean) * rstd * dot);
        dx[c] = a.beta != 0 ? t + a.beta * dx[c] : t;
    }
}

extern "C" rein_status cuda_norm_dx(void *dev, const struct rein_norm_dx *a) {
    struct device *d = device_enter(dev);
    const int64_t chunk = column_chunk(a->n);
    const int nchunks = (int)blocks_of(a->n, chunk);
    rein_status rc = REIN_OK;
    float *chunks;

    if (a->kind != REIN_NORM_RMS && a->kind != REIN_NORM_LAYER)
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    if (a->dweight || a->dbias) { /* first, since dx may overwrite dy */
        const unsigned blocks = blocks_of(a->cols, COLUMN_BLOCK);
        rc = device_array(d, WORK_SUMS, 2 * nchunks * a->cols, &chunks);
        if (rc == REIN_OK)
            rc = RUN(d, norm_dw, dim3(blocks_of(a->cols, WARP), (unsigned)nchunks), COLUMN_BLOCK, 0, *a, chunk, chunks,
                     chunks + nchunks * a->cols);
        if (rc == REIN_OK && a->dweight)
            rc = RUN(d, add_chunks, blocks, COLUMN_BLOCK, 0, chunks, nchunks, a->cols, a->dweight);
        if (rc == REIN_OK && a->dbias)
            rc = RUN(d, add_chunks, blocks, COLUMN_BLOCK, 0, chunks + nchunks * a->cols, nchunks, a->cols, a->dbias);
    }
    return rc ? rc : RUN(d, norm_dx, (unsigned)a->n, block_for(a->cols), 0, *a);
}
