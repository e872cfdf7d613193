/* SPDX-License-Identifier: MIT
 *
 * Kernels that treat each row by itself: cut into pieces of rows, and over to the ISA level.
 */
#include "device.h"

#include <math.h>
#include <string.h>

/* Pieces smaller than this cost more to hand out than to do. */
enum { PIECE = 16384 };

struct call {
    const struct device *d;
    const void *args;
    const float *table;
};

static int64_t rows_of(int64_t cols) {
    return cols > 0 && cols < PIECE ? PIECE / cols : 1;
}

static void run_norm(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->norm(c->args, begin, end);
}

rein_status cpu_norm(void *dev, const struct rein_norm *a) {
    struct call c = {dev, a, NULL};

    if (a->kind != REIN_NORM_RMS && a->kind != REIN_NORM_LAYER)
        return REIN_ERR_UNSUPPORTED;
    if (a->cols > 0)
        parallel_ranges(dev, a->n, rows_of(a->cols), run_norm, &c);
    return REIN_OK;
}

static void run_norm_dx(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->norm_dx(c->args, begin, end);
}

static void run_norm_dweight(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->norm_dweight(c->args, begin, end);
}

rein_status cpu_norm_dx(void *dev, const struct rein_norm_dx *a) {
    struct call c = {dev, a, NULL};

    if (a->kind != REIN_NORM_RMS && a->kind != REIN_NORM_LAYER)
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->cols == 0)
        return REIN_OK;
    if (a->dweight || a->dbias) /* first: dx may overwrite dy */
        parallel_ranges(dev, a->cols, a->n * a->cols > PIECE ? 128 : a->cols, run_norm_dweight, &c);
    parallel_ranges(dev, a->n, rows_of(a->cols), run_norm_dx, &c);
    return REIN_OK;
}

static void run_activation(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->activation(c->args, begin, end);
}

rein_status cpu_activation(void *dev, const struct rein_activation *a) {
    struct call c = {dev, a, NULL};

    if (a->kind > REIN_ACT_GELU)
        return REIN_ERR_UNSUPPORTED;
    parallel_ranges(dev, a->n, rows_of(a->cols), run_activation, &c);
    return REIN_OK;
}

static void run_activation_dx(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->activation_dx(c->args, begin, end);
}

rein_status cpu_activation_dx(void *dev, const struct rein_activation_dx *a) {
    struct call c = {dev, a, NULL};

    if (a->kind > REIN_ACT_GELU)
        return REIN_ERR_UNSUPPORTED;
    parallel_ranges(dev, a->n, rows_of(a->cols), run_activation_dx, &c);
    return REIN_OK;
}

static void run_perturb(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->perturb(c->args, begin, end);
}

rein_status cpu_perturb(void *dev, const struct rein_perturb *a) {
    struct call c = {dev, a, NULL};

    if (a->kind != REIN_PERTURB_DROPOUT && a->kind != REIN_PERTURB_NOISE)
        return REIN_ERR_UNSUPPORTED;
    if (a->cols > 0)
        parallel_ranges(dev, a->n, 1 + rows_of(a->cols) / 16, run_perturb, &c);
    return REIN_OK;
}

static void fill_table(void *ctx, int64_t begin, int64_t end) {
    struct rope_table *t = ctx;
    int64_t half = t->head_dim / 2;

    for (int64_t i = begin; i < end; i++)
        for (int64_t j = 0; j < half; j++) {
            float angle = (float)t->positions[i] * t->frequencies[j]; /* rounded as Hugging Face's is */
            t->values[i * t->head_dim + j] = (float)(cos(angle) * t->scale);
            t->values[i * t->head_dim + half + j] = (float)(sin(angle) * t->scale);
        }
}

static rein_status find_table(struct device *d, const struct rein_rope *a) {
    struct rope_table *t = &d->rope;
    size_t half = (size_t)(a->head_dim / 2), n = (size_t)a->n, bytes;

    if (t->memory && t->n == a->n && t->head_dim == a->head_dim && t->scale == a->scale &&
        !memcmp(t->positions, a->positions, n * sizeof(int32_t)) &&
        !memcmp(t->frequencies, a->frequencies, half * sizeof(float)))
        return REIN_OK;
    bytes = (n * (size_t)a->head_dim + half) * sizeof(float) + n * sizeof(int32_t);
    if (bytes > t->bytes) {
        void *memory = d->host->alloc(d->host->ctx, bytes);
        if (!memory)
            return device_nomem(d);
        if (t->memory)
            d->host->free(d->host->ctx, t->memory);
        t->memory = memory;
        t->bytes = bytes;
    }
    t->n = a->n;
    t->head_dim = a->head_dim;
    t->scale = a->scale;
    t->values = t->memory;
    t->frequencies = t->values + n * (size_t)a->head_dim;
    t->positions = (int32_t *)(t->frequencies + half);
    memcpy(t->frequencies, a->frequencies, half * sizeof(float));
    memcpy(t->positions, a->positions, n * sizeof(int32_t));
    parallel_ranges(d, a->n, 64, fill_table, t);
    return REIN_OK;
}

static void run_rope(void *ctx, int64_t begin, int64_t end) {
    const struct call *c = ctx;

    c->d->k->rope(c->args, c->table, begin, end);
}

rein_status cpu_rope(void *dev, const struct rein_rope *a) {
    struct device *d = dev;
    struct call c = {d, a, NULL};
    rein_status rc;

    if (a->n == 0 || a->head_dim < 2)
        return REIN_OK;
    rc = find_table(d, a);
    if (rc)
        return rc;
    c.table = d->rope.values;
    parallel_ranges(d, a->n, rows_of(a->heads * a->head_dim), run_rope, &c);
    return REIN_OK;
}
