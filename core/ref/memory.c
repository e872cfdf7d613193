/* SPDX-License-Identifier: MIT */
#include "ref/kernels.h"

rein_status ref_axpy(void *dev, const struct rein_axpy *a) {
    (void)dev;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t c = 0; c < a->cols; c++) {
            float *y = a->y + i * a->ldy + c;
            double sum = a->beta != 0 ? (double)a->beta * *y : 0.0;
            *y = (float)(a->x ? sum + (double)a->alpha * a->x[i * a->ldx + c] : sum);
        }
    return REIN_OK;
}

rein_status ref_gather(void *dev, const struct rein_gather *a) {
    (void)dev;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t c = 0; c < a->cols; c++)
            if (a->scatter)
                a->out[a->rows[i] * a->ldout + c] += a->x[i * a->ldx + c];
            else
                a->out[i * a->ldout + c] = a->x[a->rows[i] * a->ldx + c];
    return REIN_OK;
}

rein_status ref_cast(void *dev, const struct rein_cast *a) {
    (void)dev;
    if (!ref_dtype_known(a->from) || !ref_dtype_known(a->to))
        return REIN_ERR_UNSUPPORTED;
    for (int64_t i = 0; i < a->n; i++)
        ref_store(a->y, a->to, i, ref_load(a->x, a->from, i));
    return REIN_OK;
}
