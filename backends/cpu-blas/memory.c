/* SPDX-License-Identifier: MIT
 *
 * Embedding, optimiser and whatever else moves memory: bound by its bandwidth.
 */
#include "device.h"

#include <string.h>

enum { PIECE = 32768 };

struct call {
    const struct device *d;
    const void *args;
    double *sums;
};

static int64_t rows_of(int64_t cols) {
    return cols > 0 && cols < PIECE ? PIECE / cols : 1;
}

static void run_embedding(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->embedding(c->args, begin, end);
}

rein_status cpu_embedding(void *dev, const struct rein_embedding *a) {
    struct call c = {dev, a, NULL};

    if (!dtype_known(a->w->dtype))
        return REIN_ERR_UNSUPPORTED;
    parallel_ranges(dev, a->n, rows_of(a->w->cols), run_embedding, &c);
    return REIN_OK;
}

static void run_embedding_dw(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->embedding_dw(c->args, begin, end - begin);
}

/* Cut by columns, so that each row gathers its additions in the order of the tokens. */
rein_status cpu_embedding_dw(void *dev, const struct rein_embedding_dw *a) {
    struct call c = {dev, a, NULL};

    parallel_ranges(dev, a->cols, a->n * a->cols > PIECE ? 128 : a->cols, run_embedding_dw, &c);
    return REIN_OK;
}

static void run_adamw(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->adamw(c->args, begin, end);
}

rein_status cpu_adamw(void *dev, const struct rein_adamw *a) {
    struct call c = {dev, a, NULL};

    if (!dtype_known(a->dtype))
        return REIN_ERR_UNSUPPORTED;
    parallel_ranges(dev, a->n, PIECE, run_adamw, &c);
    return REIN_OK;
}

static void run_sum_squares(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;
    const struct rein_sum_squares *a = c->args;

    c->sums[begin / PIECE] = c->d->k->sum_squares(a->x + begin, end - begin);
}

rein_status cpu_sum_squares(void *dev, const struct rein_sum_squares *a) {
    int64_t pieces = (a->n + PIECE - 1) / PIECE;
    struct call c = {dev, a, device_work(dev, WORK_A, pieces, sizeof(double))};
    double total = 0;

    if (!c.sums)
        return REIN_ERR_NOMEM;
    parallel_ranges(dev, a->n, PIECE, run_sum_squares, &c);
    for (int64_t i = 0; i < pieces; i++)
        total += c.sums[i];
    *a->out = total;
    return REIN_OK;
}

static void run_axpy(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->axpy(c->args, begin, end);
}

rein_status cpu_axpy(void *dev, const struct rein_axpy *a) {
    struct rein_axpy whole = *a;
    struct call c = {dev, &whole, NULL};

    /* a matrix without gaps is one long row, in pieces */
    if (a->cols > 0 && a->ldy == a->cols && (!a->x || a->ldx == a->cols) && a->n * a->cols % 64 == 0) {
        whole.n = a->n * a->cols / 64;
        whole.cols = whole.ldx = whole.ldy = 64;
    }
    parallel_ranges(dev, whole.n, rows_of(whole.cols), run_axpy, &c);
    return REIN_OK;
}

static void run_gather(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;
    const struct rein_gather *a = c->args;

    for (int64_t i = begin; i < end; i++) {
        const float *x = a->x + (a->scatter ? i : a->rows[i]) * a->ldx;
        float *out = a->out + (a->scatter ? a->rows[i] : i) * a->ldout;
        if (!a->scatter)
            memcpy(out, x, (size_t)a->cols * sizeof(*x));
        else
            for (int64_t j = 0; j < a->cols; j++)
                out[j] += x[j];
    }
}

rein_status cpu_gather(void *dev, const struct rein_gather *a) {
    struct call c = {dev, a, NULL};

    if (a->cols > 0)
        parallel_ranges(dev, a->n, rows_of(a->cols), run_gather, &c);
    return REIN_OK;
}

static void run_cast(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->cast(c->args, begin, end);
}

rein_status cpu_cast(void *dev, const struct rein_cast *a) {
    struct call c = {dev, a, NULL};

    if (!dtype_known(a->from) || !dtype_known(a->to))
        return REIN_ERR_UNSUPPORTED;
    parallel_ranges(dev, a->n, PIECE, run_cast, &c);
    return REIN_OK;
}
