/* core/model/transformer.h - the decoder: forward and backward over packed rows, and the arrays it needs.
 * SPDX-License-Identifier: MIT
 *
 * With h = hidden, i = intermediate, n = rows (tokens):
 *   x = embedding[ids] (+ positions[position], and no rope then)
 *   L times:  x += o(attention(rope(q(xn)), rope(k(xn)), v(xn))),  xn = norm1(x)
 *             x += down(act(gate(xn)) * up(xn)),                   xn = norm2(x)
 *   hidden = norm(x)
 */
#ifndef REIN_CORE_TRANSFORMER_H
#define REIN_CORE_TRANSFORMER_H

#include "model/pass.h"
#include "model/trunk.h"

/* What one layer leaves behind for the backward pass. xn and act(gate) * up are cheap and computed again. */
struct acts {
    float *x;            /* [n][h] entering the layer */
    float *rstd1, *mean1; /* [n]; mean: layer norm only */
    float *q, *k, *v;    /* [n][heads * head_dim], [n][kv_heads * head_dim] twice; q and k after norm and rope */
    float *q_raw, *k_raw; /* before qk-norm; the same arrays as q and k without it */
    float *q_rstd, *k_rstd; /* [n * heads], [n * kv_heads] */
    float *att, *lse;    /* [n][heads * head_dim], [n][heads] */
    float *mid;          /* [n][h] after attention */
    float *rstd2, *mean2;
    float *gate, *up;    /* [n][i] before the activation; an ungated MLP has only up */
};

/* How much of a forward pass stays for the backward pass: nothing; what enters each layer, whose inside is computed again
 * (gradient checkpointing); all of struct acts. */
enum keep { KEEP_NOTHING, KEEP_INPUTS, KEEP_ALL };

/* The arrays of one pass over n rows. `kept` ones stay until the backward pass is done, `scratch` is used by one call at a
 * time; arrays that are never in use together lie over each other. */
struct work {
    enum keep keep;
    struct acts *layers;  /* [layers]; what is not kept is one set for all */
    float *xn, *act;      /* [n][h], [n][i] */
    float *out;           /* [n][h] leaving the last layer */
    float *rstd, *mean;   /* of the final norm */
    float *hidden;        /* [n][h]; of KEEP_NOTHING in scratch */
    /* backward only */
    float *dx; /* [n][h] kept, before the layers: the gradient of hidden, which the heads add to, then of what enters
                  each layer */
    float *dxn;           /* [n][h] */
    float *datt, *dq, *dk, *dv, *dact;
};
struct work_bytes {
    uint64_t kept, scratch; /* UINT64_MAX: beyond counting */
};
struct work_bytes work_bytes(const struct model_config *c, uint64_t n, enum keep keep);
/* The first so many bytes of what is kept are read still while the backward pass has `layers` to go through;
 * one more than there are: and the final norm. */
uint64_t work_waiting(const struct model_config *c, uint64_t n, enum keep keep, uint64_t layers);
/* Sets the arrays. With the same n, keep and kept, what is kept stays when scratch moves. */
void work_lay_out(struct work *w, const struct model_config *c, uint64_t n, enum keep keep, float *kept, float *scratch);
/* The same for rows from .. from + n of `all`: what is kept lies in arrays of all rows, from row `from` of each. */
struct work_part {
    uint64_t all, from, n;
};
void work_lay_out_part(struct work *w, const struct model_config *c, const struct work_part *part, enum keep keep,
                       float *kept, float *scratch);
/* Columns of the widest array. */
uint64_t work_widest(const struct model_config *c);
/* The arrays that a forward pass over n rows leaves in `kept` with KEEP_ALL, in the order in which they lie there;
 * returns how many. With out NULL they are only counted. */
struct work_array {
    float *at;
    uint64_t columns;
};
size_t work_kept_arrays(const struct model_config *c, uint64_t n, float *kept, struct work_array *out);

/* A cache of keys and values: per layer [rows][kv_heads * head_dim]. New rows go where `runs` (long ones) or `rows`
 * (single ones, whose place holds zeros) say. */
struct cache_run {
    int64_t from, to, count;
};
struct kv_cache {
    float *k, *v;
    int64_t rows, width;
    const struct cache_run *runs;
    uint32_t nruns;
    const int32_t *targets; /* host [n] */
};

/* What goes through. Host arrays, unchanged until the next sync. */
struct flow {
    int64_t n;
    const int32_t *ids, *positions; /* [n] */
    const struct rein_segment *segments; /* kv and prefix rows: of the cache, if there is one */
    uint32_t nsegments;
    struct kv_cache *cache; /* NULL: keys and values are those of the n rows themselves */
    const struct pass_perturb *perturb; /* NULL: none. Its keys are [n] here */
    bool leaving;           /* weights in a mapped file are given back after each layer */
};

/* The places that draw from a row's key: 0 the embedding, 1 + 2 i the attention output of layer i, 2 + 2 i its MLP's,
 * and the head's input past them. */
enum { PLACE_EMBEDDING, PLACE_ATTENTION, PLACE_MLP };
static inline uint32_t place_head(const struct trunk *t) {
    return 1 + 2 * (uint32_t)t->nlayers;
}

/* Leaves the normed states in w->hidden, and in w->layers what w->keep says. */
int transformer_forward(const struct trunk *t, struct work *w, const struct flow *f, struct error *err);
/* From w->dx to the gradients of all parameters (added). Uses up w->layers. */
int transformer_backward(const struct trunk *t, struct work *w, const struct flow *f, struct error *err);
/* The same with an adapter on (NULL: none). */
int adapted_forward(struct trunk *t, struct lora *l, struct work *w, const struct flow *f, struct error *err);
int adapted_backward(struct trunk *t, struct lora *l, struct work *w, const struct flow *f, struct error *err);

/* The forward pass of a layer from its x to its gate and up. */
int layer_inside(const struct trunk *t, size_t index, struct work *w, const struct flow *f, struct error *err);

/* Kernel calls on dense rows: ld is the number of columns everywhere. */
int run_linear(const struct trunk *t, struct model_param *w, const struct model_param *bias, int64_t n, const float *x,
               float *y, float beta, struct error *err);
/* dw += dy^T x (and dbias); dx = beta dx + dy W */
int run_linear_dw(const struct trunk *t, struct model_param *w, struct model_param *bias, int64_t n, const float *dy,
                  const float *x, struct error *err);
int run_linear_dx(const struct trunk *t, struct model_param *w, int64_t n, const float *dy, float *dx, float beta,
                  struct error *err);
struct norm_call {
    int64_t n, cols;
    struct model_param *weight, *bias;
    const float *x;
    float *y, *rstd, *mean;
};
int run_norm(const struct trunk *t, const struct norm_call *call, struct error *err);
/* y = x perturbed; y may be x */
struct perturb_call {
    const struct pass_perturb *how;
    int64_t n;
    const uint64_t *keys;
    const int32_t *positions;
    uint32_t place;
    const float *x;
    float *y;
};
int run_perturb(const struct trunk *t, const struct perturb_call *call, struct error *err);
/* Is there dropout inside the trunk? Then, at place + 2 layer: */
bool flow_drops(const struct flow *f);
int flow_drop(const struct trunk *t, const struct flow *f, uint32_t place, const float *x, float *y, struct error *err);
int run_rope(const struct trunk *t, const struct flow *f, int64_t heads, float *x, int direction, struct error *err);
int run_activation(const struct trunk *t, const struct acts *a, int64_t n, float *y, struct error *err);
int64_t attention_window(const struct model_config *c);
float attention_scale(const struct model_config *c);

#endif
