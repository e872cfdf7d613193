/* SPDX-License-Identifier: MIT
 * Activations with or without a gate, and rotary positions.
 */
#include "device.h"
#include "reduce.h"

enum { BLOCK = 256 };

/* act(x), and its derivative in *slope */
static __device__ __forceinline__ float activate(uint32_t kind, float x, float *slope) {
    if (kind == REIN_ACT_SILU) {
        const float s = 1.0f / (1.0f + expf(-x));
        *slope = s * (1.0f + x * (1.0f - s));
        return x * s;
    }
    if (kind == REIN_ACT_GELU_TANH) { /* (1 + tanh u) / 2 is the sigmoid of 2 u, which keeps small values exact */
        const float root = 0.79788456080286535588f; /* sqrt(2 / pi) */
        const float u = 2.0f * root * (x + 0.044715f * x * x * x);
        const float s = 1.0f / (1.0f + expf(-u)), rest = 1.0f / (1.0f + expf(u));
        *slope = s * (1.0f + x * rest * 2.0f * root * (1.0f + 3.0f * 0.044715f * x * x));
        return x * s;
    }
    const float cdf = 0.5f * erfcf(-x * 0.70710678118654752440f);
    *slope = cdf + x * expf(-0.5f * x * x) * 0.39894228040143267794f; /* 1 / sqrt(2 pi) */
    return x * cdf;
}

static __global__ void activation(const struct rein_activation a) {
    for (int64_t i = blockIdx.y; i < a.n; i += gridDim.y)
        for (int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; c < a.cols;
             c += (int64_t)gridDim.x * blockDim.x) {
            float slope;
            const float y = activate(a.kind, a.gate[i * a.ldgate + c], &slope);
            a.y[i * a.ldy + c] = a.up ? y * a.up[i * a.ldup + c] : y;
        }
}

extern "C" rein_status cuda_activation(void *dev, const struct rein_activation *a) {
    struct device *d = device_enter(dev);

    if (a->kind > REIN_ACT_GELU)
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    return RUN(d, activation, plane(a->n, a->cols, BLOCK), BLOCK, 0, *a);
}

static __global__ void activation_dx(const struct rein_activation_dx a) {
    for (int64_t i = blockIdx.y; i < a.n; i += gridDim.y)
        for (int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; c < a.cols;
             c += (int64_t)gridDim.x * blockDim.x) {
            const float dy = a.dy[i * a.lddy + c], up = a.up ? a.up[i * a.ldup + c] : 1.0f;
            float slope;
            const float y = activate(a.kind, a.gate[i * a.ldgate + c], &slope);
            a.dgate[i * a.ldgate + c] = dy * up * slope;
            if (a.up)
                a.dup[i * a.ldup + c] = dy * y;
        }
}

extern "C" rein_status cuda_activation_dx(void *dev, const struct rein_activation_dx *a) {
    struct device *d = device_enter(dev);

    if (a->kind > REIN_ACT_GELU)
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    return RUN(d, activation_dx, plane(a->n, a->cols, BLOCK), BLOCK, 0, *a);
}

/* A block for each row: the angles once, then every head. The product is rounded to float32, as Hugging Face's is; its
 * cosine is that of the double, since angles reach the length of the context. */
static __global__ void rope(const int32_t *positions, const float *frequencies, int64_t heads, int64_t half_dim,
                            float scale, float direction, float *x, int64_t ldx) {
    SHARED(float, turn); /* cosines, then sines */
    float *row = x + blockIdx.x * ldx;

    for (int64_t j = threadIdx.x; j < half_dim; j += blockDim.x) {
        const float angle = (float)positions[blockIdx.x] * frequencies[j];
        turn[j] = (float)cos((double)angle) * scale;
        turn[half_dim + j] = (float)sin((double)angle) * scale * direction;
    }
    __syncthreads();
    for (int64_t t = threadIdx.x; t < heads * half_dim; t += blockDim.x) {
        const int64_t j = t % half_dim;
        float *p = row + t / half_dim * 2 * half_dim + j;
        const float x0 = p[0], x1 = p[half_dim], c = turn[j], s = turn[half_dim + j];
        p[0] = x0 * c - x1 * s;
        p[half_dim] = x1 * c + x0 * s;
    }
}

extern "C" rein_status cuda_rope(void *dev, const struct rein_rope *a) {
    struct device *d = device_enter(dev);
    const int64_t half_dim = a->head_dim / 2;
    const int32_t *positions;
    const float *frequencies;
    rein_status rc;

    if (a->n == 0 || half_dim == 0 || a->heads == 0)
        return REIN_OK;
    if (half_dim > 4096) /* the angles lie in shared memory */
        return REIN_ERR_UNSUPPORTED;
    rc = staging_room(d, (size_t)a->n * sizeof(*positions) + (size_t)half_dim * sizeof(*frequencies));
    if (rc == REIN_OK)
        rc = device_stage(d, a->positions, a->n, &positions);
    if (rc == REIN_OK)
        rc = device_stage(d, a->frequencies, half_dim, &frequencies);
    return rc ? rc
              : RUN(d, rope, (unsigned)a->n, BLOCK, 2 * (size_t)half_dim * sizeof(float), positions, frequencies,
                    a->heads, half_dim, a->scale, (float)a->direction, a->x, a->ldx);
}
