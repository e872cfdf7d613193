/* SPDX-License-Identifier: MIT */
#include "pipeline/wiring.h"

#include "base/log.h"
#include "pipeline/lora_read.h"

static const struct node *section(const struct stage *s, const char *name) {
    const struct node *n = node_get(s->node, name);

    return n ? n : s->node;
}

/* The option in its section, else the section, else the stage. */
static const struct node *option(const struct stage *s, const char *name, const char *key) {
    const struct node *n = node_get(node_get(s->node, name), key);

    return n ? n : section(s, name);
}

static bool given(const struct stage *s, const char *name, const char *key) {
    return params_given(node_get(s->node, name), key);
}

static const struct node *algorithm_node(const struct stage *s, size_t i) {
    return node_get(s->algorithms[i].marks.mapping, "use");
}

/* ---- the algorithms together -------------------------------------------------------------------- */

static int check_mixture(struct build *b, struct stage *s) {
    for (size_t i = 1; i < s->nalgorithms; i++) {
        const struct stage_algorithm *a = &s->algorithms[i];
        const char *name = a->plugin->name;

        if (a->needs.data == REIN_DATA_PROMPTS)
            return build_fail(b, s, algorithm_node(s, i), s->on_policy ? "%s: only one algorithm can sample completions"
                              : "%s samples completions and must be the first", name);
        if (s->on_policy && a->data == NULL)
            return build_fail(b, s, a->marks.mapping, "%s beside %s needs 'data' of its own", name,
                              s->algorithms[0].plugin->name);
    }
    if (s->on_policy && s->algorithms[0].data)
        return build_fail(b, s, node_get(s->algorithms[0].marks.mapping, "data"),
                          "%s takes its prompts from the stage's 'data'", s->algorithms[0].plugin->name);
    return 0;
}

static uint32_t all_needs(const struct stage *s) {
    uint32_t needs = 0;

    for (size_t i = 0; i < s->nalgorithms; i++)
        needs |= s->algorithms[i].needs.needs;
    return needs;
}

/* The algorithm that asks for it first. */
static const char *who(const struct stage *s, uint32_t need) {
    for (size_t i = 0; i < s->nalgorithms; i++)
        if (s->algorithms[i].needs.needs & need)
            return s->algorithms[i].plugin->name;
    return s->algorithms[0].plugin->name;
}

/* ---- what is needed is there, and only that ------------------------------------------------------- */

static int check_heads(struct build *b, const struct stage *s, uint32_t needs) {
    const uint32_t tokens = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_ENTROPY;
    const struct node *head = option(s, "model", "head");

    if ((needs & REIN_NEED_SCORE) && s->model.source.head != MODEL_SCORE)
        return build_fail(b, s, head, "%s trains scores: the model needs 'head: score'", who(s, REIN_NEED_SCORE));
    if (s->model.source.head == MODEL_SCORE && (s->on_policy || (needs & tokens)))
        return build_fail(b, s, head, "%s needs probabilities of tokens, which a model with a score head has not",
                          s->on_policy ? s->algorithms[0].plugin->name : who(s, tokens));
    return 0;
}

static int check_models(struct build *b, struct stage *s, uint32_t needs) {
    const char *name = s->algorithms[0].plugin->name;

    if ((needs & REIN_NEED_REFERENCE) && !s->reference.present)
        return build_fail(b, s, s->node, "%s needs a 'reference' model", who(s, REIN_NEED_REFERENCE));
    if (!(needs & REIN_NEED_REFERENCE) && s->reference.present) {
        if (!s->on_policy)
            return build_fail(b, s, s->reference.node, "%s as configured uses no 'reference'", name);
        log_warn("%s:%zu: stage '%s': %s as configured uses no reference: it is not loaded", s->reference.node->file,
                 s->reference.node->line, s->name, name);
        s->reference.present = false;
    }
    if ((needs & REIN_NEED_CRITIC) && !s->critic.present)
        return build_fail(b, s, s->node, "%s needs a 'critic'", who(s, REIN_NEED_CRITIC));
    if (!(needs & REIN_NEED_CRITIC) && s->critic.present)
        return build_fail(b, s, s->critic.node, "%s as configured uses no 'critic'", name);
    if ((needs & (REIN_NEED_REWARD | REIN_NEED_FAMILY)) && s->nrewards == 0)
        return build_fail(b, s, s->node, "%s needs 'rewards'", who(s, REIN_NEED_REWARD | REIN_NEED_FAMILY));
    if (!(needs & (REIN_NEED_REWARD | REIN_NEED_FAMILY)) && s->nrewards > 0)
        return build_fail(b, s, section(s, "rewards"), "%s as configured uses no 'rewards'", name);
    return 0;
}

/* ---- sections -------------------------------------------------------------------------------------- */

static int check_sampling(struct build *b, struct stage *s, uint32_t needs) {
    const struct rein_needs *main = &s->algorithms[0].needs;
    struct rollout_config *r = &s->rollout;
    const char *name = s->algorithms[0].plugin->name;

    if (node_get(s->node, "rollout") == NULL)
        return build_fail(b, s, s->node, "%s samples completions: the stage needs 'rollout'", name);
    if (r->top_k != 0 || r->top_p != 1)
        return build_fail(b, s, option(s, "rollout", r->top_k ? "top_k" : "top_p"),
                          "rollout.%s: sampling from a part of the vocabulary would make the ratio of probabilities "
                          "differ from 1 before any step", r->top_k ? "top_k" : "top_p");
    if (given(s, "rollout", "temperature") && r->temperature == 0)
        return build_fail(b, s, option(s, "rollout", "temperature"), "rollout.temperature: must be above 0 to sample");
    if ((needs & REIN_NEED_GROUPS) && r->group < 2)
        return build_fail(b, s, option(s, "rollout", "group"), "%s compares completions of one prompt: rollout.group must "
                          "be at least 2", who(s, REIN_NEED_GROUPS));
    if (r->temperature == 0)
        r->temperature = main->temperature > 0 ? main->temperature : 1;
    if (r->max_tokens == 0)
        r->max_tokens = main->max_tokens ? main->max_tokens : 128;
    return 0;
}

static int check_on_policy(struct build *b, struct stage *s) {
    const int64_t completions = s->rollout.prompts * s->rollout.group;
    struct train_config *t = &s->train;

    if (s->nalgorithms == 1 && given(s, "train", "batch")) /* beside others, `batch` counts their rows */
        return build_fail(b, s, option(s, "train", "batch"), "train.batch: a stage that samples counts completions by "
                          "'minibatch'");
    if (t->steps == 0)
        return build_fail(b, s, section(s, "train"), "train.steps: say how many optimiser steps a stage that samples takes");
    if (t->minibatch > completions)
        return build_fail(b, s, option(s, "train", "minibatch"), "train.minibatch: a rollout has only %lld completions "
                          "(prompts x group), got '%lld'", (long long)completions, (long long)t->minibatch);
    if (t->minibatch == 0)
        t->minibatch = completions;
    if (t->micro_batch > t->minibatch)
        return build_fail(b, s, option(s, "train", "micro_batch"), "train.micro_batch: larger than the minibatch of %lld",
                          (long long)t->minibatch);
    return 0;
}

static int check_off_policy(struct build *b, struct stage *s) {
    const struct train_config *t = &s->train;
    const char *name = s->algorithms[0].plugin->name;

    if (node_get(s->node, "rollout") != NULL)
        return build_fail(b, s, section(s, "rollout"), "%s samples no completions: the stage has no 'rollout'", name);
    if (given(s, "train", "minibatch"))
        return build_fail(b, s, option(s, "train", "minibatch"), "train.minibatch: only for stages that sample; use 'batch'");
    if (t->micro_batch > t->batch)
        return build_fail(b, s, option(s, "train", "micro_batch"), "train.micro_batch: larger than the batch of %lld",
                          (long long)t->batch);
    return 0;
}

static void fill_defaults(struct stage *s) {
    const struct rein_needs *main = &s->algorithms[0].needs;
    struct train_config *t = &s->train;

    if (!given(s, "train", "lr")) /* a 0 that is written is meant */
        t->lr = main->lr > 0 ? main->lr : 1e-5;
    if (!given(s, "critic", "lr"))
        s->critic.lr = t->lr;
    if (t->micro_batch == 0)
        t->micro_batch = s->on_policy ? t->minibatch : t->batch;
    if (t->epochs == 0 && (s->on_policy || t->steps == 0)) /* with steps alone the rows repeat as often as it takes */
        t->epochs = main->epochs ? main->epochs : 1;
}

int wiring_check(struct build *b, struct stage *s) {
    const uint32_t needs = all_needs(s);

    s->on_policy = s->algorithms[0].needs.data == REIN_DATA_PROMPTS;
    if (check_mixture(b, s) || check_heads(b, s, needs) || lora_check_stage(b, s, (needs & REIN_NEED_REFERENCE) != 0) || check_models(b, s, needs))
        return -1;
    if (s->on_policy ? check_sampling(b, s, needs) || check_on_policy(b, s) : check_off_policy(b, s))
        return -1;
    fill_defaults(s);
    return 0;
}
