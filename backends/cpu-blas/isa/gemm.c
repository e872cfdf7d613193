/* SPDX-License-Identifier: MIT */
#include "isa/tile.h"

#include "isa/level.h"

/* k is cut into even blocks of at most MOST_K, independent of m and n, so that each element's sum has one order.
 * A packed block of B: [NR-column panel][k][NR]. With B transposed one panel is packed at a time and all rows of A
 * run over it (A is read as it lies, and comes from the second-level cache); with A transposed
 * BLOCK_N columns of B are packed first, then one MR-row panel of A at a time. */
enum { MOST_K = 384, BLOCK_N = 1536 };

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void pack_b(const struct gemm *g, int64_t k0, int64_t k, int64_t n0, int64_t n, float *panel) {
    uint32_t size = g->b_dtype == REIN_F32 ? 4 : 2;
    const char *b = (const char *)g->b + (g->b_t ? n0 * g->ldb + k0 : k0 * g->ldb + n0) * size;

    if (g->b_t) {
        transpose_pack(b, g->b_dtype, g->ldb, n, k, panel, NR);
        if (n <= VW) /* the second vector of the panel */
            for (int64_t j = 0; j < k; j++)
                store(panel + j * NR + VW, (vf){0});
    } else {
        copy_pack(b, g->b_dtype, g->ldb, k, n, NR, panel, NR);
    }
}

/* Columns that do not fill a panel go through a block of their own. */
static void add_narrow(const float *block, int64_t m, int64_t n, float *c, int64_t ldc, bool accumulate,
                       const float *bias) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float sum = block[i * NR + j];
            if (accumulate)
                sum += c[i * ldc + j];
            c[i * ldc + j] = bias ? sum + bias[j] : sum;
        }
}

/* One packed panel of B against m rows of A as they lie. */
static void rows_by_panel(const struct gemm *g, int64_t k0, int64_t k, int64_t n0, const float *panel,
                          bool accumulate) {
    const float *bias = g->bias && k0 == 0 ? g->bias + n0 : NULL;
    int64_t n = g->n - n0;

    if (n >= NR) {
        tile_rows(g->m, k, g->a + k0, g->lda, 1, panel, NR, g->c + n0, g->ldc, accumulate, bias);
        return;
    }
    for (int64_t i = 0; i < g->m; i += MR) {
        float block[MR * NR];
        int64_t m = least(MR, g->m - i);
        tile_rows(m, k, g->a + i * g->lda + k0, g->lda, 1, panel, NR, block, NR, false, NULL);
        add_narrow(block, m, n, g->c + i * g->ldc + n0, g->ldc, accumulate, bias);
    }
}

static void gemm_rows(const struct gemm *g, int64_t blocks, float *panel) {
    for (int64_t b = 0; b < blocks; b++) {
        int64_t k0 = g->k * b / blocks, k = g->k * (b + 1) / blocks - k0;
        for (int64_t n0 = 0; n0 < g->n; n0 += NR) {
            pack_b(g, k0, k, n0, least(NR, g->n - n0), panel);
            rows_by_panel(g, k0, k, n0, panel, g->accumulate || b > 0);
        }
    }
}

/* MR (or fewer) rows of A^T, packed [k][m], against the packed panels of B. */
static void panel_by_panels(const struct gemm *g, const float *a, int64_t m, int64_t k, int64_t i, int64_t n0,
                            int64_t n, const float *panels, bool accumulate) {
    for (int64_t j = 0; j < n; j += NR, panels += k * NR) {
        float *c = g->c + i * g->ldc + n0 + j, block[MR * NR];
        if (n - j < NR) {
            tile_rows(m, k, a, 1, MR, panels, NR, block, NR, false, NULL);
            add_narrow(block, m, n - j, c, g->ldc, accumulate, NULL);
        } else if (m == MR) {
            tile_block(MR, k, a, 1, MR, panels, NR, c, g->ldc, accumulate, NULL);
        } else {
            tile_rows(m, k, a, 1, MR, panels, NR, c, g->ldc, accumulate, NULL);
        }
    }
}

static void gemm_transposed(const struct gemm *g, int64_t blocks, float *scratch) {
    float *a = scratch, *panels = scratch + MOST_K * MR;

    for (int64_t b = 0; b < blocks; b++) {
        int64_t k0 = g->k * b / blocks, k = g->k * (b + 1) / blocks - k0;
        for (int64_t n0 = 0; n0 < g->n; n0 += BLOCK_N) {
            int64_t n = least(BLOCK_N, g->n - n0);
            for (int64_t j = 0; j < n; j += NR)
                pack_b(g, k0, k, n0 + j, least(NR, n - j), panels + j * k);
            for (int64_t i = 0; i < g->m; i += MR) {
                int64_t m = least(MR, g->m - i);
                for (int64_t l = 0; l < k; l++)
                    for (int64_t r = 0; r < MR; r++)
                        a[l * MR + r] = r < m ? g->a[(k0 + l) * g->lda + i + r] : 0.0f;
                panel_by_panels(g, a, m, k, i, n0, n, panels, g->accumulate || b > 0);
            }
        }
    }
}

void LEVEL(gemm)(const struct gemm *g, void *scratch) {
    int64_t blocks = g->k > 0 ? (g->k + MOST_K - 1) / MOST_K : 1;

    _Static_assert((MOST_K * MR + MOST_K * BLOCK_N) * 4 <= SCRATCH_BYTES, "scratch of gemm");
    if (g->a_t)
        gemm_transposed(g, blocks, scratch);
    else
        gemm_rows(g, blocks, scratch);
}
