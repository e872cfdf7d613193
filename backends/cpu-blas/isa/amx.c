/* SPDX-License-Identifier: MIT */
#include "isa/amx.h"
#include "isa/level.h"

/* Products of float32 on tiles of bfloat16 (AMX). A float32 is the sum of three bfloat16 of 8 bits each, exactly; of
 * the nine products of two such sums the six that reach into float32's precision are made, and added up in float32.
 * (Henry, Tang and Heinecke, Leveraging the bfloat16 artificial intelligence datatype for higher-precision
 * computations, 2019.) What is left out is less than 2^-22 of a product, of either sign. The tiles take subnormal
 * numbers, parts among them, for zero: all of float32's precision is there for factors above about 2^-102 and products
 * above about 2^-100. An infinity may give a NaN.
 *
 * Both operands are packed in panels of PANEL rows (columns of B): [k / STEP][parts][2 tiles][16 rows][64 bytes]. A row
 * of a tile of A holds STEP values along k, as pairs (i, i + 16); a row of a tile of B holds such a pair for 16
 * columns. */
enum { PANEL = 2 * TILE };
/* k is cut into even blocks of at most MOST_K, independent of m and n, so that each element's sum has one order.
 * BLOCK_M packed rows of A stay in the second-level cache while panels of B pass, each of which is packed when it first
 * does. */
enum { MOST_K = 576, BLOCK_M = 256, BLOCK_N = 1536 };

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* A matrix that is packed along k, which runs along its rows or down its columns. */
struct operand {
    const void *x;
    int64_t ld, size; /* size: rows of A, or columns of B */
    uint32_t dtype;
    bool k_down, turn; /* turn: blocks are transposed on the way */
};

/* Where value k of row i lies. */
INLINE const char *element(const struct operand *o, int64_t i, int64_t k) {
    return (const char *)o->x + (o->k_down ? k * o->ld + i : i * o->ld + k) * (o->dtype == REIN_F32 ? 4 : 2);
}

/* TILE x TILE of the matrix as it lies, from value k of row i on, with zeros where it ends. */
INLINE void load_block(const struct operand *o, int64_t i, int64_t k, int64_t k_end, vf v[TILE]) {
    const int64_t rows = o->k_down ? k_end - k : o->size - i, columns = o->k_down ? o->size - i : k_end - k;
    const char *x = element(o, i, k);

    if (rows >= TILE && columns >= TILE) {
#pragma GCC unroll 16
        for (int r = 0; r < TILE; r++)
            v[r] = load_as(x, o->dtype, r * o->ld);
        return;
    }
    for (int r = 0; r < TILE; r++) {
        float row[TILE] = {0};
        for (int64_t j = 0; r < rows && j < least(columns, TILE); j++)
            row[j] = load_one(x, o->dtype, r * o->ld + j);
        v[r] = load(row);
    }
}

/* The upper halves of two vectors' lanes, as pairs. */
INLINE vu pairs(vf first, vf second) {
    return (vu)first >> 16 | ((vu)second & 0xffff0000u);
}

/* The second part is rounded, so that what is left out of a product has either sign. */
INLINE void write_row(const int parts, vf first, vf second, char *to) {
    for (int p = 0; p < parts; p++, to += 2 * TILE_BYTES) {
        vf a = first, b = second;
        if (p + 1 < PARTS) {
            a = take_part(&first, p > 0);
            b = take_part(&second, p > 0);
        }
        *(vu *)to = pairs(a, b);
    }
}

/* Rows i .. i + TILE of the operand, STEP values of them from k on, as one tile a part; the next values are fetched. */
INLINE void pack_tile(const struct operand *o, const int parts, int64_t i, int64_t k, int64_t k_end, char *to) {
    vf first[TILE], second[TILE];

    load_block(o, i, k, k_end, first);
    load_block(o, i, k + TILE, k_end, second);
    for (int r = 0; r < STEP; r++)
        __builtin_prefetch(o->k_down ? element(o, i, k + STEP + r) : element(o, i + r / 2, k + STEP + r % 2 * TILE));
    if (o->turn) {
        transpose_v(first);
        transpose_v(second);
    }
#pragma GCC unroll 16
    for (int r = 0; r < TILE; r++)
        write_row(parts, first[r], second[r], to + r * 64);
}

/* Panels of the operand's rows begin .. end. */
INLINE void pack(const struct operand *o, const int parts, int64_t begin, int64_t end, int64_t k0, int64_t k,
                 char *to) {
    const int64_t steps = (k + STEP - 1) / STEP, panels = (end - begin + PANEL - 1) / PANEL;

    for (int64_t n = 0; n < steps * panels; n++) {
        const int64_t p = o->k_down ? n % panels : n / steps, s = o->k_down ? n / panels : n % steps;
        char *tiles = to + (p * steps + s) * parts * 2 * TILE_BYTES;
        pack_tile(o, parts, begin + p * PANEL, k0 + s * STEP, k0 + k, tiles);
        pack_tile(o, parts, begin + p * PANEL + TILE, k0 + s * STEP, k0 + k, tiles + TILE_BYTES);
    }
}

/* Memory that is needed soon, fetched a few lines a step: products on tiles keep too few loads under way to hide it. */
struct stream {
    const char *at;
    int64_t stride, bytes, rows, x; /* x: bytes of this row that were fetched */
};

INLINE void fetch(struct stream *s, int lines) {
    for (; lines > 0 && s->rows > 0; lines--) {
        __builtin_prefetch(s->at + s->x, 0, 2);
        s->x += 64;
        if (s->x >= s->bytes) {
            s->x = 0;
            s->at += s->stride;
            s->rows--;
        }
    }
}

/* Rows begin .. end of an operand as they lie. */
INLINE struct stream stream_of(const struct operand *o, int64_t begin, int64_t end, int64_t k0, int64_t k) {
    const int64_t bytes = o->dtype == REIN_F32 ? 4 : 2;

    if (begin >= end)
        return (struct stream){.rows = 0};
    return (struct stream){element(o, begin, k0), o->ld * bytes, (o->k_down ? end - begin : k) * bytes,
                           o->k_down ? k : end - begin, 0};
}

/* Tiles 0 to 3 are sums, 4 and 5 rows of A, 6 and 7 columns of B. NEXT_A and NEXT_B load another part of A or B and
 * multiply; the loads are spread among the products, which hide them. */
#define LOAD(tile, from, part, second) _tile_loadd(tile, (from) + ((part)*2 + (second)) * TILE_BYTES, 64)
#define NEXT_A(part)                                                                                                   \
    do {                                                                                                               \
        LOAD(4, a, part, 0);                                                                                           \
        _tile_dpbf16ps(0, 4, 6);                                                                                       \
        if (columns == 2)                                                                                              \
            _tile_dpbf16ps(1, 4, 7);                                                                                   \
        if (rows == 2) {                                                                                               \
            LOAD(5, a, part, 1);                                                                                       \
            _tile_dpbf16ps(2, 5, 6);                                                                                   \
            if (columns == 2)                                                                                          \
                _tile_dpbf16ps(3, 5, 7);                                                                               \
        }                                                                                                              \
    } while (0)
#define NEXT_B(part)                                                                                                   \
    do {                                                                                                               \
        LOAD(6, b, part, 0);                                                                                           \
        _tile_dpbf16ps(0, 4, 6);                                                                                       \
        if (rows == 2)                                                                                                 \
            _tile_dpbf16ps(2, 5, 6);                                                                                   \
        if (columns == 2) {                                                                                            \
            LOAD(7, b, part, 1);                                                                                       \
            _tile_dpbf16ps(1, 4, 7);                                                                                   \
            if (rows == 2)                                                                                             \
                _tile_dpbf16ps(3, 5, 7);                                                                               \
        }                                                                                                              \
    } while (0)
enum { LINES = 12 }; /* of what comes next that are fetched a step */

/* Sums of `steps` steps of a panel of A times a panel of B; of a step the smaller products first. */
INLINE void multiply(const int rows, const int columns, const int b_parts, int64_t steps, const char *a, const char *b,
                     float *c, int64_t ldc, struct stream *next_b) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t s = 0; s < steps; s++, a += PARTS * 2 * TILE_BYTES, b += b_parts * 2 * TILE_BYTES) {
        if (b_parts == PARTS) {
            LOAD(4, a, 0, 0);
            if (rows == 2)
                LOAD(5, a, 0, 1);
            NEXT_B(2);
            NEXT_B(1);
            NEXT_A(1);
        } else {
            LOAD(4, a, 1, 0);
            if (rows == 2)
                LOAD(5, a, 1, 1);
        }
        NEXT_B(0);
        fetch(next_b, LINES);
        NEXT_A(2);
        NEXT_A(0);
    }
    _tile_stored(0, c, ldc * 4);
    if (columns == 2)
        _tile_stored(1, c + TILE, ldc * 4);
    if (rows == 2)
        _tile_stored(2, c + TILE * ldc, ldc * 4);
    if (rows == 2 && columns == 2)
        _tile_stored(3, c + TILE * ldc + TILE, ldc * 4);
}

static void add_to(float *c, int64_t ldc, const float *block, int64_t rows, int64_t columns, bool accumulate,
                   const float *bias) {
    for (int64_t r = 0; r < rows; r++, c += ldc, block += PANEL) {
        int64_t j = 0;
        for (; j + VW <= columns; j += VW) {
            vf sum = load(block + j);
            if (accumulate)
                sum += load(c + j);
            if (bias)
                sum += load(bias + j);
            store(c + j, sum);
        }
        for (; j < columns; j++) {
            float sum = block[j] + (accumulate ? c[j] : 0.0f);
            c[j] = bias ? sum + bias[j] : sum;
        }
    }
}

/* The packed panels of A and B that meet at element (i, n). */
INLINE void run_block(const struct gemm *g, const int b_parts, int64_t steps, const char *a, const char *b, int64_t i,
                      int64_t n, bool accumulate, const float *bias, struct stream *next_b) {
    const int64_t rows = least(PANEL, g->m - i), columns = least(PANEL, g->n - n);
    const bool direct = rows == PANEL && columns == PANEL && !accumulate && !bias;
    float block[PANEL * PANEL] __attribute__((aligned(64))), *c = g->c + i * g->ldc + n, *to = direct ? c : block;
    const int64_t ld = direct ? g->ldc : PANEL;

    if (rows > TILE && columns > TILE)
        multiply(2, 2, b_parts, steps, a, b, to, ld, next_b);
    else if (rows > TILE)
        multiply(2, 1, b_parts, steps, a, b, to, ld, next_b);
    else if (columns > TILE)
        multiply(1, 2, b_parts, steps, a, b, to, ld, next_b);
    else
        multiply(1, 1, b_parts, steps, a, b, to, ld, next_b);
    if (!direct)
        add_to(c, g->ldc, block, rows, columns, accumulate, bias ? bias + n : NULL);
}

INLINE void run(const struct gemm *g, const int b_parts, int64_t k0, int64_t k, char *panels) {
    const int64_t steps = (k + STEP - 1) / STEP, a_panel = steps * PARTS * 2 * TILE_BYTES,
                  b_panel = steps * b_parts * 2 * TILE_BYTES;
    const struct operand a = {g->a, g->lda, g->m, REIN_F32, g->a_t, g->a_t};
    const struct operand b = {g->b, g->ldb, g->n, g->b_dtype, !g->b_t, g->b_t};
    char *rows = panels + b_panel * (BLOCK_N / PANEL);

    for (int64_t n0 = 0; n0 < g->n; n0 += BLOCK_N) {
        const int64_t n1 = least(g->n, n0 + BLOCK_N);
        for (int64_t i0 = 0; i0 < g->m; i0 += BLOCK_M) {
            const int64_t i1 = least(g->m, i0 + BLOCK_M);
            pack(&a, PARTS, i0, i1, k0, k, rows);
            for (int64_t n = n0; n < n1; n += PANEL) {
                char *panel = panels + (n - n0) / PANEL * b_panel;
                struct stream next = {panel + b_panel, 0, b_panel, n + PANEL < n1, 0};
                if (i0 == 0) {
                    pack(&b, b_parts, n, least(n + PANEL, n1), k0, k, panel);
                    next = stream_of(&b, n + PANEL, least(n + 2 * PANEL, n1), k0, k);
                }
                compiler_barrier();
                for (int64_t i = i0; i < i1; i += PANEL)
                    run_block(g, b_parts, steps, rows + (i - i0) / PANEL * a_panel, panel, i, n,
                              g->accumulate || k0 > 0, k0 == 0 ? g->bias : NULL, &next);
            }
        }
    }
}

void gemm_amx(const struct gemm *g, void *scratch) {
    const int64_t steps = (g->k + STEP - 1) / STEP, blocks = (g->k + MOST_K - 1) / MOST_K;

    _Static_assert(BLOCK_N % PANEL == 0 && BLOCK_M % PANEL == 0 && MOST_K % STEP == 0, "whole panels");
    _Static_assert((BLOCK_M + BLOCK_N) * MOST_K * 2 * PARTS <= TILE_SCRATCH_BYTES, "scratch of gemm");
    if (!gemm_gains_from_tiles(g)) {
        if (!few_amx(g, scratch))
            gemm_v4(g, scratch);
        return;
    }
    configure_tiles();
    for (int64_t i = 0; i < blocks; i++) {
        int64_t k0 = steps * i / blocks * STEP, k = least(steps * (i + 1) / blocks * STEP, g->k) - k0;
        if (g->b_dtype == REIN_BF16)
            run(g, 1, k0, k, scratch);
        else
            run(g, PARTS, k0, k, scratch);
    }
    _tile_release();
}
