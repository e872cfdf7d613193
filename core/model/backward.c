/* SPDX-License-Identifier: MIT */
#include "model/lora.h"
#include "model/transformer.h"

int run_linear_dw(const struct trunk *t, struct model_param *w, struct model_param *bias, int64_t n, const float *dy,
                  const float *x, struct error *err) {
    struct rein_linear_dw a = {
        .size = sizeof(a),
        .m = n,
        .rows = w->w.rows,
        .cols = w->w.cols,
        .lddy = w->w.rows,
        .ldx = w->w.cols,
        .lddw = w->w.cols,
        .dy = dy,
        .x = x,
        .dw = w->grad,
        .dbias = param_grad(bias),
    };

    if (!a.dw && !a.dbias) /* frozen */
        return 0;
    if (param_fresh_grad(t->backend, w, err) || param_fresh_grad(t->backend, bias, err))
        return -1;
    return backend_check(t->backend, t->backend->k.linear_dw(t->backend->dev, &a), "linear_dw", err);
}

int run_linear_dx(const struct trunk *t, struct model_param *w, int64_t n, const float *dy, float *dx, float beta,
                  struct error *err) {
    struct rein_linear_dx a = {
        .size = sizeof(a),
        .w = &w->w,
        .m = n,
        .lddy = w->w.rows,
        .lddx = w->w.cols,
        .dy = dy,
        .dx = dx,
        .beta = beta,
    };

    return backend_check(t->backend, t->backend->k.linear_dx(t->backend->dev, &a), "linear_dx", err);
}

/* Both gradients of y = x W^T + bias, and those of its adapter; dx may lie where x was. */
static int linear_back(const struct trunk *t, struct model_param *w, struct model_param *bias, int64_t n,
                       const float *dy, const float *x, float *dx, float beta, struct error *err) {
    if (run_linear_dw(t, w, bias, n, dy, x, err) || (w->adapter && lora_dw(t, w, n, dy, x, err)) ||
        run_linear_dx(t, w, n, dy, dx, beta, err))
        return -1;
    return w->adapter ? lora_dx(t, w, n, dx, err) : 0;
}

/* dx = beta dx + the gradient through call's norm */
static int norm_back(const struct trunk *t, const struct norm_call *call, const float *dy, float *dx, float beta,
                     struct error *err) {
    struct rein_norm_dx a = {
        .size = sizeof(a),
        .kind = t->config.family->norm,
        .n = call->n,
        .cols = call->cols,
        .ldx = call->cols,
        .lddy = call->cols,
        .lddx = call->cols,
        .x = call->x,
        .weight = param_vector(call->weight),
        .rstd = call->rstd,
        .mean = call->mean,
        .dy = dy,
        .dx = dx,
        .dweight = param_grad(call->weight),
        .dbias = param_grad(call->bias),
        .beta = beta,
        .offset = t->config.family->norm_offset,
    };

    if (param_fresh_grad(t->backend, call->weight, err) || param_fresh_grad(t->backend, call->bias, err))
        return -1;
    return backend_check(t->backend, t->backend->k.norm_dx(t->backend->dev, &a), "norm_dx", err);
}

/* The gradient of what attention or the MLP of a layer gave, from that of the sum it went into: through dropout it is
 * in w->dxn. */
static const float *output_back(const struct trunk *t, const struct flow *f, uint32_t place, struct work *w,
                                struct error *err) {
    if (!flow_drops(f))
        return w->dx;
    return flow_drop(t, f, place, w->dx, w->dxn, err) ? NULL : w->dxn;
}

/* The MLP: w->dx is the gradient of the layer's output and gets that of its middle added. */
static int mlp_back(const struct trunk *t, size_t index, struct work *w, const struct flow *f, struct error *err) {
    const struct layer *l = &t->layers[index];
    struct acts *a = &w->layers[index];
    struct backend *b = t->backend;
    const float *dout = output_back(t, f, PLACE_MLP + 2 * (uint32_t)index, w, err);
    int64_t n = f->n, h = t->config.hidden, i = t->config.intermediate;
    struct norm_call norm = {n, h, l->norm2, l->norm2_bias, a->mid, w->xn, a->rstd2, a->mean2};
    struct rein_activation_dx act = {
        .size = sizeof(act),
        .kind = t->config.activation,
        .n = n,
        .cols = i,
        .ldgate = i,
        .ldup = i,
        .lddy = i,
        .gate = a->gate ? a->gate : a->up,
        .up = a->gate ? a->up : NULL,
        .dy = w->dact,
        .dgate = a->gate ? a->gate : a->up, /* in place: the values are not needed again */
        .dup = a->gate ? a->up : NULL,
    };

    if (!dout || run_activation(t, a, n, w->act, err) ||
        linear_back(t, l->down, l->down_bias, n, dout, w->act, w->dact, 0, err) ||
        backend_check(b, b->k.activation_dx(b->dev, &act), "activation_dx", err) || run_norm(t, &norm, err) ||
        linear_back(t, l->up, l->up_bias, n, a->up, w->xn, w->dxn, 0, err))
        return -1;
    if (l->gate && linear_back(t, l->gate, l->gate_bias, n, a->gate, w->xn, w->dxn, 1, err))
        return -1;
    return norm_back(t, &norm, w->dxn, w->dx, 1, err);
}

/* From w->datt to w->dq, w->dk and w->dv, the gradients of what the projections gave. */
static int attend_back(const struct trunk *t, const struct layer *l, struct work *w, struct acts *a,
                       const struct flow *f, struct error *err) {
    const struct model_config *c = &t->config;
    struct backend *b = t->backend;
    int64_t n = f->n, q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    struct rein_attention_dx args = {
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
        .lddq = q,
        .lddk = kv,
        .lddv = kv,
        .q = a->q,
        .k = a->k,
        .v = a->v,
        .out = a->att,
        .lse = a->lse,
        .dout = w->datt,
        .dq = w->dq,
        .dk = w->dk,
        .dv = w->dv,
        .scale = attention_scale(c),
    };

    if (backend_zero(b, w->dq, (size_t)(n * q) * sizeof(float), err) ||
        backend_zero(b, w->dk, (size_t)(n * kv) * sizeof(float), err) ||
        backend_zero(b, w->dv, (size_t)(n * kv) * sizeof(float), err) ||
        backend_check(b, b->k.attention_dx(b->dev, &args), "attention_dx", err) ||
        run_rope(t, f, c->heads, w->dq, -1, err) || run_rope(t, f, c->kv_heads, w->dk, -1, err))
        return -1;
    if (!l->q_norm)
        return 0;
    struct norm_call qn = {n * c->heads, c->head_dim, l->q_norm, NULL, a->q_raw, NULL, a->q_rstd, NULL};
    struct norm_call kn = {n * c->kv_heads, c->head_dim, l->k_norm, NULL, a->k_raw, NULL, a->k_rstd, NULL};
    return norm_back(t, &qn, w->dq, w->dq, 0, err) || norm_back(t, &kn, w->dk, w->dk, 0, err) ? -1 : 0;
}

static int attention_back(const struct trunk *t, size_t index, struct work *w, const struct flow *f,
                          struct error *err) {
    const struct layer *l = &t->layers[index];
    struct acts *a = &w->layers[index];
    const float *dout = output_back(t, f, PLACE_ATTENTION + 2 * (uint32_t)index, w, err);
    int64_t n = f->n;
    struct norm_call norm = {n, t->config.hidden, l->norm1, l->norm1_bias, a->x, w->xn, a->rstd1, a->mean1};

    if (!dout || linear_back(t, l->o, l->o_bias, n, dout, a->att, w->datt, 0, err) || attend_back(t, l, w, a, f, err) ||
        run_norm(t, &norm, err) || linear_back(t, l->q, l->q_bias, n, w->dq, w->xn, w->dxn, 0, err) ||
        linear_back(t, l->k, l->k_bias, n, w->dk, w->xn, w->dxn, 1, err) ||
        linear_back(t, l->v, l->v_bias, n, w->dv, w->xn, w->dxn, 1, err))
        return -1;
    return norm_back(t, &norm, w->dxn, w->dx, 1, err);
}

/* The rows of an embedding's table that were looked up get w->dx. */
static int look_up_back(const struct trunk *t, const struct work *w, struct model_param *table, int64_t n,
                        const int32_t *ids, float scale, struct error *err) {
    struct rein_embedding_dw a = {
        .size = sizeof(a),
        .n = n,
        .cols = t->config.hidden,
        .vocabulary = table->w.rows,
        .lddout = t->config.hidden,
        .lddw = t->config.hidden,
        .ids = ids,
        .dout = w->dx,
        .dw = table->grad,
        .scale = scale,
    };

    if (!a.dw)
        return 0;
    if (param_fresh_grad(t->backend, table, err))
        return -1;
    return backend_check(t->backend, t->backend->k.embedding_dw(t->backend->dev, &a), "embedding_dw", err);
}

int transformer_backward(const struct trunk *t, struct work *w, const struct flow *f, struct error *err) {
    struct norm_call last = {f->n, t->config.hidden, t->norm, t->norm_bias, w->out, NULL, w->rstd, w->mean};
    const int64_t lowest = lora_lowest(t);

    if (norm_back(t, &last, w->dx, w->dx, 0, err))
        return -1;
    for (int64_t i = (int64_t)t->nlayers - 1; i >= 0 && i >= lowest; i--)
        if ((w->keep == KEEP_INPUTS && layer_inside(t, (size_t)i, w, f, err)) || mlp_back(t, (size_t)i, w, f, err) ||
            attention_back(t, (size_t)i, w, f, err))
            return -1;
    if (lowest >= 0)
        return 0;
    if (flow_drops(f) && flow_drop(t, f, PLACE_EMBEDDING, w->dx, w->dx, err))
        return -1;
    if (t->positions && look_up_back(t, w, t->positions, f->n, f->positions, 1.0f, err))
        return -1;
    return look_up_back(t, w, t->embedding, f->n, f->ids, t->embedding_scale, err);
}
