/* SPDX-License-Identifier: MIT */
#include "model/transformer.h"

#include "model/lora.h"
#include "model/weights.h"

#include <math.h>

int run_linear(const struct trunk *t, struct model_param *w, const struct model_param *bias, int64_t n, const float *x,
               float *y, float beta, struct error *err) {
    struct rein_linear a = {
        .size = sizeof(a),
        .w = &w->w,
        .m = n,
        .ldx = w->w.cols,
        .ldy = w->w.rows,
        .x = x,
        .bias = param_vector(bias),
        .y = y,
        .beta = beta,
    };

    if (backend_check(t->backend, t->backend->k.linear(t->backend->dev, &a), "linear", err))
        return -1;
    return w->adapter ? lora_forward(t, w, n, x, y, err) : 0;
}

int run_norm(const struct trunk *t, const struct norm_call *call, struct error *err) {
    struct rein_norm a = {
        .size = sizeof(a),
        .kind = t->config.family->norm,
        .n = call->n,
        .cols = call->cols,
        .ldx = call->cols,
        .ldy = call->cols,
        .x = call->x,
        .weight = param_vector(call->weight),
        .bias = param_vector(call->bias),
        .y = call->y,
        .rstd = call->rstd,
        .mean = call->mean,
        .eps = t->config.norm_eps,
        .offset = t->config.family->norm_offset,
    };

    return backend_check(t->backend, t->backend->k.norm(t->backend->dev, &a), "norm", err);
}

int run_perturb(const struct trunk *t, const struct perturb_call *call, struct error *err) {
    struct rein_perturb a = {
        .size = sizeof(a),
        .kind = call->how->kind,
        .n = call->n,
        .cols = t->config.hidden,
        .ldx = t->config.hidden,
        .ldy = t->config.hidden,
        .keys = call->keys,
        .positions = call->positions,
        .rate = call->how->rate,
        .site = call->place,
        .x = call->x,
        .y = call->y,
    };

    return backend_check(t->backend, t->backend->k.perturb(t->backend->dev, &a), "perturb", err);
}

bool flow_drops(const struct flow *f) {
    return f->perturb && f->perturb->kind == REIN_PERTURB_DROPOUT && f->perturb->site == REIN_SITE_ALL;
}

int flow_drop(const struct trunk *t, const struct flow *f, uint32_t place, const float *x, float *y,
              struct error *err) {
    struct perturb_call call = {f->perturb, f->n, f->perturb->keys, f->positions, place, x, y};

    return run_perturb(t, &call, err);
}

int run_rope(const struct trunk *t, const struct flow *f, int64_t heads, float *x, int direction, struct error *err) {
    if (t->positions) /* learned ones were added to the embedding */
        return 0;
    struct rein_rope a = {
        .size = sizeof(a),
        .direction = direction,
        .n = f->n,
        .heads = heads,
        .head_dim = t->config.head_dim,
        .ldx = heads * t->config.head_dim,
        .positions = f->positions,
        .frequencies = t->frequencies,
        .x = x,
        .scale = t->rope_scale,
    };

    return backend_check(t->backend, t->backend->k.rope(t->backend->dev, &a), "rope", err);
}

/* y = act(gate) * up, or act(up) without a gate */
int run_activation(const struct trunk *t, const struct acts *a, int64_t n, float *y, struct error *err) {
    int64_t cols = t->config.intermediate;
    struct rein_activation args = {
        .size = sizeof(args),
        .kind = t->config.activation,
        .n = n,
        .cols = cols,
        .ldgate = cols,
        .ldup = cols,
        .ldy = cols,
        .gate = a->gate ? a->gate : a->up,
        .up = a->gate ? a->up : NULL,
        .y = y,
    };

    return backend_check(t->backend, t->backend->k.activation(t->backend->dev, &args), "activation", err);
}

int64_t attention_window(const struct model_config *c) {
    return c->family->window ? c->window : 0;
}

float attention_scale(const struct model_config *c) {
    return (float)(1.0 / sqrt((double)c->head_dim));
}

/* Writes the new keys or values of a layer to their rows of the cache. */
static int store(const struct trunk *t, const struct kv_cache *c, const float *x, float *layer, int64_t n,
                 struct error *err) {
    struct backend *b = t->backend;
    struct rein_gather a = {
        .size = sizeof(a),
        .scatter = 1,
        .n = n,
        .cols = c->width,
        .ldx = c->width,
        .ldout = c->width,
        .rows = c->targets,
        .x = x,
        .out = layer,
    };

    if (!c->runs)
        return backend_check(b, b->k.gather(b->dev, &a), "gather", err);
    for (uint32_t i = 0; i < c->nruns; i++) {
        const struct cache_run *r = &c->runs[i];

        if (backend_copy(b, layer + r->to * c->width, x + r->from * c->width,
                         (size_t)(r->count * c->width) * sizeof(float), err))
            return -1;
    }
    return 0;
}

static int attend(const struct trunk *t, const struct acts *a, const struct flow *f, size_t layer, struct error *err) {
    const struct model_config *c = &t->config;
    struct backend *b = t->backend;
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const float *k = a->k, *v = a->v;

    if (f->cache) {
        float *kc = f->cache->k + (int64_t)layer * f->cache->rows * kv;
        float *vc = f->cache->v + (int64_t)layer * f->cache->rows * kv;

        if (store(t, f->cache, a->k, kc, f->n, err) || store(t, f->cache, a->v, vc, f->n, err))
            return -1;
        k = kc;
        v = vc;
    }
    struct rein_attention args = {
        .size = sizeof(args),
        .nsegments = f->nsegments,
        .segments = f->segments,
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .window = attention_window(c),
        .ldq = q,
        .ldk = kv,
        .ldv = kv,
        .ldout = q,
        .q = a->q,
        .k = k,
        .v = v,
        .out = a->att,
        .lse = a->lse,
        .scale = attention_scale(c),
    };
    return backend_check(b, b->k.attention(b->dev, &args), "attention", err);
}

/* Queries, keys and values of one layer, ready for attention. */
static int project(const struct trunk *t, const struct layer *l, const struct acts *a, const float *xn,
                   const struct flow *f, struct error *err) {
    const struct model_config *c = &t->config;

    if (run_linear(t, l->q, l->q_bias, f->n, xn, a->q_raw, 0, err) ||
        run_linear(t, l->k, l->k_bias, f->n, xn, a->k_raw, 0, err) ||
        run_linear(t, l->v, l->v_bias, f->n, xn, a->v, 0, err))
        return -1;
    if (l->q_norm) {
        struct norm_call q = {f->n * c->heads, c->head_dim, l->q_norm, NULL, a->q_raw, a->q, a->q_rstd, NULL};
        struct norm_call k = {f->n * c->kv_heads, c->head_dim, l->k_norm, NULL, a->k_raw, a->k, a->k_rstd, NULL};

        if (run_norm(t, &q, err) || run_norm(t, &k, err))
            return -1;
    }
    return run_rope(t, f, c->heads, a->q, 1, err) || run_rope(t, f, c->kv_heads, a->k, 1, err) ? -1 : 0;
}

/* out += w x + bias; with dropout what is added goes through `between` first. */
static int add_output(const struct trunk *t, const struct flow *f, uint32_t place, struct model_param *w,
                      const struct model_param *bias, const float *x, float *between, float *out, struct error *err) {
    int64_t h = t->config.hidden;
    struct rein_axpy add = {
        .size = sizeof(add),
        .n = f->n,
        .cols = h,
        .ldx = h,
        .ldy = h,
        .x = between,
        .y = out,
        .alpha = 1,
        .beta = 1,
    };

    if (!flow_drops(f))
        return run_linear(t, w, bias, f->n, x, out, 1, err);
    if (run_linear(t, w, bias, f->n, x, between, 0, err) || flow_drop(t, f, place, between, between, err))
        return -1;
    return backend_check(t->backend, t->backend->k.axpy(t->backend->dev, &add), "axpy", err);
}

/* Everything of a layer up to the product that down takes: then a backward pass has what it needs. */
int layer_inside(const struct trunk *t, size_t index, struct work *w, const struct flow *f, struct error *err) {
    const struct layer *l = &t->layers[index];
    const struct acts *a = &w->layers[index];
    struct backend *b = t->backend;
    int64_t h = t->config.hidden;
    struct norm_call first = {f->n, h, l->norm1, l->norm1_bias, a->x, w->xn, a->rstd1, a->mean1};
    struct norm_call second = {f->n, h, l->norm2, l->norm2_bias, a->mid, w->xn, a->rstd2, a->mean2};

    if (run_norm(t, &first, err) || project(t, l, a, w->xn, f, err) || attend(t, a, f, index, err))
        return -1;
    if (a->mid != a->x && backend_copy(b, a->mid, a->x, (size_t)(f->n * h) * sizeof(float), err))
        return -1;
    if (add_output(t, f, PLACE_ATTENTION + 2 * (uint32_t)index, l->o, l->o_bias, a->att, w->xn, a->mid, err) ||
        run_norm(t, &second, err))
        return -1;
    if (l->gate && run_linear(t, l->gate, l->gate_bias, f->n, w->xn, a->gate, 0, err))
        return -1;
    return run_linear(t, l->up, l->up_bias, f->n, w->xn, a->up, 0, err);
}

/* out may be the layer's mid: then it works in place. */
static int layer_forward(const struct trunk *t, size_t index, struct work *w, float *out, const struct flow *f,
                         struct error *err) {
    const struct layer *l = &t->layers[index];
    const struct acts *a = &w->layers[index];
    size_t bytes = (size_t)(f->n * t->config.hidden) * sizeof(float);

    if (layer_inside(t, index, w, f, err) || run_activation(t, a, f->n, w->act, err))
        return -1;
    if (out != a->mid && backend_copy(t->backend, out, a->mid, bytes, err))
        return -1;
    return add_output(t, f, PLACE_MLP + 2 * (uint32_t)index, l->down, l->down_bias, w->act, w->xn, out, err);
}

static int look_up(const struct trunk *t, struct model_param *table, int64_t n, const int32_t *ids, float scale,
                   float *out, struct error *err) {
    struct rein_embedding a = {
        .size = sizeof(a),
        .w = &table->w,
        .n = n,
        .ldout = t->config.hidden,
        .ids = ids,
        .out = out,
        .scale = scale,
    };

    return backend_check(t->backend, t->backend->k.embedding(t->backend->dev, &a), "embedding", err);
}

/* Tokens and learned positions; uses w->xn. */
static int embed_both(const struct trunk *t, const struct work *w, const struct flow *f, float *out, struct error *err) {
    struct backend *b = t->backend;
    int64_t h = t->config.hidden;
    struct rein_axpy add = {
        .size = sizeof(add),
        .n = f->n,
        .cols = h,
        .ldx = h,
        .ldy = h,
        .x = w->xn,
        .y = out,
        .alpha = 1,
        .beta = 1,
    };

    if (look_up(t, t->embedding, f->n, f->ids, t->embedding_scale, out, err))
        return -1;
    if (!t->positions)
        return 0;
    if (look_up(t, t->positions, f->n, f->positions, 1.0f, w->xn, err))
        return -1;
    return backend_check(b, b->k.axpy(b->dev, &add), "axpy", err);
}

static int embed(const struct trunk *t, const struct work *w, const struct flow *f, float *out, struct error *err) {
    if (embed_both(t, w, f, out, err))
        return -1;
    return f->perturb && f->perturb->site != REIN_SITE_HEAD && f->perturb->site != PASS_SITE_ADAPTER ? flow_drop(t, f, PLACE_EMBEDDING, out, out, err) : 0;
}

int transformer_forward(const struct trunk *t, struct work *w, const struct flow *f, struct error *err) {
    if (embed(t, w, f, w->layers[0].x, err))
        return -1;
    for (size_t i = 0; i < t->nlayers; i++) {
        if (layer_forward(t, i, w, i + 1 < t->nlayers ? w->layers[i + 1].x : w->out, f, err))
            return -1;
        if (f->leaving)
            weights_forget(t, (int32_t)i);
    }
    struct norm_call last = {f->n, t->config.hidden, t->norm, t->norm_bias, w->out, w->hidden, w->rstd, w->mean};
    return run_norm(t, &last, err);
}
