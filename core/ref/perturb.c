/* SPDX-License-Identifier: MIT */
#include "ref/kernels.h"

#include <math.h>

static double rms(const float *x, int64_t n) {
    double sum = 0;

    for (int64_t c = 0; c < n; c++)
        sum += (double)x[c] * x[c];
    return sqrt(sum / (double)n);
}

static void row(const struct rein_perturb *a, int64_t i) {
    const uint32_t below = rein_dropout_below(a->rate);
    const float *x = a->x + i * a->ldx, scale = rein_dropout_scale(a->rate);
    const double deviation = a->kind == REIN_PERTURB_NOISE ? a->rate * rms(x, a->cols) : 0;
    float *y = a->y + i * a->ldy;

    for (int64_t c = 0; c < a->cols; c += 4) {
        uint32_t word[4];
        double z[4];

        rein_philox(a->keys[i], (uint32_t)(c / 4), (uint32_t)a->positions[i], a->site, a->kind, word);
        rein_normals(word, z);
        for (int64_t j = c; j < a->cols && j < c + 4; j++)
            if (a->kind == REIN_PERTURB_NOISE)
                y[j] = (float)(x[j] + deviation * z[j - c]);
            else
                y[j] = word[j - c] < below ? 0.0f : x[j] * scale;
    }
}

rein_status ref_perturb(void *dev, const struct rein_perturb *a) {
    (void)dev;
    if (a->kind != REIN_PERTURB_DROPOUT && a->kind != REIN_PERTURB_NOISE)
        return REIN_ERR_UNSUPPORTED;
    for (int64_t i = 0; i < a->n; i++)
        row(a, i);
    return REIN_OK;
}
