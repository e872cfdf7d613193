/* SPDX-License-Identifier: MIT */
#include "pipeline/lora_read.h"

#include "model/peft.h"

#include <stddef.h>

#define LORA(field, t) .name = #field, .type = REIN_PARAM_##t, .offset = offsetof(struct lora_options, field)
static const struct rein_param rows[] = {
    {LORA(rank, INT), .dflt = "16", .min = 1, .max = 65536, .doc = "Rank of what is added to each layer's weights."},
    {LORA(alpha, REAL), .dflt = "32", .min = -1e6, .max = 1e6,
     .doc = "What is added is multiplied by alpha / rank."},
    {LORA(targets, STRING | REIN_PARAM_LIST),
     .doc = "Linear layers that get an adapter, by PEFT's rule: a name, or the end of one after a dot ([q_proj, v_proj]); "
            "left out, or [all-linear], all of the decoder's."},
    {LORA(dropout, REAL), .dflt = "0", .min = 0, .max = 0.99,
     .doc = "Share of the layers' inputs that the adapters lose in training; must be 0 where the model samples."},
    {LORA(rslora, BOOL), .dflt = "false", .flags = REIN_PARAM_ADVANCED, .doc = "Multiply by alpha / sqrt(rank)."},
    {LORA(merge, BOOL), .dflt = "false",
     .doc = "Write the whole model with the adapter added to its weights, in place of an adapter for PEFT."},
    {.name = NULL},
};
const struct params lora_params = {"lora", rows, sizeof(*rows), sizeof(struct lora_options)};
const char *const lora_key[] = {"lora", NULL};

bool lora_is_adapter(const struct pipeline *p, const struct model_use *use) {
    const struct stage *s = pipeline_writer(p, use);

    if (s != NULL)
        return s->model.source.lora ? !s->model.source.lora->merge : lora_is_adapter(p, &s->model);
    return !use->share && !use->source.random && peft_is_adapter(use->source.path);
}

bool lora_trains(const struct pipeline *p, const struct model_use *use) {
    return use->source.lora != NULL || lora_is_adapter(p, use);
}

int lora_read_options(struct build *b, const struct stage *s, struct model_use *use) {
    const struct node *n = node_get(use->node, "lora");

    if (n == NULL)
        return 0;
    if (use->share)
        return build_fail(b, s, n, "lora: a critic that shares the policy shares its adapter");
    use->source.lora = params_bind(&lora_params, n, NULL, b->arena, b->err);
    if (use->source.lora == NULL)
        return -1;
    if (lora_is_adapter(b->p, use))
        return build_fail(b, s, n, "lora: %s is an adapter already, which trains on without this; to begin another, write "
                          "that one with 'merge: true' or by rein merge", use->from);
    if (use->source.random && !use->source.lora->merge)
        return build_fail(b, s, n, "lora: its base is drawn at random and lies in no file: an adapter alone would be lost; "
                          "use 'merge: true'");
    return 0;
}

static const struct lora_options *dropping(const struct model_use *use) {
    return use->present && use->source.lora && use->source.lora->dropout > 0 ? use->source.lora : NULL;
}

int lora_check_stage(struct build *b, struct stage *s, bool wants_reference) {
    const struct model_use *at = dropping(&s->model) ? &s->model : dropping(&s->critic) ? &s->critic : NULL;

    if (s->on_policy && at)
        return build_fail(b, s, node_get(node_get(at->node, "lora"), "dropout"),
                          "lora.dropout: the ratio of probabilities would differ from 1 before any step");
    if (at && s->model.dropout > 0)
        return build_fail(b, s, node_get(node_get(at->node, "lora"), "dropout"),
                          "lora.dropout: the model's own 'dropout' is there already: one of the two");
    if (!wants_reference || s->reference.present || !lora_trains(b->p, &s->model))
        return 0;
    s->reference = s->model;
    s->reference.node = NULL;
    s->reference.dropout = 0;
    s->reference.bootstrap = false;
    s->reference.source.trainable = false;
    s->reference.source.lora = NULL;
    return 0;
}
