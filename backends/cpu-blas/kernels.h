/* backends/cpu-blas/kernels.h - what one ISA level provides: serial kernels over a part of the work.
 * SPDX-License-Identifier: MIT
 *
 * Threads, memory and checks are the callers' business. But for products, whose kernel is
 * a matter of a piece's shape, an element has the same bits whatever part it was computed in.
 */
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include <rein/backend.h>

#include <stdbool.h>

/* c[m][n] = (accumulate ? c : 0) + a b + bias. a is [m][k], or [k][m] when a_t; b is [k][n], or [n][k] when b_t.
 * One of a_t and b_t at most; with a_t, b is float32 and there is no bias. */
struct gemm {
    int64_t m, n, k, lda, ldb, ldc;
    const float *a;
    const void *b;
    uint32_t b_dtype;
    bool a_t, b_t, accumulate;
    const float *bias; /* [n] or NULL */
    float *c;
};

/* Does a large product gain from tiles? Fewer rows, columns or terms cost more to pack than they save. */
static inline bool gemm_gains_from_tiles(const struct gemm *g) {
    return g->m >= (g->b_dtype == REIN_BF16 ? 33 : 49) && g->n >= 48 && g->k >= 32;
}

/* Statistics of one row of logits over one block of the vocabulary. */
struct head_part {
    float most, sum, weighted; /* max z; sum exp(z - most); sum exp(z - most) (z - most), when wanted */
    int32_t best;              /* where z is largest, lowest index on ties; when wanted */
};

/* dz from z in place, for one row and a block of `n` logits that begins at `first`. */
struct head_row {
    float *z;
    int64_t n, first;
    int32_t target;
    float inv_temperature, lse, entropy, d_logp, d_entropy;
};

/* A share of attention: queries q0 .. q1 of one segment, heads h0 .. h1 (all of one kv head). With `segments` > 1 (forward
 * only, no window): the one query of each of so many segments in a row, which share a prefix. */
struct attention_part {
    const struct rein_segment *segment;
    int64_t q0, q1, h0, h1, segments;
};

/* Bytes of scratch that a call may use; one a thread, 64-byte aligned. The second is that of levels that set `tiles`.
 */
enum { SCRATCH_BYTES = 3 << 20, TILE_SCRATCH_BYTES = 6 << 20 };
/* Attention handles this many tile rows (queries x heads of a group) and keys at a time. */
enum { TILE_ROWS = 64, TILE_KEYS = 64, MOST_HEAD_DIM = 512 };

struct cpu_kernels {
    const char *name;
    bool tiles; /* large products pack both operands: few pieces, nearly square, are the best */
    void (*gemm)(const struct gemm *g, void *scratch);
    void (*norm)(const struct rein_norm *a, int64_t begin, int64_t end);
    void (*norm_dx)(const struct rein_norm_dx *a, int64_t begin, int64_t end);
    /* adds columns begin .. end of the weight gradients over all rows; before norm_dx, which may overwrite dy */
    void (*norm_dweight)(const struct rein_norm_dx *a, int64_t begin, int64_t end);
    /* table: [n][head_dim], cosines then sines of each row */
    void (*rope)(const struct rein_rope *a, const float *table, int64_t begin, int64_t end);
    void (*activation)(const struct rein_activation *a, int64_t begin, int64_t end);
    void (*activation_dx)(const struct rein_activation_dx *a, int64_t begin, int64_t end);
    /* segments (q1 - q0) (h1 - h0) <= TILE_ROWS */
    void (*attention)(const struct rein_attention *a, const struct attention_part *p, void *scratch);
    /* h1 - h0 <= TILE_ROWS; two calls at a time must not share rows of k and v of one kv head, or queries */
    void (*attention_dx)(const struct rein_attention_dx *a, const struct attention_part *p, void *scratch);
    /* first: index of z[0] in the vocabulary */
    void (*head_part)(const float *z, int64_t n, int64_t first, bool weighted, bool best, struct head_part *out);
    void (*head_dz)(const struct head_row *r);
    /* y = scale * x + scale * bias (bias may be NULL) */
    void (*scale_row)(const float *x, const float *bias, float scale, int64_t n, float *y);
    float (*most_row)(const float *z, int64_t n);
    /* out = exp(z - most); returns the sum in double */
    double (*exp_row)(const float *z, float most, int64_t n, float *out);
    void (*embedding)(const struct rein_embedding *a, int64_t begin, int64_t end);
    void (*embedding_dw)(const struct rein_embedding_dw *a, int64_t column, int64_t columns);
    void (*column_sums)(const float *x, int64_t rows, int64_t ld, int64_t column, int64_t columns, float *sums);
    void (*adamw)(const struct rein_adamw *a, int64_t begin, int64_t end);
    double (*sum_squares)(const float *x, int64_t n);
    void (*axpy)(const struct rein_axpy *a, int64_t begin, int64_t end);
    void (*cast)(const struct rein_cast *a, int64_t begin, int64_t end);
    void (*perturb)(const struct rein_perturb *a, int64_t begin, int64_t end);
};

extern const struct cpu_kernels cpu_kernels_baseline;
#if defined(__x86_64__)
extern const struct cpu_kernels cpu_kernels_v3, cpu_kernels_v4;
#ifdef HAVE_AMX
extern const struct cpu_kernels cpu_kernels_amx;
#endif
#endif

#endif
