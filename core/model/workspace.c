/* SPDX-License-Identifier: MIT */
#include "model/pass.h"

#include "base/mem.h"
#include "model/transformer.h"

#include <string.h>

/* Laying out arrays of n rows, of which only those from `from` on are wanted. With base NULL they are only counted, in
 * floats; overflow saturates. */
struct carver {
    float *base;
    uint64_t used, n, from;
    struct work_array *list; /* what they are, one after the other; or NULL */
    size_t listed;
};

static void carve(struct carver *c, float **out, uint64_t columns) {
    uint64_t floats;

    if (__builtin_mul_overflow(c->n, columns, &floats) || __builtin_add_overflow(floats, 15, &floats))
        floats = UINT64_MAX;
    else
        floats &= ~(uint64_t)15;
    *out = c->base ? c->base + c->used + c->from * columns : NULL;
    if (c->list)
        c->list[c->listed] = (struct work_array){*out, columns};
    c->listed++;
    if (__builtin_add_overflow(c->used, floats, &c->used))
        c->used = UINT64_MAX;
}

/* The arrays that follow lie over those carved since `start`; `most` remembers how far anything reached. */
static void overlay(struct carver *c, uint64_t start, uint64_t *most) {
    *most = c->used > *most ? c->used : *most;
    c->used = start;
}

static uint64_t queries(const struct model_config *m) {
    return (uint64_t)(m->heads * m->head_dim);
}

static uint64_t keys(const struct model_config *m) {
    return (uint64_t)(m->kv_heads * m->head_dim);
}

static void carve_attention(struct carver *c, const struct model_config *m, struct acts *a) {
    carve(c, &a->q, queries(m));
    carve(c, &a->k, keys(m));
    carve(c, &a->v, keys(m));
    carve(c, &a->att, queries(m));
    a->q_raw = a->q;
    a->k_raw = a->k;
}

static void carve_mlp(struct carver *c, const struct model_config *m, struct acts *a) {
    if (m->family->gated)
        carve(c, &a->gate, (uint64_t)m->intermediate);
    carve(c, &a->up, (uint64_t)m->intermediate);
}

/* The inside of a layer, as its backward pass reads it. */
static void carve_inside(struct carver *c, const struct model_config *m, struct acts *a) {
    carve_attention(c, m, a);
    carve_mlp(c, m, a);
    carve(c, &a->mid, (uint64_t)m->hidden);
    carve(c, &a->rstd1, 1);
    carve(c, &a->rstd2, 1);
    if (m->family->norm == REIN_NORM_LAYER) {
        carve(c, &a->mean1, 1);
        carve(c, &a->mean2, 1);
    }
    carve(c, &a->lse, (uint64_t)m->heads);
    if (m->family->qk_norm) {
        carve(c, &a->q_raw, queries(m));
        carve(c, &a->k_raw, keys(m));
        carve(c, &a->q_rstd, (uint64_t)m->heads);
        carve(c, &a->k_rstd, (uint64_t)m->kv_heads);
    }
}

/* One layer after the other in place; what a layer's attention used, its MLP uses again. */
static void carve_passing(struct carver *c, const struct model_config *m, struct work *w, struct acts *a) {
    uint64_t start, most = 0;

    carve(c, &a->x, (uint64_t)m->hidden);
    carve(c, &w->xn, (uint64_t)m->hidden);
    start = c->used;
    carve_attention(c, m, a);
    overlay(c, start, &most);
    carve_mlp(c, m, a);
    carve(c, &w->act, (uint64_t)m->intermediate);
    overlay(c, start, &most);
    c->used = most;
    a->mid = w->out = a->x;
    w->hidden = w->xn;
}

static void carve_backward(struct carver *c, const struct model_config *m, struct work *w) {
    uint64_t start, most = 0;

    carve(c, &w->xn, (uint64_t)m->hidden);
    carve(c, &w->dxn, (uint64_t)m->hidden);
    start = c->used;
    carve(c, &w->act, (uint64_t)m->intermediate);
    w->dact = w->act; /* act goes into the gradient of down's weights before dact is made */
    overlay(c, start, &most);
    carve(c, &w->datt, queries(m));
    carve(c, &w->dq, queries(m));
    carve(c, &w->dk, keys(m));
    carve(c, &w->dv, keys(m));
    overlay(c, start, &most);
    c->used = most;
}

static void carve_last(struct carver *c, const struct model_config *m, struct work *w) {
    carve(c, &w->out, (uint64_t)m->hidden);
    carve(c, &w->rstd, 1);
    if (m->family->norm == REIN_NORM_LAYER)
        carve(c, &w->mean, 1);
    carve(c, &w->hidden, (uint64_t)m->hidden);
}

uint64_t work_widest(const struct model_config *m) {
    uint64_t most = queries(m) > keys(m) ? queries(m) : keys(m);

    most = (uint64_t)m->hidden > most ? (uint64_t)m->hidden : most;
    return (uint64_t)m->intermediate > most ? (uint64_t)m->intermediate : most;
}

/* Before the layers, since it is needed until the last of them is through, which are given up from the end. */
static void carve_first(struct carver *c, const struct model_config *m, struct work *w) {
    struct carver dx = {.base = c->base, .used = c->used, .n = c->n, .from = c->from};

    carve(&dx, &w->dx, (uint64_t)m->hidden);
    c->used = dx.used; /* and not listed: a forward pass leaves nothing there */
}

void work_lay_out(struct work *w, const struct model_config *m, uint64_t n, enum keep keep, float *kept,
                  float *scratch) {
    work_lay_out_part(w, m, &(struct work_part){.all = n, .n = n}, keep, kept, scratch);
}

void work_lay_out_part(struct work *w, const struct model_config *m, const struct work_part *part, enum keep keep,
                       float *kept, float *scratch) {
    struct carver stay = {.base = kept, .n = part->all, .from = part->from}, pass = {.base = scratch, .n = part->n};
    struct acts *layers = w->layers, one = {0};

    *w = (struct work){.keep = keep, .layers = layers};
    if (keep == KEEP_NOTHING)
        carve_passing(&pass, m, w, &one);
    else
        carve_backward(&pass, m, w);
    if (keep == KEEP_INPUTS)
        carve_inside(&pass, m, &one);
    if (keep != KEEP_NOTHING)
        carve_first(&stay, m, w);
    for (int64_t i = 0; i < m->layers; i++) {
        layers[i] = one;
        if (keep != KEEP_NOTHING)
            carve(&stay, &layers[i].x, (uint64_t)m->hidden);
        if (keep == KEEP_ALL)
            carve_inside(&stay, m, &layers[i]);
    }
    if (keep != KEEP_NOTHING)
        carve_last(&stay, m, w);
}

size_t work_kept_arrays(const struct model_config *m, uint64_t n, float *kept, struct work_array *out) {
    struct carver stay = {.base = kept, .n = n, .list = out};
    struct work w = {0};
    struct acts one = {0};

    carve_first(&stay, m, &w);
    for (int64_t i = 0; i < m->layers; i++) {
        carve(&stay, &one.x, (uint64_t)m->hidden);
        carve_inside(&stay, m, &one);
    }
    carve_last(&stay, m, &w);
    return stay.listed;
}

static uint64_t in_bytes(uint64_t floats) {
    uint64_t bytes;

    return __builtin_mul_overflow(floats, (uint64_t)sizeof(float), &bytes) ? UINT64_MAX : bytes;
}

/* What is read still while so many layers wait for their backward pass; one more: the final norm, too. */
static uint64_t carve_waiting(struct carver *c, const struct model_config *m, enum keep keep, uint64_t layers) {
    struct carver one_layer = {.n = c->n};
    struct acts one = {0};
    struct work w = {0};
    uint64_t floats;
    const bool last = layers > (uint64_t)m->layers;

    carve(&one_layer, &one.x, (uint64_t)m->hidden);
    if (keep == KEEP_ALL)
        carve_inside(&one_layer, m, &one);
    carve_first(c, m, &w);
    if (__builtin_mul_overflow(one_layer.used, layers - last, &floats) ||
        __builtin_add_overflow(c->used, floats, &c->used))
        c->used = UINT64_MAX;
    if (last)
        carve_last(c, m, &w);
    return in_bytes(c->used);
}

uint64_t work_waiting(const struct model_config *m, uint64_t n, enum keep keep, uint64_t layers) {
    struct carver c = {.n = n};

    return carve_waiting(&c, m, keep, layers);
}

/* Where all is kept there is room beyond for the widest array: see trace.c. */
struct work_bytes work_bytes(const struct model_config *m, uint64_t n, enum keep keep) {
    struct carver stay = {.n = n}, pass = {.n = n};
    struct work w = {0};
    struct acts one = {0};
    float *beyond;

    if (keep == KEEP_NOTHING) {
        carve_passing(&pass, m, &w, &one);
        return (struct work_bytes){0, in_bytes(pass.used)};
    }
    carve_backward(&pass, m, &w);
    if (keep == KEEP_INPUTS)
        carve_inside(&pass, m, &one);
    carve_waiting(&stay, m, keep, (uint64_t)m->layers + 1);
    if (keep == KEEP_ALL)
        carve(&stay, &beyond, work_widest(m));
    return (struct work_bytes){in_bytes(stay.used), in_bytes(pass.used)};
}

static uint64_t most(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

void pass_size_bytes(const struct model_config *c, const struct pass_size *size, bool trained, bool recompute,
                     uint64_t *own, uint64_t *scratch) {
    const enum keep keep = !trained ? KEEP_NOTHING : recompute ? KEEP_INPUTS : KEEP_ALL;
    const struct work_bytes kept = work_bytes(c, trained ? size->kept : 0, keep);
    const uint64_t row = (2 * (uint64_t)c->hidden + 4) * sizeof(float); /* of struct rows */

    *own = u64_plus(kept.kept, u64_plus(size->targets * (row + 2 * sizeof(float)),
                                        size->scores * (row + 2 * size->heads * sizeof(float))));
    *scratch = most(kept.scratch, work_bytes(c, size->passing, KEEP_NOTHING).scratch);
}
