/* SPDX-License-Identifier: MIT */
#include "train/optimizer.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

static size_t elements(const struct model_param *p) {
    return (size_t)(p->w.rows * p->w.cols);
}

int optimizer_create(struct backend *b, const struct optimizer_options *options, struct optimizer **out,
                     struct error *err) {
    struct optimizer *o = mem_zeros(1, sizeof(*o));

    if (o == NULL)
        return error_nomem(err, "optimizer");
    o->backend = b;
    o->options = *options;
    *out = o;
    return 0;
}

void optimizer_free(struct optimizer *o) {
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->count; i++) {
        backend_free(o->backend, o->slots[i].m);
        backend_free(o->backend, o->slots[i].v);
    }
    free(o->slots);
    free(o);
}

static int fill_zero(struct optimizer *o, float *x, size_t count, struct error *err) {
    return backend_zero(o->backend, x, count * sizeof(*x), err);
}

int optimizer_add(struct optimizer *o, struct model_param *p, double lr, uint32_t owner, struct error *err) {
    struct optimizer_slot *slot;
    void *slots = o->slots;

    if (p->grad == NULL)
        return 0;
    for (size_t i = 0; i < o->count; i++)
        if (o->slots[i].param == p)
            return 0;
    if ((p->w.dtype != REIN_F32 && p->master == NULL) || p->w.ld != p->w.cols)
        return error_run(err, "parameter %s cannot be trained: it has no plain float32 weights", p->name);
    if (mem_grow(&slots, &o->capacity, o->count + 1, sizeof(*slot)) != 0)
        return error_nomem(err, "optimizer");
    o->slots = slots;
    slot = &o->slots[o->count];
    *slot = (struct optimizer_slot){.param = p, .lr = lr, .owner = owner};
    slot->m = backend_alloc(o->backend, elements(p), sizeof(float), err);
    if (slot->m == NULL)
        return -1;
    slot->v = backend_alloc(o->backend, elements(p), sizeof(float), err);
    if (slot->v == NULL) {
        backend_free(o->backend, slot->m);
        return -1;
    }
    o->count++;
    return 0;
}

static int set_moments(struct optimizer *o, struct optimizer_slot *slot, struct error *err) {
    const size_t n = elements(slot->param);

    if (slot->moments_set)
        return 0;
    slot->moments_set = fill_zero(o, slot->m, n, err) == 0 && fill_zero(o, slot->v, n, err) == 0;
    return slot->moments_set ? 0 : -1;
}

int optimizer_set_moments(struct optimizer *o, struct error *err) {
    for (size_t i = 0; i < o->count; i++)
        if (set_moments(o, &o->slots[i], err) != 0)
            return -1;
    return 0;
}

void optimizer_zero_grad(struct optimizer *o) {
    for (size_t i = 0; i < o->count; i++)
        o->slots[i].param->stale = true;
}

static bool takes_part(const struct optimizer_slot *slot, int owner) {
    return owner == OPTIMIZER_ALL || slot->owner == (uint32_t)owner;
}

/* Sums of squares of gradients, those that nothing was added to among them, or of weights; one for each slot that takes
 * part. */
static int sum_squares(const struct optimizer *o, int owner, bool weights, double *out, struct error *err) {
    for (size_t i = 0; i < o->count; i++) {
        struct model_param *p = o->slots[i].param;
        const struct rein_sum_squares a = {.size = sizeof(a), .n = (int64_t)elements(p),
                                           .x = weights ? param_master(p) : p->grad, .out = &out[i]};

        if (!takes_part(&o->slots[i], owner))
            continue;
        if ((!weights && param_fresh_grad(o->backend, p, err) != 0) ||
            backend_check(o->backend, o->backend->k.sum_squares(o->backend->dev, &a), "sum_squares", err) != 0) {
            /* the sums before this one are still written to out, which the caller frees */
            backend_sync(o->backend, NULL);
            return -1;
        }
    }
    return backend_sync(o->backend, err);
}

int optimizer_norm(const struct optimizer *o, int owner, double *norm, struct error *err) {
    double total = 0, *squares = mem_zeros(o->count, sizeof(*squares));
    int rc;

    if (squares == NULL)
        return error_nomem(err, "gradient norm");
    rc = sum_squares(o, owner, false, squares, err);
    for (size_t i = 0; i < o->count; i++)
        total += squares[i];
    *norm = sqrt(total);
    free(squares);
    return rc;
}

/* A sum of squares of float32 numbers in float64 cannot overflow: it is finite when they all are. */
int optimizer_check_finite(const struct optimizer *o, struct error *err) {
    double *squares = mem_zeros(o->count, sizeof(*squares));
    int rc;

    if (squares == NULL)
        return error_nomem(err, "weights");
    rc = sum_squares(o, OPTIMIZER_ALL, true, squares, err);
    for (size_t i = 0; rc == 0 && i < o->count; i++)
        if (!isfinite(squares[i]))
            rc = error_run(err, "%s holds a number that is not finite: not saved", o->slots[i].param->name);
    free(squares);
    return rc;
}

int optimizer_step(struct optimizer *o, int owner, double factor, double norm, struct error *err) {
    const struct optimizer_options *c = &o->options;
    /* clip_grad_norm_'s formula, its 1e-6 included */
    const double clip = c->max_grad_norm > 0 ? fmin(1, c->max_grad_norm / (norm + 1e-6)) : 1;

    for (size_t i = 0; i < o->count; i++) {
        struct optimizer_slot *slot = &o->slots[i];
        struct model_param *p = slot->param;
        const struct rein_adamw a = {
            .size = sizeof(a), .dtype = p->w.dtype, .n = (int64_t)elements(p), .step = slot->steps + 1, .p = p->w.data,
            .master = p->master, .g = p->grad, .m = slot->m, .v = slot->v, .lr = slot->lr * factor,
            .beta1 = c->beta1, .beta2 = c->beta2, .eps = c->eps, .weight_decay = p->decay || c->weight_decay_all ? c->weight_decay : 0, .grad_scale = clip};

        if (!takes_part(slot, owner))
            continue;
        if (set_moments(o, slot, err) != 0)
            return -1;
        if (backend_check(o->backend, o->backend->k.adamw(o->backend->dev, &a), "adamw", err) != 0)
            return -1;
        slot->steps++;
    }
    return 0;
}

uint64_t optimizer_elements(const struct optimizer *o) {
    uint64_t total = 0;

    for (size_t i = 0; i < o->count; i++)
        total += elements(o->slots[i].param);
    return total;
}
