/* SPDX-License-Identifier: MIT
 * Attention backward, without atomics: one kernel for dq by tiles of queries, one for dk and dv by tiles of keys, each
 * of which adds up all that see them in the order of the segments. With p = softmax and delta = dout . out: dv += p
 * dout; ds = p (dout . v - delta) scale; dq += ds k; dk += ds q.
 */
#include "attention.h"

#include <cmath>

/* Four tiles of B rows, and two of probabilities and their derivatives. */
static constexpr size_t shared_bytes(int d, int b) {
    return (size_t)(4 * b * (d + 1) + 2 * b * (b + 1)) * sizeof(float);
}

/* p and ds of a row and a key of the tiles in shared memory. */
template <int D, int B>
static __device__ __forceinline__ void probability(SHARED_PTR(float) q, SHARED_PTR(float) dout, SHARED_PTR(float) k,
                                                   SHARED_PTR(float) v, int r, int key, bool seen, float scale,
                                                   float lse, float delta, float *p, float *ds) {
    float s = 0, dp = 0;

    for (int c = 0; c < D; c++) {
        s = fmaf(q[r * (D + 1) + c], k[key * (D + 1) + c], s);
        dp = fmaf(dout[r * (D + 1) + c], v[key * (D + 1) + c], dp);
    }
    *p = seen ? expf(scale * s - lse) : 0.0f;
    *ds = seen ? *p * (dp - delta) * scale : 0.0f;
}

/* Also writes delta[query row][head] for the other kernel. */
template <int D, int B>
static __global__ void __launch_bounds__(THREADS)
    attend_dq(const struct rein_attention_dx a, const struct tile *tiles, float *deltas) {
    constexpr int ROWS = share_of(B, TY), KEYS = share_of(B, TX), COLS = D / TX;
    SHARED(float, shared);
    SHARED_PTR(float) q = shared;
    SHARED_PTR(float) dout = q + B * (D + 1);
    SHARED_PTR(float) k = dout + B * (D + 1);
    SHARED_PTR(float) v = k + B * (D + 1);
    SHARED_PTR(float) slope = v + B * (D + 1);
    const struct tile t = tiles[blockIdx.x];
    const int ty = (int)threadIdx.x / TX, tx = (int)threadIdx.x % TX;
    const int64_t kv_head = t.h0 / (a.heads / a.kv_heads);
    float dq[ROWS][COLS] = {}, lse[ROWS], delta[ROWS];
    int64_t first[ROWS], end[ROWS];
    const auto row_of = [&](int r, const float *x, int64_t ld) -> const float * {
        const int query = t.q0 + r / t.heads;
        return query < t.q1 ? x + (t.segment.q_begin + (int64_t)query) * ld + (t.h0 + r % t.heads) * a.head_dim : NULL;
    };

    load_tile<B, D>(q, a.head_dim, [&](int r) { return row_of(r, a.q, a.ldq); });
    load_tile<B, D>(dout, a.head_dim, [&](int r) { return row_of(r, a.dout, a.ldout); });
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const int r = ty + i * TY, query = t.q0 + r / t.heads, head = t.h0 + r % t.heads;
        const bool there = r < B && query < t.q1;
        const int64_t at = (t.segment.q_begin + (int64_t)query) * a.heads + head;
        float sum = 0;
        if (there) {
            const float *out = row_of(r, a.out, a.ldout), *d = row_of(r, a.dout, a.ldout);
            for (int c = tx; c < a.head_dim; c += TX)
                sum = fmaf(d[c], out[c], sum);
        }
        delta[i] = row_sum(sum);
        lse[i] = there ? a.lse[at] : 0.0f;
        end[i] = there ? key_end(t.segment, query) : 0;
        first[i] = key_first(end[i], a.window);
        if (there && tx == 0)
            deltas[at] = delta[i];
    }
    for (int64_t k0 = t.first; k0 < t.end; k0 += B) {
        __syncthreads();
        load_tile<B, D>(k, a.head_dim, [&](int j) -> const float * {
            return k0 + j < t.end ? a.k + key_row(t.segment, k0 + j) * a.ldk + kv_head * a.head_dim : NULL;
        });
        load_tile<B, D>(v, a.head_dim, [&](int j) -> const float * {
            return k0 + j < t.end ? a.v + key_row(t.segment, k0 + j) * a.ldv + kv_head * a.head_dim : NULL;
        });
        __syncthreads();
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < KEYS; j++) {
                const int r = ty + i * TY, key = tx + j * TX;
                if (r < B && key < B) {
                    float p, ds;
                    probability<D, B>(q, dout, k, v, r, key, k0 + key >= first[i] && k0 + key < end[i], a.scale, lse[i],
                                      delta[i], &p, &ds);
                    slope[r * (B + 1) + key] = ds;
                }
            }
        __syncthreads();
        for (int j = 0; j < B; j++)
            UNROLL
        for (int i = 0; i < ROWS; i++)
            UNROLL
        for (int c = 0; c < COLS; c++)
            if (ty + i * TY < B)
                dq[i][c] = fmaf(slope[(ty + i * TY) * (B + 1) + j], k[j * (D + 1) + tx + c * TX], dq[i][c]);
    }
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const int r = ty + i * TY, query = t.q0 + r / t.heads;
        float *to = a.dq + (t.segment.q_begin + (int64_t)query) * a.lddq + (t.h0 + r % t.heads) * a.head_dim;
        UNROLL
        for (int c = 0; c < COLS; c++)
            if (r < B && query < t.q1 && tx + c * TX < a.head_dim)
                to[tx + c * TX] += dq[i][c];
    }
}

/* Rows lo .. hi-1 of a tile of keys are keys of this segment: row x is key x + shift. */
struct use {
    struct rein_segment segment;
    int32_t shift, lo, hi;
};

/* Rows row .. row+B-1 of k and v, and the uses that name some of them. */
struct key_tile {
    int32_t row, first_use, end_use;
};

template <int D, int B>
static __global__ void __launch_bounds__(THREADS)
    attend_dkv(const struct rein_attention_dx a, const struct key_tile *tiles, const struct use *uses,
               const float *deltas) {
    constexpr int ROWS = share_of(B, TY), KEYS = share_of(B, TX), COLS = D / TX;
    SHARED(float, shared);
    SHARED_ARRAY(int32_t, named, B); /* whether a row belongs to anyone: others may lie beyond the array */
    SHARED_PTR(float) q = shared;
    SHARED_PTR(float) dout = q + B * (D + 1);
    SHARED_PTR(float) k = dout + B * (D + 1);
    SHARED_PTR(float) v = k + B * (D + 1);
    SHARED_PTR(float) prob = v + B * (D + 1);
    SHARED_PTR(float) slope = prob + B * (B + 1);
    const struct key_tile t = tiles[blockIdx.x];
    const int ty = (int)threadIdx.x / TX, tx = (int)threadIdx.x % TX;
    const int64_t group = a.heads / a.kv_heads, kv_head = blockIdx.y;
    float dk[ROWS][COLS] = {}, dv[ROWS][COLS] = {};

    if (threadIdx.x < B) {
        const int x = (int)threadIdx.x;
        int32_t any = 0;
        for (int u = t.first_use; u < t.end_use; u++)
            any |= x >= uses[u].lo && x < uses[u].hi;
        named[x] = any;
    }
    __syncthreads();
    load_tile<B, D>(k, a.head_dim, [&](int x) -> const float * {
        return named[x] ? a.k + ((int64_t)t.row + x) * a.ldk + kv_head * a.head_dim : NULL;
    });
    load_tile<B, D>(v, a.head_dim, [&](int x) -> const float * {
        return named[x] ? a.v + ((int64_t)t.row + x) * a.ldv + kv_head * a.head_dim : NULL;
    });
    for (int n = t.first_use; n < t.end_use; n++) {
        const struct use u = uses[n];
        const struct rein_segment s = u.segment;
        /* query i sees keys below key_end(i): from the first that sees row lo to the last whose window reaches row hi-1
         */
        const int64_t base = key_end(s, 0), low = u.lo + u.shift - base + 1,
                      high = u.hi - 1 + u.shift - base + a.window;
        const int64_t begin = (low > 0 ? low : 0) * group;
        const int64_t stop = (a.window > 0 && high + 1 < s.q_rows ? high + 1 : s.q_rows) * group;
        for (int64_t pair = begin; pair < stop; pair += B) {
            const auto row_of = [&](int r, const float *x, int64_t ld) -> const float * {
                const int64_t query = (pair + r) / group;
                return pair + r < stop
                           ? x + (s.q_begin + query) * ld + (kv_head * group + (pair + r) % group) * a.head_dim
                           : NULL;
            };
            __syncthreads();
            load_tile<B, D>(q, a.head_dim, [&](int r) { return row_of(r, a.q, a.ldq); });
            load_tile<B, D>(dout, a.head_dim, [&](int r) { return row_of(r, a.dout, a.ldout); });
            __syncthreads();
            for (int i = 0; i < ROWS; i++) {
                const int r = ty + i * TY;
                const int64_t query = (pair + r) / group;
                const int64_t at = (s.q_begin + query) * a.heads + kv_head * group + (pair + r) % group;
                const bool there = r < B && pair + r < stop;
                const int64_t end = key_end(s, query), first = key_first(end, a.window);
                const float lse = there ? a.lse[at] : 0.0f, delta = there ? deltas[at] : 0.0f;
                for (int j = 0; j < KEYS; j++) {
                    const int x = tx + j * TX;
                    const int64_t key = (int64_t)x + u.shift;
                    if (r < B && x < B) {
                        float p, ds;
                        probability<D, B>(q, dout, k, v, r, x,
                                          there && x >= u.lo && x < u.hi && key >= first && key < end, a.scale, lse,
                                          delta, &p, &ds);
                        prob[r * (B + 1) + x] = p;
                        slope[r * (B + 1) + x] = ds;
                    }
                }
            }
            __syncthreads();
            for (int r = 0; r < B; r++)
                UNROLL
            for (int i = 0; i < ROWS; i++)
                UNROLL
            for (int c = 0; c < COLS; c++)
                if (ty + i * TY < B) {
                    const int x = ty + i * TY;
                    dv[i][c] = fmaf(prob[r * (B + 1) + x], dout[r * (D + 1) + tx + c * TX], dv[i][c]);
                    dk[i][c] = fmaf(slope[r * (B + 1) + x], q[r * (D + 1) + tx + c * TX], dk[i][c]);
                }
        }
    }
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const int x = ty + i * TY;
        const int64_t row = (int64_t)t.row + x;
        UNROLL
        for (int c = 0; c < COLS; c++)
            if (x < B && named[x] && tx + c * TX < a.head_dim) {
                const int64_t at = kv_head * a.head_dim + tx + c * TX;
                a.dk[row * a.lddk + at] += dk[i][c];
                a.dv[row * a.lddv + at] += dv[i][c];
            }
    }
}

/* Tiles of b (query, head) pairs; counts only when `out` is NULL. */
static int64_t make_tiles(const struct rein_attention_dx *a, int64_t b, struct tile *out) {
    const int64_t shared = a->heads / a->kv_heads, heads = least(shared, b), step = b / heads;
    int64_t count = 0;

    for (uint32_t i = 0; i < a->nsegments; i++) {
        const struct rein_segment *s = &a->segments[i];
        for (int64_t q = 0; q < s->q_rows; q += step)
            for (int64_t kv = 0; kv < a->kv_heads; kv++)
                for (int64_t h = 0; h < shared; h += heads, count++)
                    if (out) {
                        struct tile *t = &out[count];
                        t->segment = *s;
                        t->q0 = (int32_t)q;
                        t->q1 = (int32_t)least(q + step, s->q_rows);
                        t->h0 = (int32_t)(kv * shared + h);
                        t->heads = (int32_t)least(heads, shared - h);
                        t->first = (int32_t)key_first(key_end(*s, q), a->window);
                        t->end = (int32_t)key_end(*s, t->q1 - 1);
                        t->slot = -1;
                    }
    }
    return count;
}

/* Calls visit(tile of b rows, use) for every tile of keys of every segment: those of its prefix, then its own. */
template <class F> static void visit_uses(const struct rein_attention_dx *a, int64_t b, F visit) {
    for (uint32_t i = 0; i < a->nsegments; i++) {
        const struct rein_segment *s = &a->segments[i];
        for (int own = 0; own < 2 && s->q_rows > 0; own++) {
            const int64_t begin = own ? s->kv_begin : s->prefix_begin, rows = own ? s->kv_rows : s->prefix_rows;
            for (int64_t tile = begin / b; tile * b < begin + rows; tile++) {
                struct use u = {};
                u.segment = *s;
                u.shift = (int32_t)(tile * b - begin + (own ? s->prefix_rows : 0));
                u.lo = (int32_t)most(begin - tile * b, 0);
                u.hi = (int32_t)least(begin + rows - tile * b, b);
                visit(tile, u);
            }
        }
    }
}

static int64_t all_rows(const struct rein_attention_dx *a, bool of_queries) {
    int64_t rows = 0;

    for (uint32_t i = 0; i < a->nsegments; i++) {
        const struct rein_segment *s = &a->segments[i];
        if (of_queries)
            rows = most(rows, (int64_t)s->q_begin + s->q_rows);
        else
            rows = most(rows, most((int64_t)s->kv_begin + s->kv_rows, (int64_t)s->prefix_begin + s->prefix_rows));
    }
    return rows;
}

/* Tiles that somebody uses, and the uses in the order of tiles, then segments. `count` holds how many uses each tile
 * has, and then where its next one goes. */
static int64_t make_key_tiles(const struct rein_attention_dx *a, int64_t b, int32_t *count, int64_t ntiles,
                              struct key_tile *tiles, struct use *uses) {
    int32_t total = 0;
    int64_t used = 0;

    for (int64_t i = 0; i < ntiles; i++) {
        const int32_t here = count[i];
        if (here > 0)
            tiles[used++] = key_tile{(int32_t)(i * b), total, total + here};
        count[i] = total;
        total += here;
    }
    visit_uses(a, b, [&](int64_t tile, const struct use &u) { uses[count[tile]++] = u; });
    return used;
}

template <int D, int B> static rein_status run(struct device *d, const struct rein_attention_dx *a) {
    const auto attend_dq_tiles = attend_dq<D, B>;
    const auto attend_dkv_tiles = attend_dkv<D, B>;
    static_assert(shared_bytes(D, B) + B * sizeof(int32_t) <= MOST_SHARED, "smaller tiles"); /* with `named` */
    const int64_t ntiles = make_tiles(a, B, NULL), keys = all_rows(a, false) / B + 1;
    int32_t *count = device_counters(d, keys);
    int64_t nuses = 0, key_tiles = 0;
    const void *at;
    float *deltas;
    rein_status rc = count ? device_array(d, WORK_ATTENTION, all_rows(a, true) * a->heads, &deltas) : REIN_ERR_NOMEM;

    if (rc)
        return rc;
    visit_uses(a, B, [&](int64_t tile, const struct use &) {
        key_tiles += count[tile]++ == 0;
        nuses++;
    });
    if (ntiles == 0)
        return REIN_OK;
    const size_t bytes = (size_t)ntiles * sizeof(struct tile) + (size_t)nuses * sizeof(struct use) +
                         (size_t)key_tiles * sizeof(struct key_tile);
    rc = staging_room(d, bytes);
    if (rc)
        return rc;
    struct tile *tiles = static_cast<struct tile *>(staging_take(d, bytes));
    struct use *uses = reinterpret_cast<struct use *>(tiles + ntiles);
    make_tiles(a, B, tiles);
    make_key_tiles(a, B, count, keys, reinterpret_cast<struct key_tile *>(uses + nuses), uses);
    rc = staging_send(d, tiles, bytes, &at);
    const struct tile *device_tiles = static_cast<const struct tile *>(at);
    const struct use *device_uses = reinterpret_cast<const struct use *>(device_tiles + ntiles);
    if (rc == REIN_OK)
        rc = RUN(d, attend_dq_tiles, (unsigned)ntiles, THREADS, shared_bytes(D, B), *a, device_tiles, deltas);
    if (rc)
        return rc;
    return RUN(d, attend_dkv_tiles, dim3((unsigned)key_tiles, (unsigned)a->kv_heads), THREADS, shared_bytes(D, B), *a,
               reinterpret_cast<const struct key_tile *>(device_uses + nuses), device_uses, deltas);
}

extern "C" rein_status cuda_attention_dx(void *dev, const struct rein_attention_dx *a) {
    struct device *d = device_enter(dev);
    rein_status rc;

    if (a->nsegments == 0 || a->heads == 0)
        return REIN_OK;
    rc = attention_shapes(a->heads, a->kv_heads, a->head_dim, a->segments, a->nsegments);
    if (rc)
        return rc;
    if (a->kv_heads > MOST_GRID_YZ)
        return REIN_ERR_UNSUPPORTED;
    if (a->head_dim <= 64)
        return run<64, 32>(d, a);
    if (a->head_dim <= 128)
        return run<128, 16>(d, a);
    if (a->head_dim <= 256)
        return run<256, 8>(d, a);
    return run<512, 4>(d, a);
}
