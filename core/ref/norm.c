/* SPDX-License-Identifier: MIT */
#include "ref/kernels.h"

#include <math.h>

rein_status ref_norm(void *dev, const struct rein_norm *a) {
    double cols = (double)a->cols;

    (void)dev;
    if (a->kind != REIN_NORM_RMS && a->kind != REIN_NORM_LAYER)
        return REIN_ERR_UNSUPPORTED;
    if (a->cols == 0)
        return REIN_OK;
    for (int64_t i = 0; i < a->n; i++) {
        const float *x = a->x + i * a->ldx;
        float *y = a->y + i * a->ldy;
        double mean = 0, square = 0, rstd;
        if (a->kind == REIN_NORM_LAYER) {
            for (int64_t c = 0; c < a->cols; c++)
                mean += x[c];
            mean /= cols;
        }
        for (int64_t c = 0; c < a->cols; c++)
            square += (x[c] - mean) * (x[c] - mean);
        rstd = 1.0 / sqrt(square / cols + a->eps);
        for (int64_t c = 0; c < a->cols; c++) {
            double normal = (x[c] - mean) * rstd;
            if (a->kind == REIN_NORM_RMS)
                y[c] = (float)(normal * ((double)a->weight[c] + a->offset));
            else
                y[c] = (float)(normal * a->weight[c] + (a->bias ? a->bias[c] : 0.0));
        }
        if (a->rstd)
            a->rstd[i] = (float)rstd;
        if (a->mean && a->kind == REIN_NORM_LAYER)
            a->mean[i] = (float)mean;
    }
    return REIN_OK;
}

/* Column sums first: dx may overwrite dy. */
static void norm_dweight(const struct rein_norm_dx *a) {
    for (int64_t c = 0; c < a->cols; c++) {
        double weight = 0, bias = 0;
        for (int64_t i = 0; i < a->n; i++) {
            double mean = a->kind == REIN_NORM_LAYER ? a->mean[i] : 0.0, dy = a->dy[i * a->lddy + c];
            weight += dy * (a->x[i * a->ldx + c] - mean) * a->rstd[i];
            bias += dy;
        }
        if (a->dweight)
            a->dweight[c] = (float)(a->dweight[c] + weight);
        if (a->dbias)
            a->dbias[c] = (float)(a->dbias[c] + bias);
    }
}

/* With n = (x - mean) rstd and g = dy * weight: dx = rstd (g - mean(g)[layer] - n mean(g n)). */
rein_status ref_norm_dx(void *dev, const struct rein_norm_dx *a) {
    bool layer = a->kind == REIN_NORM_LAYER;

    (void)dev;
    if (a->kind != REIN_NORM_RMS && !layer)
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    if (a->dweight || a->dbias)
        norm_dweight(a);
    for (int64_t i = 0; i < a->n; i++) {
        const float *x = a->x + i * a->ldx, *dy = a->dy + i * a->lddy;
        float *dx = a->dx + i * a->lddx;
        double rstd = a->rstd[i], mean = layer ? a->mean[i] : 0.0, sum = 0, dot = 0;
        double offset = layer ? 0.0 : a->offset;
        for (int64_t c = 0; c < a->cols; c++) {
            double g = dy[c] * (a->weight[c] + offset);
            sum += g;
            dot += g * (x[c] - mean) * rstd;
        }
        sum = layer ? sum / (double)a->cols : 0.0;
        dot /= (double)a->cols;
        for (int64_t c = 0; c < a->cols; c++) {
            double g = dy[c] * (a->weight[c] + offset);
            double d = rstd * (g - sum - (x[c] - mean) * rstd * dot);
            dx[c] = (float)(a->beta != 0 ? d + (double)a->beta * dx[c] : d);
        }
    }
    return REIN_OK;
}
