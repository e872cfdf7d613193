/* SPDX-License-Identifier: MIT
 *
 * Attention by tiles (Dao et al., FlashAttention, 2022): TILE_ROWS rows, one a (query, head) pair of the heads that
 * share a kv head, meet TILE_KEYS keys at a time; no T x T matrix exists. Arrays of a tile are padded to
 * whole column blocks of NR.
 */
#include "isa/tile.h"

#include "isa/level.h"

/* Scratch of one call, in floats: `wide` is head_dim rounded up to NR. */
struct tiles {
    int64_t wide;
    float *q, *o, *dq;                       /* [TILE_ROWS][wide]; o holds dout in backward */
    float *s, *p;                            /* [TILE_ROWS][TILE_KEYS] */
    float *k_t, *v_t;                        /* [head_dim][TILE_KEYS] */
    float *k, *v;                            /* [TILE_KEYS][wide] */
    float *dk, *dv;                          /* [TILE_KEYS][wide] */
    float *most, *sum;                       /* [TILE_ROWS] */
    void *rest;                              /* of the scratch */
};

/* That few rows of a tile, as where one token is decoded, meet keys as they lie. */
enum { FEW_ROWS = 8 };

/* A block of keys: positions p .. p + n, rows `row` onwards. */
struct key_block {
    int64_t p, n, row;
};

static void lay_out(struct tiles *t, int64_t d, float *scratch) {
    int64_t wide = (d + NR - 1) / NR * NR;
    float **arrays[] = {&t->q, &t->o, &t->dq, &t->k_t, &t->v_t, &t->k, &t->v, &t->dk, &t->dv};

    /* half of it: the rest is for dot */
    _Static_assert((9 * (int64_t)MOST_HEAD_DIM + 2 * TILE_KEYS + 2) * TILE_ROWS * 8 <= SCRATCH_BYTES, "scratch");
    _Static_assert(TILE_ROWS == TILE_KEYS && TILE_KEYS % NR == 0 && MOST_HEAD_DIM % NR == 0, "tile shapes");
    t->wide = wide;
    for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); i++, scratch += TILE_ROWS * wide)
        *arrays[i] = scratch;
    t->s = scratch;
    t->p = t->s + TILE_ROWS * TILE_KEYS;
    t->most = t->p + TILE_ROWS * TILE_KEYS;
    t->sum = t->most + TILE_ROWS;
    t->rest = t->sum + TILE_ROWS;
}

/* C (+)= A B with A as it lies, or transposed. */
static void product(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb, float *c,
                    int64_t ldc, bool accumulate) {
    tile_gemm(m, n, k, a, lda, 1, b, ldb, c, ldc, accumulate);
}
static void product_t(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb,
                      float *c, int64_t ldc, bool accumulate) {
    tile_gemm(m, n, k, a, 1, lda, b, ldb, c, ldc, accumulate);
}

static void pack_transposed(const float *x, int64_t ldx, int64_t rows, int64_t d, float *out) {
    transpose_pack(x, REIN_F32, ldx, rows, d, out, TILE_KEYS);
    for (int64_t c = (rows + VW - 1) / VW * VW; c < TILE_KEYS; c += VW)
        for (int64_t j = 0; j < d; j++)
            store(out + j * TILE_KEYS + c, (vf){0});
}
static void pack_rows(const float *x, int64_t ldx, int64_t rows, int64_t d, const struct tiles *t, float *out) {
    copy_pack(x, REIN_F32, ldx, rows, d, t->wide, out, t->wide);
}

/* Query i of a segment stands at the end of keys 0 .. query_end, of which the window lets the last ones through. */
static int64_t query_end(const struct rein_segment *s, int64_t i) {
    return (int64_t)s->prefix_rows + s->kv_rows - s->q_rows + i + 1;
}
static int64_t query_first(const struct rein_segment *s, int64_t window, int64_t i) {
    int64_t end = query_end(s, i);
    return window > 0 && end > window ? end - window : 0;
}

/* The block of keys that begins at position p; it crosses neither `end` nor from the prefix to the rest. */
static struct key_block next_block(const struct rein_segment *s, int64_t p, int64_t end) {
    int64_t stop = p + TILE_KEYS < end ? p + TILE_KEYS : end;

    if (p < s->prefix_rows)
        return (struct key_block){p, (stop < s->prefix_rows ? stop : s->prefix_rows) - p, s->prefix_begin + p};
    return (struct key_block){p, stop - p, s->kv_begin + p - s->prefix_rows};
}

/* Which keys of the block query i sees: *lo .. *hi, empty when *hi <= *lo. */
static void visible(const struct rein_segment *s, int64_t window, int64_t i, const struct key_block *b, int64_t *lo,
                    int64_t *hi) {
    int64_t first = query_first(s, window, i) - b->p, end = query_end(s, i) - b->p;

    *lo = first > 0 ? first : 0;
    *hi = end < b->n ? end : b->n;
}

/* The query that row r of a tile is of, and its segment. */
static int64_t query_of(const struct attention_part *part, int64_t r, const struct rein_segment **segment) {
    int64_t i = r / (part->h1 - part->h0);

    *segment = part->segment + (part->segments > 1 ? i : 0);
    return part->segments > 1 ? part->q0 : part->q0 + i;
}

/* Copies the tile's rows of q (or dout) into `out`, times `scale`. */
static void gather_rows(const struct attention_part *part, int64_t rows, const float *x, int64_t ldx, int64_t d,
                        float scale, int64_t wide, float *out) {
    int64_t heads = part->h1 - part->h0;

    for (int64_t r = 0; r < rows; r++, out += wide) {
        const struct rein_segment *s;
        int64_t i = query_of(part, r, &s), c = 0;
        const float *row = x + (s->q_begin + i) * ldx + (part->h0 + r % heads) * d;
        for (; c + VW <= d; c += VW)
            store(out + c, load(row + c) * scale);
        for (; c < d; c++)
            out[c] = row[c] * scale;
        for (; c < wide; c++)
            out[c] = 0;
    }
}

/* One row of scores becomes exp(score - most); the row's running maximum, sum and output are brought up to date. */
static void soften_row(const struct tiles *t, int64_t r, int64_t lo, int64_t hi) {
    float *s = t->s + r * TILE_KEYS, *o = t->o + r * t->wide, most = t->most[r], shrink;
    vf top = splat(-INFINITY), sum = {0};

    for (int64_t j = 0; j < lo; j++)
        s[j] = -INFINITY;
    for (int64_t j = hi; j < TILE_KEYS; j++)
        s[j] = -INFINITY;
    for (int64_t j = 0; j < TILE_KEYS; j += VW)
        top = max_v(load(s + j), top);
    shrink = most_v(top);
    most = shrink > most ? shrink : most;
    for (int64_t j = 0; j < TILE_KEYS; j += VW) {
        vf e = exp_v(load(s + j) - most);
        store(s + j, e);
        sum += e;
    }
    if (most != t->most[r]) {
        shrink = t->most[r] == -INFINITY ? 0.0f : expf(t->most[r] - most);
        t->sum[r] *= shrink;
        for (int64_t c = 0; c < t->wide; c += VW)
            store(o + c, load(o + c) * shrink);
        t->most[r] = most;
    }
    t->sum[r] += sum_v(sum);
}

/* Scores of rows r0 .. r0 + rows and a block of keys, of which few rows are worth no transposed copy. */
static void score_block(const struct rein_attention *a, const struct tiles *t, const struct key_block *b, int64_t r0,
                        int64_t rows, const float *k) {
    float *q = t->q + r0 * t->wide, *s = t->s + r0 * TILE_KEYS;
    const struct gemm g = {.m = rows,
                           .n = b->n,
                           .k = a->head_dim,
                           .lda = t->wide,
                           .ldb = a->ldk,
                           .ldc = TILE_KEYS,
                           .a = q,
                           .b = k,
                           .b_dtype = REIN_F32,
                           .b_t = true,
                           .c = s};

    if (rows <= FEW_ROWS && LEVEL(dot)(&g, t->rest))
        return;
    pack_transposed(k, a->ldk, b->n, a->head_dim, t->k_t);
    product(rows, TILE_KEYS, a->head_dim, q, t->wide, t->k_t, TILE_KEYS, s, TILE_KEYS, false);
}

/* Rows r0 .. r0 + rows of the tile against a block of keys. */
static void attend_block(const struct rein_attention *a, const struct attention_part *part, const struct tiles *t,
                         const struct key_block *b, int64_t r0, int64_t rows) {
    int64_t d = a->head_dim, kv = part->h0 / (a->heads / a->kv_heads), ldv = a->ldv;
    const float *v = a->v + b->row * ldv + kv * d;

    score_block(a, t, b, r0, rows, a->k + b->row * a->ldk + kv * d);
    for (int64_t r = r0; r < r0 + rows; r++) {
        const struct rein_segment *segment;
        int64_t i = query_of(part, r, &segment), lo, hi;
        visible(segment, a->window, i, b, &lo, &hi);
        if (lo < hi)
            soften_row(t, r, lo, hi);
        else
            memset(t->s + r * TILE_KEYS, 0, TILE_KEYS * sizeof(float));
    }
    if (t->wide != d) { /* else the values are read as they lie */
        pack_rows(v, ldv, b->n, d, t, t->v);
        v = t->v;
        ldv = t->wide;
    }
    product(rows, t->wide, b->n, t->s + r0 * TILE_KEYS, TILE_KEYS, v, ldv, t->o + r0 * t->wide, t->wide, true);
}

/* Rows r0 .. r0 + rows against the keys at positions p .. end of segment s. */
static void attend_keys(const struct rein_attention *a, const struct attention_part *part, const struct tiles *t,
                        const struct rein_segment *s, int64_t p, int64_t end, int64_t r0, int64_t rows) {
    struct key_block b;

    for (; p < end; p += b.n) {
        b = next_block(s, p, end);
        attend_block(a, part, t, &b, r0, rows);
    }
}

void LEVEL(attention)(const struct rein_attention *a, const struct attention_part *part, void *scratch) {
    const struct rein_segment *s = part->segment;
    int64_t heads = part->h1 - part->h0, rows = part->segments * (part->q1 - part->q0) * heads, d = a->head_dim;
    struct tiles t;

    lay_out(&t, d, scratch);
    gather_rows(part, rows, a->q, a->ldq, d, a->scale, t.wide, t.q);
    memset(t.o, 0, (size_t)(rows * t.wide) * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
        t.most[r] = -INFINITY;
        t.sum[r] = 0;
    }
    if (part->segments > 1) {
        attend_keys(a, part, &t, s, 0, s->prefix_rows, 0, rows);
        for (int64_t i = 0; i < part->segments; i++)
            attend_keys(a, part, &t, &s[i], s->prefix_rows, query_end(&s[i], 0), i * heads, heads);
    } else {
        attend_keys(a, part, &t, s, query_first(s, a->window, part->q0), query_end(s, part->q1 - 1), 0, rows);
    }
    for (int64_t r = 0; r < rows; r++) {
        int64_t q = query_of(part, r, &s), h = part->h0 + r % heads;
        q += s->q_begin;
        for (int64_t c = 0; c < d; c++)
            a->out[q * a->ldout + h * d + c] = t.o[r * t.wide + c] / t.sum[r];
        if (a->lse)
            a->lse[q * a->heads + h] = t.most[r] + logf(t.sum[r]);
    }
}

/* s: scores to ds = scale p (dp - D), in p's place of dp; p: probabilities */
static void soften_dx(const struct rein_attention_dx *a, const struct attention_part *part, const struct tiles *t,
                      const struct key_block *b, int64_t rows) {
    int64_t heads = part->h1 - part->h0;

    for (int64_t r = 0; r < rows; r++) {
        float *p = t->s + r * TILE_KEYS, *ds = t->p + r * TILE_KEYS;
        int64_t i = part->q0 + r / heads, h = part->h0 + r % heads, lo, hi;
        float lse = a->lse[(part->segment->q_begin + i) * a->heads + h];
        visible(part->segment, a->window, i, b, &lo, &hi);
        for (int64_t j = 0; j < TILE_KEYS; j += VW) {
            vf e = exp_v(load(p + j) * a->scale - lse);
            store(p + j, e);
            store(ds + j, e * (load(ds + j) - t->sum[r]) * a->scale);
        }
        for (int64_t j = 0; j < TILE_KEYS; j++)
            if (j < lo || j >= hi)
                p[j] = ds[j] = 0;
    }
}

/* One tile of queries against the block of keys in t. */
static void attend_tile_dx(const struct rein_attention_dx *a, const struct attention_part *part, const struct tiles *t,
                           const struct key_block *b) {
    int64_t d = a->head_dim, wide = t->wide, heads = part->h1 - part->h0, rows = (part->q1 - part->q0) * heads;
    int64_t r = 0;

    gather_rows(part, rows, a->q, a->ldq, d, 1.0f, wide, t->q);
    gather_rows(part, rows, a->dout, a->ldout, d, 1.0f, wide, t->o);
    for (int64_t i = part->q0; i < part->q1; i++)
        for (int64_t h = part->h0; h < part->h1; h++, r++) {
            const float *out = a->out + (part->segment->q_begin + i) * a->ldout + h * d, *dout = t->o + r * wide;
            vf sum = {0};
            int64_t c = 0;
            for (; c + VW <= d; c += VW)
                sum += load(out + c) * load(dout + c);
            sum += load_part(out + c, d - c) * load_part(dout + c, d - c);
            t->sum[r] = sum_v(sum);
        }
    product(rows, TILE_KEYS, d, t->q, wide, t->k_t, TILE_KEYS, t->s, TILE_KEYS, false);
    product(rows, TILE_KEYS, d, t->o, wide, t->v_t, TILE_KEYS, t->p, TILE_KEYS, false);
    soften_dx(a, part, t, b, rows);
    product_t(b->n, wide, rows, t->s, TILE_KEYS, t->o, wide, t->dv, wide, true);
    product_t(b->n, wide, rows, t->p, TILE_KEYS, t->q, wide, t->dk, wide, true);
    product(rows, wide, b->n, t->p, TILE_KEYS, t->k, wide, t->dq, wide, false);
    r = 0;
    for (int64_t i = part->q0; i < part->q1; i++)
        for (int64_t h = part->h0; h < part->h1; h++, r++) {
            float *dq = a->dq + (part->segment->q_begin + i) * a->lddq + h * d;
            for (int64_t c = 0; c < d; c++)
                dq[c] += t->dq[r * wide + c];
        }
}

void LEVEL(attention_dx)(const struct rein_attention_dx *a, const struct attention_part *whole, void *scratch) {
    const struct rein_segment *s = whole->segment;
    int64_t d = a->head_dim, kv = whole->h0 / (a->heads / a->kv_heads), heads = whole->h1 - whole->h0;
    int64_t step = TILE_ROWS / heads, keys = (int64_t)s->prefix_rows + s->kv_rows, past = keys - s->q_rows;
    struct key_block b;
    struct tiles t;

    lay_out(&t, d, scratch);
    for (int64_t p = query_first(s, a->window, 0); p < keys; p += b.n) {
        struct attention_part part = *whole;
        b = next_block(s, p, keys);
        pack_transposed(a->k + b.row * a->ldk + kv * d, a->ldk, b.n, d, t.k_t);
        pack_transposed(a->v + b.row * a->ldv + kv * d, a->ldv, b.n, d, t.v_t);
        pack_rows(a->k + b.row * a->ldk + kv * d, a->ldk, b.n, d, &t, t.k);
        memset(t.dk, 0, (size_t)(b.n * t.wide) * sizeof(float));
        memset(t.dv, 0, (size_t)(b.n * t.wide) * sizeof(float));
        /* the first query that sees the block's first key, to the last that sees its last */
        part.q0 = p > past ? p - past : 0;
        for (; part.q0 < s->q_rows && query_first(s, a->window, part.q0) < p + b.n; part.q0 = part.q1) {
            part.q1 = part.q0 + step < s->q_rows ? part.q0 + step : s->q_rows;
            attend_tile_dx(a, &part, &t, &b);
        }
        for (int64_t j = 0; j < b.n; j++)
            for (int64_t c = 0; c < d; c++) {
                a->dk[(b.row + j) * a->lddk + kv * d + c] += t.dk[j * t.wide + c];
                a->dv[(b.row + j) * a->lddv + kv * d + c] += t.dv[j * t.wide + c];
            }
    }
}
