/* SPDX-License-Identifier: MIT */
#include "device.h"

#include <math.h>

/* The logits of ROWS rows exist for COLUMNS entries of the vocabulary at a time, in the second-level cache. Backward
 * keeps the derivatives of ROWS rows for CHUNK such blocks, in the third-level cache, for the product that adds up
 * over the vocabulary. */
enum { ROWS = 256, COLUMNS = 256, CHUNK = 16 };

static const void *weight_row(const struct rein_weight *w, int64_t r) {
    return (const char *)w->data + r * w->ld * (w->dtype == REIN_F32 ? 4 : 2);
}

/* z[n][columns] of a block of rows and vocabulary */
static void block_logits(const struct device *d, const struct rein_weight *w, const float *bias, const float *hidden,
                         int64_t ldh, int64_t n, int64_t first, int64_t columns, float inv_temperature, float *z,
                         int64_t ldz, int thread) {
    struct gemm g = {.m = n, .n = columns, .k = w->cols, .lda = ldh, .ldb = w->ld, .ldc = ldz, .a = hidden,
                     .b = weight_row(w, first), .b_dtype = w->dtype, .b_t = true, .bias = bias ? bias + first : NULL,
                     .c = z};

    gemm_part(d, &g, thread);
    for (int64_t i = 0; i < n && inv_temperature != 1.0f; i++)
        d->k->scale_row(z + i * ldz, NULL, inv_temperature, columns, z + i * ldz);
}

struct forward {
    const struct device *d;
    const struct rein_head *a;
    int64_t row, rows, blocks;
    float *z;                /* a block a thread */
    struct head_part *parts; /* [rows][blocks] */
    float *target;           /* [rows] its logit */
};

static void run_block(void *ctx, int64_t b, int thread) {
    const struct forward *f = ctx;
    const struct rein_head *a = f->a;
    int64_t first = b * COLUMNS, columns = least(COLUMNS, a->w->rows - first);
    float *z = f->z + (int64_t)thread * ROWS * COLUMNS;

    block_logits(f->d, a->w, a->bias, a->hidden + f->row * a->ldh, a->ldh, f->rows, first, columns, a->inv_temperature,
                 z, COLUMNS, thread);
    for (int64_t i = 0; i < f->rows; i++) {
        int64_t target = a->targets[f->row + i] - first;
        f->d->k->head_part(z + i * COLUMNS, columns, first, a->entropy != NULL, a->best != NULL,
                           &f->parts[i * f->blocks + b]);
        if (target >= 0 && target < columns)
            f->target[i] = z[i * COLUMNS + target];
    }
}

/* Puts one row's blocks together, in their order. */
static void finish_row(const struct forward *f, int64_t i) {
    const struct head_part *p = f->parts + i * f->blocks;
    const struct rein_head *a = f->a;
    double most = p[0].most, sum = 0, weighted = 0, lse;
    int64_t row = f->row + i;
    int32_t best = p[0].best;

    for (int64_t b = 1; b < f->blocks; b++)
        if (p[b].most > most) {
            most = p[b].most;
            best = p[b].best;
        }
    for (int64_t b = 0; b < f->blocks; b++) {
        double shift = p[b].most - most, scale = exp(shift);
        sum += scale * p[b].sum;
        if (scale > 0)
            weighted += scale * (p[b].weighted + p[b].sum * shift);
        else if (isnan(scale))
            weighted = scale;
    }
    lse = most + log(sum);
    a->logp[row] = a->targets[row] < 0 ? 0.0f : (float)(f->target[i] - lse);
    if (a->lse)
        a->lse[row] = (float)lse;
    if (a->entropy)
        a->entropy[row] = (float)(log(sum) - weighted / sum);
    if (a->best)
        a->best[row] = best;
}

rein_status cpu_head(void *dev, const struct rein_head *a) {
    struct device *d = dev;
    struct forward f = {.d = d, .a = a, .blocks = (a->w->rows + COLUMNS - 1) / COLUMNS};

    if (!dtype_known(a->w->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0 || a->w->rows == 0)
        return REIN_OK;
    f.z = device_work(d, WORK_A, (int64_t)d->threads * ROWS * COLUMNS, sizeof(float));
    f.parts = device_work(d, WORK_B, ROWS * f.blocks, sizeof(*f.parts));
    f.target = device_work(d, WORK_C, ROWS, sizeof(float));
    if (!f.z || !f.parts || !f.target)
        return REIN_ERR_NOMEM;
    for (f.row = 0; f.row < a->n; f.row += f.rows) {
        f.rows = least(ROWS, a->n - f.row);
        parallel_for(d, f.blocks, run_block, &f);
        for (int64_t i = 0; i < f.rows; i++)
            finish_row(&f, i);
    }
    return REIN_OK;
}

struct backward {
    const struct device *d;
    const struct rein_head_dx *a;
    int64_t row, rows, block; /* the first of the chunk */
    float *dz;                /* [blocks of the chunk][ROWS][COLUMNS] */
};

static void run_block_dx(void *ctx, int64_t b, int thread) {
    const struct backward *f = ctx;
    const struct rein_head_dx *a = f->a;
    int64_t first = (f->block + b) * COLUMNS, columns = least(COLUMNS, a->w->rows - first);
    const float *hidden = a->hidden + f->row * a->ldh;
    float *dz = f->dz + b * ROWS * COLUMNS;

    block_logits(f->d, a->w, a->bias, hidden, a->ldh, f->rows, first, columns, a->inv_temperature, dz, COLUMNS, thread);
    for (int64_t i = 0; i < f->rows; i++) {
        int64_t row = f->row + i;
        struct head_row r = {.z = dz + i * COLUMNS,
                             .n = columns,
                             .first = first,
                             .target = a->targets[row],
                             .inv_temperature = a->inv_temperature,
                             .lse = a->lse[row],
                             .entropy = a->d_entropy ? a->entropy[row] : 0.0f,
                             .d_logp = a->targets[row] < 0 ? 0.0f : a->d_logp[row],
                             .d_entropy = a->d_entropy ? a->d_entropy[row] : 0.0f};
        f->d->k->head_dz(&r);
    }
    if (a->dw) {
        struct gemm g = {.m = columns, .n = a->w->cols, .k = f->rows, .lda = COLUMNS, .ldb = a->ldh, .ldc = a->lddw,
                         .a = dz, .b = hidden, .b_dtype = REIN_F32, .a_t = true, .accumulate = true,
                         .c = a->dw + first * a->lddw};
        gemm_part(f->d, &g, thread);
    }
    if (a->dbias)
        f->d->k->column_sums(dz, f->rows, COLUMNS, 0, columns, a->dbias + first);
}

/* What the chunk adds to dhidden. */
static void add_hidden(const struct backward *f, int64_t blocks) {
    const struct rein_head_dx *a = f->a;
    int64_t first = f->block * COLUMNS;
    struct gemm g = {.m = f->rows, .n = a->w->cols, .k = least(blocks * COLUMNS, a->w->rows - first), .lda = COLUMNS,
                     .ldb = a->w->ld, .ldc = a->lddh, .a = f->dz, .b = weight_row(a->w, first),
                     .b_dtype = a->w->dtype, .accumulate = a->beta != 0 || first > 0,
                     .c = a->dhidden + f->row * a->lddh};

    gemm_run_blocks(f->d, &g, COLUMNS, ROWS * COLUMNS);
}

rein_status cpu_head_dx(void *dev, const struct rein_head_dx *a) {
    struct device *d = dev;
    struct backward f = {.d = d, .a = a};
    int64_t blocks = (a->w->rows + COLUMNS - 1) / COLUMNS, chunk = d->threads * 2 > CHUNK ? d->threads * 2 : CHUNK;

    if (!dtype_known(a->w->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0)
        return REIN_OK;
    f.dz = device_work(d, WORK_A, chunk * ROWS * COLUMNS, sizeof(float));
    if (!f.dz)
        return REIN_ERR_NOMEM;
    for (f.row = 0; f.row < a->n; f.row += f.rows) {
        f.rows = least(ROWS, a->n - f.row);
        for (f.block = 0; f.block < blocks; f.block += chunk) {
            int64_t count = least(chunk, blocks - f.block);
            parallel_for(d, count, run_block_dx, &f);
            if (a->dhidden)
                add_hidden(&f, count);
        }
    }
    return REIN_OK;
}
