/* SPDX-License-Identifier: MIT */
#include "isa/level.h"

void LEVEL(embedding)(const struct rein_embedding *a, int64_t begin, int64_t end) {
    const struct rein_weight *w = a->w;

    for (int64_t i = begin; i < end; i++) {
        float *out = a->out + i * a->ldout;
        int64_t at = a->ids[i] * w->ld, c = 0;
        for (; c + VW <= w->cols; c += VW)
            store(out + c, a->scale * load_as(w->data, w->dtype, at + c));
        for (; c < w->cols; c++)
            out[c] = a->scale * load_one(w->data, w->dtype, at + c);
    }
}

void LEVEL(embedding_dw)(const struct rein_embedding_dw *a, int64_t column, int64_t columns) {
    for (int64_t i = 0; i < a->n; i++) {
        const float *dout = a->dout + i * a->lddout + column;
        float *dw = a->dw + a->ids[i] * a->lddw + column;
        int64_t c = 0;
        for (; c + VW <= columns; c += VW)
            store(dw + c, load(dw + c) + a->scale * load(dout + c));
        for (; c < columns; c++)
            dw[c] += a->scale * dout[c];
    }
}

void LEVEL(column_sums)(const float *x, int64_t rows, int64_t ld, int64_t column, int64_t columns, float *sums) {
    for (int64_t c = column; c < column + columns; c += VW) {
        int64_t n = column + columns - c;
        vf sum = {0};
        n = n < VW ? n : VW;
        for (int64_t i = 0; i < rows; i++)
            sum += n == VW ? load(x + i * ld + c) : load_part(x + i * ld + c, n);
        for (int64_t j = 0; j < n; j++)
            sums[c + j] += sum[j];
    }
}

/* Plain loops: the compiler vectorises them, square root included. */
void LEVEL(adamw)(const struct rein_adamw *a, int64_t begin, int64_t end) {
    double correct1 = 1.0 - pow(a->beta1, (double)a->step), correct2 = 1.0 - pow(a->beta2, (double)a->step);
    float decay = (float)(1.0 - a->lr * a->weight_decay), scale = (float)a->grad_scale, eps = (float)a->eps;
    float rate = (float)(a->lr / correct1), root = (float)(1.0 / sqrt(correct2));
    float b1 = (float)a->beta1, b2 = (float)a->beta2, c1 = (float)(1.0 - a->beta1), c2 = (float)(1.0 - a->beta2);
    enum { BLOCK = 1024 };
    float block[BLOCK];

    for (int64_t i = begin; i < end; i += BLOCK) {
        int64_t n = end - i < BLOCK ? end - i : BLOCK;
        const float *restrict g = a->g + i;
        float *restrict m = a->m + i, *restrict v = a->v + i, *restrict p = block;
        if (a->master)
            p = a->master + i;
        else if (a->dtype == REIN_F32)
            p = (float *)a->p + i;
        else
            for (int64_t j = 0; j < n; j++)
                block[j] = load_one(a->p, a->dtype, i + j);
        for (int64_t j = 0; j < n; j++) {
            float d = g[j] * scale;
            m[j] = b1 * m[j] + c1 * d;
            v[j] = b2 * v[j] + c2 * d * d;
            p[j] = decay * p[j] - rate * m[j] / (sqrtf(v[j]) * root + eps);
        }
        if (a->dtype == REIN_BF16)
            for (int64_t j = 0; j < n; j++)
                ((uint16_t *)a->p)[i + j] = rein_to_bf16(p[j]);
        else if (a->dtype == REIN_F16)
            for (int64_t j = 0; j < n; j++)
                ((uint16_t *)a->p)[i + j] = rein_to_f16(p[j]);
        else if (a->master)
            memcpy((float *)a->p + i, p, (size_t)n * sizeof(float));
    }
}

double LEVEL(sum_squares)(const float *x, int64_t n) {
    double lanes[16] = {0}, total = 0;
    int64_t i = 0;

    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            lanes[j] += (double)x[i + j] * x[i + j];
    for (; i < n; i++)
        total += (double)x[i] * x[i];
    for (int j = 0; j < 16; j++)
        total += lanes[j];
    return total;
}

void LEVEL(axpy)(const struct rein_axpy *a, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        const float *x = a->x ? a->x + i * a->ldx : NULL;
        float *y = a->y + i * a->ldy, alpha = a->alpha, beta = a->beta;
        if (x && beta == 1.0f)
            for (int64_t c = 0; c < a->cols; c++)
                y[c] += alpha * x[c];
        else if (x && beta != 0)
            for (int64_t c = 0; c < a->cols; c++)
                y[c] = beta * y[c] + alpha * x[c];
        else if (x)
            for (int64_t c = 0; c < a->cols; c++)
                y[c] = alpha * x[c];
        else if (beta == 0)
            memset(y, 0, (size_t)a->cols * sizeof(*y));
        else
            for (int64_t c = 0; c < a->cols; c++)
                y[c] *= beta;
    }
}

void LEVEL(cast)(const struct rein_cast *a, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
        enum { BLOCK = 512 };
        float block[BLOCK];
        int64_t n = end - i < BLOCK ? end - i : BLOCK, j = 0;
        for (; j + VW <= n; j += VW)
            store(block + j, load_as(a->x, a->from, i + j));
        for (; j < n; j++)
            block[j] = load_one(a->x, a->from, i + j);
        if (a->to == REIN_F32)
            memcpy((float *)a->y + i, block, (size_t)n * sizeof(float));
        else if (a->to == REIN_BF16)
            for (j = 0; j < n; j++)
                ((uint16_t *)a->y)[i + j] = rein_to_bf16(block[j]);
        else
            for (j = 0; j < n; j++)
                ((uint16_t *)a->y)[i + j] = rein_to_f16(block[j]);
        i += n;
    }
}
