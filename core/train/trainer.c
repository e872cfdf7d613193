/* SPDX-License-Identifier: MIT */
#include "train/trainer.h"

#include "base/mem.h"
#include "train/signals.h"

#include <stdlib.h>
#include <string.h>

static int add_parameters(struct optimizer *o, struct model *m, double lr, uint32_t owner, struct error *err) {
    for (size_t i = 0; i < model_params(m); i++)
        if (optimizer_add(o, model_param(m, i), lr, owner, err) != 0)
            return -1;
    return 0;
}

static int open_critic(const struct stage *s, uint64_t seed, struct trainer *t, struct error *err) {
    struct model_source source = s->critic.source;

    if (!s->critic.present)
        return error_input(err, "stage %s: the algorithm needs a critic", s->name);
    source.trainable = source.lodges = true;
    source.head_seed = seed ^ 0x2545F4914F6CDD1Dull; /* its adapter draws apart from the policy's */
    if (source.head != MODEL_SCORE)
        source.head = MODEL_VALUE;
    t->shared = s->critic.share;
    if (t->shared)
        return model_share(t->actor, MODEL_VALUE, source.path ? &source : NULL, &t->critic, err);
    if (model_open(t->backend, &source, &t->critic, err) != 0 || pass_create(t->critic, &t->critic_pass, err) != 0)
        return -1;
    model_stay(t->critic);
    pass_recompute(t->critic_pass, s->critic.checkpointing);
    return 0;
}

static int open_reference(const struct stage *s, struct trainer *t, struct error *err) {
    struct model_source source = s->reference.source;

    if (!s->reference.present)
        return error_input(err, "stage %s: the algorithm needs a reference", s->name);
    source.trainable = false;
    source.head = MODEL_LM;
    if (model_open(t->backend, &source, &t->reference, err) != 0)
        return -1;
    return pass_create(t->reference, &t->reference_pass, err);
}

int trainer_open_optimizers(const struct stage *s, double lr, struct trainer *t, struct error *err) {
    const struct train_config *c = &s->train;
    const struct optimizer_options options = {.beta1 = c->beta1, .beta2 = c->beta2, .eps = c->eps,
                                              .weight_decay = c->weight_decay, .max_grad_norm = c->max_grad_norm,
                                              .weight_decay_all = c->weight_decay_all != 0};

    if (pass_lodge(t->actor_pass, err) != 0 || (t->critic_pass != NULL && pass_lodge(t->critic_pass, err) != 0) ||
        optimizer_create(t->backend, &options, &t->optimizer, err) != 0 ||
        add_parameters(t->optimizer, t->actor, lr, OWNER_ACTOR, err) != 0)
        return -1;
    if (t->critic == NULL)
        return 0;
    if (t->shared)
        return add_parameters(t->optimizer, t->critic, lr, OWNER_CRITIC, err);
    if (optimizer_create(t->backend, &options, &t->critic_optimizer, err) != 0)
        return -1;
    return add_parameters(t->critic_optimizer, t->critic, s->critic.lr, OWNER_CRITIC, err);
}

int trainer_open(const struct stage *s, const struct stage_env *env, uint32_t needs, struct trainer *out,
                 struct error *err) {
    struct model_source source = s->model.source;

    *out = (struct trainer){.backend = env->backend};
    source.trainable = source.lodges = true;
    source.head_seed = env->seed;
    if (needs & REIN_NEED_SCORE)
        source.head = MODEL_SCORE;
    if (model_open(env->backend, &source, &out->actor, err) != 0 ||
        pass_create(out->actor, &out->actor_pass, err) != 0)
        goto fail;
    model_stay(out->actor);
    pass_recompute(out->actor_pass, s->model.checkpointing);
    if ((needs & REIN_NEED_CRITIC) && open_critic(s, env->seed, out, err) != 0)
        goto fail;
    if ((needs & REIN_NEED_REFERENCE) && open_reference(s, out, err) != 0)
        goto fail;
    return 0;
fail:
    trainer_close(out);
    return -1;
}

void trainer_drop_reference(struct trainer *t) {
    pass_free(t->reference_pass);
    model_close(t->reference);
    t->reference_pass = NULL;
    t->reference = NULL;
}

void trainer_close(struct trainer *t) {
    if (t->backend != NULL)
        backend_scratch_free(t->backend); /* of this stage's size */
    optimizer_free(t->optimizer);
    optimizer_free(t->critic_optimizer);
    pass_free(t->actor_pass);
    pass_free(t->critic_pass);
    trainer_drop_reference(t);
    model_close(t->critic);
    model_close(t->actor);
    *t = (struct trainer){0};
}

void trainer_touch(struct trainer *t) {
    model_touch(t->actor);
    if (t->critic != NULL)
        model_touch(t->critic);
}

static struct pass_targets targets_of(const struct batch *b, double temperature) {
    return (struct pass_targets){
        .n = b->view.tokens, .rows = b->rows, .targets = b->targets, .temperature = temperature};
}

static int forward_critic(struct trainer *t, struct batch *b, bool keep, struct error *err) {
    struct pass *pass = t->shared ? t->actor_pass : t->critic_pass;

    const bool there = t->shared || (keep && pass_holds(pass, &b->packed));

    if (!there && pass_forward(pass, &b->packed, keep, err) != 0)
        return -1;
    if (b->view.tokens > 0 && pass_scores(pass, t->critic, b->view.tokens, b->rows, b->value, err) != 0)
        return -1;
    b->view.value = b->value;
    return 0;
}

/* Each head's score, and the mean. */
static int forward_scores(struct trainer *t, struct batch *b, struct error *err) {
    const uint32_t heads = model_heads(t->actor), rows = b->view.rows;

    b->view.score = b->score;
    if (heads == 1)
        return pass_scores(t->actor_pass, t->actor, rows, b->last, b->score, err);
    if (mem_grow((void **)&b->scores, &b->scores_capacity, (size_t)rows * heads, sizeof(*b->scores)) != 0 ||
        mem_grow((void **)&b->d_scores, &b->d_scores_capacity, (size_t)rows * heads, sizeof(*b->d_scores)) != 0)
        return error_nomem(err, "a micro-batch");
    if (pass_head_scores(t->actor_pass, t->actor, rows, b->last, b->scores, err) != 0)
        return -1;
    for (uint32_t r = 0; r < rows; r++) {
        double sum = 0;

        for (uint32_t k = 0; k < heads; k++)
            sum += (double)b->scores[(size_t)r * heads + k];
        b->score[r] = (float)(sum / heads);
    }
    return 0;
}

int trainer_forward(struct trainer *t, struct batch *b, const struct trainer_forward *how, struct error *err) {
    if (pass_perturb(t->actor_pass, how->perturb, b->packed.count, err) != 0)
        return -1;
    /* the first step over a rollout finds there what sampling recorded */
    if (!(how->keep && pass_holds(t->actor_pass, &b->packed)) &&
        pass_forward(t->actor_pass, &b->packed, how->keep, err) != 0)
        return -1;
    if (how->needs & REIN_NEED_LOGP) {
        const struct pass_targets targets = targets_of(b, how->temperature);

        if (targets.n > 0 &&
            pass_logprobs(t->actor_pass, &targets, b->logp, b->entropy, how->best ? b->best : NULL, err) != 0)
            return -1;
        b->view.logp = b->logp;
        b->view.entropy = b->entropy;
    }
    if ((how->needs & REIN_NEED_SCORE) && forward_scores(t, b, err) != 0)
        return -1;
    if (how->needs & REIN_NEED_CRITIC)
        return forward_critic(t, b, how->keep, err);
    return 0;
}

static bool any(const float *x, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (x[i] != 0)
            return true;
    return false;
}

static int backward_critic(struct trainer *t, struct batch *b, struct error *err) {
    struct pass *pass = t->shared ? t->actor_pass : t->critic_pass;

    if (b->view.tokens > 0 && pass_scores_backward(pass, t->critic, b->view.tokens, b->rows, b->d_value, err) != 0)
        return -1;
    /* a shared trunk's own backward pass follows when everything has been added to it */
    return t->shared || b->view.tokens == 0 ? 0 : pass_backward(pass, err);
}

int trainer_backward(struct trainer *t, struct batch *b, const struct trainer_forward *how, bool critic_only,
                     struct error *err) {
    bool reached = false;

    if (how->needs & REIN_NEED_CRITIC) {
        if (backward_critic(t, b, err) != 0)
            return -1;
        reached = t->shared && b->view.tokens > 0;
    }
    if (critic_only)
        return 0; /* of a shared trunk only the value head moves */
    if ((how->needs & REIN_NEED_LOGP) && b->view.tokens > 0) {
        const struct pass_targets targets = targets_of(b, how->temperature);
        const float *d_entropy = any(b->d_entropy, b->view.tokens) ? b->d_entropy : NULL;

        if (pass_logprobs_backward(t->actor_pass, &targets, b->d_logp, d_entropy, err) != 0)
            return -1;
        reached = true;
    }
    if (how->needs & REIN_NEED_SCORE) {
        const float *d_score = model_heads(t->actor) == 1 ? b->d_score : b->d_scores;

        if (pass_scores_backward(t->actor_pass, t->actor, b->view.rows, b->last, d_score, err) != 0)
            return -1;
        reached = true;
    }
    return reached ? pass_backward(t->actor_pass, err) : 0;
}

/* Runs `pass` over all samples, chunk by chunk, and reads one number per token. */
static int each_token(struct pass *pass, struct model *value_head, const struct samples *s, uint32_t chunk, bool keep,
                      double temperature, float *out, struct error *err) {
    const struct batch_norms norms = {0};
    struct batch b = {0};
    uint32_t *units;
    int rc = -1;

    chunk = chunk < s->units ? chunk : s->units;
    units = mem_array(chunk, sizeof(*units));
    if (units == NULL)
        return error_nomem(err, "a batch");
    for (uint32_t at = 0; at < s->units; at += chunk) {
        const uint32_t count = s->units - at < chunk ? s->units - at : chunk;
        float *to = out + s->offset[s->unit[at]];

        for (uint32_t i = 0; i < count; i++)
            units[i] = at + i;
        if (at + count == s->units)
            pass_leave(pass, true);
        if (signals_check(err) != 0 || batch_build(&b, s, units, count, BATCH_ALL, &norms, err) != 0 ||
            pass_forward(pass, &b.packed, keep, err) != 0)
            goto out;
        if (b.view.tokens == 0)
            continue;
        if (value_head != NULL) {
            if (pass_scores(pass, value_head, b.view.tokens, b.rows, to, err) != 0)
                goto out;
        } else {
            const struct pass_targets targets = targets_of(&b, temperature);
            if (pass_logprobs(pass, &targets, to, NULL, NULL, err) != 0)
                goto out;
        }
    }
    rc = 0;
out:
    pass_leave(pass, false);
    free(units);
    batch_free(&b);
    return rc;
}

int trainer_logprobs(struct pass *pass, const struct samples *s, uint32_t chunk, double temperature, float *out,
                     struct error *err) {
    return each_token(pass, NULL, s, chunk, false, temperature, out, err);
}

int trainer_values(struct trainer *t, const struct samples *s, uint32_t chunk, bool keep, float *out,
                   struct error *err) {
    return each_token(t->shared ? t->actor_pass : t->critic_pass, t->critic, s, chunk,
                      keep && !t->shared && chunk >= s->units, 1, out, err);
}
