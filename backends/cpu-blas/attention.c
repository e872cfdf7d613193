/* SPDX-License-Identifier: MIT */
#include "device.h"

static rein_status check_shapes(int64_t heads, int64_t kv_heads, int64_t head_dim, const struct rein_segment *s,
                                uint32_t n) {
    if (kv_heads <= 0 || heads % kv_heads != 0)
        return REIN_ERR_ARG;
    if (head_dim > MOST_HEAD_DIM)
        return REIN_ERR_UNSUPPORTED;
    for (uint32_t i = 0; i < n; i++)
        if (s[i].kv_rows < s[i].q_rows)
            return REIN_ERR_ARG;
    return REIN_OK;
}

struct forward {
    struct device *d;
    const struct rein_attention *a;
    const struct attention_part *parts;
};

static void run_part(void *ctx, int64_t i, int thread) {
    const struct forward *f = ctx;

    f->d->k->attention(f->a, &f->parts[i], device_scratch(f->d, thread));
}

/* How many segments from `s` on (of n) decode one token each after the same prefix, which is then read once for all. */
static int64_t sharing(const struct rein_attention *a, const struct rein_segment *s, int64_t n) {
    int64_t count = 1;

    if (a->window > 0 || s->q_rows != 1 || s->prefix_rows == 0)
        return 1;
    while (count < n && s[count].q_rows == 1 && s[count].prefix_begin == s->prefix_begin &&
           s[count].prefix_rows == s->prefix_rows)
        count++;
    return count;
}

/* One part for at most TILE_ROWS (query, head) pairs of one kv head. Writes them when `out` is given. */
static int64_t make_parts(const struct device *d, const struct rein_attention *a, struct attention_part *out) {
    int64_t group = a->heads / a->kv_heads, heads = least(group, TILE_ROWS), step = TILE_ROWS / heads, count = 0;

    for (int64_t i = 0, n, shared; i < a->nsegments; i += n) {
        const struct rein_segment *s = &a->segments[i];
        shared = sharing(a, s, a->nsegments - i);
        n = least(step, (shared + d->threads - 1) / d->threads);
        for (int64_t q = 0; q < s->q_rows; q += step)
            for (int64_t kv = 0; kv < a->kv_heads; kv++)
                for (int64_t h = 0; h < group; h += heads, count++)
                    if (out)
                        out[count] = (struct attention_part){
                            .segment = s,
                            .q0 = q,
                            .q1 = least(q + step, s->q_rows),
                            .h0 = kv * group + h,
                            .h1 = kv * group + least(h + heads, group),
                            .segments = n,
                        };
    }
    return count;
}

rein_status cpu_attention(void *dev, const struct rein_attention *a) {
    struct forward f = {.d = dev, .a = a};
    struct attention_part *parts;
    rein_status rc;
    int64_t count;

    if (a->nsegments == 0 || a->heads == 0)
        return REIN_OK;
    rc = check_shapes(a->heads, a->kv_heads, a->head_dim, a->segments, a->nsegments);
    if (rc)
        return rc;
    count = make_parts(dev, a, NULL);
    parts = device_work(dev, WORK_A, count, sizeof(*parts));
    if (!parts)
        return REIN_ERR_NOMEM;
    make_parts(dev, a, parts);
    f.parts = parts;
    parallel_for(dev, count, run_part, &f);
    return REIN_OK;
}

/* Segments that share rows of k and v, or queries, add to the same gradients: they form one family, done in order
 * by one thread for each kv head. */
struct backward {
    struct device *d;
    const struct rein_attention_dx *a;
    const int32_t *family, *order; /* order: segments by family */
    const int64_t *begin;          /* of each family in order */
};

static void run_family(void *ctx, int64_t i, int thread) {
    const struct backward *b = ctx;
    const struct rein_attention_dx *a = b->a;
    int64_t kv = i % a->kv_heads, family = i / a->kv_heads, group = a->heads / a->kv_heads;
    int64_t heads = least(group, TILE_ROWS);

    for (int64_t j = b->begin[family]; j < b->begin[family + 1]; j++)
        for (int64_t h = 0; h < group; h += heads) {
            struct attention_part part = {.segment = &a->segments[b->order[j]],
                                          .h0 = kv * group + h,
                                          .h1 = kv * group + least(h + heads, group)};
            b->d->k->attention_dx(a, &part, device_scratch(b->d, thread));
        }
}

static bool overlap(int32_t a, int32_t na, int32_t b, int32_t nb) {
    return na > 0 && nb > 0 && (int64_t)a < (int64_t)b + nb && (int64_t)b < (int64_t)a + na;
}

static bool related(const struct rein_segment *a, const struct rein_segment *b) {
    return overlap(a->q_begin, a->q_rows, b->q_begin, b->q_rows) ||
           overlap(a->kv_begin, a->kv_rows, b->kv_begin, b->kv_rows) ||
           overlap(a->prefix_begin, a->prefix_rows, b->kv_begin, b->kv_rows) ||
           overlap(a->kv_begin, a->kv_rows, b->prefix_begin, b->prefix_rows) ||
           overlap(a->prefix_begin, a->prefix_rows, b->prefix_begin, b->prefix_rows);
}

static int32_t root_of(int32_t *parent, int32_t i) {
    while (parent[i] != i)
        i = parent[i] = parent[parent[i]];
    return i;
}

/* Fills order and begin; returns the number of families. */
static int64_t find_families(const struct rein_attention_dx *a, int32_t *family, int32_t *order, int64_t *begin) {
    int32_t n = (int32_t)a->nsegments;
    int64_t families = 0, count = 0;

    for (int32_t i = 0; i < n; i++)
        family[i] = i;
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < i; j++)
            if (root_of(family, i) != root_of(family, j) && related(&a->segments[i], &a->segments[j])) {
                int32_t x = root_of(family, i), y = root_of(family, j);
                family[x > y ? x : y] = x > y ? y : x; /* the root is the first of the family */
            }
    for (int32_t i = 0; i < n; i++) {
        if (root_of(family, i) != i)
            continue;
        begin[families++] = count;
        for (int32_t j = i; j < n; j++)
            if (root_of(family, j) == i)
                order[count++] = j;
    }
    begin[families] = count;
    return families;
}

rein_status cpu_attention_dx(void *dev, const struct rein_attention_dx *a) {
    int64_t n = a->nsegments, families, *begin;
    struct backward b = {.d = dev, .a = a};
    rein_status rc;

    if (n == 0 || a->heads == 0)
        return REIN_OK;
    rc = check_shapes(a->heads, a->kv_heads, a->head_dim, a->segments, a->nsegments);
    if (rc)
        return rc;
    begin = device_work(dev, WORK_A, 2 * n + 1, sizeof(*begin));
    if (!begin)
        return REIN_ERR_NOMEM;
    int32_t *family = (int32_t *)(begin + n + 1), *order = family + n;
    families = find_families(a, family, order, begin);
    b.family = family;
    b.order = order;
    b.begin = begin;
    parallel_for(dev, families * a->kv_heads, run_family, &b);
    return REIN_OK;
}
