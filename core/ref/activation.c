/* SPDX-License-Identifier: MIT */
#include "ref/kernels.h"

#include <math.h>

static const double sqrt_2_pi = 0.79788456080286535588; /* sqrt(2 / pi) */

/* act(x), and its derivative in *d */
static double activate(uint32_t kind, double x, double *d) {
    if (kind == REIN_ACT_SILU) {
        double s = 1.0 / (1.0 + exp(-x));
        *d = s * (1.0 + x * (1.0 - s));
        return x * s;
    }
    if (kind == REIN_ACT_GELU_TANH) {
        double t = tanh(sqrt_2_pi * (x + 0.044715 * x * x * x));
        *d = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * sqrt_2_pi * (1.0 + 3.0 * 0.044715 * x * x);
        return 0.5 * x * (1.0 + t);
    }
    double cdf = 0.5 * erfc(-x * 0.70710678118654752440);
    *d = cdf + x * exp(-0.5 * x * x) * 0.39894228040143267794; /* 1 / sqrt(2 pi) */
    return x * cdf;
}

rein_status ref_activation(void *dev, const struct rein_activation *a) {
    double d;

    (void)dev;
    if (a->kind > REIN_ACT_GELU)
        return REIN_ERR_UNSUPPORTED;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t c = 0; c < a->cols; c++) {
            double y = activate(a->kind, a->gate[i * a->ldgate + c], &d);
            a->y[i * a->ldy + c] = (float)(a->up ? y * a->up[i * a->ldup + c] : y);
        }
    return REIN_OK;
}

rein_status ref_activation_dx(void *dev, const struct rein_activation_dx *a) {
    (void)dev;
    if (a->kind > REIN_ACT_GELU)
        return REIN_ERR_UNSUPPORTED;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t c = 0; c < a->cols; c++) {
            double dy = a->dy[i * a->lddy + c], up = a->up ? a->up[i * a->ldup + c] : 1.0, d;
            double y = activate(a->kind, a->gate[i * a->ldgate + c], &d);
            a->dgate[i * a->ldgate + c] = (float)(dy * up * d);
            if (a->up)
                a->dup[i * a->ldup + c] = (float)(dy * y);
        }
    return REIN_OK;
}

rein_status ref_rope(void *dev, const struct rein_rope *a) {
    int64_t half = a->head_dim / 2;

    (void)dev;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t j = 0; j < half; j++) {
            /* the product is rounded to float32, as Hugging Face's is */
            float angle = (float)a->positions[i] * a->frequencies[j];
            double co = cos(angle) * a->scale, si = sin(angle) * a->scale * a->direction;
            for (int64_t h = 0; h < a->heads; h++) {
                float *x = a->x + i * a->ldx + h * a->head_dim + j;
                double x0 = x[0], x1 = x[half];
                x[0] = (float)(x0 * co - x1 * si);
                x[half] = (float)(x1 * co + x0 * si);
            }
        }
    return REIN_OK;
}
