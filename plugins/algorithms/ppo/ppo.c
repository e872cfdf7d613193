/* Proximal policy optimisation for language models. SPDX-License-Identifier: MIT
 *
 * Schulman et al., arXiv 1707.06347, as TRL 1.9's PPOTrainer does it, except that the score
 * is added on the last token (TRL: one past it) and nothing reaches past the last token.
 * Per rollout:                                               per optimiser step:
 *   r_t = -beta KL_t, r_T += score                             rho_t = exp(logp - logp_old)
 *   A, R = GAE(r, V_old; gamma, lambda)  or  r - V(x)          policy = mean max(-A rho, -A clip(rho))
 *   A = whiten(A)                                              value = 0.5 mean max((V-R)^2, (clip(V)-R)^2)
 *                                                              loss = policy + vf_coef value - entropy H
 */
#include <rein/util.h>

#include "common/beta.h"
#include "common/clip.h"
#include "common/gae.h"
#include "common/kl.h"
#include "common/numeric.h"
#include "common/shape.h"
#include "common/whiten.h"

#include <string.h>

enum { ADVANTAGE_GAE, ADVANTAGE_REWARD_MINUS_VALUE };
static const char *const advantages[] = {"gae", "reward-minus-value", NULL};
enum { RATIO_OLD, RATIO_REF };
static const char *const ratios[] = {"old", "ref", NULL};

struct config {
    double beta, target_kl, horizon, gamma, lambda, missing_eos_penalty, reward_clip;
    double clip, dual_clip, vf_coef, clip_value, entropy, target_kl_stop;
    int64_t kl, advantage, ratio;
    uint8_t whiten_rewards, whiten_advantages;
};

struct ppo {
    const struct rein_host *host;
    struct config config;
    struct beta beta;
};

#define ROW(field, t, d) .name = #field, .type = REIN_PARAM_##t, .offset = offsetof(struct config, field), .dflt = d
static const struct rein_param params[] = {
    {ROW(beta, REAL, "0.05"), .min = 0, .max = 1e3,
     .doc = "Weight of the per-token KL penalty in the reward; with target_kl its first value."},
    {ROW(kl, CHOICE, "k1"), .choices = kl_choices,
     .doc = "Estimator of the KL divergence to the reference: k1 unbiased, k2 and k3 never negative."},
    {ROW(target_kl, REAL, "0"), .min = 0, .max = 1e6, .unit = "nats",
     .doc = "Adapt beta so that the KL of a whole completion comes to this; 0 keeps beta fixed."},
    {ROW(horizon, REAL, "10000"), .min = 1, .max = 1e12, .unit = "completions",
     .doc = "How slowly beta adapts: by at most a fifth over this many completions."},
    {ROW(gamma, REAL, "1"), .min = 0, .max = 1, .doc = "Discount of later rewards, per token."},
    {ROW(lambda, REAL, "0.95"), .min = 0, .max = 1,
     .doc = "Generalised advantage estimation: 0 trusts the critic, 1 the sampled rewards."},
    {ROW(advantage, CHOICE, "gae"), .choices = advantages,
     .doc = "Per token by generalised advantage estimation, or the completion's reward minus V(prompt)."},
    {ROW(missing_eos_penalty, REAL, "0"), .min = 0, .max = 1e6,
     .doc = "Taken off the score of a completion that was cut off before it ended; 0 for none."},
    {ROW(reward_clip, REAL, "0"), .min = 0, .max = 1e6,
     .doc = "Scores are limited to plus and minus this before the penalty for a missing end; 0 for no limit."},
    {ROW(whiten_rewards, BOOL, "false"), .doc = "Scale the rollout's per-token rewards to unit deviation."},
    {ROW(whiten_advantages, BOOL, "true"),
     .doc = "Shift and scale the rollout's advantages to zero mean and unit deviation."},
    {ROW(clip, REAL, "0.2"), .min = 0, .max = 1e3,
     .doc = "The probability ratio earns nothing beyond 1 minus and 1 plus this."},
    {ROW(dual_clip, REAL, "0"), .min = 0, .max = 1e6,
     .doc = "Bounds the loss of a bad token at this times its advantage; above 1 (3 is usual), 0 for none."},
    {ROW(ratio, CHOICE, "old"), .choices = ratios,
     .doc = "Denominator of the probability ratio: the policy that sampled, or the reference."},
    {ROW(vf_coef, REAL, "0.1"), .min = 0, .max = 1e3, .doc = "Weight of the value loss."},
    {ROW(clip_value, REAL, "0.2"), .min = 0, .max = 1e6,
     .doc = "The value loss earns nothing for moving further than this from the rollout's value; 0 for no limit."},
    {ROW(entropy, REAL, "0"), .min = 0, .max = 1e3, .doc = "Weight of the entropy bonus."},
    {ROW(target_kl_stop, REAL, "0"), .min = 0, .max = 1e6, .unit = "nats",
     .doc = "Leave a rollout once a step's policy/approxkl_avg exceeds this; 0 never does."},
    {.name = NULL},
};

static rein_status ppo_create(const struct rein_host *host, const void *config, void **self) {
    struct ppo *p;
    const struct config *c = config;

    if (c->dual_clip > 0 && c->dual_clip <= 1)
        return host->fail_param(host->ctx, "dual_clip", "must be above 1, or 0 for none");
    p = host->alloc(host->ctx, sizeof(*p));
    if (!p)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *p = (struct ppo){.host = host, .config = *c};
    beta_init(&p->beta, c->beta);
    *self = p;
    return REIN_OK;
}

static void ppo_destroy(void *self) {
    struct ppo *p = self;
    p->host->free(p->host->ctx, p);
}

static rein_status ppo_describe(void *self, struct rein_needs *needs) {
    const struct config *c = &((const struct ppo *)self)->config;

    needs->data = REIN_DATA_PROMPTS;
    needs->needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_CRITIC | REIN_NEED_REWARD;
    if (c->beta > 0 || c->target_kl > 0 || c->ratio == RATIO_REF)
        needs->needs |= REIN_NEED_REFERENCE;
    if (c->entropy > 0)
        needs->needs |= REIN_NEED_ENTROPY;
    needs->lr = 3e-6;
    needs->temperature = 0.7;
    needs->max_tokens = 53;
    needs->epochs = 4;
    return REIN_OK;
}

static rein_status ppo_prepare(void *self, struct rein_experience *e) {
    struct ppo *p = self;
    const struct config *c = &p->config;
    double *reward = p->host->alloc(p->host->ctx, (3 * (size_t)e->tokens + e->rows + 1) * sizeof(double)), kl = 0;
    double *advantage, *return_, *score;
    rein_status status;

    if (!reward)
        return p->host->fail(p->host->ctx, REIN_ERR_NOMEM, "out of memory for a rollout's rewards");
    advantage = reward + e->tokens;
    return_ = advantage + e->tokens;
    score = return_ + e->tokens;
    for (uint32_t r = 0; r < e->rows; r++)
        score[r] = (double)e->reward[r];
    beta_begin(&p->beta, e->rollout);
    struct shaping how = {p->beta.now, c->kl, c->reward_clip, c->missing_eos_penalty};
    status = shape_rewards(p->host, e, &how, score, reward, &kl);
    if (status != REIN_OK)
        goto out;
    if (c->target_kl > 0)
        rein_metric_mean(e->metrics, "objective/kl_coef", p->beta.now, 1);
    beta_adapt(&p->beta, kl, c->target_kl, c->horizon, e->rows);
    if (c->whiten_rewards)
        whiten(reward, e->mask, e->tokens, 0);
    for (uint32_t r = 0; r < e->rows; r++) {
        uint32_t o = e->offset[r], n = e->offset[r + 1] - o;
        const uint8_t *mask = e->mask ? e->mask + o : NULL;

        if (c->advantage == ADVANTAGE_GAE)
            gae(reward + o, e->value_old + o, mask, n, c->gamma, c->lambda, advantage + o, return_ + o);
        else
            reward_minus_value(reward + o, e->value_old + o, mask, n, c->gamma, advantage + o, return_ + o);
    }
    if (c->whiten_advantages)
        whiten(advantage, e->mask, e->tokens, 1);
    for (uint32_t i = 0; i < e->tokens; i++)
        if (counts(e->mask, i)) {
            e->advantage[i] = (float)advantage[i];
            e->return_[i] = (float)return_[i];
        }
out:
    p->host->free(p->host->ctx, reward);
    return status;
}

static rein_status ppo_loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct config *c = &((const struct ppo *)self)->config;
    const float *denominator = c->ratio == RATIO_REF ? b->logp_ref : b->logp_old;
    double scale = inverse_or_zero(b->norm_tokens), n = 0, policy = 0, value = 0, entropy = 0;
    double approxkl = 0, clipped = 0, value_clipped = 0, ratio = 0, ratio_var = 0;

    for (uint32_t i = 0; i < b->tokens; i++) {
        if (!counts(b->mask, i))
            continue;
        double logr = (double)b->logp[i] - (double)denominator[i], moved = (double)b->logp[i] - (double)b->logp_old[i];
        struct surrogate s = surrogate_clip(logr, (double)b->advantage[i], c->clip, c->clip, c->dual_clip);
        struct value_loss v =
            value_clip((double)b->value[i], (double)b->value_old[i], (double)b->return_[i], c->clip_value);

        policy += s.loss;
        value += v.loss;
        out->d_logp[i] = (float)(s.d_logp * scale);
        out->d_value[i] = (float)(c->vf_coef * v.d_value * scale);
        if (c->entropy > 0)
            out->d_entropy[i] = (float)(-c->entropy * scale);
        if (b->entropy)
            entropy += (double)b->entropy[i];
        approxkl += 0.5 * moved * moved;
        clipped += s.clipped;
        value_clipped += v.clipped;
        ratio += s.ratio;
        ratio_var += (s.ratio - 1) * (s.ratio - 1);
        n++;
    }
    out->loss = (policy + c->vf_coef * value - c->entropy * entropy) * scale;
    rein_metric_mean(out->metrics, "policy/approxkl_avg", approxkl, n);
    rein_metric_mean(out->metrics, "policy/clipfrac_avg", clipped, n);
    if (b->entropy)
        rein_metric_mean(out->metrics, "policy/entropy_avg", entropy, n);
    rein_metric_mean(out->metrics, "loss/policy_avg", policy, n);
    rein_metric_mean(out->metrics, "loss/value_avg", value, n);
    rein_metric_mean(out->metrics, "val/clipfrac_avg", value_clipped, n);
    rein_metric_mean(out->metrics, "val/ratio", ratio, n);
    rein_metric_mean(out->metrics, "val/ratio_var", ratio_var, n); /* about 1, its mean under the old policy */
    return REIN_OK;
}

static rein_status ppo_after(void *self, const struct rein_step *s, uint32_t *stop) {
    const struct config *c = &((const struct ppo *)self)->config;

    for (uint32_t i = 0; c->target_kl_stop > 0 && s->metrics && i < s->metrics->count && i < s->metrics->capacity; i++) {
        const struct rein_metric *m = &s->metrics->items[i];
        if (!strcmp(m->name, "policy/approxkl_avg") && m->sum > c->target_kl_stop * m->weight)
            *stop = REIN_STOP_ROLLOUT;
    }
    return REIN_OK;
}

static rein_status ppo_save(void *self, struct rein_state *state) {
    const struct ppo *p = self;
    return beta_save(&p->beta, p->host, state);
}

static rein_status ppo_load(void *self, const struct rein_state *state) {
    struct ppo *p = self;
    return beta_load(&p->beta, p->host, state, p->config.target_kl > 0);
}

static const struct rein_algorithm_ops ops = {
    .size = sizeof(ops), .create = ppo_create, .destroy = ppo_destroy, .describe = ppo_describe, .prepare = ppo_prepare,
    .loss = ppo_loss, .after = ppo_after, .save = ppo_save, .load = ppo_load};

static const struct rein_plugin plugin = {
    .size = sizeof(plugin), .abi = REIN_ABI_VERSION, .kind = REIN_KIND_ALGORITHM, .name = "ppo", .version = "0.1.0",
    .license = "MIT", .summary = "Proximal policy optimisation with a critic and a KL penalty.", .params = params,
    .param_stride = sizeof(struct rein_param), .config_size = sizeof(struct config), .ops = &ops};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
