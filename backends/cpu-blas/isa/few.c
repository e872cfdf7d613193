/* SPDX-License-Identifier: MIT
 *
 * Few rows that fill whole vectors, against a large matrix as it lies (B transposed). A is packed transposed, one lane
 * a row, and stays in the caches; elements of B are broadcast, several rows of it at a time. B is read from memory, as
 * fast as it comes: its rows are cut into as many streams as are read at a time, so that each of them is one run of
 * memory from its first row to its last, which the processor's own prefetching follows. An element of C is one chain in
 * the order of k; nothing is added up across lanes.
 */
#include "isa/tile.h"

#include "isa/level.h"

/* A register block is `vectors` of A by one row of each of `outputs` streams of B. Rows of B that fill no stream come
 * LEFT at a time, then one by one. */
enum { MOST_VECTORS = 3, ACCUMULATORS = ISA_LEVEL == 4 ? 24 : 12, MOST_OUTPUTS = 16, LEFT = 4 };
/* Floats of a cache line, and of lines between use and fetching; bytes after which addresses share a set of the
 * first-level cache; floats of scratch beside A and B in float32; and the most of k. */
enum {
    LINE = 16,
    AHEAD = 8 * LINE,
    SETS = 4096,
    STRIP = ACCUMULATORS * VW * VW,
    MOST_K = (SCRATCH_BYTES / 4 - STRIP) / (MOST_VECTORS * VW + MOST_OUTPUTS) - LINE
};

struct few {
    const struct gemm *g;
    float *panel, *strip, *expanded; /* [k][vectors * VW], [outputs][VW][vectors * VW], [outputs][k + LINE] */
};

/* Streams of `rows` rows each, that follow one another from row n0 of B on. */
struct streams {
    int64_t n0, rows;
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

/* Row r of each stream. */
INLINE void few_outputs(const int vectors, const int outputs, const struct few *f, const struct streams *s, int64_t r,
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
        copy_pack(b, g->b_dtype, 0, 1, g->k, g->k, f->expanded + j * ld, 0);
    }
    few_block(vectors, outputs, f, f->expanded, ld, NULL, strip);
}

/* c (+)= strip^T (+ bias), for n columns of a stream from n0 on */
static void few_write(const int vectors, const struct few *f, const float *strip, int64_t n0, int64_t n) {
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
INLINE void few_streams(const int vectors, const int outputs, const struct few *f, const struct streams *s) {
    for (int64_t r0 = 0, r = 0; r0 < s->rows; r0 = r) {
        for (; r < s->rows && r < r0 + VW; r++)
            few_outputs(vectors, outputs, f, s, r, f->strip + (r - r0) * vectors * VW);
        for (int64_t j = 0; j < outputs; j++)
            few_write(vectors, f, f->strip + j * VW * vectors * VW, s->n0 + j * s->rows + r0, r - r0);
    }
}

/* The length of `outputs` streams of the rows from n0 on: not one that would have them all meet in one set of the
 * cache, when another row or less each helps. */
static int64_t stream_rows(const struct gemm *g, int64_t outputs, int64_t n0) {
    const int64_t rows = (g->n - n0) / outputs, size = g->b_dtype == REIN_F32 ? 4 : 2;

    return rows > 1 && rows * g->ldb * size % SETS == 0 ? rows - 1 : rows;
}

INLINE void few_vectors(const int vectors, const struct few *f) {
    const int outputs = ACCUMULATORS / vectors < MOST_OUTPUTS ? ACCUMULATORS / vectors : MOST_OUTPUTS;
    struct streams s = {0, 0};

    for (; s.n0 + outputs <= f->g->n; s.n0 += outputs * s.rows) {
        s.rows = stream_rows(f->g, outputs, s.n0);
        few_streams(vectors, outputs, f, &s);
    }
    for (; s.n0 + LEFT <= f->g->n; s.n0 += LEFT * s.rows) {
        s.rows = stream_rows(f->g, LEFT, s.n0);
        few_streams(vectors, LEFT, f, &s);
    }
    s.rows = f->g->n - s.n0;
    few_streams(vectors, 1, f, &s);
}

bool LEVEL(few)(const struct gemm *g, void *scratch) {
    const int64_t vectors = (g->m + VW - 1) / VW;
    struct few f = {.g = g, .panel = scratch};

    _Static_assert(ACCUMULATORS / MOST_VECTORS >= LEFT && (int)MOST_OUTPUTS <= (int)LINE, "blocks of few rows");
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
