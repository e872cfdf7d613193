/* SPDX-License-Identifier: MIT
 * Logits by chunks of rows, for the head and for sampling.
 */
#ifndef CUDA_HEAD_H
#define CUDA_HEAD_H

#include "blas.h"

/* Threads for a row of logits: no more than there is work for. */
enum { MOST_ROW_BLOCK = 512 };
static inline unsigned row_block(int64_t vocabulary) {
    return (unsigned)least(MOST_ROW_BLOCK, (vocabulary + WARP - 1) / WARP * WARP);
}

/* How many rows of n logits the workspace holds, at least 1. */
static inline int64_t chunk_rows(const struct device *d, const struct rein_weight *w, int64_t n) {
    const int64_t room = (d->config.workspace << 20) / (int64_t)sizeof(float) / most(w->rows, 1);

    return most(1, least(n, room));
}

/* z[rows][w->rows] = hidden W^T, before bias and temperature */
static inline rein_status chunk_logits(struct device *d, const struct rein_weight *w, const float *hidden, int64_t ldh,
                                       int64_t rows, float *z) {
    struct weight_product p = {};

    p.w = w;
    p.transposed = true;
    p.m = rows;
    p.lda = ldh;
    p.ldc = w->rows;
    p.a = hidden;
    p.c = z;
    return weight_multiply(d, &p);
}

#endif
