/* SPDX-License-Identifier: MIT
 *
 * Few rows that fill whole vectors, against a large matrix as it lies (B transposed). A is packed transposed, one lane
 * a row, and stays in the caches; elements of B are broadcast, several rows of it at a time, whose next lines and
 * successors are fetched meanwhile. An element of C is one chain in the order of k; nothing is added up across lanes.
 */
#include "isa/tile.h"

#include "isa/level.h"

/* A register block is `vectors` of A by `outputs` rows of B; strips of C are COLUMNS outputs wide. Rows of B that fill
 * no block come LEFT at a time, then one by one. */
enum { MOST_VECTORS = 3, ACCUMULATORS = ISA_LEVEL == 4 ? 24 : 12, COLUMNS = 48, LEFT = 4 };
/* Floats of a cache line; of scratch beside A and B in float32; and the most of k. */
enum {
    LINE = 16,
    STRIP = COLUMNS * MOST_VECTORS * VW,
    MOST_K = (SCRATCH_BYTES / 4 - STRIP) / (MOST_VECTORS * VW + ACCUMULATORS)
};

struct few {
    const struct gemm *g;
    float *panel, *strip, *expanded; /* [k][vectors * VW], [COLUMNS][vectors * VW], [outputs][k] */
};

/* What is fetched during some steps: two lines of each array a step. */
struct fetch {
    const char *near, *far;
    int64_t stride;
};

/* n steps of `outputs` rows of B, ldb apart. `row` has the address of every third one, hidden from the compiler, which
 * would keep an address for each in more registers than there are. */
INLINE void few_steps(const int vectors, const int outputs, int64_t n, const float *row[], int64_t ldb,
                      const float **panel, const struct fetch *fetch, vf sum[ACCUMULATORS]) {
    const char *near = fetch ? fetch->near : NULL, *far = fetch ? fetch->far : NULL;

    for (; n > 0; n--, *panel += vectors * VW) {
        vf x[MOST_VECTORS];
        if (fetch) {
            __builtin_prefetch(far, 0, 2);
            __builtin_prefetch(far + fetch->stride, 0, 2);
            __builtin_prefetch(near, 0, 3);
            __builtin_prefetch(near + fetch->stride, 0, 3);
            near += 2 * fetch->stride;
            far += 2 * fetch->stride;
        }
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            x[v] = load(*panel + v * VW);
#pragma GCC unroll 24
        for (int j = 0; j < outputs; j++) {
            vf w = splat(row[j / 3][j % 3 * ldb]);
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

/* `outputs` rows of B, into as many of the strip. A line of each is fetched LINE steps before it is read, and into the
 * second-level cache one of each row at `far`, where the next block begins. */
INLINE void few_block(const int vectors, const int outputs, const struct few *f, const float *b, int64_t ldb,
                      const float *far, float *strip) {
    const float *row[ACCUMULATORS / 3], *panel = f->panel;
    const int64_t k = f->g->k;
    vf sum[ACCUMULATORS];
    int64_t l = 0;

#pragma GCC unroll 24
    for (int j = 0; j < outputs * vectors; j++)
        sum[j] = (vf){0};
#pragma GCC unroll 8
    for (int j = 0; j < outputs; j += 3)
        row[j / 3] = b + j * ldb;
    for (; far && l + 2 * LINE <= k; l += LINE) {
        const struct fetch fetch = {(const char *)(b + l + LINE), (const char *)(far + l),
                                    ldb * (int64_t)sizeof(float)};
        few_steps(vectors, outputs, outputs / 2, row, ldb, &panel, &fetch, sum);
        few_steps(vectors, outputs, LINE - outputs / 2, row, ldb, &panel, NULL, sum);
    }
    few_steps(vectors, outputs, k - l, row, ldb, &panel, NULL, sum);
#pragma GCC unroll 24
    for (int j = 0; j < outputs * vectors; j++)
        store(strip + j * VW, sum[j]);
}

/* `outputs` rows of B from n0 on. */
INLINE void few_outputs(const int vectors, const int outputs, const struct few *f, int64_t n0, float *strip) {
    const struct gemm *g = f->g;

    if (g->b_dtype == REIN_F32) {
        const float *b = (const float *)g->b + n0 * g->ldb, *end = b + outputs * g->ldb;
        few_block(vectors, outputs, f, b, g->ldb, n0 + 2 * outputs <= g->n ? end : NULL, strip);
        return;
    }
    for (int64_t j = 0; j < outputs; j++) {
        const uint16_t *b = (const uint16_t *)g->b + (n0 + j) * g->ldb;
        for (int64_t l = 0; l < g->k && n0 + outputs + j < g->n; l += 2 * LINE)
            __builtin_prefetch(b + outputs * g->ldb + l, 0, 2);
        copy_pack(b, g->b_dtype, 0, 1, g->k, g->k, f->expanded + j * g->k, 0);
    }
    few_block(vectors, outputs, f, f->expanded, g->k, NULL, strip);
}

/* c (+)= strip^T (+ bias), for n columns from n0 on */
static void few_write(const int vectors, const struct few *f, int64_t n0, int64_t n) {
    const struct gemm *g = f->g;
    const float *bias = g->bias ? g->bias + n0 : NULL;

    for (int64_t i0 = 0; i0 < g->m; i0 += VW)
        for (int64_t j = 0; j < n; j += VW) {
            vf v[VW];
#pragma GCC unroll 16
            for (int l = 0; l < VW; l++)
                v[l] = load(f->strip + (j + l) * vectors * VW + i0);
            transpose_v(v);
            for (int64_t i = 0; i < VW && i0 + i < g->m; i++) {
                float *c = g->c + (i0 + i) * g->ldc + n0 + j;
                if (j + VW <= n) {
                    vf sum = g->accumulate ? v[i] + load(c) : v[i];
                    store(c, bias ? sum + load(bias + j) : sum);
                    continue;
                }
                for (int64_t l = 0; l < n - j; l++) {
                    float sum = g->accumulate ? v[i][l] + c[l] : v[i][l];
                    c[l] = bias ? sum + bias[j + l] : sum;
                }
            }
        }
}

INLINE void few_vectors(const int vectors, const struct few *f) {
    const struct gemm *g = f->g;
    const int outputs = ACCUMULATORS / vectors;

    for (int64_t n0 = 0; n0 < g->n; n0 += COLUMNS) {
        int64_t n = g->n - n0 < COLUMNS ? g->n - n0 : COLUMNS, j = 0;
        for (; j + outputs <= n; j += outputs)
            few_outputs(vectors, outputs, f, n0 + j, f->strip + j * vectors * VW);
        for (; j + LEFT <= n; j += LEFT)
            few_outputs(vectors, LEFT, f, n0 + j, f->strip + j * vectors * VW);
        for (; j < n; j++)
            few_outputs(vectors, 1, f, n0 + j, f->strip + j * vectors * VW);
        few_write(vectors, f, n0, n);
    }
}

bool LEVEL(few)(const struct gemm *g, void *scratch) {
    const int64_t vectors = (g->m + VW - 1) / VW;
    struct few f = {.g = g, .panel = scratch};

    _Static_assert(ACCUMULATORS / MOST_VECTORS >= LEFT && COLUMNS % VW == 0, "blocks of few rows");
    /* empty lanes cost as much as full ones */
    if (ISA_LEVEL < 3 || !g->b_t || vectors > MOST_VECTORS || 4 * g->m <= 3 * vectors * VW || g->k > MOST_K)
        return false;
    f.strip = f.panel + g->k * vectors * VW;
    f.expanded = f.strip + STRIP;
    transpose_pack(g->a, REIN_F32, g->lda, g->m, g->k, f.panel, vectors * VW);
    if (vectors == 1)
        few_vectors(1, &f);
    else if (vectors == 2)
        few_vectors(2, &f);
    else
        few_vectors(3, &f);
    return true;
}
