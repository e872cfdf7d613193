/* SPDX-License-Identifier: MIT
 *
 * Few rows that fill whole vectors, against a large matrix as it lies (B transposed). A is packed transposed, one lane
 * a row ([k][vectors * VW]), and stays in the caches; elements of B are broadcast, one of each stream. An element of C
 * is one chain in the order of k; nothing is added up across lanes.
 */
#include "isa/few.h"

#include "isa/level.h"

/* A register block is `vectors` of A by one row of each of `outputs` streams of B. Rows of B that fill no stream come
 * LEFT at a time, then one by one. */
enum { MOST_VECTORS = 3, ACCUMULATORS = ISA_LEVEL == 4 ? 24 : 12, MOST_OUTPUTS = 16, LEFT = 4 };
/* Floats of a cache line, and of lines between use and fetching; floats of scratch beside A and B in float32; and the
 * most of k. */
enum {
    LINE = 16,
    AHEAD = 8 * LINE,
    STRIP = ACCUMULATORS * VW * VW,
    MOST_K = (SCRATCH_BYTES / 4 - STRIP) / (MOST_VECTORS * VW + MOST_OUTPUTS) - LINE
};

/* n steps of rows of B that are `apart`. `row` has the address of every third one, hidden from the compiler, which
 * would keep an address for each in more registers than there are. A step fetches one line, of one stream after the
 * other, from `fetch` on. */
INLINE void few_steps(const int vectors, const int outputs, int64_t n, const float *row[], int64_t apart,
                      const float **panel, const float *fetch, vf sum[ACCUMULATORS]) {
    for (; n > 0; n--, *panel += vectors * VW) {
        vf x[MOST_VECTORS];
        if (fetch) {
            __builtin_prefetch(fetch, 0, 3);
            fetch += apart;
        }
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            x[v] = load(*panel + v * VW);
#pragma GCC unroll 24
        for (int j = 0; j < outputs; j++) {
            vf w = splat(row[j / 3][j % 3 * apart]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sum[j * vectors + v] += w * x[v];
        }
#pragma GCC unroll 8
        for (int j = 0; j < outputs; j += 3) {
            row[j / 3]++;
            __asm__("" : "+r"(row[j / 3]));
        }
    }
}

/* A row of each stream, from b on, into every VW-th vector of the strip. `next`: where the stream goes on after row b,
 * or NULL when nothing is to be fetched. */
INLINE void few_block(const int vectors, const int outputs, const struct few *f, const float *b, int64_t apart,
                      const float *next, float *strip) {
    const float *row[(MOST_OUTPUTS + 2) / 3], *panel = f->panel;
    const int64_t k = f->g->k;
    vf sum[ACCUMULATORS];
    int64_t l = 0;

#pragma GCC unroll 24
    for (int j = 0; j < outputs * vectors; j++)
        sum[j] = (vf){0};
#pragma GCC unroll 8
    for (int j = 0; j < outputs; j += 3)
        row[j / 3] = b + j * apart;
    for (; next && l + LINE <= k; l += LINE) {
        const float *fetch = l + AHEAD < k ? b + l + AHEAD : next + (l + AHEAD - k);
        few_steps(vectors, outputs, outputs, row, apart, &panel, fetch, sum);
        few_steps(vectors, outputs, LINE - outputs, row, apart, &panel, NULL, sum);
    }
    few_steps(vectors, outputs, k - l, row, apart, &panel, NULL, sum);
#pragma GCC unroll 16
    for (int j = 0; j < outputs; j++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            store(strip + (j * VW * vectors + v) * VW, sum[j * vectors + v]);
}

/* Rows of another dtype are expanded first. */
INLINE void compute(const int vectors, const int outputs, const struct few *f, const struct streams *s, int64_t r,
                    float *strip) {
    const struct gemm *g = f->g;
    const int64_t apart = s->rows * g->ldb, ld = g->k + LINE;
    const bool last = r + 1 == s->rows;

    if (g->b_dtype == REIN_F32) {
        const float *b = (const float *)g->b + (s->n0 + r) * g->ldb;
        few_block(vectors, outputs, f, b, apart, last ? b : b + g->ldb, strip);
        return;
    }
    for (int64_t j = 0; j < outputs; j++) {
        const uint16_t *b = (const uint16_t *)g->b + (s->n0 + r) * g->ldb + j * apart;
        for (int64_t l = 0; l < g->k && !last; l += 2 * LINE)
            __builtin_prefetch(b + g->ldb + l, 0, 2);
        copy_pack(b, g->b_dtype, 0, 1, g->k, g->k, f->spare + j * ld, 0);
    }
    few_block(vectors, outputs, f, f->spare, ld, NULL, strip);
}

INLINE void few_vectors(const int vectors, const struct few *f) {
    const int outputs = ACCUMULATORS / vectors < MOST_OUTPUTS ? ACCUMULATORS / vectors : MOST_OUTPUTS;
    struct streams s = {0, 0};

    few_rows(compute, vectors, outputs, f, &s);
    few_rows(compute, vectors, LEFT, f, &s);
    few_rows(compute, vectors, 1, f, &s);
}

bool LEVEL(few)(const struct gemm *g, void *scratch) {
    const int64_t vectors = (g->m + VW - 1) / VW;
    struct few f = {.g = g, .panel = scratch};

    _Static_assert(ACCUMULATORS / MOST_VECTORS >= LEFT && (int)MOST_OUTPUTS <= (int)LINE, "blocks of few rows");
    /* empty lanes cost as much as full ones */
    if (ISA_LEVEL < 3 || !g->b_t || vectors > MOST_VECTORS || 4 * g->m <= 3 * vectors * VW || g->k > MOST_K)
        return false;
    f.strip = f.panel + g->k * vectors * VW;
    f.spare = f.strip + STRIP;
    transpose_pack(g->a, REIN_F32, g->lda, g->m, g->k, f.panel, vectors * VW);
    if (vectors == 1)
        few_vectors(1, &f);
    else if (vectors == 2)
        few_vectors(2, &f);
    else
        few_vectors(3, &f);
    return true;
}
