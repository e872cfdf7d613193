/* SPDX-License-Identifier: MIT */
#include "ref/kernels.h"

#include <math.h>
#include <stdlib.h>

void ref_logits(const struct rein_weight *w, const float *bias, const float *h, double inv_temperature, double *z) {
    for (int64_t r = 0; r < w->rows; r++) {
        double sum = bias ? bias[r] : 0.0;
        for (int64_t c = 0; c < w->cols; c++)
            sum += (double)h[c] * ref_load(w->data, w->dtype, r * w->ld + c);
        z[r] = sum * inv_temperature;
    }
}

double ref_lse(const double *z, int64_t n) {
    double most = -INFINITY, sum = 0;

    for (int64_t j = 0; j < n; j++)
        if (z[j] > most)
            most = z[j];
    for (int64_t j = 0; j < n; j++)
        sum += exp(z[j] - most);
    return most + log(sum);
}

rein_status ref_head(void *dev, const struct rein_head *a) {
    int64_t vocabulary = a->w->rows;
    double *z;

    (void)dev;
    if (!ref_dtype_known(a->w->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || vocabulary == 0)
        return REIN_OK;
    z = ref_doubles(vocabulary);
    if (!z)
        return REIN_ERR_NOMEM;
    for (int64_t i = 0; i < a->n; i++) {
        double lse, mean = 0;
        int64_t best = 0;
        ref_logits(a->w, a->bias, a->hidden + i * a->ldh, a->inv_temperature, z);
        lse = ref_lse(z, vocabulary);
        for (int64_t j = 0; j < vocabulary; j++) {
            mean += exp(z[j] - lse) * z[j];
            if (z[j] > z[best])
                best = j;
        }
        a->logp[i] = a->targets[i] < 0 ? 0.0f : (float)(z[a->targets[i]] - lse);
        if (a->lse)
            a->lse[i] = (float)lse;
        if (a->entropy)
            a->entropy[i] = (float)(lse - mean);
        if (a->best)
            a->best[i] = (int32_t)best;
    }
    free(z);
    return REIN_OK;
}

/* z becomes the gradient of one row's logits before the temperature. */
static void logits_gradient(const struct rein_head_dx *a, int64_t i, double *z) {
    int32_t target = a->targets[i];
    double d_logp = target < 0 ? 0.0 : a->d_logp[i], d_entropy = a->d_entropy ? a->d_entropy[i] : 0.0;
    double lse = a->lse[i], entropy = a->d_entropy ? a->entropy[i] : 0.0;

    for (int64_t j = 0; j < a->w->rows; j++) {
        double log_p = z[j] - lse, p = exp(log_p);
        double g = d_logp * ((j == target) - p);
        if (d_entropy != 0 && p > 0)
            g -= d_entropy * p * (log_p + entropy);
        z[j] = g * a->inv_temperature;
    }
}

rein_status ref_head_dx(void *dev, const struct rein_head_dx *a) {
    const struct rein_weight *w = a->w;
    double *z, *dh;

    (void)dev;
    if (!ref_dtype_known(w->dtype))
        return REIN_ERR_UNSUPPORTED;
    z = ref_doubles(w->rows + w->cols);
    if (!z)
        return REIN_ERR_NOMEM;
    dh = z + w->rows;
    for (int64_t i = 0; i < a->n; i++) {
        const float *h = a->hidden + i * a->ldh;
        float *out = a->dhidden ? a->dhidden + i * a->lddh : NULL;
        ref_logits(w, a->bias, h, a->inv_temperature, z);
        logits_gradient(a, i, z);
        for (int64_t c = 0; c < w->cols; c++)
            dh[c] = out && a->beta != 0 ? (double)a->beta * out[c] : 0.0;
        for (int64_t j = 0; j < w->rows; j++) {
            for (int64_t c = 0; c < w->cols; c++)
                dh[c] += z[j] * ref_load(w->data, w->dtype, j * w->ld + c);
            for (int64_t c = 0; a->dw && c < w->cols; c++)
                a->dw[j * a->lddw + c] = (float)(a->dw[j * a->lddw + c] + z[j] * h[c]);
            if (a->dbias)
                a->dbias[j] = (float)(a->dbias[j] + z[j]);
        }
        for (int64_t c = 0; out && c < w->cols; c++)
            out[c] = (float)dh[c];
    }
    free(z);
    return REIN_OK;
}
