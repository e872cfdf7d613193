/* SPDX-License-Identifier: MIT
 * Attention forward: tiles of keys stream past a tile of queries with a running maximum and sum (flash attention; Dao,
 * 2023). The keys of few queries (decoding) are divided among blocks, whose partial results are then put together.
 */
#include "attention.h"

#include <cmath>

enum { SMALL_ROWS = 8, SPLIT_KEYS = 256, COMBINE_BLOCK = 128 };

/* A partial result: [rows][head_dim] of the sum of e^(s - most) v, then [rows] most, then [rows] sums of e^(s - most).
 */
static __host__ __device__ __forceinline__ int64_t partial_size(int64_t head_dim) {
    return SMALL_ROWS * (head_dim + 2);
}

static constexpr size_t shared_bytes(int d, int rows, int keys) {
    return (size_t)((rows + keys) * (d + 1) + rows * (keys + 1)) * sizeof(float);
}

/* D: head_dim rounded up; M rows of queries, N keys at a time */
template <int D, int M, int N>
static __global__ void __launch_bounds__(THREADS)
    attend(const struct rein_attention a, const struct tile *tiles, float *partials) {
    constexpr int ROWS = share_of(M, TY), KEYS = share_of(N, TX), COLS = D / TX;
    SHARED(float, shared);
    SHARED_PTR(float) q = shared;
    SHARED_PTR(float) kv = q + M * (D + 1);
    SHARED_PTR(float) p = kv + N * (D + 1);
    const struct tile t = tiles[blockIdx.x];
    const int ty = (int)threadIdx.x / TX, tx = (int)threadIdx.x % TX;
    const int64_t kv_head = t.h0 / (a.heads / a.kv_heads);
    float out[ROWS][COLS] = {}, most[ROWS], sum[ROWS];
    int64_t first[ROWS], end[ROWS];

    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const int r = ty + i * TY, query = t.q0 + r / t.heads;
        end[i] = query < t.q1 && r < M ? key_end(t.segment, query) : 0;
        first[i] = key_first(end[i], a.window);
        most[i] = -INFINITY;
        sum[i] = 0;
    }
    load_tile<M, D>(q, a.head_dim, [&](int r) -> const float * {
        const int query = t.q0 + r / t.heads;
        return query < t.q1 ? a.q + (t.segment.q_begin + (int64_t)query) * a.ldq + (t.h0 + r % t.heads) * a.head_dim
                            : NULL;
    });
    for (int64_t k0 = t.first; k0 < t.end; k0 += N) {
        __syncthreads();
        load_tile<N, D>(kv, a.head_dim, [&](int j) -> const float * {
            return k0 + j < t.end ? a.k + key_row(t.segment, k0 + j) * a.ldk + kv_head * a.head_dim : NULL;
        });
        __syncthreads();
        float s[ROWS][KEYS] = {};
        for (int c = 0; c < D; c++)
            UNROLL
        for (int i = 0; i < ROWS; i++)
            UNROLL
        for (int j = 0; j < KEYS; j++)
            if (tx + j * TX < N)
                s[i][j] = fmaf(q[(ty + i * TY) * (D + 1) + c], kv[(tx + j * TX) * (D + 1) + c], s[i][j]);
        UNROLL
        for (int i = 0; i < ROWS; i++) {
            float top = most[i], total = 0, factor;
            for (int j = 0; j < KEYS; j++) {
                const int64_t key = k0 + tx + j * TX;
                const bool seen = tx + j * TX < N && key >= first[i] && key < end[i] && key < t.end;
                s[i][j] = seen ? a.scale * s[i][j] : -INFINITY;
                top = fmaxf(top, s[i][j]);
            }
            top = row_max(top);
            factor = top == -INFINITY ? 1.0f : expf(most[i] - top);
            for (int j = 0; j < KEYS; j++) {
                const float e = s[i][j] == -INFINITY ? 0.0f : expf(s[i][j] - top);
                total += e;
                if (tx + j * TX < N)
                    p[(ty + i * TY) * (N + 1) + tx + j * TX] = e;
            }
            sum[i] = sum[i] * factor + row_sum(total);
            most[i] = top;
            for (int c = 0; c < COLS; c++)
                out[i][c] *= factor;
        }
        __syncthreads();
        load_tile<N, D>(kv, a.head_dim, [&](int j) -> const float * {
            return k0 + j < t.end ? a.v + key_row(t.segment, k0 + j) * a.ldv + kv_head * a.head_dim : NULL;
        });
        __syncthreads();
        for (int j = 0; j < N; j++)
            UNROLL
        for (int i = 0; i < ROWS; i++)
            UNROLL
        for (int c = 0; c < COLS; c++)
            out[i][c] = fmaf(p[(ty + i * TY) * (N + 1) + j], kv[j * (D + 1) + tx + c * TX], out[i][c]);
    }
    UNROLL
    for (int i = 0; i < ROWS; i++) {
        const int r = ty + i * TY, query = t.q0 + r / t.heads, head = t.h0 + r % t.heads;
        const int64_t row = t.segment.q_begin + (int64_t)query;
        float *to = t.slot < 0 ? a.out + row * a.ldout + head * a.head_dim
                               : partials + t.slot * partial_size(a.head_dim) + r * a.head_dim;
        if (r >= M || query >= t.q1)
            continue;
        UNROLL
        for (int c = 0; c < COLS; c++)
            if (tx + c * TX < a.head_dim)
                to[tx + c * TX] = t.slot < 0 ? out[i][c] / sum[i] : out[i][c];
        if (tx == 0 && t.slot < 0 && a.lse)
            a.lse[row * a.heads + head] = most[i] + logf(sum[i]);
        if (tx == 0 && t.slot >= 0) {
            float *ends = partials + t.slot * partial_size(a.head_dim) + SMALL_ROWS * a.head_dim;
            ends[r] = most[i];
            ends[SMALL_ROWS + r] = sum[i];
        }
    }
}

/* The partial results of slots slot .. slot + count - 1 belong to the rows of tile[first]. */
struct group {
    int32_t tile, slot, count;
};

static __global__ void combine(const struct rein_attention a, const struct tile *tiles, const struct group *groups,
                               const float *partials) {
    const struct group g = groups[blockIdx.x];
    const struct tile t = tiles[g.tile];
    const int64_t size = partial_size(a.head_dim), d = a.head_dim;
    const int64_t rows = (int64_t)(t.q1 - t.q0) * t.heads;
    const float *from = partials + g.slot * size;

    for (int64_t e = threadIdx.x; e < rows * d; e += blockDim.x) {
        const int64_t r = e / d, c = e % d, row = t.segment.q_begin + t.q0 + r / t.heads, head = t.h0 + r % t.heads;
        float top = -INFINITY, sum = 0, out = 0;
        for (int i = 0; i < g.count; i++)
            top = fmaxf(top, from[i * size + SMALL_ROWS * d + r]);
        for (int i = 0; i < g.count; i++) {
            const float factor = expf(from[i * size + SMALL_ROWS * d + r] - top);
            sum += factor * from[i * size + SMALL_ROWS * (d + 1) + r];
            out += factor * from[i * size + r * d + c];
        }
        a.out[row * a.ldout + head * d + c] = out / sum;
        if (c == 0 && a.lse)
            a.lse[row * a.heads + head] = top + logf(sum);
    }
}

/* The launches of a call. Whether a segment has few queries is a matter of the segment alone, so that a row's bits do
 * not depend on its batch mates. */
struct plan {
    int64_t tiles[2], groups, slots; /* tiles of few rows, and of many */
    int rows[2];
    struct tile *tile; /* those of few rows first; NULL: count only */
    struct group *group;
};

static void add_tile(struct plan *p, int kind, const struct tile *t) {
    if (p->tile)
        p->tile[p->tiles[kind]] = *t;
    p->tiles[kind]++;
}

/* A tile, or one for each of SPLIT_KEYS keys. */
static void add_keys(struct plan *p, int kind, struct tile t, int64_t first, int64_t end) {
    int32_t count = 0;
    const int32_t tile = (int32_t)p->tiles[kind], slot = (int32_t)p->slots;

    t.slot = -1;
    t.first = (int32_t)first;
    t.end = (int32_t)end;
    if (kind == 1 || first / SPLIT_KEYS == (end - 1) / SPLIT_KEYS) {
        add_tile(p, kind, &t);
        return;
    }
    for (int64_t k = first; k < end; k = (k / SPLIT_KEYS + 1) * SPLIT_KEYS, count++) {
        t.slot = slot + count;
        t.first = (int32_t)k;
        t.end = (int32_t)least(end, (k / SPLIT_KEYS + 1) * SPLIT_KEYS);
        add_tile(p, kind, &t);
    }
    if (p->group)
        p->group[p->groups] = group{tile, slot, count};
    p->groups++;
    p->slots += count;
}

static void make_plan(const struct rein_attention *a, struct plan *p, int64_t many_at) {
    const int64_t shared = a->heads / a->kv_heads;

    p->tiles[0] = p->groups = p->slots = 0;
    p->tiles[1] = many_at;
    for (uint32_t i = 0; i < a->nsegments; i++) {
        const struct rein_segment *s = &a->segments[i];
        const int kind = s->q_rows * shared > SMALL_ROWS;
        const int64_t heads = least(shared, p->rows[kind]), step = p->rows[kind] / heads;
        for (int64_t q = 0; q < s->q_rows; q += step)
            for (int64_t kv = 0; kv < a->kv_heads; kv++)
                for (int64_t h = 0; h < shared; h += heads) {
                    const int64_t q1 = least(q + step, s->q_rows);
                    struct tile t = {};
                    t.segment = *s;
                    t.q0 = (int32_t)q;
                    t.q1 = (int32_t)q1;
                    t.h0 = (int32_t)(kv * shared + h);
                    t.heads = (int32_t)least(heads, shared - h);
                    add_keys(p, kind, t, key_first(key_end(*s, q), a->window), key_end(*s, q1 - 1));
                }
    }
}

template <int D, int M, int N>
static rein_status run_tiles(struct device *d, const struct rein_attention *a, const struct tile *tiles, int64_t n,
                             float *partials) {
    const auto attend_tiles = attend<D, M, N>;

    static_assert(shared_bytes(D, M, N) <= MOST_SHARED, "smaller tiles");
    return n == 0 ? REIN_OK : RUN(d, attend_tiles, (unsigned)n, THREADS, shared_bytes(D, M, N), *a, tiles, partials);
}

/* Few rows, then many. */
template <int D, int FEW_KEYS, int M, int N>
static rein_status run_plan(struct device *d, const struct rein_attention *a) {
    struct plan p = {};
    float *partials;
    const void *at;
    rein_status rc;

    p.rows[0] = SMALL_ROWS;
    p.rows[1] = M;
    make_plan(a, &p, 0);
    const int64_t few = p.tiles[0], many = p.tiles[1], groups = p.groups;
    const size_t bytes = (size_t)(few + many) * sizeof(struct tile) + (size_t)groups * sizeof(struct group);
    rc = device_array(d, WORK_ATTENTION, p.slots * partial_size(a->head_dim), &partials);
    if (rc == REIN_OK)
        rc = staging_room(d, bytes);
    if (rc)
        return rc;
    p.tile = static_cast<struct tile *>(staging_take(d, bytes));
    p.group = reinterpret_cast<struct group *>(p.tile + few + many);
    make_plan(a, &p, few);
    rc = staging_send(d, p.tile, bytes, &at);
    const struct tile *tiles = static_cast<const struct tile *>(at);
    if (rc == REIN_OK)
        rc = run_tiles<D, SMALL_ROWS, FEW_KEYS>(d, a, tiles, few, partials);
    if (rc == REIN_OK && groups > 0)
        rc = RUN(d, combine, (unsigned)groups, COMBINE_BLOCK, 0, *a, tiles,
                 reinterpret_cast<const struct group *>(tiles + few + many), partials);
    return rc ? rc : run_tiles<D, M, N>(d, a, tiles + few, many, partials);
}

extern "C" rein_status cuda_attention(void *dev, const struct rein_attention *a) {
    struct device *d = device_enter(dev);
    rein_status rc;

    if (a->nsegments == 0 || a->heads == 0)
        return REIN_OK;
    rc = attention_shapes(a->heads, a->kv_heads, a->head_dim, a->segments, a->nsegments);
    if (rc)
        return rc;
    if (a->head_dim <= 64)
        return run_plan<64, 64, 64, 32>(d, a);
    if (a->head_dim <= 128)
        return run_plan<128, 32, 32, 32>(d, a);
    if (a->head_dim <= 256)
        return run_plan<256, 16, 16, 16>(d, a);
    return run_plan<512, 8, 8, 8>(d, a);
}
