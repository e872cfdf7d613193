/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "ref/kernels.h"

#include <stdlib.h>

double *ref_doubles(int64_t count) {
    return mem_array((size_t)count, sizeof(double));
}

void ref_weight_row(const struct rein_weight *w, int64_t r, double *out) {
    for (int64_t c = 0; c < w->cols; c++)
        out[c] = ref_load(w->data, w->dtype, r * w->ld + c);
}

rein_status ref_linear(void *dev, const struct rein_linear *a) {
    const struct rein_weight *w = a->w;
    double *row;

    (void)dev;
    if (!ref_dtype_known(w->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (a->m == 0 || w->rows == 0)
        return REIN_OK;
    row = ref_doubles(w->cols);
    if (!row)
        return REIN_ERR_NOMEM;
    for (int64_t r = 0; r < w->rows; r++) {
        ref_weight_row(w, r, row);
        for (int64_t i = 0; i < a->m; i++) {
            float *y = a->y + i * a->ldy + r;
            double sum = a->bias ? a->bias[r] : 0.0;
            for (int64_t c = 0; c < w->cols; c++)
                sum += a->x[i * a->ldx + c] * row[c];
            *y = (float)(a->beta != 0 ? sum + (double)a->beta * *y : sum);
        }
    }
    free(row);
    return REIN_OK;
}

rein_status ref_linear_dx(void *dev, const struct rein_linear_dx *a) {
    const struct rein_weight *w = a->w;
    double *row, *sum; /* row of W; [m][cols] */

    (void)dev;
    if (!ref_dtype_known(w->dtype))
        return REIN_ERR_UNSUPPORTED;
    row = ref_doubles((a->m + 1) * w->cols);
    if (!row)
        return REIN_ERR_NOMEM;
    sum = row + w->cols;
    for (int64_t i = 0; i < a->m; i++)
        for (int64_t c = 0; c < w->cols; c++)
            sum[i * w->cols + c] = a->beta != 0 ? (double)a->beta * a->dx[i * a->lddx + c] : 0.0;
    for (int64_t r = 0; r < w->rows; r++) {
        ref_weight_row(w, r, row);
        for (int64_t i = 0; i < a->m; i++) {
            double d = a->dy[i * a->lddy + r];
            for (int64_t c = 0; c < w->cols; c++)
                sum[i * w->cols + c] += d * row[c];
        }
    }
    for (int64_t i = 0; i < a->m; i++)
        for (int64_t c = 0; c < w->cols; c++)
            a->dx[i * a->lddx + c] = (float)sum[i * w->cols + c];
    free(row);
    return REIN_OK;
}

rein_status ref_linear_dw(void *dev, const struct rein_linear_dw *a) {
    double *sum;

    (void)dev;
    if (a->m == 0)
        return REIN_OK;
    sum = ref_doubles(a->cols);
    if (!sum)
        return REIN_ERR_NOMEM;
    for (int64_t r = 0; r < a->rows; r++) {
        const int64_t cols = a->dw ? a->cols : 0;
        float *dw = a->dw ? a->dw + r * a->lddw : NULL;
        double bias = 0;
        for (int64_t c = 0; c < cols; c++)
            sum[c] = dw[c];
        for (int64_t i = 0; i < a->m; i++) {
            double d = a->dy[i * a->lddy + r];
            bias += d;
            for (int64_t c = 0; c < cols; c++)
                sum[c] += d * a->x[i * a->ldx + c];
        }
        for (int64_t c = 0; c < cols; c++)
            dw[c] = (float)sum[c];
        if (a->dbias)
            a->dbias[r] = (float)(a->dbias[r] + bias);
    }
    free(sum);
    return REIN_OK;
}

rein_status ref_embedding(void *dev, const struct rein_embedding *a) {
    const struct rein_weight *w = a->w;

    (void)dev;
    if (!ref_dtype_known(w->dtype))
        return REIN_ERR_UNSUPPORTED;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t c = 0; c < w->cols; c++)
            a->out[i * a->ldout + c] = a->scale * ref_load(w->data, w->dtype, a->ids[i] * w->ld + c);
    return REIN_OK;
}

rein_status ref_embedding_dw(void *dev, const struct rein_embedding_dw *a) {
    (void)dev;
    for (int64_t i = 0; i < a->n; i++) {
        float *dw = a->dw + a->ids[i] * a->lddw;
        for (int64_t c = 0; c < a->cols; c++)
            dw[c] = (float)(dw[c] + (double)a->scale * a->dout[i * a->lddout + c]);
    }
    return REIN_OK;
}
