/* SPDX-License-Identifier: MIT
 *
 * Few rows of float32 against a large matrix of bfloat16 as it lies (B transposed). Tiles are read from memory, a row
 * of each stream a row of the tile; nothing of B is packed or expanded. A is packed as three bfloat16 parts (amx.c),
 * each of which has sums of its own, that are added up at the end: all of float32's bits, within the range that tiles
 * have (amx.c).
 */
#include "isa/amx.h"
#include "isa/few.h"

/* Fewer rows gain nothing: `dot` reads as fast. The most vectors of rows of A: each takes three tiles of sums. Bytes of
 * a stream between use and fetching; floats of scratch beside A; and the most of k. */
enum {
    FEWEST = 5,
    MOST_VECTORS = 2,
    AHEAD = 8 * 64,
    STRIP = TILE * TILE * MOST_VECTORS * TILE,
    SUMS = PARTS * TILE * TILE,
    MOST_K = (TILE_SCRATCH_BYTES / 4 - STRIP - SUMS - TILE_BYTES / 4) / (MOST_VECTORS * PARTS * TILE / 2) - STEP
};

typedef uint16_t vb __attribute__((vector_size(64)));

/* The upper halves of the lanes of two vectors, in order. */
INLINE vf upper_halves(vf first, vf second) {
    const vb odd = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                    33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};

    return (vf)__builtin_shuffle((vb)first, (vb)second, odd);
}

/* STEP values of k of TILE rows, from a on: a tile a part, with a pair of values of all rows in each of its rows. */
INLINE void pack_step(const struct gemm *g, int64_t i, int64_t k, char *to, int64_t apart) {
    vf part[PARTS][TILE];

    for (int r = 0; r < TILE; r++) {
        vf first = {0}, second = {0};
        const float *a = g->a + (i + r) * g->lda + k;
        if (i + r < g->m && k + STEP <= g->k) {
            first = load(a);
            second = load(a + TILE);
        } else if (i + r < g->m) {
            first = load_part(a, g->k - k < TILE ? g->k - k : TILE);
            second = load_part(a + TILE, g->k - k - TILE);
        }
        for (int p = 0; p < PARTS; p++) {
            const bool last = p + 1 == PARTS;
            vf x = last ? first : take_part(&first, false), y = last ? second : take_part(&second, false);
            part[p][r] = upper_halves(x, y);
        }
    }
    for (int p = 0; p < PARTS; p++, to += apart) {
        transpose_v(part[p]);
        for (int r = 0; r < TILE; r++)
            store((float *)to + r * TILE, part[p][r]);
    }
}

/* [k / STEP][part][vectors] tiles */
INLINE void pack(const int vectors, const struct gemm *g, char *to) {
    for (int64_t k = 0; k < g->k; k += STEP, to += PARTS * vectors * TILE_BYTES)
        for (int v = 0; v < vectors; v++)
            pack_step(g, v * TILE, k, to + v * TILE_BYTES, vectors * TILE_BYTES);
}

/* The corner of B that fills no tile, with zeros around it. */
static void copy_corner(const uint16_t *b, int64_t apart, int outputs, int64_t k, uint16_t *corner) {
    memset(corner, 0, TILE_BYTES);
    for (int j = 0; j < outputs; j++)
        memcpy(corner + j * STEP, b + j * apart, (size_t)k * 2);
}

/* Tiles 0 to 2 are the sums of each part, 3 to 5 those of the second vector of rows; 6 is of B, 7 of A. */
#define PART(p, second)                                                                                                \
    do {                                                                                                               \
        _tile_loadd(7, a + (p)*vectors * TILE_BYTES, 64);                                                              \
        _tile_dpbf16ps(p, 6, 7);                                                                                       \
        if (vectors == 2) {                                                                                            \
            _tile_loadd(7, a + ((p)*vectors + 1) * TILE_BYTES, 64);                                                    \
            _tile_dpbf16ps(second, 6, 7);                                                                              \
        }                                                                                                              \
    } while (0)

/* out[j][TILE] = the three tiles of sums, [part][TILE][TILE], added up */
INLINE void add_parts(const int outputs, const float *sums, float *out, int64_t ld) {
    for (int j = 0; j < outputs; j++)
        store(out + j * ld,
              load(sums + (2 * TILE + j) * TILE) + load(sums + (TILE + j) * TILE) + load(sums + j * TILE));
}

INLINE void store_sums(const int vector, float *sums) {
    if (vector == 0) {
        _tile_stored(0, sums, 64);
        _tile_stored(1, sums + TILE * TILE, 64);
        _tile_stored(2, sums + 2 * TILE * TILE, 64);
    } else {
        _tile_stored(3, sums, 64);
        _tile_stored(4, sums + TILE * TILE, 64);
        _tile_stored(5, sums + 2 * TILE * TILE, 64);
    }
    compiler_barrier();
}

INLINE void compute(const int vectors, const int outputs, const struct few *f, const struct streams *s, int64_t r,
                    float *strip) {
    const struct gemm *g = f->g;
    const int64_t apart = s->rows * g->ldb;
    const uint16_t *b = (const uint16_t *)g->b + (s->n0 + r) * g->ldb;
    const char *a = (const char *)f->panel;
    float *sums = f->spare;
    uint16_t *corner = (uint16_t *)(f->spare + SUMS);

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    for (int64_t k = 0; k < g->k; k += STEP, a += PARTS * vectors * TILE_BYTES) {
        if (outputs == TILE && k + STEP <= g->k) {
            _tile_loadd(6, b + k, apart * 2);
            for (int j = 0; j < TILE; j++)
                __builtin_prefetch((const char *)(b + k + j * apart) + AHEAD, 0, 3);
        } else {
            compiler_barrier(); /* the tile before has been read */
            copy_corner(b + k, apart, outputs, g->k - k < STEP ? g->k - k : STEP, corner);
            compiler_barrier();
            _tile_loadd(6, corner, 64);
        }
        PART(2, 5);
        PART(1, 4);
        PART(0, 3);
    }
    for (int v = 0; v < vectors; v++) {
        store_sums(v, sums);
        add_parts(outputs, sums, strip + v * TILE, (int64_t)VW * vectors * VW);
    }
}

INLINE void few_vectors(const int vectors, const struct few *f) {
    struct streams s = {0, 0};

    pack(vectors, f->g, (char *)f->panel);
    compiler_barrier();
    few_rows(compute, vectors, TILE, f, &s);
    s.rows = 1;
    if (s.n0 < f->g->n)
        few_streams(compute, vectors, (int)(f->g->n - s.n0), f, &s);
}

bool few_amx(const struct gemm *g, void *scratch) {
    struct few f = {.g = g, .strip = scratch};

    _Static_assert((int)TILE == (int)VW, "a row of a tile is a vector");
    if (!g->b_t || g->b_dtype != REIN_BF16 || g->m < FEWEST || g->m > MOST_VECTORS * TILE || g->k > MOST_K)
        return false;
    f.spare = f.strip + STRIP;
    f.panel = f.spare + SUMS + TILE_BYTES / 4;
    configure_tiles();
    if (g->m <= TILE)
        few_vectors(1, &f);
    else
        few_vectors(2, &f);
    _tile_release();
    return true;
}
