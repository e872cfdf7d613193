/* SPDX-License-Identifier: MIT
 *
 * Few rows against a large matrix as it lies (B transposed). Nothing is packed: both operands are vectors along k, a
 * register block is ROWS rows of A by OUTPUTS rows of B, and its sums are added up across lanes at the end. The rows of
 * B that come next are fetched from memory meanwhile, in equal shares by the groups of ROWS rows.
 */
#include "isa/level.h"

/* SLOT lanes of a vector gather the sums of one row of A. */
#if ISA_LEVEL == 4
enum { ROWS = 4, OUTPUTS = 6, SLOT = 8 };
#elif ISA_LEVEL == 3
enum { ROWS = 4, OUTPUTS = 3, SLOT = 4 };
#else
enum { ROWS = 3, OUTPUTS = 4, SLOT = 4 };
#endif
/* Rows of B between use and fetching; the most rows of A that are not better off with packed panels; k for scratch. */
enum { AHEAD = 2 * OUTPUTS, DOT_ROWS = 40, MOST_K = SCRATCH_BYTES / 8 / OUTPUTS };

/* What a group of rows fetches: its share of the rows of B to come, or (stride 0) nothing new. */
struct ahead {
    const char *at;
    int64_t stride;
};

/* sum[i][j] = row i of A times row j of B, fetching `fetch` lines a step. */
INLINE void dot_sums(const int rows, const int outputs, const int fetch, const struct gemm *g, const float *a,
                     const void *b, const uint32_t dtype, int64_t ldb, const struct ahead *next, vf sum[ROWS][SLOT]) {
    const int64_t size = dtype == REIN_F32 ? 4 : 2;
    int64_t k = 0;

    for (; k + VW <= g->k; k += VW) {
        vf x[ROWS], w;
#pragma GCC unroll 8
        for (int i = 0; i < fetch; i++)
            __builtin_prefetch(next->at + i * next->stride + k * size, 0, 2);
        if (outputs >= rows || ISA_LEVEL == 4) {
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++)
                x[i] = load(a + i * g->lda + k);
#pragma GCC unroll 8
            for (int j = 0; j < outputs; j++) {
                w = load_as(b, dtype, j * ldb + k);
#pragma GCC unroll 8
                for (int i = 0; i < rows; i++)
                    sum[i][j] += x[i] * w;
            }
        } else { /* fewer registers when the smaller side is the one that stays in them */
#pragma GCC unroll 8
            for (int j = 0; j < outputs; j++)
                x[j] = load_as(b, dtype, j * ldb + k);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) {
                w = load(a + i * g->lda + k);
#pragma GCC unroll 8
                for (int j = 0; j < outputs; j++)
                    sum[i][j] += x[j] * w;
            }
        }
    }
    if (k < g->k)
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < outputs; j++) {
                vf w = {0};
                for (int64_t l = k; l < g->k; l++)
                    w[l - k] = load_one(b, dtype, j * ldb + l);
                sum[i][j] += load_part(a + i * g->lda + k, g->k - k) * w;
            }
}

/* A strip of C, COLUMNS wide: the sums of several blocks before they go to C. SLOT lanes are written a block and row,
 * the next block writes over those that are too many. */
enum { COLUMNS = 8 * OUTPUTS, WIDE = COLUMNS + 16 };

INLINE void dot_block(const int rows, const int outputs, const int fetch, const struct gemm *g, int64_t i0,
                      const void *b, const uint32_t dtype, int64_t ldb, const struct ahead *next, float *out) {
    enum { PER = VW / SLOT }; /* rows a vector */
    vf sum[ROWS][SLOT];

#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < SLOT; j++)
            sum[i][j] = (vf){0};
    dot_sums(rows, outputs, fetch, g, g->a + i0 * g->lda, b, dtype, ldb, next, sum);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i += PER) {
        vf v[VW];
        float lanes[VW];
#pragma GCC unroll 16
        for (int l = 0; l < VW; l++)
            v[l] = i + l / SLOT < rows ? sum[i + l / SLOT < ROWS ? i + l / SLOT : 0][l % SLOT] : (vf){0};
        store(lanes, sums_v(v));
        memcpy(out + (i0 + i) * WIDE, lanes, SLOT * sizeof(float));
        if (PER > 1 && i + 1 < rows)
            memcpy(out + (i0 + i + 1) * WIDE, lanes + VW - SLOT, SLOT * sizeof(float));
    }
}

/* c = out (+ c) (+ bias) */
static void write_strip(const struct gemm *g, int64_t n0, int64_t n, const float *out) {
    for (int64_t i = 0; i < g->m; i++, out += WIDE) {
        float *c = g->c + i * g->ldc + n0;
        const float *bias = g->bias ? g->bias + n0 : NULL;
        int64_t j = 0;
        for (; j + VW <= n; j += VW) {
            vf v = load(out + j);
            v = g->accumulate ? v + load(c + j) : v;
            store(c + j, bias ? v + load(bias + j) : v);
        }
        for (; j < n; j++) {
            float v = g->accumulate ? out[j] + c[j] : out[j];
            c[j] = bias ? v + bias[j] : v;
        }
    }
}

/* Rows i .. i + ROWS of A, or what is left of them. */
INLINE void dot_group(const int outputs, const int fetch, const struct gemm *g, int64_t i, const void *b,
                      const uint32_t dtype, int64_t ldb, const struct ahead *next, float *out) {
    if (g->m - i >= ROWS)
        dot_block(ROWS, outputs, fetch, g, i, b, dtype, ldb, next, out);
#if ISA_LEVEL >= 3
    else if (g->m - i == 3)
        dot_block(3, outputs, fetch, g, i, b, dtype, ldb, next, out);
#endif
    else if (g->m - i == 2)
        dot_block(2, outputs, fetch, g, i, b, dtype, ldb, next, out);
    else
        dot_block(1, outputs, fetch, g, i, b, dtype, ldb, next, out);
}

/* Expands rows of a 16-bit B, and fetches those to come. */
INLINE void expand_rows(const struct gemm *g, const uint32_t dtype, int64_t n0, int64_t n, bool more, float *out) {
    for (int64_t j = 0; j < n; j++) {
        const uint16_t *row = (const uint16_t *)g->b + (n0 + j) * g->ldb, *next = row + AHEAD * g->ldb;
        int64_t k = 0;
        for (; k + 32 <= g->k; k += 32) {
            if (more)
                __builtin_prefetch(next + k, 0, 2);
#pragma GCC unroll 8
            for (int l = 0; l < 32; l += VW)
                store(out + j * g->k + k + l, load_as(row, dtype, k + l));
        }
        for (; k < g->k; k++)
            out[j * g->k + k] = load_one(row, dtype, k);
    }
}

/* All rows of A against `outputs` rows of B from n0 on. */
INLINE void dot_rows(const int outputs, const struct gemm *g, int64_t n0, const uint32_t dtype, float *expanded,
                     float *out) {
    const int64_t size = dtype == REIN_F32 ? 4 : 2, groups = (g->m + ROWS - 1) / ROWS;
    const int64_t share = (outputs + groups - 1) / groups;
    const char *b = (const char *)g->b + n0 * g->ldb * size;
    bool more = n0 + AHEAD + outputs <= g->n;

    if (groups > 1 && dtype != REIN_F32)
        expand_rows(g, dtype, n0, outputs, more, expanded);
    for (int64_t i = 0; i < g->m; i += ROWS) {
        int64_t first = i / ROWS * share;
        struct ahead next = {b, 0};
        if (more && first < outputs)
            next = (struct ahead){b + (AHEAD + first) * g->ldb * size, g->ldb * size};
        if (groups == 1)
            dot_group(outputs, outputs, g, i, b, dtype, g->ldb, &next, out);
        else if (dtype != REIN_F32)
            dot_group(outputs, 0, g, i, expanded, REIN_F32, g->k, &next, out);
        else if (share > 2)
            dot_group(outputs, (OUTPUTS + 1) / 2, g, i, b, REIN_F32, g->ldb, &next, out);
        else if (share == 2)
            dot_group(outputs, 2, g, i, b, REIN_F32, g->ldb, &next, out);
        else
            dot_group(outputs, 1, g, i, b, REIN_F32, g->ldb, &next, out);
    }
}

INLINE void dot_dtype(const struct gemm *g, const uint32_t dtype, float *scratch) {
    float *out = scratch, *expanded = scratch + DOT_ROWS * WIDE;

    for (int64_t n0 = 0; n0 < g->n; n0 += COLUMNS) {
        int64_t n = g->n - n0 < COLUMNS ? g->n - n0 : COLUMNS, j = 0;
        for (; j + OUTPUTS <= n; j += OUTPUTS)
            dot_rows(OUTPUTS, g, n0 + j, dtype, expanded, out + j);
        for (; j < n; j++)
            dot_rows(1, g, n0 + j, dtype, expanded, out + j);
        write_strip(g, n0, n, out);
    }
}

bool LEVEL(dot)(const struct gemm *g, void *scratch) {
    if (!g->b_t || g->m < 1 || g->m > DOT_ROWS || g->k > MOST_K)
        return false;
    if (g->b_dtype == REIN_F32)
        dot_dtype(g, REIN_F32, scratch);
    else if (g->b_dtype == REIN_BF16)
        dot_dtype(g, REIN_BF16, scratch);
    else
        dot_dtype(g, REIN_F16, scratch);
    return true;
}
