/* SPDX-License-Identifier: MIT */
#include "isa/level.h"

/* Sum over c of f(c), four vectors at a time so that the additions overlap; the rest lane by lane. */
static float row_sum(const float *x, int64_t n) {
    vf s[4] = {{0}, {0}, {0}, {0}};
    int64_t c = 0;

    for (; c + 4 * VW <= n; c += 4 * VW)
        for (int i = 0; i < 4; i++)
            s[i] += load(x + c + i * VW);
    for (; c + VW <= n; c += VW)
        s[0] += load(x + c);
    s[1] += load_part(x + c, n - c);
    return sum_v((s[0] + s[1]) + (s[2] + s[3]));
}

static float row_squares(const float *x, float mean, int64_t n) {
    vf s[4] = {{0}, {0}, {0}, {0}}, d;
    int64_t c = 0;

    for (; c + 4 * VW <= n; c += 4 * VW)
        for (int i = 0; i < 4; i++) {
            d = load(x + c + i * VW) - mean;
            s[i] += d * d;
        }
    for (; c + VW <= n; c += VW) {
        d = load(x + c) - mean;
        s[0] += d * d;
    }
    for (; c < n; c++)
        s[1][0] += (x[c] - mean) * (x[c] - mean);
    return sum_v((s[0] + s[1]) + (s[2] + s[3]));
}

void LEVEL(norm)(const struct rein_norm *a, int64_t begin, int64_t end) {
    bool layer = a->kind == REIN_NORM_LAYER;
    float offset = layer ? 0.0f : a->offset;

    for (int64_t i = begin; i < end; i++) {
        const float *x = a->x + i * a->ldx, *bias = layer ? a->bias : NULL;
        float *y = a->y + i * a->ldy, mean = layer ? row_sum(x, a->cols) / (float)a->cols : 0.0f;
        float rstd = 1.0f / sqrtf(row_squares(x, mean, a->cols) / (float)a->cols + a->eps);
        int64_t c = 0;
        for (; c + VW <= a->cols; c += VW) {
            vf v = (load(x + c) - mean) * rstd * (load(a->weight + c) + offset);
            store(y + c, bias ? v + load(bias + c) : v);
        }
        for (; c < a->cols; c++)
            y[c] = (x[c] - mean) * rstd * (a->weight[c] + offset) + (bias ? bias[c] : 0.0f);
        if (a->rstd)
            a->rstd[i] = rstd;
        if (layer && a->mean)
            a->mean[i] = mean;
    }
}

/* With n = (x - mean) rstd and g = dy weight: dx = rstd (g - mean(g)[layer] - n mean(g n)). */
void LEVEL(norm_dx)(const struct rein_norm_dx *a, int64_t begin, int64_t end) {
    bool layer = a->kind == REIN_NORM_LAYER;
    float offset = layer ? 0.0f : a->offset;

    for (int64_t i = begin; i < end; i++) {
        const float *x = a->x + i * a->ldx, *dy = a->dy + i * a->lddy;
        float *dx = a->dx + i * a->lddx, rstd = a->rstd[i], mean = layer ? a->mean[i] : 0.0f, sum, dot;
        vf sums[2] = {{0}, {0}}, dots[2] = {{0}, {0}}, g;
        int64_t c = 0;
        for (; c + VW <= a->cols; c += VW) {
            g = load(dy + c) * (load(a->weight + c) + offset);
            sums[c / VW & 1] += g;
            dots[c / VW & 1] += g * (load(x + c) - mean);
        }
        g = load_part(dy + c, a->cols - c) * (load_part(a->weight + c, a->cols - c) + offset);
        sum = sum_v(sums[0] + sums[1] + g);
        dot = sum_v(dots[0] + dots[1] + g * (load_part(x + c, a->cols - c) - mean)) * rstd * rstd / (float)a->cols;
        sum = layer ? sum / (float)a->cols : 0.0f;
        for (c = 0; c < a->cols; c += VW) {
            int64_t n = a->cols - c;
            if (n >= VW) {
                g = load(dy + c) * (load(a->weight + c) + offset);
                g = rstd * (g - sum - (load(x + c) - mean) * dot);
                store(dx + c, a->beta != 0 ? g + a->beta * load(dx + c) : g);
            } else {
                g = load_part(dy + c, n) * (load_part(a->weight + c, n) + offset);
                g = rstd * (g - sum - (load_part(x + c, n) - mean) * dot);
                store_part(dx + c, a->beta != 0 ? g + a->beta * load_part(dx + c, n) : g, n);
            }
        }
    }
}

void LEVEL(norm_dweight)(const struct rein_norm_dx *a, int64_t begin, int64_t end) {
    bool layer = a->kind == REIN_NORM_LAYER;

    for (int64_t c = begin; c < end; c += VW) {
        int64_t n = end - c < VW ? end - c : VW;
        vf weight = {0}, bias = {0};
        for (int64_t i = 0; i < a->n; i++) {
            const float *px = a->x + i * a->ldx + c, *pd = a->dy + i * a->lddy + c;
            vf x = n == VW ? load(px) : load_part(px, n), dy = n == VW ? load(pd) : load_part(pd, n);
            weight += dy * ((x - (layer ? a->mean[i] : 0.0f)) * a->rstd[i]);
            bias += dy;
        }
        for (int64_t j = 0; j < n; j++) {
            if (a->dweight)
                a->dweight[c + j] += weight[j];
            if (a->dbias)
                a->dbias[c + j] += bias[j];
        }
    }
}
