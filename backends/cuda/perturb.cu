/* SPDX-License-Identifier: MIT
 * Dropout and noise, drawn as rein/perturb.h says: a block for each row.
 */
#include "device.h"
#include "reduce.h"

#include <rein/perturb.h>

enum { BLOCK = 256 };

static __global__ void dropout(const uint64_t *keys, const int32_t *positions, uint32_t site, uint32_t below,
                               float scale, int64_t cols, const float *x, int64_t ldx, float *y, int64_t ldy) {
    const int64_t i = blockIdx.x;

    for (int64_t c = threadIdx.x * (int64_t)4; c < cols; c += (int64_t)blockDim.x * 4) {
        uint32_t word[4];
        rein_philox(keys[i], (uint32_t)(c / 4), (uint32_t)positions[i], site, REIN_PERTURB_DROPOUT, word);
        for (int j = 0; j < 4 && c + j < cols; j++)
            y[i * ldy + c + j] = word[j] < below ? 0.0f : x[i * ldx + c + j] * scale;
    }
}

static __global__ void noise(const uint64_t *keys, const int32_t *positions, uint32_t site, double rate, int64_t cols,
                             const float *x, int64_t ldx, float *y, int64_t ldy) {
    SHARED_ARRAY(double, part, BLOCK / WARP);
    const int64_t i = blockIdx.x;
    double sum = 0, deviation;

    for (int64_t c = threadIdx.x; c < cols; c += blockDim.x)
        sum += (double)x[i * ldx + c] * x[i * ldx + c];
    deviation = rate * sqrt(block_sum<double>(sum, part) / (double)cols);
    for (int64_t c = threadIdx.x * (int64_t)4; c < cols; c += (int64_t)blockDim.x * 4) {
        uint32_t word[4];
        double z[4];
        rein_philox(keys[i], (uint32_t)(c / 4), (uint32_t)positions[i], site, REIN_PERTURB_NOISE, word);
        rein_normals(word, z);
        for (int j = 0; j < 4 && c + j < cols; j++)
            y[i * ldy + c + j] = (float)(x[i * ldx + c + j] + deviation * z[j]);
    }
}

extern "C" rein_status cuda_perturb(void *dev, const struct rein_perturb *a) {
    struct device *d = device_enter(dev);
    const int32_t *positions;
    const uint64_t *keys;
    rein_status rc;

    if (a->kind != REIN_PERTURB_DROPOUT && a->kind != REIN_PERTURB_NOISE)
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    rc = staging_room(d, (size_t)a->n * (sizeof(*keys) + sizeof(*positions)));
    if (rc == REIN_OK)
        rc = device_stage(d, a->keys, a->n, &keys);
    if (rc == REIN_OK)
        rc = device_stage(d, a->positions, a->n, &positions);
    if (rc)
        return rc;
    if (a->kind == REIN_PERTURB_NOISE)
        return RUN(d, noise, (unsigned)a->n, BLOCK, 0, keys, positions, a->site, a->rate, a->cols, a->x, a->ldx, a->y,
                   a->ldy);
    return RUN(d, dropout, (unsigned)a->n, BLOCK, 0, keys, positions, a->site, rein_dropout_below(a->rate),
               rein_dropout_scale(a->rate), a->cols, a->x, a->ldx, a->y, a->ldy);
}
