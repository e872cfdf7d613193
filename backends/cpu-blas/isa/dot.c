/* SPDX-License-Identifier: MIT
 *
 * One or two rows against a large matrix as it lies (B transposed): bound by memory, so nothing is packed. Each row of
 * B is read once and multiplied with all rows of A.
 */
#include "isa/level.h"

/* c[i][j] for `rows` rows and `outputs` columns from n0 on. */
INLINE void dot_block(const struct gemm *g, const int rows, const int outputs, const uint32_t dtype, int64_t n0) {
    vf sum[2][8];
    int64_t k = 0;

#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < outputs; j++)
            sum[i][j] = (vf){0};
    for (; k + VW <= g->k; k += VW)
#pragma GCC unroll 8
        for (int j = 0; j < outputs; j++) {
            vf b = load_as(g->b, dtype, (n0 + j) * g->ldb + k);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++)
                sum[i][j] += load(g->a + i * g->lda + k) * b;
        }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < outputs; j++) {
            float *c = g->c + i * g->ldc + n0 + j, total = sum_v(sum[i][j]);
            for (int64_t l = k; l < g->k; l++)
                total += g->a[i * g->lda + l] * load_one(g->b, dtype, (n0 + j) * g->ldb + l);
            if (g->accumulate)
                total += *c;
            *c = g->bias ? total + g->bias[n0 + j] : total;
        }
}

INLINE void dot_rows(const struct gemm *g, const int rows, const int outputs, const uint32_t dtype) {
    int64_t n0 = 0;

    for (; n0 + outputs <= g->n; n0 += outputs)
        dot_block(g, rows, outputs, dtype, n0);
    for (; n0 < g->n; n0++)
        dot_block(g, rows, 1, dtype, n0);
}

INLINE void dot_dtype(const struct gemm *g, const uint32_t dtype) {
    if (g->m == 1)
        dot_rows(g, 1, 8, dtype);
    else
        dot_rows(g, 2, 4, dtype);
}

void LEVEL(dot)(const struct gemm *g) {
    if (g->b_dtype == REIN_F32)
        dot_dtype(g, REIN_F32);
    else if (g->b_dtype == REIN_BF16)
        dot_dtype(g, REIN_BF16);
    else
        dot_dtype(g, REIN_F16);
}
