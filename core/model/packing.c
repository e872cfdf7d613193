/* SPDX-License-Identifier: MIT */
#include "model/packing.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void packing_free(struct packing *p) {
    void *const all[] = {p->offset, p->where, p->ids, p->positions, p->segments, p->shared, p->with, p->alike, p->start};

    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        free(all[i]);
    *p = (struct packing){0};
}

static int reserve(struct packing *p, size_t count, size_t rows, struct error *err) {
    size_t c = count > p->count_capacity ? count + count / 4 : 0, n = rows > p->rows_capacity ? rows + rows / 4 : 0;

    if (c > 0) {
        packing_free(p);
        n = rows + rows / 4;
        p->offset = mem_array(c + 1, sizeof(*p->offset));
        p->segments = mem_array(c, sizeof(*p->segments));
        p->shared = mem_array(c, sizeof(*p->shared));
        p->with = mem_array(c, sizeof(*p->with));
        p->alike = mem_array(c, sizeof(*p->alike));
        p->start = mem_array(c, sizeof(*p->start));
        if (!p->offset || !p->segments || !p->shared || !p->with || !p->alike || !p->start)
            return error_nomem(err, "batch");
        p->count_capacity = c;
    }
    if (n > 0) {
        p->rows_capacity = 0;
        free(p->where);
        free(p->ids);
        free(p->positions);
        p->where = mem_array(n, sizeof(*p->where));
        p->ids = mem_array(n, sizeof(*p->ids));
        p->positions = mem_array(n, sizeof(*p->positions));
        if (!p->where || !p->ids || !p->positions)
            return error_nomem(err, "batch");
        p->rows_capacity = n;
    }
    return 0;
}

static uint32_t length_of(const struct packed *b, uint32_t s) {
    return b->offset[s + 1] - b->offset[s];
}

/* How many ids two sequences begin with alike, when they are worth sharing. */
static uint32_t begin_alike(const struct packed *b, uint32_t s, uint32_t t, uint32_t least) {
    const int32_t *x = b->ids + b->offset[s], *y = b->ids + b->offset[t];
    uint32_t n = length_of(b, s) < length_of(b, t) ? length_of(b, s) : length_of(b, t), i = 0;

    while (i < n && x[i] == y[i])
        i++;
    return i < least ? 0 : i;
}

/* Fills shared[s], the ids that are computed with sequence with[s]. A sequence that others share more with than it would
 * save itself is computed whole: a system turn that all prompts begin with does not keep a prompt from its own group. */
static void find_shared(struct packing *p, const struct packed *b, uint32_t least) {
    memset(p->shared, 0, b->count * sizeof(*p->shared));
    for (uint32_t s = 0; s < b->count && least > 0; s++) {
        uint64_t gain = 0;

        for (uint32_t t = s + 1; t < b->count; t++) {
            p->alike[t] = begin_alike(b, s, t, least);
            if (p->alike[t] > p->shared[t])
                gain += p->alike[t] - p->shared[t];
        }
        if (p->shared[s] > 0 && gain <= p->shared[s])
            continue;
        p->shared[s] = 0;
        for (uint32_t t = s + 1; t < b->count; t++)
            if (p->alike[t] > p->shared[t]) {
                p->shared[t] = p->alike[t];
                p->with[t] = s;
            }
    }
}

/* Places sequence s: what it shares with an earlier one, and the rest as rows of its own. */
static void place(struct packing *p, const struct packed *b, uint32_t s) {
    const uint32_t shared = p->shared[s], length = length_of(b, s), begin = b->offset[s];
    const int32_t from = shared ? (int32_t)p->start[p->with[s]] : 0;

    p->start[s] = (uint32_t)p->n;
    if (length > shared)
        p->segments[p->nsegments++] = (struct rein_segment){
            .q_begin = (int32_t)p->n,
            .q_rows = (int32_t)(length - shared),
            .prefix_begin = from,
            .prefix_rows = (int32_t)shared,
            .kv_begin = (int32_t)p->n,
            .kv_rows = (int32_t)(length - shared),
        };
    for (uint32_t i = 0; i < shared; i++)
        p->where[begin + i] = from + (int32_t)i;
    for (uint32_t i = shared; i < length; i++) {
        p->ids[p->n] = b->ids[begin + i];
        p->positions[p->n] = (int32_t)i;
        p->where[begin + i] = (int32_t)p->n++;
    }
}

int packing_make(struct packing *p, const struct packed *batch, uint32_t least, struct error *err) {
    if (reserve(p, batch->count, batch->offset[batch->count], err))
        return -1;
    p->count = batch->count;
    p->n = 0;
    p->nsegments = 0;
    memcpy(p->offset, batch->offset, ((size_t)batch->count + 1) * sizeof(*p->offset));
    find_shared(p, batch, least);
    for (uint32_t s = 0; s < batch->count; s++)
        place(p, batch, s);
    return 0;
}

bool packing_is_of(const struct packing *p, const struct packed *batch) {
    if (p->count != batch->count ||
        memcmp(p->offset, batch->offset, ((size_t)batch->count + 1) * sizeof(*p->offset)) != 0)
        return false;
    for (uint32_t i = 0; i < batch->offset[batch->count]; i++)
        if (p->ids[p->where[i]] != batch->ids[i])
            return false;
    return true;
}
