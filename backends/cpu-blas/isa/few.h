/* backends/cpu-blas/isa/few.h - a large matrix (B transposed) read from memory once, as long runs, for few rows of A.
 * SPDX-License-Identifier: MIT
 *
 * The rows of B are cut into as many streams as are read at a time, so that each of them is one run of memory from its
 * first row to its last, which the processor's own prefetching follows. What multiplies them is the caller's.
 */
#ifndef CPU_ISA_FEW_H
#define CPU_ISA_FEW_H

#include "isa/tile.h"

/* `panel` holds A as the products take it, `strip` [outputs][VW][vectors * VW] what they gave, and `spare` whatever
 * they need besides. */
struct few {
    const struct gemm *g;
    float *panel, *strip, *spare;
};

/* Streams of `rows` rows each, that follow one another from row n0 of B on. */
struct streams {
    int64_t n0, rows;
};

/* Row r of each of `outputs` streams times A, into every VW-th vector of the strip (`vectors` vectors each). */
typedef void few_outputs(const int vectors, const int outputs, const struct few *f, const struct streams *s, int64_t r,
                         float *strip);

/* c (+)= strip^T (+ bias), for n columns of a stream from n0 on */
INLINE void few_write(const int vectors, const struct few *f, const float *strip, int64_t n0, int64_t n) {
    const struct gemm *g = f->g;
    const float *bias = g->bias ? g->bias + n0 : NULL;

    for (int64_t i0 = 0; i0 < g->m; i0 += VW) {
        vf v[VW];
#pragma GCC unroll 16
        for (int l = 0; l < VW; l++)
            v[l] = load(strip + l * vectors * VW + i0);
        transpose_v(v);
        for (int64_t i = 0; i < VW && i0 + i < g->m; i++) {
            float *c = g->c + (i0 + i) * g->ldc + n0;
            if (n == VW) {
                vf sum = g->accumulate ? v[i] + load(c) : v[i];
                store(c, bias ? sum + load(bias) : sum);
                continue;
            }
            for (int64_t l = 0; l < n; l++) {
                float sum = g->accumulate ? v[i][l] + c[l] : v[i][l];
                c[l] = bias ? sum + bias[l] : sum;
            }
        }
    }
}

/* As many streams as there are outputs, VW rows of each between two writings. */
INLINE void few_streams(few_outputs *compute, const int vectors, const int outputs, const struct few *f,
                        const struct streams *s) {
    for (int64_t r0 = 0, r = 0; r0 < s->rows; r0 = r) {
        for (; r < s->rows && r < r0 + VW; r++)
            compute(vectors, outputs, f, s, r, f->strip + (r - r0) * vectors * VW);
        for (int64_t j = 0; j < outputs; j++)
            few_write(vectors, f, f->strip + j * VW * vectors * VW, s->n0 + j * s->rows + r0, r - r0);
    }
}

/* The length of `outputs` streams of the rows from n0 on: not one that would have them all meet in one set of the
 * first-level cache, when another row or less each helps. */
INLINE int64_t stream_rows(const struct gemm *g, int64_t outputs, int64_t n0) {
    enum { SETS = 4096 }; /* bytes after which addresses share a set */
    const int64_t rows = (g->n - n0) / outputs, size = g->b_dtype == REIN_F32 ? 4 : 2;

    return rows > 1 && rows * g->ldb * size % SETS == 0 ? rows - 1 : rows;
}

/* Rows from s->n0 on, `outputs` streams at a time; s ends before the rows that fill none. */
INLINE void few_rows(few_outputs *compute, const int vectors, const int outputs, const struct few *f,
                     struct streams *s) {
    for (; s->n0 + outputs <= f->g->n; s->n0 += outputs * s->rows) {
        s->rows = stream_rows(f->g, outputs, s->n0);
        few_streams(compute, vectors, outputs, f, s);
    }
}

#endif
