/* SPDX-License-Identifier: MIT */
#include "conform/workload.h"
#include "base/rng.h"
#include "conform/guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The arrays of a batch that belong to tokens or rows. */
static const struct field {
    const char *name;
    size_t offset;
    uint32_t size;
    bool token, real;
} fields[] = {
#define FIELD(name, token, real)                                                                                       \
    { #name, offsetof(struct rein_batch, name), sizeof(*((struct rein_batch *)0)->name), token, real }
    FIELD(mask, true, false),   FIELD(logp, true, true),      FIELD(logp_old, true, true), FIELD(logp_ref, true, true),
    FIELD(value, true, true),   FIELD(value_old, true, true), FIELD(entropy, true, true),  FIELD(advantage, true, true),
    FIELD(return_, true, true), FIELD(reward, false, true),   FIELD(score, false, true),   FIELD(margin, false, true),
    FIELD(rank, false, false),  FIELD(role, false, false),    FIELD(label, false, false),  FIELD(ended, false, false),
};
enum { NFIELDS = sizeof(fields) / sizeof(*fields), UNITS = 8 };

static void **at(const struct rein_batch *b, const struct field *f) {
    return (void **)((char *)(uintptr_t)b + f->offset);
}

static void seal(struct workload *w, bool sealed) {
    for (int i = 0; i < NFIELDS; i++)
        guard_seal(*at(&w->b, &fields[i]), sealed);
    guard_seal((void *)(uintptr_t)w->b.offset, sealed);
    guard_seal((void *)(uintptr_t)w->b.unit, sealed);
    guard_seal((void *)(uintptr_t)w->b.family, sealed);
}

/* For the first time, with names. */
static void finish(struct workload *w) {
    for (int i = 0; i < NFIELDS; i++)
        guard_label(*at(&w->b, &fields[i]), fields[i].name);
    guard_label((void *)(uintptr_t)w->b.offset, "offset");
    guard_label((void *)(uintptr_t)w->b.unit, "unit");
    guard_label((void *)(uintptr_t)w->b.family, "family");
    seal(w, true);
}

void workload_free(struct workload *w) {
    if (w->mismatched)
        workload_free(w->mismatched);
    free(w->mismatched);
    for (int i = 0; i < NFIELDS; i++)
        guard_free(*at(&w->b, &fields[i]));
    guard_free((void *)(uintptr_t)w->b.offset);
    guard_free((void *)(uintptr_t)w->b.unit);
    guard_free((void *)(uintptr_t)w->b.family);
    memset(w, 0, sizeof(*w));
}

/* count values of mean + deviation * N(0, 1), folded upwards when `fold` */
static float *normals(uint64_t seed, uint32_t what, uint32_t count, float mean, double deviation, bool fold) {
    float *x = guard_alloc(count, sizeof(*x));

    rng_normal(seed, RNG_NOISE, what, deviation, x, count);
    for (uint32_t i = 0; i < count; i++)
        x[i] = mean + (fold ? fabsf(x[i]) : x[i]);
    return x;
}

static float *moved(const float *from, uint64_t seed, uint32_t what, uint32_t count, double deviation) {
    float *x = normals(seed, what, count, 0, deviation, false);

    for (uint32_t i = 0; i < count; i++)
        x[i] += from[i];
    return x;
}

static void make_layout(struct rein_batch *b, uint32_t data, const struct rein_needs *needs) {
    static const uint32_t lengths[] = {3, 1, 5, 0, 2, 4, 7, 1, 6}, lists[UNITS] = {3, 1, 4, 2, 2, 3, 1, 5};
    uint32_t *unit = guard_alloc(UNITS + 1, sizeof(*unit)), *offset;

    for (uint32_t u = 0; u < UNITS; u++) {
        uint32_t size = 1;
        if (data == REIN_DATA_PAIRS)
            size = 2;
        else if (data == REIN_DATA_LISTS)
            size = lists[u];
        else if (data == REIN_DATA_PROMPTS && (needs->needs & REIN_NEED_GROUPS))
            size = 3;
        unit[u + 1] = unit[u] + size;
    }
    b->units = UNITS;
    b->rows = unit[UNITS];
    offset = guard_alloc((size_t)b->rows + 1, sizeof(*offset));
    for (uint32_t r = 0; r < b->rows; r++)
        offset[r + 1] = offset[r] + lengths[r % 9];
    b->tokens = offset[b->rows];
    b->offset = offset;
    b->unit = unit;
    b->max_tokens = 7;
}

static void make_rows(struct rein_batch *b, uint32_t data, uint64_t seed, bool margins) {
    uint8_t *role = guard_alloc(b->rows, 1), *label = guard_alloc(b->rows, 1);
    uint32_t *rank = guard_alloc(b->rows, sizeof(*rank));
    float *margin = normals(seed, 20, b->rows, 0, 0.5, true);

    for (uint32_t u = 0; u < b->units; u++)
        for (uint32_t r = b->unit[u]; r < b->unit[u + 1]; r++) {
            rank[r] = (r * 5 + u) % 4;
            label[r] = (uint8_t)(r % 2);
            margin[r] = margin[b->unit[u]];
            if (data == REIN_DATA_PAIRS)
                role[r] = r == b->unit[u] ? REIN_ROLE_CHOSEN : REIN_ROLE_REJECTED;
        }
    b->role = role;
    b->label = label;
    b->rank = rank;
    b->margin = margin;
    if (data != REIN_DATA_LABELLED) {
        guard_free(label);
        b->label = NULL;
    }
    if (data != REIN_DATA_LISTS) {
        guard_free(rank);
        b->rank = NULL;
    }
    if (data != REIN_DATA_PAIRS || !margins) {
        guard_free(margin);
        b->margin = NULL;
    }
}

static void make_rollout(struct rein_batch *b, uint64_t seed) {
    uint8_t *ended = guard_alloc(b->rows, 1);

    for (uint32_t r = 0; r < b->rows; r++)
        ended[r] = r % 3 != 1;
    b->ended = ended;
    b->reward = normals(seed, 21, b->rows, 0, 1, false);
    b->advantage = guard_alloc(b->tokens, sizeof(float));
}

static struct workload *second(void) {
    struct workload *w = calloc(1, sizeof(*w));

    if (!w)
        exit(2);
    return w;
}

/* Other rows of the same number and labels, for an estimate. */
static struct workload *make_mismatched(const struct rein_needs *needs, uint32_t data, uint64_t seed, bool masks) {
    struct rein_needs plain = *needs;
    struct workload *w = second();

    plain.needs &= ~REIN_NEED_KL_ROWS;
    workload_make(w, &plain, data, seed + 1000, masks);
    seal(w, false);
    memset((void *)(uintptr_t)w->b.role, REIN_ROLE_KL, w->b.rows);
    for (uint32_t i = 0; i < w->b.tokens; i++)
        ((float *)(uintptr_t)w->b.logp)[i] += 0.25f; /* so that their KL is above 0 */
    seal(w, true);
    return w;
}

void workload_make(struct workload *w, const struct rein_needs *needs, uint32_t data, uint64_t seed, bool masks) {
    struct rein_batch *b = &w->b;
    uint32_t n = needs->needs;

    memset(w, 0, sizeof(*w));
    if (n & REIN_NEED_KL_ROWS)
        w->mismatched = make_mismatched(needs, data, seed, masks);
    w->needs = *needs;
    w->needs.data = data;
    b->size = sizeof(*b);
    make_layout(b, data, needs);
    make_rows(b, data, seed, masks);
    if (masks) {
        uint8_t *mask = guard_alloc(b->tokens, 1);
        for (uint32_t i = 0; i < b->tokens; i++)
            mask[i] = i % 5 != 3 && i % 7 != 0;
        b->mask = mask;
    }
    float *old = normals(seed, 1, b->tokens, -0.1f, 1.5, true);
    for (uint32_t i = 0; i < b->tokens; i++)
        old[i] = -0.2f - old[i];
    if (n & REIN_NEED_LOGP)
        b->logp = moved(old, seed, 2, b->tokens, 0.3);
    if (n & REIN_NEED_REFERENCE)
        b->logp_ref = moved(old, seed, 3, b->tokens, 0.3);
    if (n & REIN_NEED_CRITIC) {
        b->value_old = normals(seed, 4, b->tokens, 0, 0.5, false);
        b->value = moved(b->value_old, seed, 5, b->tokens, 0.3);
        b->return_ = guard_alloc(b->tokens, sizeof(float));
    }
    if (n & REIN_NEED_ENTROPY)
        b->entropy = normals(seed, 6, b->tokens, 0.1f, 1, true);
    if (n & REIN_NEED_SCORE)
        b->score = normals(seed, 7, b->rows, 0, 1.5, false);
    if (n & REIN_NEED_FAMILY) {
        b->members = 4;
        b->family = normals(seed, 8, 4 * b->rows, 0, 1, false);
    }
    if (n & REIN_NEED_OLD_LOGP)
        b->logp_old = old;
    else
        guard_free(old);
    if (data == REIN_DATA_PROMPTS)
        make_rollout(b, seed);
    for (uint32_t i = 0; i < b->tokens; i++)
        b->norm_tokens += !b->mask || b->mask[i];
    b->norm_rows = b->rows;
    b->norm_units = b->units;
    finish(w);
}

/* Rows source[0 .. unit[n] - 1] of w as n units, in that order. `unit` and `source` are guarded; source is given back.
 */
static void pick(const struct workload *w, uint32_t *unit, uint32_t n, uint32_t *source, struct workload *out) {
    const struct rein_batch *from = &w->b;
    uint32_t rows = unit[n], *offset = guard_alloc((size_t)rows + 1, sizeof(*offset));

    *out = *w;
    for (uint32_t r = 0; r < rows; r++)
        offset[r + 1] = offset[r] + from->offset[source[r] + 1] - from->offset[source[r]];
    out->b.units = n;
    out->b.rows = rows;
    out->b.tokens = offset[rows];
    out->b.unit = unit;
    out->b.offset = offset;
    for (int i = 0; i < NFIELDS; i++) {
        const struct field *f = &fields[i];
        const char *x = *at(from, f);
        char *y;

        if (!x)
            continue;
        y = guard_alloc(f->token ? out->b.tokens : rows, f->size);
        *at(&out->b, f) = y;
        for (uint32_t r = 0; r < rows; r++) {
            uint32_t s = source[r], o = f->token ? from->offset[s] : s, to = f->token ? offset[r] : r;
            uint32_t count = f->token ? offset[r + 1] - offset[r] : 1;
            memcpy(y + (size_t)to * f->size, x + (size_t)o * f->size, (size_t)count * f->size);
        }
    }
    if (from->family) {
        float *family = guard_alloc((size_t)from->members * rows, sizeof(*family));
        for (uint32_t k = 0; k < from->members; k++)
            for (uint32_t r = 0; r < rows; r++)
                family[k * rows + r] = from->family[k * from->rows + source[r]];
        out->b.family = family;
    }
    guard_free(source);
    finish(out);
}

void workload_select(const struct workload *w, const uint32_t *units, uint32_t n, struct workload *out) {
    const uint32_t *from = w->b.unit;
    uint32_t *unit = guard_alloc((size_t)n + 1, sizeof(*unit)), *source, rows = 0;

    for (uint32_t u = 0; u < n; u++)
        unit[u + 1] = unit[u] + from[units[u] + 1] - from[units[u]];
    source = guard_alloc((size_t)unit[n] + 1, sizeof(*source));
    for (uint32_t u = 0; u < n; u++)
        for (uint32_t r = from[units[u]]; r < from[units[u] + 1]; r++)
            source[rows++] = r;
    pick(w, unit, n, source, out);
    if (w->mismatched) {
        out->mismatched = second();
        workload_select(w->mismatched, units, n, out->mismatched);
    }
}

void workload_turn(const struct workload *w, struct workload *out) {
    const struct rein_batch *b = &w->b;
    uint32_t *unit = guard_alloc((size_t)b->units + 1, sizeof(*unit));
    uint32_t *source = guard_alloc((size_t)b->rows + 1, sizeof(*source));

    for (uint32_t u = 0; u < b->units; u++) {
        unit[u + 1] = b->unit[u + 1];
        for (uint32_t r = b->unit[u]; r < b->unit[u + 1]; r++)
            source[r] = b->unit[u + 1] - 1 - (r - b->unit[u]);
    }
    pick(w, unit, b->units, source, out);
    if (w->mismatched) {
        out->mismatched = second();
        workload_turn(w->mismatched, out->mismatched);
    }
}

void workload_poison(struct workload *w) {
    if (w->mismatched)
        workload_poison(w->mismatched);
    seal(w, false);
    for (int i = 0; i < NFIELDS; i++) {
        float *x = fields[i].token && fields[i].real ? *at(&w->b, &fields[i]) : NULL;
        for (uint32_t t = 0; x && w->b.mask && t < w->b.tokens; t++)
            if (!w->b.mask[t])
                x[t] = NAN;
    }
    seal(w, true);
}

void workload_stretch(struct workload *w) {
    struct rein_batch *b = &w->b;

    if (w->mismatched)
        workload_stretch(w->mismatched);
    seal(w, false);
    for (uint32_t i = 0; i < b->tokens; i++) {
        if (b->logp_old)
            ((float *)(uintptr_t)b->logp_old)[i] -= 202; /* so that each stays the logarithm of a probability */
        if (b->logp_ref)
            ((float *)(uintptr_t)b->logp_ref)[i] += 200 * (float)((int)(i % 3) - 1) - 202;
        if (b->logp)
            ((float *)(uintptr_t)b->logp)[i] -= 200 * (float)((int)(i / 3 % 3) - 1) + 202;
        if (b->value_old)
            ((float *)(uintptr_t)b->value_old)[i] += 1000 * (float)((int)(i % 2));
    }
    for (uint32_t r = 0; r < b->rows; r++) {
        if (b->score)
            ((float *)(uintptr_t)b->score)[r] += 1000 * (float)((int)(r % 3) - 1);
        if (b->reward)
            ((float *)(uintptr_t)b->reward)[r] += 1000 * (float)((int)(r % 3) - 1);
        for (uint32_t k = 0; k < b->members && b->family; k++)
            ((float *)(uintptr_t)b->family)[k * b->rows + r] += 1000 * (float)((int)((r + k) % 3) - 1);
    }
    seal(w, true);
}

/* Totals a micro-batch's metrics as the host does. */
static void total(struct outcome *o, const struct rein_metrics *part) {
    for (uint32_t i = 0; i < part->count && i < part->capacity; i++) {
        const struct rein_metric *m = &part->items[i];
        uint32_t k = 0;

        while (k < o->list.count && strcmp(o->items[k].name, m->name) != 0)
            k++;
        if (k == OUTCOME_METRICS)
            return;
        struct rein_metric *x = &o->items[k];
        if (k == o->list.count) {
            o->list.count++;
            *x = *m;
        } else if (x->weight == 0 || m->weight == 0) {
            if (x->weight == 0)
                *x = *m;
        } else {
            x->sum = m->how == REIN_METRIC_MIN   ? fmin(x->sum, m->sum)
                     : m->how == REIN_METRIC_MAX ? fmax(x->sum, m->sum)
                                                 : x->sum + m->sum;
            x->weight += m->weight;
        }
    }
}

rein_status workload_prepare(const struct rein_algorithm_ops *ops, void *self, struct workload *w, uint32_t rollout) {
    const struct rein_batch *b = &w->b;
    struct rein_metric items[OUTCOME_METRICS];
    struct rein_metrics metrics = {.size = sizeof(metrics), .capacity = OUTCOME_METRICS, .items = items};
    struct rein_experience e = {.size = sizeof(e),
                                .rollout = rollout,
                                .rows = b->rows,
                                .units = b->units,
                                .tokens = b->tokens,
                                .members = b->members,
                                .offset = b->offset,
                                .unit = b->unit,
                                .mask = b->mask,
                                .logp_old = b->logp_old,
                                .logp_ref = b->logp_ref,
                                .value_old = b->value_old,
                                .entropy = b->entropy,
                                .reward = b->reward,
                                .family = b->family,
                                .ended = b->ended,
                                .max_tokens = b->max_tokens,
                                .advantage = (float *)(uintptr_t)b->advantage,
                                .return_ = (float *)(uintptr_t)b->return_,
                                .metrics = &metrics};
    rein_status status;

    if (w->needs.data != REIN_DATA_PROMPTS)
        return REIN_OK;
    guard_seal(e.advantage, false);
    guard_seal(e.return_, false);
    memset(e.advantage, 0, b->tokens * sizeof(float));
    if (e.return_)
        memset(e.return_, 0, b->tokens * sizeof(float));
    status = ops->prepare(self, &e);
    guard_seal(e.advantage, true);
    guard_seal(e.return_, true);
    return status;
}

/* One loss() call on a batch; its derivatives start at those places of o's arrays. */
static void one_loss(const struct rein_algorithm_ops *ops, void *self, const struct workload *w, uint32_t token,
                     uint32_t row, struct outcome *o) {
    struct rein_metric items[OUTCOME_METRICS];
    struct rein_metrics metrics = {.size = sizeof(metrics), .capacity = OUTCOME_METRICS, .items = items};
    struct outcome part;
    struct rein_loss out = {.size = sizeof(out), .metrics = &metrics};

    outcome_make(&part, w);
    out.d_logp = part.d[D_LOGP];
    out.d_value = part.d[D_VALUE];
    out.d_entropy = part.d[D_ENTROPY];
    out.d_score = part.d[D_SCORE];
    o->status = ops->loss(self, &w->b, &out);
    o->loss += out.loss;
    total(o, &metrics);
    if (metrics.count > OUTCOME_METRICS)
        o->list.count = metrics.count;
    for (int k = 0; k < D_COUNT; k++)
        if (part.d[k])
            memcpy(o->d[k] + (k == D_SCORE ? row : token), part.d[k], part.length[k] * sizeof(float));
    outcome_free(&part);
}

rein_status workload_measure(const struct rein_algorithm_ops *ops, void *self, const struct workload *w, double *sums) {
    struct rein_batch b = w->mismatched ? w->mismatched->b : w->b;

    if (w->needs.sums == 0)
        return REIN_OK;
    if (w->needs.counts_only)
        b.logp = b.entropy = b.value = b.score = NULL;
    return ops->measure(self, &b, sums);
}

void workload_loss(const struct rein_algorithm_ops *ops, void *self, struct workload *w, const double *sums,
                   struct outcome *o) {
    outcome_make(o, w);
    w->b.sums = w->needs.sums ? sums : NULL;
    one_loss(ops, self, w, 0, 0, o);
    w->b.sums = NULL;
}

void workload_step(const struct rein_algorithm_ops *ops, void *self, struct workload *w, uint32_t size,
                   struct outcome *o) {
    double sums[REIN_MAX_SUMS] = {0};
    uint32_t units[UNITS], pieces = size ? (w->b.units + size - 1) / size : 1;
    struct workload part[UNITS];

    outcome_make(o, w);
    for (uint32_t p = 0; p < pieces; p++) {
        uint32_t from = p * size, n = size && w->b.units - from > size ? size : w->b.units - from;
        for (uint32_t u = 0; u < n; u++)
            units[u] = from + u;
        if (size)
            workload_select(w, units, n, &part[p]);
        else
            part[p] = *w;
    }
    for (uint32_t p = 0; p < pieces && o->status == REIN_OK; p++)
        o->status = workload_measure(ops, self, &part[p], sums);
    for (uint32_t p = 0; p < pieces && o->status == REIN_OK; p++) {
        uint32_t row = w->b.unit[p * size];
        part[p].b.sums = w->needs.sums ? sums : NULL;
        one_loss(ops, self, &part[p], w->b.offset[row], row, o);
    }
    for (uint32_t p = 0; p < pieces && size; p++)
        workload_free(&part[p]);
}
