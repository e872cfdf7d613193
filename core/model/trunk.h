/* core/model/trunk.h - inside a model: shared by the files of core/model, not for others.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TRUNK_H
#define REIN_CORE_TRUNK_H

#include "model/model.h"

/* One decoder layer; what the family does not have is NULL. Vectors (norms, biases) are float32 in every model. */
struct layer {
    struct model_param *norm1, *norm1_bias;
    struct model_param *q, *k, *v, *o;
    struct model_param *q_bias, *k_bias, *v_bias, *o_bias;
    struct model_param *q_norm, *k_norm; /* [head_dim] */
    struct model_param *norm2, *norm2_bias;
    struct model_param *gate, *up, *down; /* gate is NULL when the MLP is not gated */
    struct model_param *gate_bias, *up_bias, *down_bias;
};

struct trunk {
    unsigned references;
    struct backend *backend;
    struct model_config config;
    struct tokenizer *tokenizer;    /* NULL when the folder has none */
    unsigned *tokenizer_users;      /* trunks that hold it: clones share it */
    char *path;                     /* where it came from: for messages, and files copied when saving */
    uint32_t dtype;                 /* model_source's */
    bool trainable, from_gguf;
    struct tensors *file;           /* kept open: frozen weights lie in it, and are saved from it; else NULL */
    bool stays;                     /* model_stay */
    struct trunk *next;             /* in the list of frozen trunks that others may join */
    struct model_param **params;    /* in the order of the layers; each its own allocation, so that pointers stay */
    size_t nparams, capacity;
    struct layer *layers;           /* [config.layers] */
    size_t nlayers;
    int64_t first_trained;          /* the lowest layer in which something trains: the backward pass ends there. -1: the
                                       embedding trains, too; nlayers: at most the final norm and lm_head do */
    struct model_param *embedding, *norm, *norm_bias;
    struct model_param *positions;  /* learned ones; NULL with rope */
    struct model_param *lm_head;    /* the embedding itself when tied; NULL when opened for another head alone */
    float *frequencies;             /* host [head_dim / 2] */
    float rope_scale, embedding_scale;
    struct lora *lora;              /* the adapter that is on, or NULL: see lora.h */
};

struct model {
    struct trunk *trunk;
    enum model_head head;
    bool random;                    /* drawn, not read */
    struct lora *lora;              /* the view's adapter, or NULL */
    struct model_param *head_param; /* score [heads][hidden] or value [1][hidden], else NULL */
    struct model_standard standard; /* of a score head */
};

/* Marks what source->freeze names, of the trunk and of a score or value head, and finds first_trained; the
 * parameters are planned. *which: the pattern that an error is about, or nfreeze. */
int trunk_freeze(struct trunk *t, const struct model_source *source, size_t *which, struct error *err);
/* Is its score or value head frozen? */
bool freeze_names_head(const struct model_source *source);

/* Of a trunk whose configuration is borrowed, and which was only planned. */
void trunk_unplan(struct trunk *t);
void trunk_release(struct trunk *t); /* frees it with the last reference */
/* *out [vocabulary] marks the ids past the tokenizer's last token, which a padded vocabulary has; NULL when there are
 * none. free() it. */
int trunk_padding(const struct trunk *t, uint8_t **out, struct error *err);

static inline float *param_vector(const struct model_param *p) {
    return p ? p->w.data : NULL;
}
static inline float *param_grad(const struct model_param *p) {
    return p ? p->grad : NULL;
}

#endif
