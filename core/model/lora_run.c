/* SPDX-License-Identifier: MIT
 * An adapter at work. With u = scale x A^T: y += u B^T; dB += dy^T u, du = scale dy B, dA += du^T x, dx += du A.
 */
#include "model/lora.h"

#include "base/mem.h"
#include "model/transformer.h"

enum { PLACES = 1 << 16 }; /* where its draws begin, past those of transformer.h */

/* Are the adapter's inputs dropped? PEFT's lora_dropout. */
static const struct pass_perturb *drops(const struct lora *l) {
    return l->flow->perturb && l->flow->perturb->site == PASS_SITE_ADAPTER ? l->flow->perturb : NULL;
}

static int reserve(struct lora *l, int64_t n, struct error *err) {
    const int64_t columns = 2 * l->rank + (drops(l) ? l->widest : 0), rows = (n + 15) / 16 * 16;
    size_t count;

    if (l->scratch && rows * columns <= l->room)
        return 0;
    backend_free(l->backend, l->scratch);
    l->scratch = NULL;
    if (!size_mul((size_t)rows, (size_t)columns, &count))
        return error_nomem(err, "adapter");
    l->scratch = backend_alloc(l->backend, count, sizeof(float), err);
    l->room = l->scratch ? rows * columns : 0;
    return l->scratch ? 0 : -1;
}

int lora_use(struct trunk *t, struct lora *l, const struct flow *f, struct error *err) {
    if (l) {
        l->flow = f;
        if (reserve(l, f->n, err))
            return -1;
    }
    if (t->lora == l)
        return 0;
    t->lora = l;
    for (size_t i = 0; i < t->nparams; i++)
        t->params[i]->adapter = l && l->pairs[i].a ? &l->pairs[i] : NULL;
    return 0;
}

int64_t lora_lowest(const struct trunk *t) {
    const struct lora *l = t->lora;

    return l && l->trainable && l->lowest < t->first_trained ? l->lowest : t->first_trained;
}

int adapted_forward(struct trunk *t, struct lora *l, struct work *w, const struct flow *f, struct error *err) {
    return lora_use(t, l, f, err) || transformer_forward(t, w, f, err) ? -1 : 0;
}

int adapted_backward(struct trunk *t, struct lora *l, struct work *w, const struct flow *f, struct error *err) {
    return lora_use(t, l, f, err) || transformer_backward(t, w, f, err) ? -1 : 0;
}

static int scale(const struct lora *l, int64_t n, float *u, struct error *err) {
    const struct rein_axpy a = {
        .size = sizeof(a), .n = n, .cols = l->rank, .ldx = l->rank, .ldy = l->rank, .y = u, .beta = l->scale};

    return l->scale == 1 ? 0 : backend_check(l->backend, l->backend->k.axpy(l->backend->dev, &a), "axpy", err);
}

/* The parts of a fused layer lose the same inputs. */
static uint32_t place_of(const struct lora *l, const struct lora_pair *pair) {
    while (pair > l->pairs && pair[-1].a == pair->a)
        pair--;
    return PLACES + (uint32_t)(pair - l->pairs);
}

/* y = x through the dropout of the layer's input, or a gradient back through it. */
static int drop(const struct lora *l, const struct model_param *w, int64_t n, int64_t cols, const float *x, float *y,
                struct error *err) {
    const struct pass_perturb *how = drops(l);
    const struct rein_perturb a = {
        .size = sizeof(a),
        .kind = REIN_PERTURB_DROPOUT,
        .n = n,
        .cols = cols,
        .ldx = cols,
        .ldy = cols,
        .keys = how->keys,
        .positions = l->flow->positions,
        .rate = how->rate,
        .site = place_of(l, w->adapter),
        .x = x,
        .y = y,
    };

    return backend_check(l->backend, l->backend->k.perturb(l->backend->dev, &a), "perturb", err);
}

/* What A reads; NULL on failure. */
static const float *input(const struct lora *l, const struct model_param *w, int64_t n, const float *x,
                          struct error *err) {
    float *dropped = l->scratch + 2 * n * l->rank;

    if (!drops(l))
        return x;
    return drop(l, w, n, w->w.cols, x, dropped, err) ? NULL : dropped;
}

int lora_forward(const struct trunk *t, const struct model_param *w, int64_t n, const float *x, float *y,
                 struct error *err) {
    const struct lora *l = t->lora;
    const struct lora_pair *pair = w->adapter;
    float *u = l->scratch;

    x = input(l, w, n, x, err);
    return !x || run_linear(t, pair->a, NULL, n, x, u, 0, err) || scale(l, n, u, err) ||
                   run_linear(t, pair->b, NULL, n, u, y, 1, err)
               ? -1
               : 0;
}

int lora_dw(const struct trunk *t, const struct model_param *w, int64_t n, const float *dy, const float *x,
            struct error *err) {
    const struct lora *l = t->lora;
    const struct lora_pair *pair = w->adapter;
    float *u = l->scratch, *du = l->scratch + n * l->rank;

    x = input(l, w, n, x, err);
    if (!x || run_linear_dx(t, pair->b, n, dy, du, 0, err) || scale(l, n, du, err))
        return -1;
    if (!l->trainable)
        return 0;
    return run_linear(t, pair->a, NULL, n, x, u, 0, err) || scale(l, n, u, err) ||
                   run_linear_dw(t, pair->b, NULL, n, dy, u, err) || run_linear_dw(t, pair->a, NULL, n, du, x, err)
               ? -1
               : 0;
}

int lora_dx(const struct trunk *t, const struct model_param *w, int64_t n, float *dx, struct error *err) {
    const struct lora *l = t->lora;
    const int64_t cols = w->w.cols;
    float *du = l->scratch + n * l->rank, *wide = l->scratch + 2 * n * l->rank;
    const struct rein_axpy add = {
        .size = sizeof(add), .n = n, .cols = cols, .ldx = cols, .ldy = cols, .x = wide, .y = dx, .alpha = 1, .beta = 1};

    if (!drops(l))
        return run_linear_dx(t, w->adapter->a, n, du, dx, 1, err);
    if (run_linear_dx(t, w->adapter->a, n, du, wide, 0, err) || drop(l, w, n, cols, wide, wide, err))
        return -1;
    return backend_check(l->backend, l->backend->k.axpy(l->backend->dev, &add), "axpy", err);
}
