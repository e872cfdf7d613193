/* SPDX-License-Identifier: MIT */
#include "isa/level.h"

/* 0.5 erfc(x / sqrt 2) for x >= 0: Chebyshev fit with a relative error below 1.2e-7 (Numerical Recipes, erfcc). */
INLINE vf upper_tail(vf x) {
    vf z = x * 0.70710678f, t = 1.0f / (1.0f + 0.5f * z);
    vf p = t * 0.17087277f - 0.82215223f;
    p = p * t + 1.48851587f;
    p = p * t - 1.13520398f;
    p = p * t + 0.27886807f;
    p = p * t - 0.18628806f;
    p = p * t + 0.09678418f;
    p = p * t + 0.37409196f;
    p = p * t + 1.00002368f;
    p = p * t - 1.26551223f;
    return 0.5f * t * exp_v(p - z * z);
}

/* act(x), and its derivative in *d */
INLINE vf activate(uint32_t kind, vf x, vf *d) {
    if (kind == REIN_ACT_SILU) {
        vf s = sigmoid_v(x);
        *d = s * (1.0f + x * (1.0f - s));
        return x * s;
    }
    if (kind == REIN_ACT_GELU_TANH) { /* (1 + tanh u) / 2 is the sigmoid of 2u */
        const float c = 1.59576912f;  /* 2 sqrt(2 / pi) */
        vf s = sigmoid_v(c * (x + 0.044715f * x * x * x));
        *d = s + x * s * (1.0f - s) * c * (1.0f + 0.134145f * x * x);
        return x * s;
    }
    vf tail = upper_tail(select_v(x < 0.0f, -x, x)), cdf = select_v(x < 0.0f, tail, 1.0f - tail);
    *d = cdf + x * exp_v(-0.5f * x * x) * 0.39894228f; /* 1 / sqrt(2 pi) */
    return x * cdf;
}

INLINE void activation_rows(const struct rein_activation *a, const uint32_t kind, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        const float *gate = a->gate + i * a->ldgate, *up = a->up ? a->up + i * a->ldup : NULL;
        float *y = a->y + i * a->ldy;
        int64_t c = 0, n;
        vf d, v;
        for (; c + VW <= a->cols; c += VW) {
            v = activate(kind, load(gate + c), &d);
            store(y + c, up ? v * load(up + c) : v);
        }
        n = a->cols - c;
        v = activate(kind, load_part(gate + c, n), &d);
        store_part(y + c, up ? v * load_part(up + c, n) : v, n);
    }
}

void LEVEL(activation)(const struct rein_activation *a, int64_t begin, int64_t end) {
    if (a->kind == REIN_ACT_SILU)
        activation_rows(a, REIN_ACT_SILU, begin, end);
    else if (a->kind == REIN_ACT_GELU_TANH)
        activation_rows(a, REIN_ACT_GELU_TANH, begin, end);
    else
        activation_rows(a, REIN_ACT_GELU, begin, end);
}

INLINE void activation_dx_rows(const struct rein_activation_dx *a, const uint32_t kind, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        const float *gate = a->gate + i * a->ldgate, *up = a->up ? a->up + i * a->ldup : NULL;
        const float *dy = a->dy + i * a->lddy;
        float *dgate = a->dgate + i * a->ldgate, *dup = up ? a->dup + i * a->ldup : NULL;
        int64_t c = 0, n;
        vf d, v, u, g;
        for (; c + VW <= a->cols; c += VW) {
            v = activate(kind, load(gate + c), &d);
            g = load(dy + c);
            u = up ? load(up + c) : splat(1.0f);
            store(dgate + c, g * u * d);
            if (up)
                store(dup + c, g * v);
        }
        n = a->cols - c;
        v = activate(kind, load_part(gate + c, n), &d);
        g = load_part(dy + c, n);
        u = up ? load_part(up + c, n) : splat(1.0f);
        store_part(dgate + c, g * u * d, n);
        if (up)
            store_part(dup + c, g * v, n);
    }
}

void LEVEL(activation_dx)(const struct rein_activation_dx *a, int64_t begin, int64_t end) {
    if (a->kind == REIN_ACT_SILU)
        activation_dx_rows(a, REIN_ACT_SILU, begin, end);
    else if (a->kind == REIN_ACT_GELU_TANH)
        activation_dx_rows(a, REIN_ACT_GELU_TANH, begin, end);
    else
        activation_dx_rows(a, REIN_ACT_GELU, begin, end);
}

void LEVEL(rope)(const struct rein_rope *a, const float *table, int64_t begin, int64_t end) {
    int64_t half = a->head_dim / 2;
    float sign = a->direction < 0 ? -1.0f : 1.0f;

    for (int64_t i = begin; i < end; i++) {
        const float *co = table + i * a->head_dim, *si = co + half;
        for (int64_t h = 0; h < a->heads; h++) {
            float *x = a->x + i * a->ldx + h * a->head_dim;
            int64_t j = 0;
            for (; j + VW <= half; j += VW) {
                vf x0 = load(x + j), x1 = load(x + half + j), c = load(co + j), s = load(si + j) * sign;
                store(x + j, x0 * c - x1 * s);
                store(x + half + j, x1 * c + x0 * s);
            }
            for (; j < half; j++) {
                float x0 = x[j], x1 = x[half + j], s = si[j] * sign;
                x[j] = x0 * co[j] - x1 * s;
                x[half + j] = x1 * co[j] + x0 * s;
            }
        }
    }
}
