/* SPDX-License-Identifier: MIT */
#include "device.h"

rein_status cpu_linear(void *dev, const struct rein_linear *a) {
    const struct rein_weight *w = a->w;
    struct gemm g = {.m = a->m, .n = w->rows, .k = w->cols, .lda = a->ldx, .ldb = w->ld, .ldc = a->ldy, .a = a->x,
                     .b = w->data, .b_dtype = w->dtype, .b_t = true, .accumulate = a->beta != 0, .bias = a->bias,
                     .c = a->y};

    if (!dtype_known(w->dtype))
        return REIN_ERR_UNSUPPORTED;
    gemm_run(dev, &g);
    return REIN_OK;
}

rein_status cpu_linear_dx(void *dev, const struct rein_linear_dx *a) {
    const struct rein_weight *w = a->w;
    struct gemm g = {.m = a->m, .n = w->cols, .k = w->rows, .lda = a->lddy, .ldb = w->ld, .ldc = a->lddx, .a = a->dy,
                     .b = w->data, .b_dtype = w->dtype, .accumulate = a->beta != 0, .c = a->dx};

    if (!dtype_known(w->dtype))
        return REIN_ERR_UNSUPPORTED;
    gemm_run(dev, &g);
    return REIN_OK;
}

struct sums {
    const struct device *d;
    const struct rein_linear_dw *a;
};

static void sum_columns(void *ctx, int64_t begin, int64_t end) {
    const struct sums *s = ctx;

    s->d->k->column_sums(s->a->dy, s->a->m, s->a->lddy, begin, end - begin, s->a->dbias);
}

rein_status cpu_linear_dw(void *dev, const struct rein_linear_dw *a) {
    struct gemm g = {.m = a->rows, .n = a->cols, .k = a->m, .lda = a->lddy, .ldb = a->ldx, .ldc = a->lddw, .a = a->dy,
                     .b = a->x, .b_dtype = REIN_F32, .a_t = true, .accumulate = true, .c = a->dw};
    struct sums sums = {dev, a};

    if (a->m == 0)
        return REIN_OK;
    if (a->dw)
        gemm_run(dev, &g);
    if (a->dbias)
        parallel_ranges(dev, a->rows, 256, sum_columns, &sums);
    return REIN_OK;
}
