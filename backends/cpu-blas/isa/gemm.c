/* SPDX-License-Identifier: MIT */
#include "isa/tile.h"

#include "isa/level.h"

/* k is cut into even blocks of at most MOST_K, independent of m and n, so that each element's sum has one order.
 * A packed panel of B is [k][NR]; rows of A run over it, about BLOCK_M of them at a time, which stay in the
 * second-level cache while BLOCK_N columns pass. With B transposed one panel is packed at a time, and fetched from
 * memory while the one before is at work; otherwise BLOCK_N columns are packed at once, reading whole rows. A is read
 * as it lies, or, when transposed, packed, [MR rows][k][MR]. (Goto and van de Geijn, Anatomy of high-performance matrix
 * multiplication, 2008.) */
enum { MOST_K = 384, BLOCK_N = 768, BLOCK_M = 240 };

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static const void *element_b(const struct gemm *g, int64_t k, int64_t n) {
    int64_t at = g->b_t ? n * g->ldb + k : k * g->ldb + n;

    return (const char *)g->b + at * (g->b_dtype == REIN_F32 ? 4 : 2);
}

/* One panel of B transposed. */
static void pack_panel(const struct gemm *g, int64_t k0, int64_t k, int64_t n0, float *panel) {
    int64_t n = least(NR, g->n - n0);

    transpose_pack(element_b(g, k0, n0), g->b_dtype, g->ldb, n, k, panel, NR);
    if (n <= VW) /* the second vector of the panel */
        for (int64_t j = 0; j < k; j++)
            store(panel + j * NR + VW, (vf){0});
}

/* Both of these pack RUN rows into one panel after the other: whole cache lines are written, few pages are read. */
enum { RUN = 8 };

/* Columns n0 .. n0 + n of B as it lies, panel after panel. */
static void pack_panels(const struct gemm *g, int64_t k0, int64_t k, int64_t n0, int64_t n, float *panels) {
    for (int64_t i = 0; i < k; i += RUN)
        for (int64_t j = 0; j < n; j += NR)
            copy_pack(element_b(g, k0 + i, n0 + j), g->b_dtype, g->ldb, least(RUN, k - i), least(NR, n - j), NR,
                      panels + j * k + i * NR, NR);
}

/* Rows i0 .. i0 + m of A transposed: [MR rows][k][MR], the last ones padded with zeros. */
static void pack_a(const struct gemm *g, int64_t k0, int64_t k, int64_t i0, int64_t m, float *out) {
    for (int64_t l0 = 0; l0 < k; l0 += RUN)
        for (int64_t i = 0; i < m; i += MR)
            for (int64_t l = l0; l < least(l0 + RUN, k); l++) {
                const float *a = g->a + (k0 + l) * g->lda + i0 + i;
                float *to = out + i * k + l * MR;
                if (i + MR <= m)
                    memcpy(to, a, MR * sizeof(float));
                else
                    for (int64_t r = 0; r < MR; r++)
                        to[r] = i + r < m ? a[r] : 0.0f;
            }
}

/* Columns that do not fill a panel go through a block of their own. */
static void add_narrow(const float *block, int64_t m, int64_t n, float *c, int64_t ldc, bool accumulate,
                       const float *bias) {
    for (int64_t i = 0; i < m; i++) {
        int64_t j = 0;
        if (n >= VW) {
            vf sum = load(block + i * NR);
            if (accumulate)
                sum += load(c + i * ldc);
            store(c + i * ldc, bias ? sum + load(bias) : sum);
            j = VW;
        }
        for (; j < n; j++) {
            float sum = block[i * NR + j];
            if (accumulate)
                sum += c[i * ldc + j];
            c[i * ldc + j] = bias ? sum + bias[j] : sum;
        }
    }
}

/* tile_block for columns that fill half a panel or less: more rows, one vector of columns. */
INLINE void narrow_block(const int rows, int64_t k, const float *a, int64_t rs, int64_t cs, const float *panel,
                         float *block) {
    vf sum[2 * MR];

#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        sum[i] = (vf){0};
    for (int64_t j = 0; j < k; j++, a += cs, panel += NR) {
        vf b = load(panel);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
            sum[i] += splat(a[i * rs]) * b;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
        store(block + i * NR, sum[i]);
}

/* One packed panel of B, of fewer than NR columns, against rows i .. end of A as they lie. */
static void rows_by_narrow_panel(const struct gemm *g, int64_t i, int64_t end, int64_t k0, int64_t k, int64_t n0,
                                 const float *panel, bool accumulate) {
    const float *bias = g->bias && k0 == 0 ? g->bias + n0 : NULL;
    const int64_t n = g->n - n0;
    float block[2 * MR * NR];

    for (int64_t m; i < end; i += m) {
        const float *a = g->a + k0 + i * g->lda;
        m = least(2 * MR, end - i);
        if (n <= VW && m == 2 * MR)
            narrow_block(2 * MR, k, a, g->lda, 1, panel, block);
        else
            tile_rows(m, k, a, g->lda, 1, panel, NR, block, NR, false, NULL);
        add_narrow(block, m, n, g->c + i * g->ldc + n0, g->ldc, accumulate, bias);
    }
}

/* One packed panel of B against rows i .. end of A as they lie; `next` is fetched on the way. */
static void rows_by_panel(const struct gemm *g, int64_t i, int64_t end, int64_t k0, int64_t k, int64_t n0,
                          const float *panel, bool accumulate, struct ahead *next) {
    const float *bias = g->bias && k0 == 0 ? g->bias + n0 : NULL, *a = g->a + k0;
    const bool few = end - i < 2 * MR;
    float *c = g->c + n0;

    if (g->n - n0 < NR) {
        rows_by_narrow_panel(g, i, end, k0, k, n0, panel, accumulate);
        return;
    }
    for (; i + MR <= end && next->rows > 0; i += MR)
        if (few)
            tile_block_ahead(2, next, k, a + i * g->lda, g->lda, panel, c + i * g->ldc, g->ldc, accumulate, bias);
        else
            tile_block_ahead(1, next, k, a + i * g->lda, g->lda, panel, c + i * g->ldc, g->ldc, accumulate, bias);
    tile_rows(end - i, k, a + i * g->lda, g->lda, 1, panel, NR, c + i * g->ldc, g->ldc, accumulate, bias);
}

/* One packed panel of B against m packed rows of A^T. */
static void packed_by_panel(const struct gemm *g, const float *a, int64_t m, int64_t k, int64_t i0, int64_t n0,
                            const float *panel, bool accumulate) {
    int64_t n = g->n - n0;

    for (int64_t i = 0; i < m; i += MR) {
        float *c = g->c + (i0 + i) * g->ldc + n0, block[MR * NR];
        if (n >= NR && i + MR <= m) {
            tile_block(MR, k, a + i * k, 1, MR, panel, NR, c, g->ldc, accumulate, NULL);
            continue;
        }
        if (n <= VW)
            narrow_block(MR, k, a + i * k, 1, MR, panel, block);
        else
            tile_block(MR, k, a + i * k, 1, MR, panel, NR, block, NR, false, NULL);
        add_narrow(block, least(MR, m - i), least(NR, n), c, g->ldc, accumulate, NULL);
    }
}

/* Where the piece of m rows that begins at i ends: even pieces of at most BLOCK_M, in whole blocks of MR. */
static int64_t piece_end(int64_t m, int64_t i) {
    int64_t left = (m - i + BLOCK_M - 1) / BLOCK_M, blocks = (m - i + MR - 1) / MR;

    return least(m, i + (blocks + left - 1) / left * MR);
}

/* The rows of a piece of A after the first ones, for its first panel to fetch. */
static struct ahead rows_to_come(const struct gemm *g, int64_t i, int64_t end, int64_t k0, int64_t k) {
    return (struct ahead){.at = (const char *)(g->a + (i + MR) * g->lda + k0),
                          .stride = g->lda * (int64_t)sizeof(float),
                          .lines = (k * (int64_t)sizeof(float) + 63) / 64,
                          .rows = end - i - MR};
}

/* The columns of the next panel of B transposed. */
static struct ahead panel_to_come(const struct gemm *g, int64_t n0, int64_t k0, int64_t k) {
    const int64_t size = g->b_dtype == REIN_F32 ? 4 : 2;

    if (n0 >= g->n)
        return (struct ahead){.rows = 0};
    return (struct ahead){.at = element_b(g, k0, n0),
                          .stride = g->ldb * size,
                          .lines = (k * size + 63) / 64,
                          .rows = least(NR, g->n - n0)};
}

static void gemm_b_t(const struct gemm *g, int64_t k0, int64_t k, float *panels) {
    for (int64_t n0 = 0; n0 < g->n; n0 += BLOCK_N)
        for (int64_t i = 0, end; i < g->m; i = end) {
            end = piece_end(g->m, i);
            for (int64_t n = n0; n < least(g->n, n0 + BLOCK_N); n += NR) {
                float *panel = panels + (n - n0) * k;
                struct ahead next = {.rows = 0};
                if (i == 0) {
                    pack_panel(g, k0, k, n, panel);
                    next = panel_to_come(g, n + NR, k0, k);
                }
                if (n == n0)
                    next = rows_to_come(g, i, end, k0, k);
                rows_by_panel(g, i, end, k0, k, n, panel, g->accumulate || k0 > 0, &next);
            }
        }
}

static void gemm_b(const struct gemm *g, int64_t k0, int64_t k, float *panels) {
    float *a = panels + MOST_K * BLOCK_N;

    for (int64_t n0 = 0; n0 < g->n; n0 += BLOCK_N) {
        const int64_t n1 = least(g->n, n0 + BLOCK_N);
        pack_panels(g, k0, k, n0, n1 - n0, panels);
        for (int64_t i = 0, end; i < g->m; i = end) {
            struct ahead next = {.rows = 0};
            end = piece_end(g->m, i);
            if (g->a_t)
                pack_a(g, k0, k, i, end - i, a);
            else
                next = rows_to_come(g, i, end, k0, k);
            for (int64_t n = n0; n < n1; n += NR) {
                const float *panel = panels + (n - n0) * k;
                if (g->a_t)
                    packed_by_panel(g, a, end - i, k, i, n, panel, g->accumulate || k0 > 0);
                else
                    rows_by_panel(g, i, end, k0, k, n, panel, g->accumulate || k0 > 0, &next);
            }
        }
    }
}

/* Products of so few terms are over before what few rows gain has begun. */
enum { FEW_TERMS = 32 };

static void run_blocks(const struct gemm *g, void *scratch) {
    int64_t blocks = g->k > 0 ? (g->k + MOST_K - 1) / MOST_K : 1;

    for (int64_t b = 0; b < blocks; b++) {
        int64_t k0 = g->k * b / blocks, k = g->k * (b + 1) / blocks - k0;
        if (g->b_t)
            gemm_b_t(g, k0, k, scratch);
        else
            gemm_b(g, k0, k, scratch);
    }
}

/* A^T B of few columns, added transposed from B^T A: A is packed in runs of NR values instead of MR, and whole vectors
 * lie along its wide side. */
static void run_turned(const struct gemm *g, float *scratch) {
    enum { ROWS = 8192 };
    float *block = scratch + SCRATCH_BYTES / 4 - ROWS * VW;

    _Static_assert((MOST_K * BLOCK_M + MOST_K * BLOCK_N + ROWS * VW) * 4 <= SCRATCH_BYTES, "scratch of gemm");
    for (int64_t i = 0; i < g->m; i += ROWS) {
        const int64_t rows = least(ROWS, g->m - i);
        const struct gemm turned = {.m = g->n,
                                    .n = rows,
                                    .k = g->k,
                                    .lda = g->ldb,
                                    .ldb = g->lda,
                                    .ldc = rows,
                                    .a = g->b,
                                    .b = g->a + i,
                                    .b_dtype = REIN_F32,
                                    .a_t = true,
                                    .c = block};
        run_blocks(&turned, scratch);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < g->n; j++) {
                float *c = g->c + (i + r) * g->ldc + j;
                *c = (g->accumulate ? *c : 0.0f) + block[j * rows + r];
            }
    }
}

void LEVEL(gemm)(const struct gemm *g, void *scratch) {
    _Static_assert(BLOCK_N % NR == 0 && BLOCK_M % MR == 0, "whole panels");
    if (g->a_t && g->n <= VW && g->m >= NR)
        run_turned(g, scratch);
    else if (g->k < FEW_TERMS || (!LEVEL(few)(g, scratch) && !LEVEL(dot)(g, scratch)))
        run_blocks(g, scratch);
}
