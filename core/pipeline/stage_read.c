/* SPDX-License-Identifier: MIT */
#include "pipeline/stage_read.h"

#include "base/file.h"
#include "base/suggest.h"
#include "pipeline/instances.h"
#include "pipeline/lora_read.h"
#include "pipeline/models.h"
#include "pipeline/wiring.h"
#include "text/template_yaml.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* model:, reference: and critic: */
struct use_options {
    const char *from;
    int64_t head, heads, share, warmup_steps, dtype;
    double lr, dropout;
    uint8_t bootstrap, gradient_checkpointing;
    struct rein_list freeze;
};
static const char *const heads[] = {"lm", "score", "value", NULL}; /* in the order of enum model_head */
static const char *const shares[] = {"none", "policy", NULL};

#define FROM                                                                                                           \
    {.name = "from", .type = REIN_PARAM_MODEL, .offset = offsetof(struct use_options, from),                           \
     .doc = "An earlier stage, a model of `models:`, a Hugging Face folder or a .gguf file."}
#define HEAD(usual)                                                                                                    \
    {.name = "head", .type = REIN_PARAM_CHOICE, .offset = offsetof(struct use_options, head), .choices = heads,        \
     .dflt = usual, .doc = "lm predicts tokens, score rates a text, value rates each token."}
#define TRAINED_DTYPE                                                                                                  \
    MODELS_DTYPE(struct use_options, dtype,                                                                            \
                 "bf16: weights in bfloat16, and float32 masters that the optimiser updates; auto and f32: float32.")
#define FROZEN_DTYPE                                                                                                   \
    MODELS_DTYPE(struct use_options, dtype, "How its matrices are held in memory; auto: as the file has them.")
#define FREEZE                                                                                                         \
    {.name = "freeze", .type = REIN_PARAM_STRING | REIN_PARAM_LIST, .offset = offsetof(struct use_options, freeze),    \
     .doc = "What does not train: embedding, lm_head, norms, biases, trunk, layers.0-5, or globs over names of "       \
            "parameters (\"*.mlp.*\")."}
#define CHECKPOINTING                                                                                                  \
    {.name = "gradient_checkpointing", .type = REIN_PARAM_BOOL,                                                        \
     .offset = offsetof(struct use_options, gradient_checkpointing), .dflt = "false",                                  \
     .doc = "Keep only what enters each layer and compute the inside again in the backward pass: the same numbers from " \
            "a fraction of the memory, for a quarter more time."}
static const struct rein_param model_rows[] = {
    FROM, HEAD("lm"), TRAINED_DTYPE, FREEZE, CHECKPOINTING,
    {.name = "heads", .type = REIN_PARAM_INT, .offset = offsetof(struct use_options, heads), .max = CONFIG_MAX_HEADS,
     .doc = "Score heads on the one trunk, each drawn and trained by itself: an ensemble; left out, as many as the model "
            "has, else 1."},
    {.name = "bootstrap", .type = REIN_PARAM_BOOL, .offset = offsetof(struct use_options, bootstrap), .dflt = "false",
     .doc = "Each of several heads learns from a sample of the data of its own, drawn with replacement."},
    {.name = "dropout", .type = REIN_PARAM_REAL, .offset = offsetof(struct use_options, dropout), .max = 0.99,
     .doc = "Share of the embedding, attention and MLP outputs and of the head's input that a reward model loses in "
            "training."},
    {.name = NULL},
};
static const struct rein_param reference_rows[] = {FROM, FROZEN_DTYPE, {.name = NULL}};
static const struct rein_param critic_rows[] = {
    FROM, HEAD("value"), TRAINED_DTYPE, FREEZE, CHECKPOINTING,
    {.name = "share", .type = REIN_PARAM_CHOICE, .offset = offsetof(struct use_options, share), .choices = shares,
     .doc = "policy: a value head on the policy itself, in place of a model of its own."},
    {.name = "lr", .type = REIN_PARAM_REAL, .offset = offsetof(struct use_options, lr), .max = 10,
     .doc = "Its learning rate; left out, the stage's."},
    {.name = "warmup_steps", .type = REIN_PARAM_INT, .offset = offsetof(struct use_options, warmup_steps), .max = 1e9,
     .doc = "Optimiser steps at the beginning that train the critic alone."},
    {.name = NULL},
};
const struct params use_params = {"model", model_rows, sizeof(*model_rows), sizeof(struct use_options)};
const struct params reference_params = {"reference", reference_rows, sizeof(*reference_rows), sizeof(struct use_options)};
const struct params critic_params = {"critic", critic_rows, sizeof(*critic_rows), sizeof(struct use_options)};

static const char *const keys[] = {"name", "algorithm", "algorithms", "model", "reference", "critic", "rewards", "reward_backend",
                                   "reward_device", "data", "rollout", "train", "checkpoint", NULL};

static int check_keys(struct build *b, const struct stage *s) {
    for (size_t i = 0; i < s->node->count; i++) {
        const struct node *key = s->node->keys[i];
        struct suggestion near = {0};
        char hint[128];
        size_t k = 0;

        while (keys[k] && strcmp(keys[k], key->text) != 0)
            suggest_offer(&near, key->text, keys[k++]);
        if (keys[k] == NULL)
            return node_error(key, b->err, "a stage has no key '%.60s'%s", key->text,
                              suggest_text(&near, hint, sizeof(hint)));
    }
    return 0;
}

/* ---- models ---------------------------------------------------------------------------- */

/* Fills use->from and source. `lm`: it must predict tokens, so a stage that trains scores will not do. */
static int resolve_use(struct build *b, struct stage *s, const struct node *at, const char *name, bool lm,
                       struct model_use *use) {
    const struct stage *earlier;

    use->present = true;
    use->from = name;
    if (models_resolve(b, s, at, name, &use->source, &earlier) != 0)
        return -1;
    if (lm && earlier != NULL && earlier->model.source.head != MODEL_LM)
        return build_fail(b, s, at, "stage '%s' trains a score head: what it writes predicts no tokens", name);
    return 0;
}

/* The trained models' own options. */
static int read_trained(struct build *b, struct stage *s, const char *what, const struct use_options *o,
                        struct model_use *use) {
    const struct node *dtype = node_get(use->node, "dtype");

    use->source.trainable = true;
    use->source.freeze = o->freeze.items;
    use->source.nfreeze = (size_t)o->freeze.count;
    if (lora_trains(b->p, use))
        return use->source.nfreeze ? build_fail(b, s, node_get(use->node, "freeze"), "%s.freeze: beside an adapter "
                                                "everything is frozen", what) : 0;
    if (use->source.dtype != REIN_F16)
        return 0;
    return build_fail(b, s, dtype ? dtype : use->node, "%s: nothing trains in f16, whose range is too small for it%s", what,
                      dtype ? ": use bf16 or f32" : ": 'dtype: f32' here overrules what the model says");
}

static int read_model(struct build *b, struct stage *s) {
    const struct node *n = node_get(s->node, "model");
    const struct use_options *o;
    struct model_use *use = &s->model;

    if (n == NULL)
        return build_fail(b, s, s->node, "needs a 'model' to train");
    use->node = n;
    o = params_bind(&use_params, n, lora_key, b->arena, b->err);
    if (o == NULL)
        return -1;
    if (o->from == NULL)
        return build_fail(b, s, n, "model needs 'from'");
    if (o->head == MODEL_VALUE)
        return build_fail(b, s, node_get(n, "head"), "a value head belongs to a critic: use lm or score");
    use->source.dtype = models_dtype(o->dtype);
    use->source.head = (enum model_head)o->head;
    use->source.heads = (uint32_t)o->heads;
    use->dropout = o->dropout;
    use->bootstrap = o->bootstrap != 0;
    use->checkpointing = o->gradient_checkpointing != 0;
    if (o->head != MODEL_SCORE && (o->heads > 0 || o->bootstrap || o->dropout > 0)) {
        const char *key = o->heads > 0 ? "heads" : o->bootstrap ? "bootstrap" : "dropout";

        return build_fail(b, s, node_get(n, key), "model.%s: only a reward model (head: score) has it%s", key,
                          o->dropout > 0 ? ": a policy's ratio of probabilities would differ from 1" : "");
    }
    if (o->bootstrap && o->heads < 2)
        return build_fail(b, s, node_get(n, "bootstrap"), "model.bootstrap: it is for several heads: say how many 'heads'");
    if (resolve_use(b, s, node_get(n, "from"), o->from, o->head != MODEL_SCORE, use) != 0 ||
        lora_read_options(b, s, use) != 0)
        return -1;
    return read_trained(b, s, "model", o, use);
}

static int read_reference(struct build *b, struct stage *s) {
    const struct node *n = node_get(s->node, "reference");
    const struct use_options *o;

    if (n == NULL)
        return 0;
    s->reference.node = n;
    o = params_bind(&reference_params, n, NULL, b->arena, b->err);
    if (o == NULL)
        return -1;
    if (o->from == NULL)
        return build_fail(b, s, n, "reference needs 'from'");
    s->reference.source.dtype = models_dtype(o->dtype);
    return resolve_use(b, s, node_get(n, "from"), o->from, true, &s->reference);
}

static int read_critic(struct build *b, struct stage *s) {
    const struct node *n = node_get(s->node, "critic");
    const struct use_options *o;
    struct model_use *use = &s->critic;

    if (n == NULL)
        return 0;
    use->node = n;
    o = params_bind(&critic_params, n, lora_key, b->arena, b->err);
    if (o == NULL)
        return -1;
    use->share = o->share != 0;
    use->lr = o->lr;
    use->warmup_steps = o->warmup_steps;
    use->checkpointing = o->gradient_checkpointing != 0;
    use->source.head = MODEL_VALUE;
    use->source.dtype = models_dtype(o->dtype);
    if (o->head != MODEL_VALUE)
        return build_fail(b, s, node_get(n, "head"), "a critic's head is 'value'");
    if (use->share && o->from != NULL)
        return build_fail(b, s, node_get(n, "from"), "the critic shares the policy or comes from a model of its own, not both");
    if (use->share && use->checkpointing)
        return build_fail(b, s, node_get(n, "gradient_checkpointing"), "a critic that shares the policy goes through the "
                          "policy's layers: say it of the model");
    if (use->share && o->lr != 0)
        return build_fail(b, s, node_get(n, "lr"), "a critic that shares the policy learns at the policy's rate");
    if (use->share && (o->dtype || o->freeze.count))
        return build_fail(b, s, node_get(n, o->dtype ? "dtype" : "freeze"), "critic.%s: it is the policy's own when it is "
                          "shared", o->dtype ? "dtype" : "freeze");
    if (use->share) {
        use->present = true;
        use->from = s->model.from;
        use->source.trainable = true;
        return lora_read_options(b, s, use);
    }
    if (o->from == NULL)
        return build_fail(b, s, n, "critic needs 'from', or 'share: policy'");
    if (resolve_use(b, s, node_get(n, "from"), o->from, false, use) != 0 || lora_read_options(b, s, use) != 0)
        return -1;
    return read_trained(b, s, "critic", o, use);
}

/* ---- plugins ---------------------------------------------------------------------------- */

struct bound {
    const struct rein_plugin *plugin;
    const void *config;
    struct params_marks marks;
    const struct node *use;
};

static int bind_plugin(struct build *b, struct stage *s, const struct node *n, uint32_t kind,
                       const char *const *reserved, struct bound *out) {
    const char *name;
    const struct module *m;
    struct params *table;

    if (n->type != NODE_MAPPING)
        return build_fail(b, s, n, "%s: expected a mapping with 'use'", kind_name(kind));
    out->use = node_get(n, "use");
    if (out->use == NULL)
        return build_fail(b, s, n, "%s needs 'use', the name of a plugin", kind_name(kind));
    if (node_string(out->use, &name, b->err) != 0)
        return -1;
    m = registry_find(b->registry, kind, name, b->err);
    if (m == NULL)
        return node_place(out->use, b->err);
    table = arena_alloc(b->arena, sizeof(*table));
    if (table == NULL)
        return error_nomem(b->err, "stage");
    *table = params_of(m->plugin);
    out->plugin = m->plugin;
    out->marks = (struct params_marks){n, table};
    out->config = params_bind(table, n, reserved, b->arena, b->err);
    return out->config ? 0 : -1;
}

static int read_weight(struct build *b, struct stage *s, const struct node *n, bool positive, double *out) {
    const struct node *weight = node_get(n, "weight");
    const char *expected = weight ? node_read_real(weight, out) : NULL;
    char got[128];

    if (weight == NULL) {
        *out = 1;
        return 0;
    }
    if (expected != NULL)
        return build_fail(b, s, weight, "weight: expected %s, got %s", expected, node_got(weight, got, sizeof(got)));
    if (positive && !(*out > 0))
        return build_fail(b, s, weight, "the weight of an algorithm must be above 0, got '%s'", weight->text);
    return 0;
}

static int data_path(struct build *b, struct stage *s, const struct node *at, const char *written, const char **out) {
    *out = build_path(b, written);
    if (*out == NULL)
        return error_nomem(b->err, "data");
    if (!file_exists(*out) || file_is_folder(*out))
        return build_fail(b, s, at, "there is no file %s", *out);
    return 0;
}

/* The file that one of several algorithms learns from; how it is read, the stage's own `data` says. */
static int read_own_data(struct build *b, struct stage *s, const struct node *data, const char **out) {
    const struct node *train = node_get(data, "train");
    const char *written;

    if (data->type == NODE_MAPPING)
        return build_fail(b, s, data, "the 'data' of one of several algorithms is a file: write 'data: %.200s'; its other "
                          "options are those of the stage's 'data'",
                          train && train->type == NODE_SCALAR ? train->text : "FILE");
    return node_string(data, &written, b->err) != 0 || data_path(b, s, data, written, out) != 0 ? -1 : 0;
}

static int add_algorithm(struct build *b, struct stage *s, const struct node *n, bool many) {
    static const char *const alone[] = {"use", NULL}, *const among[] = {"use", "weight", "data", NULL};
    struct stage_algorithm *a = &s->algorithms[s->nalgorithms];
    const struct node *data = node_get(n, "data");
    struct bound bound;

    if (bind_plugin(b, s, n, REIN_KIND_ALGORITHM, many ? among : alone, &bound) != 0)
        return -1;
    *a = (struct stage_algorithm){.plugin = bound.plugin, .config = bound.config, .marks = bound.marks, .weight = 1};
    if (many && (read_weight(b, s, n, true, &a->weight) != 0))
        return -1;
    if (many && data && read_own_data(b, s, data, &a->data) != 0)
        return -1;
    s->nalgorithms++;
    return instances_describe(b, bound.use, a);
}

static int read_algorithms(struct build *b, struct stage *s) {
    const struct node *one = node_get(s->node, "algorithm"), *many = node_get(s->node, "algorithms");

    if ((one != NULL) == (many != NULL))
        return build_fail(b, s, many ? many : s->node, one ? "has both 'algorithm' and 'algorithms'" : "needs an 'algorithm'");
    if (one != NULL)
        return add_algorithm(b, s, one, false);
    if (many->type != NODE_SEQUENCE || many->count == 0)
        return build_fail(b, s, many, "algorithms: expected a list of at least one");
    if (many->count > STAGE_MAX_ALGORITHMS)
        return build_fail(b, s, many, "more than %d algorithms", STAGE_MAX_ALGORITHMS);
    for (size_t i = 0; i < many->count; i++)
        if (add_algorithm(b, s, many->items[i], true) != 0)
            return -1;
    return 0;
}

/* ---- rewards ----------------------------------------------------------------------------- */

struct scored_visit {
    struct build *b;
    struct stage *s;
    const struct node *mapping;
    uint32_t dtype;
};

/* A model that a reward source names: it must be there and rate texts. */
static int add_scored(void *ctx, const struct rein_param *row, const char *value) {
    const struct scored_visit *v = ctx;
    const struct node *at = node_get(v->mapping, row->name);
    struct stage *s = v->s;
    struct stage_scored *scored = &s->scored[s->nscored];
    const enum model_head head = row->flags & REIN_PARAM_LM ? MODEL_LM : MODEL_SCORE;
    const struct stage *earlier;

    for (size_t i = 0; i < s->nscored; i++)
        if (strcmp(s->scored[i].name, value) == 0 && s->scored[i].use.source.head == head)
            return s->scored[i].dtype == v->dtype
                       ? 0
                       : build_fail(v->b, s, v->mapping, "%.100s: two rewards want it in different dtypes", value);
    if (at != NULL && at->type == NODE_SEQUENCE)
        for (size_t i = 0; i < at->count; i++)
            if (at->items[i]->type == NODE_SCALAR && strcmp(at->items[i]->text, value) == 0) {
                at = at->items[i];
                break;
            }
    if (at == NULL)
        at = v->mapping;
    if (s->nscored == STAGE_MAX_REWARDS)
        return build_fail(v->b, s, at, "more than %d models in rewards", STAGE_MAX_REWARDS);
    *scored = (struct stage_scored){.name = value, .dtype = v->dtype, .use = {.present = true, .from = value, .node = at}};
    scored->use.source.head = head;
    scored->use.source.dtype = v->dtype;
    if (models_resolve(v->b, s, at, value, &scored->use.source, &earlier) != 0)
        return -1;
    if (earlier != NULL && earlier->model.source.head != head)
        return build_fail(v->b, s, at, head == MODEL_LM ? "stage '%s' trains a score head: what it writes predicts no tokens"
                          : "stage '%s' trains no score head: a reward model does (head: score)", value);
    s->nscored++;
    return 0;
}

/* dtype: of the models that a reward names */
static int read_dtype(struct build *b, struct stage *s, const struct node *n, uint32_t *out) {
    const struct node *dtype = node_get(n, "dtype");
    struct suggestion near = {0};
    const char *name;
    char hint[64];

    *out = 0;
    if (dtype == NULL)
        return 0;
    if (node_string(dtype, &name, b->err) != 0)
        return -1;
    for (int64_t i = 0; models_dtypes[i]; i++) {
        *out = models_dtype(i);
        if (strcmp(models_dtypes[i], name) == 0)
            return 0;
        suggest_offer(&near, name, models_dtypes[i]);
    }
    return build_fail(b, s, dtype, "dtype: expected auto, f32, f16 or bf16, got '%.40s'%s", name,
                      suggest_text(&near, hint, sizeof(hint)));
}

/* normalise: and clip: of a reward */
static int read_shaping(struct build *b, struct stage *s, const struct node *n, struct stage_reward *r) {
    const struct node *normalise = node_get(n, "normalise"), *clip = node_get(n, "clip");
    const char *expected = normalise ? node_read_bool(normalise, &r->normalise) : NULL;
    char got[128];

    if (expected != NULL)
        return build_fail(b, s, normalise, "normalise: expected %s, got %s", expected,
                          node_got(normalise, got, sizeof(got)));
    expected = clip ? node_read_real(clip, &r->clip) : NULL;
    if (expected != NULL)
        return build_fail(b, s, clip, "clip: expected %s, got %s", expected, node_got(clip, got, sizeof(got)));
    if (clip != NULL && !(r->clip > 0))
        return build_fail(b, s, clip, "clip: must be above 0, got '%s'", clip->text);
    return 0;
}

static int add_reward(struct build *b, struct stage *s, const struct node *n) {
    static const char *const reserved[] = {"use", "name", "weight", "normalise", "clip", "dtype", NULL};
    struct stage_reward *r = &s->rewards[s->nrewards];
    const struct node *name = node_get(n, "name");
    struct scored_visit visit = {b, s, n, 0};
    struct bound bound;

    if (bind_plugin(b, s, n, REIN_KIND_REWARD, reserved, &bound) != 0)
        return -1;
    *r = (struct stage_reward){.plugin = bound.plugin, .config = bound.config, .marks = bound.marks,
                               .name = bound.plugin->name};
    if (read_weight(b, s, n, false, &r->weight) != 0 || read_shaping(b, s, n, r) != 0 ||
        read_dtype(b, s, n, &visit.dtype) != 0 || (name && node_string(name, &r->name, b->err) != 0))
        return -1;
    for (size_t i = 0; i < s->nrewards; i++)
        if (strcmp(s->rewards[i].name, r->name) == 0)
            return build_fail(b, s, name ? name : n, "two rewards are called '%s': give one another 'name'", r->name);
    s->nrewards++;
    if (params_visit(bound.marks.table, r->config, REIN_PARAM_MODEL, add_scored, &visit) != 0)
        return -1;
    if (instances_try_reward(b, s, bound.use, r) != 0)
        return -1;
    for (size_t i = 0; i + 1 < s->nrewards; i++)
        if (r->members > 1 && s->rewards[i].members > 1 && r->members != s->rewards[i].members)
            return build_fail(b, s, n, "reward %s has %u members where %s has %u; they must be as many, or one", r->name,
                              r->members, s->rewards[i].name, s->rewards[i].members);
    return 0;
}

static int read_rewards(struct build *b, struct stage *s) {
    const struct node *list = node_get(s->node, "rewards");

    if (list == NULL)
        return 0;
    if (list->type != NODE_SEQUENCE || list->count == 0)
        return build_fail(b, s, list, "rewards: expected a list of at least one");
    if (list->count > STAGE_MAX_REWARDS)
        return build_fail(b, s, list, "more than %d rewards", STAGE_MAX_REWARDS);
    for (size_t i = 0; i < list->count; i++)
        if (add_reward(b, s, list->items[i]) != 0)
            return -1;
    return 0;
}

/* Only what is written there: whether there is such a backend or device shows when it is opened. */
static int read_reward_backend(struct build *b, struct stage *s) {
    const struct node *backend = node_get(s->node, "reward_backend"), *device = node_get(s->node, "reward_device");
    const char *name;

    s->reward_backend_node = backend;
    s->reward_device_node = device;
    if ((backend || device) && s->nscored == 0)
        return build_fail(b, s, backend ? backend : device, "%s: no reward of this stage has a model",
                          backend ? "reward_backend" : "reward_device");
    if ((backend && node_string(backend, &name, b->err) != 0) ||
        (device && node_int(device, &s->reward_device, b->err) != 0))
        return -1;
    if (s->reward_device < 0 || s->reward_device > 4096)
        return build_fail(b, s, device, "reward_device: must lie in [0, 4096]");
    return 0;
}

/* ---- sections ------------------------------------------------------------------------------ */

static int read_section(struct build *b, struct stage *s, const char *name, const struct params *table,
                        const char *const *reserved, void *out) {
    const void *block = params_bind(table, node_get(s->node, name), reserved, b->arena, b->err);

    if (block == NULL)
        return -1;
    memcpy(out, block, table->config_size);
    return 0;
}

/* By name, or spelled out. */
static int read_template(struct build *b, struct stage *s, const struct node *n) {
    if (n != NULL && n->type == NODE_MAPPING)
        return template_read(n, b->arena, &s->data.chat, b->err);
    if (s->data.template && (s->data.chat = template_find(s->data.template, b->err)) == NULL)
        return node_place(n, b->err);
    return 0;
}

static int read_data(struct build *b, struct stage *s) {
    static const char *const spelled_out[] = {"template", NULL};
    const struct node *n = node_get(s->node, "data"), *template = n ? node_get(n, "template") : NULL;
    const bool mapping = template != NULL && template->type == NODE_MAPPING;

    if (n == NULL)
        return build_fail(b, s, s->node, "needs 'data'");
    if (read_section(b, s, "data", &data_params, mapping ? spelled_out : NULL, &s->data) != 0 ||
        data_path(b, s, node_get(n, "train"), s->data.train, &s->train_path) != 0)
        return -1;
    if (s->data.eval && data_path(b, s, node_get(n, "eval"), s->data.eval, &s->eval_path) != 0)
        return -1;
    return read_template(b, s, template);
}

int stage_read(struct build *b, struct stage *s) {
    if (check_keys(b, s) || read_algorithms(b, s) || read_model(b, s) || read_reference(b, s) || read_critic(b, s) ||
        read_rewards(b, s) || read_reward_backend(b, s) || read_data(b, s) || read_section(b, s, "train", &train_params, NULL, &s->train) ||
        read_section(b, s, "rollout", &rollout_params, NULL, &s->rollout) ||
        read_section(b, s, "checkpoint", &checkpoint_params, NULL, &s->checkpoint))
        return -1;
    return wiring_check(b, s);
}
