/* backends/cpu-blas/isa/tile.h - the register-blocked product that everything else is made of.
 * SPDX-License-Identifier: MIT
 *
 * C[rows][NR] (+)= A[rows][k] B[k][NR]: a column block of B is read as two vectors a step, A's elements are
 * broadcast. Each element of C is one chain of multiply-adds in the order of k, whatever the block it is computed in.
 */
#ifndef CPU_ISA_TILE_H
#define CPU_ISA_TILE_H

#include "isa/vec.h"

/* One step: `rows` elements of A, a whole row of B's block. */
INLINE void tile_step(const int rows, const float *a, int64_t rs, const float *b, vf sum[MR][2]) {
    vf b0 = load(b), b1 = load(b + VW);

#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        vf x = splat(a[i * rs]);
        sum[i][0] += x * b0;
        sum[i][1] += x * b1;
    }
}

/* C comes from memory while the sums are made. */
INLINE void tile_begin(vf sum[2], const float *c) {
    sum[0] = sum[1] = (vf){0};
    __builtin_prefetch(c, 1, 3);
    __builtin_prefetch(c + NR - 1, 1, 3);
}

INLINE void tile_write(const int rows, vf sum[MR][2], float *c, int64_t ldc, bool accumulate, const float *bias) {
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        if (accumulate) {
            sum[i][0] += load(c + i * ldc);
            sum[i][1] += load(c + i * ldc + VW);
        }
        if (bias) {
            sum[i][0] += load(bias);
            sum[i][1] += load(bias + VW);
        }
        store(c + i * ldc, sum[i][0]);
        store(c + i * ldc + VW, sum[i][1]);
    }
}

/* A's element (i, k) is a[i * rs + k * cs]. */
INLINE void tile_block(const int rows, int64_t k, const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb,
                       float *c, int64_t ldc, bool accumulate, const float *bias) {
    vf sum[MR][2];

#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        tile_begin(sum[i], c + i * ldc);
    for (int64_t j = 0; j < k; j++, a += cs, b += ldb)
        tile_step(rows, a, rs, b, sum);
    tile_write(rows, sum, c, ldc, accumulate, bias);
}

/* Memory that will be packed next: rows of `lines` cache lines. */
struct ahead {
    const char *at;
    int64_t stride, lines, rows;
};

/* tile_block with MR rows and A as it lies, fetching `width` lines a step from memory meanwhile. */
INLINE void tile_block_ahead(const int width, struct ahead *next, int64_t k, const float *a, int64_t rs,
                             const float *b, float *c, int64_t ldc, bool accumulate, const float *bias) {
    vf sum[MR][2];
    int64_t j = 0;

#pragma GCC unroll 8
    for (int i = 0; i < MR; i++)
        tile_begin(sum[i], c + i * ldc);
    for (; j + next->lines <= k && next->rows > 0; next->rows -= width) {
        const char *line = next->at;
        for (int64_t l = 0; l < next->lines; l++, j++, line += 64) {
            __builtin_prefetch(line, 0, 2);
            if (width == 2)
                __builtin_prefetch(line + next->stride, 0, 2);
            tile_step(MR, a + j, rs, b + j * NR, sum);
        }
        next->at += width * next->stride;
    }
    for (; j < k; j++)
        tile_step(MR, a + j, rs, b + j * NR, sum);
    tile_write(MR, sum, c, ldc, accumulate, bias);
}

/* All m rows against one block of NR columns. cs is 1 or the distance between packed steps. */
INLINE void tile_rows(int64_t m, int64_t k, const float *a, int64_t rs, int64_t cs, const float *b, int64_t ldb,
                      float *c, int64_t ldc, bool accumulate, const float *bias) {
    int64_t i = 0;

    for (; i + MR <= m; i += MR)
        tile_block(MR, k, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, accumulate, bias);
    if (MR > 4 && i + 4 <= m) {
        tile_block(4, k, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, accumulate, bias);
        i += 4;
    }
    if (i + 3 == m) {
        tile_block(3, k, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, accumulate, bias);
        return;
    }
    if (i + 2 <= m) {
        tile_block(2, k, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, accumulate, bias);
        i += 2;
    }
    if (i < m)
        tile_block(1, k, a + i * rs, rs, cs, b, ldb, c + i * ldc, ldc, accumulate, bias);
}

/* C[m][n] (+)= A B with n a multiple of NR and padded arrays throughout. */
INLINE void tile_gemm(int64_t m, int64_t n, int64_t k, const float *a, int64_t rs, int64_t cs, const float *b,
                      int64_t ldb, float *c, int64_t ldc, bool accumulate) {
    for (int64_t j = 0; j < n; j += NR)
        tile_rows(m, k, a, rs, cs, b + j, ldb, c + j, ldc, accumulate, NULL);
}

/* Transposes VW x VW in registers: stage d exchanges the off-diagonal d x d blocks of each 2d x 2d block. */
#if ISA_LEVEL == 4
#define STAGE(d)                                                                                                       \
    (vi){0 & d ? 16 + 0 - d : 0,     1 & d ? 16 + 1 - d : 1,     2 & d ? 16 + 2 - d : 2,     3 & d ? 16 + 3 - d : 3,   \
         4 & d ? 16 + 4 - d : 4,     5 & d ? 16 + 5 - d : 5,     6 & d ? 16 + 6 - d : 6,     7 & d ? 16 + 7 - d : 7,   \
         8 & d ? 16 + 8 - d : 8,     9 & d ? 16 + 9 - d : 9,     10 & d ? 16 + 10 - d : 10,                              \
         11 & d ? 16 + 11 - d : 11,                                                                                    \
         12 & d ? 16 + 12 - d : 12,  13 & d ? 16 + 13 - d : 13,  14 & d ? 16 + 14 - d : 14,  15 & d ? 16 + 15 - d : 15}
#elif ISA_LEVEL == 3
#define STAGE(d)                                                                                                       \
    (vi){0 & d ? 8 + 0 - d : 0, 1 & d ? 8 + 1 - d : 1, 2 & d ? 8 + 2 - d : 2, 3 & d ? 8 + 3 - d : 3,                   \
         4 & d ? 8 + 4 - d : 4, 5 & d ? 8 + 5 - d : 5, 6 & d ? 8 + 6 - d : 6, 7 & d ? 8 + 7 - d : 7}
#else
#define STAGE(d) (vi){0 & d ? 4 + 0 - d : 0, 1 & d ? 4 + 1 - d : 1, 2 & d ? 4 + 2 - d : 2, 3 & d ? 4 + 3 - d : 3}
#endif
#define EXCHANGE(v, i, d)                                                                                              \
    do {                                                                                                               \
        vf even_ = __builtin_shuffle((v)[i], (v)[(i) + (d)], STAGE(d));                                                \
        (v)[(i) + (d)] = __builtin_shuffle((v)[i], (v)[(i) + (d)], STAGE(d) + (d));                                    \
        (v)[i] = even_;                                                                                                \
    } while (0)

INLINE void transpose_v(vf v[VW]) {
#pragma GCC unroll 16
    for (int i = 0; i < VW; i += 2)
        EXCHANGE(v, i, 1);
#pragma GCC unroll 16
    for (int i = 0; i < VW; i++)
        if (!(i & 2))
            EXCHANGE(v, i, 2);
#if ISA_LEVEL >= 3
#pragma GCC unroll 16
    for (int i = 0; i < VW; i++)
        if (!(i & 4))
            EXCHANGE(v, i, 4);
#endif
#if ISA_LEVEL >= 4
#pragma GCC unroll 16
    for (int i = 0; i < VW; i++)
        if (!(i & 8))
            EXCHANGE(v, i, 8);
#endif
}

/* out[j * ldout + i] = x[i * ldx + j] for i < rows, j < columns, `rows` padded with zeros to a multiple of VW. */
INLINE void transpose_pack(const void *x, uint32_t dtype, int64_t ldx, int64_t rows, int64_t columns, float *out,
                           int64_t ldout) {
    for (int64_t i = 0; i < rows; i += VW) {
        int64_t j = 0;
        if (2 * (rows - i) > VW)
            for (; j + VW <= columns; j += VW) {
                vf v[VW];
#pragma GCC unroll 16
                for (int r = 0; r < VW; r++)
                    v[r] = i + r < rows ? load_as(x, dtype, (i + r) * ldx + j) : (vf){0};
                transpose_v(v);
#pragma GCC unroll 16
                for (int r = 0; r < VW; r++)
                    store(out + (j + r) * ldout + i, v[r]);
            }
        for (; j < columns; j++)
            for (int64_t r = 0; r < VW; r++)
                out[j * ldout + i + r] = i + r < rows ? load_one(x, dtype, (i + r) * ldx + j) : 0.0f;
    }
}

/* out[i * ldout + j] = x[i * ldx + j], columns padded with zeros up to `padded`. */
INLINE void copy_pack(const void *x, uint32_t dtype, int64_t ldx, int64_t rows, int64_t columns, int64_t padded,
                      float *out, int64_t ldout) {
    for (int64_t i = 0; i < rows; i++) {
        int64_t j = 0;
        for (; j + VW <= columns; j += VW)
            store(out + i * ldout + j, load_as(x, dtype, i * ldx + j));
        for (; j < columns; j++)
            out[i * ldout + j] = load_one(x, dtype, i * ldx + j);
        for (; j < padded; j++)
            out[i * ldout + j] = 0.0f;
    }
}

#endif
