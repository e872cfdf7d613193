/* SPDX-License-Identifier: MIT
 * Drawing a token a row, a block for each row. What stays after top_k and top_p is told by a threshold on the logit
 * and, among those that equal it, by an index; both are found by halving, with sums in a fixed order: no sorting, no
 * atomics.
 */
#include "head.h"
#include "reduce.h"

#include <cmath>

enum { WARPS = MOST_ROW_BLOCK / WARP };

struct row {
    const float *z; /* logits at the temperature */
    const uint8_t *banned;
    int64_t n;
    float top;    /* of those that are not banned */
    uint32_t key; /* tokens of a larger key stay, and those of an equal key up to index `last` */
    int64_t last;
};

/* Order-preserving bits of a logit; both zeros are one. */
static __device__ __forceinline__ uint32_t key_of(float z) {
    const uint32_t u = __float_as_uint(z + 0.0f);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}
static __device__ __forceinline__ float of_key(uint32_t key) {
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

static __device__ __forceinline__ bool stays(const struct row &r, int64_t j) {
    const uint32_t key = key_of(r.z[j]);
    return !(r.banned && r.banned[j]) && (key > r.key || (key == r.key && j <= r.last));
}

/* What a token weighs: its probability but for a factor, or 1. */
static __device__ __forceinline__ double weight_of(const struct row &r, int64_t j, bool counting) {
    return counting ? 1.0 : (double)expf(r.z[j] - r.top);
}

/* The weights of tokens with keys of at least a, b and c, of those that stay. */
struct three {
    double a, b, c;
};
/* part: [3][WARPS] */
static __device__ struct three weights_from(const struct row &r, uint32_t a, uint32_t b, uint32_t c, bool counting,
                                            SHARED_PTR(double) part) {
    const int warps = (int)blockDim.x / WARP, warp = (int)threadIdx.x / WARP;
    struct three sum = {0, 0, 0};

    for (int64_t j = threadIdx.x; j < r.n; j += blockDim.x)
        if (stays(r, j)) {
            const uint32_t key = key_of(r.z[j]);
            const double w = weight_of(r, j, counting);
            sum.a += key >= a ? w : 0.0;
            sum.b += key >= b ? w : 0.0;
            sum.c += key >= c ? w : 0.0;
        }
    sum = {warp_sum(sum.a), warp_sum(sum.b), warp_sum(sum.c)};
    __syncthreads(); /* part may still be read */
    if (threadIdx.x % WARP == 0) {
        part[warp] = sum.a;
        part[WARPS + warp] = sum.b;
        part[2 * WARPS + warp] = sum.c;
    }
    __syncthreads();
    sum = {0, 0, 0};
    for (int w = 0; w < warps; w++) {
        sum.a += part[w];
        sum.b += part[WARPS + w];
        sum.c += part[2 * WARPS + w];
    }
    return sum;
}

/* Which tokens a running sum goes over, and what they weigh. */
enum kind { LIKELY, EQUAL };

static __device__ __forceinline__ double running(const struct row &r, int64_t j, enum kind kind, uint32_t key) {
    if (!stays(r, j))
        return 0.0;
    return kind == EQUAL ? (key_of(r.z[j]) == key ? 1.0 : 0.0) : weight_of(r, j, false);
}

/* The first index, among those that weigh something, at which the running sum exceeds `wanted` (when share: that share
 * of the total), or the last of them; -1 when there is none. Each warp sums a part of the row, then all look through
 * one part. */
static __device__ int64_t find_running(const struct row &r, enum kind kind, uint32_t key, double wanted, bool share,
                                       SHARED_PTR(double) part) {
    const int warps = (int)blockDim.x / WARP;
    const int64_t width = ((r.n + warps - 1) / warps + WARP - 1) / WARP * WARP;
    const int64_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, begin = warp * width;
    double sum = 0, before = 0, total = 0;
    int64_t found = -1;
    int at = -1;

    for (int64_t j = begin + lane; j < begin + width && j < r.n; j += WARP)
        sum += running(r, j, kind, key);
    sum = warp_sum(sum);
    __syncthreads();
    if (lane == 0)
        part[warp] = sum;
    __syncthreads();
    for (int w = 0; w < warps; w++)
        total += part[w];
    if (share)
        wanted *= total;
    for (int w = 0; w < warps; w++) {
        if (!(part[w] > 0))
            continue;
        if (at >= 0)
            before += part[at];
        at = w;
        if (before + part[w] > wanted)
            break;
    }
    for (int64_t j = at < 0 ? r.n : at * width; j < (at + 1) * width && j < r.n; j += WARP) {
        double w = j + lane < r.n ? running(r, j + lane, kind, key) : 0.0, up_to = w;
        unsigned some, over;
        for (int step = 1; step < WARP; step *= 2) { /* inclusive sums over the lanes */
            const double other = __shfl_sync(FULL_WARP, up_to, (int)lane - step < 0 ? (int)lane : (int)lane - step);
            up_to += lane >= step ? other : 0.0;
        }
        some = __ballot_sync(FULL_WARP, w > 0);
        over = __ballot_sync(FULL_WARP, w > 0 && before + up_to > wanted);
        for (int l = 0; l < WARP && some; l++)
            if (some >> l & 1u) {
                found = j + l;
                if (over >> l & 1u)
                    return found;
            }
        before += __shfl_sync(FULL_WARP, up_to, WARP - 1);
    }
    return found;
}

/* Keeps the likeliest whose weights reach `wanted`, the lower index first among equals. */
static __device__ void keep_likeliest(struct row *r, double wanted, bool counting, SHARED_PTR(double) part) {
    uint32_t key = 0;
    int64_t last;
    double above, rest, each;

    for (int shift = 30; shift >= 0; shift -= 2) {
        const uint32_t step = 1u << shift;
        const struct three w = weights_from(*r, key | step, key | 2 * step, key | 3 * step, counting, part);
        if (w.c > 0 && w.c >= wanted)
            key |= 3 * step;
        else if (w.b > 0 && w.b >= wanted)
            key |= 2 * step;
        else if (w.a > 0 && w.a >= wanted)
            key |= step;
    }
    if (key == 0) /* nothing reaches it: all stay */
        return;
    above = key == UINT32_MAX ? 0.0 : weights_from(*r, key + 1, key + 1, key + 1, counting, part).a;
    each = counting ? 1.0 : (double)expf(of_key(key) - r->top);
    rest = each > 0 ? ceil((wanted - above) / each) : 1.0; /* so many of those that equal it */
    last = find_running(*r, EQUAL, key, (rest > 1 ? rest : 1.0) - 0.5, false, part);
    r->key = key;
    r->last = last;
}

/* The largest logit that is not banned, of equals the first. */
static __device__ int64_t greedy_choice(const struct row &r, SHARED_PTR(double) part) {
    struct row best = r;

    best.key = key_of(r.top);
    best.last = r.n;
    return find_running(best, EQUAL, best.key, 0.0, false, part);
}

struct draw {
    const float *bias;
    const uint8_t *banned;
    const double *u = NULL;
    int64_t n, top_k, allowed;
    float inv_temperature, top_p;
    int greedy;
};

static __global__ void __launch_bounds__(MOST_ROW_BLOCK)
    sample(const struct draw a, float *logits, int32_t *ids, float *logp) {
    SHARED_ARRAY(double, part, 3 * WARPS);
    SHARED_ARRAY(float, tops, WARPS);
    const int64_t i = blockIdx.x;
    float *z = logits + i * a.n, top = -INFINITY, allowed = -INFINITY;
    struct row r = {z, a.banned, a.n, 0, 0, a.n};
    double total = 0;
    int64_t id;

    for (int64_t j = threadIdx.x; j < a.n; j += blockDim.x) {
        const float t = (a.bias ? z[j] + a.bias[j] : z[j]) * a.inv_temperature;
        z[j] = t;
        top = fmaxf(top, t);
        if (!(a.banned && a.banned[j]))
            allowed = fmaxf(allowed, t);
    }
    top = block_max(top, tops);
    r.top = block_max(allowed, tops);
    for (int64_t j = threadIdx.x; j < a.n; j += blockDim.x)
        total += (double)expf(z[j] - top);
    total = block_sum<double>(total, part); /* its barriers also make z known to all */
    if (a.greedy) {
        id = greedy_choice(r, part);
    } else {
        if (a.top_k > 0 && a.top_k < a.allowed)
            keep_likeliest(&r, (double)a.top_k, true, part);
        if (a.top_p < 1) {
            const double kept = weights_from(r, 0, 0, 0, false, part).a;
            keep_likeliest(&r, a.top_p * kept, false, part);
        }
        id = find_running(r, LIKELY, 0, a.u[i], true, part);
    }
    if (id < 0) /* no probability anywhere, which takes a NaN: the first that is allowed */
        for (id = 0; id + 1 < a.n && a.banned && a.banned[id];)
            id++;
    if (threadIdx.x == 0) {
        ids[i] = (int32_t)id;
        logp[i] = (float)(z[id] - top - log(total));
    }
}

extern "C" rein_status cuda_sample(void *dev, const struct rein_sample *a) {
    struct device *d = device_enter(dev);
    const int64_t n = a->w->rows, step = chunk_rows(d, a->w, a->n);
    struct draw draw = {};
    const double *u = NULL;
    rein_status rc;
    float *z;

    if (!dtype_known(a->w->dtype))
        return REIN_ERR_UNSUPPORTED;
    if (a->n == 0)
        return REIN_OK;
    draw.allowed = n;
    for (int64_t j = 0; a->banned && j < n; j++)
        draw.allowed -= a->banned[j] != 0;
    if (draw.allowed <= 0)
        return REIN_ERR_ARG;
    rc = device_array(d, WORK_LOGITS, step * n, &z);
    if (rc == REIN_OK)
        rc = staging_room(d, (size_t)a->n * sizeof(*u) + (size_t)n);
    if (rc == REIN_OK)
        rc = device_stage(d, a->u, a->n, &u);
    if (rc == REIN_OK && a->banned)
        rc = device_stage(d, a->banned, n, &draw.banned);
    draw.bias = a->bias;
    draw.n = n;
    draw.top_k = a->top_k;
    draw.inv_temperature = a->inv_temperature;
    draw.top_p = a->top_p;
    draw.greedy = (int)a->greedy;
    for (int64_t i = 0; i < a->n && rc == REIN_OK; i += step) {
        const int64_t rows = least(step, a->n - i);
        draw.u = u + i;
        rc = chunk_logits(d, a->w, a->hidden + i * a->ldh, a->ldh, rows, z);
        if (rc == REIN_OK)
            rc = RUN(d, sample, (unsigned)rows, row_block(n), 0, draw, z, a->ids + i, a->logp + i);
    }
    return rc;
}
