/* core/model/lora.h - low-rank adapters: what trains beside the linear layers of a frozen trunk.
 * SPDX-License-Identifier: MIT
 *
 *   y = x W^T + scale (x A^T) B^T,   A [rank][in], B [out][rank],   scale = alpha / rank, or alpha / sqrt(rank)
 *
 * Hu et al., LoRA, 2021; rslora: Kalajdzievski, 2023. Names, defaults and starting values are those of Hugging Face's PEFT.
 * An adapter belongs to views of a trunk (model.h), not to the trunk: one is on while a view runs, or none.
 */
#ifndef REIN_CORE_LORA_H
#define REIN_CORE_LORA_H

#include "model/trunk.h"

struct flow;
struct peft;

/* What is added to one linear layer. The parts of a fused tensor share A and have rows of one B. */
struct lora_pair {
    struct model_param *a, *b;      /* NULL: nothing is added */
};

struct lora {
    unsigned references;
    struct backend *backend;
    int64_t rank;
    double alpha;
    float scale;
    bool rslora, trainable;
    struct lora_pair *pairs;        /* [npairs], as the trunk's parameters */
    size_t npairs;
    int64_t lowest;                 /* layer with a pair */
    struct model_param **params;    /* every A and B once, in the order of the layers */
    size_t nparams, capacity;
    char *base;                     /* where the trunk was read from */
    json_t *config;                 /* adapter_config.json as it is written, but for the base and the task */
    float *scratch;                 /* device [2][n][rank], then [n][widest] when inputs are dropped */
    int64_t room, widest;           /* floats of scratch; columns of the widest layer's input */
    const struct flow *flow;        /* what it is on for */
};

/* Are the options right for a model of this kind? An error without a place. */
int lora_check(const struct lora_options *o, const struct model_config *c, struct error *err);
/* How many parameters it will have. */
uint64_t lora_parameters(const struct lora_options *o, const struct model_config *c);

/* The names and shapes of an adapter for t (planned), no memory yet: of a new one, or of one in files. */
int lora_plan(const struct trunk *t, const struct lora_options *o, struct lora **out, struct error *err);
int lora_plan_file(const struct trunk *t, struct peft *file, struct lora **out, struct error *err);
/* Values: A uniform within 1/sqrt(in) by the seed and B zero, which changes nothing yet; or those of the file. */
int lora_draw(struct lora *l, struct backend *b, uint64_t seed, struct error *err);
int lora_read(struct lora *l, struct backend *b, const struct peft *file, bool trainable, struct error *err);
void lora_release(struct lora *l); /* frees it with the last reference; NULL is fine */
void lora_leave(struct lora *l, struct trunk *t); /* the same, and takes it off t when it was the last */

/* Puts it on for what goes through next (NULL: takes off what is on). Stays on until the next call. */
int lora_use(struct trunk *t, struct lora *l, const struct flow *f, struct error *err);
/* The lowest layer in which something trains while it is on: see trunk's first_trained. */
int64_t lora_lowest(const struct trunk *t);
/* y += the adapter's part, for a layer that has one. */
int lora_forward(const struct trunk *t, const struct model_param *w, int64_t n, const float *x, float *y,
                 struct error *err);
/* The gradients of A and B from dy; then, of the same layer, dx += what goes through A. x is not read after the first. */
int lora_dw(const struct trunk *t, const struct model_param *w, int64_t n, const float *dy, const float *x,
            struct error *err);
int lora_dx(const struct trunk *t, const struct model_param *w, int64_t n, float *dx, struct error *err);
/* values[rows][cols] += scale B A, for a model that is written as a whole. `index`: of the trunk's parameter. */
int lora_merge(const struct lora *l, size_t index, float *values, struct error *err);

#endif
