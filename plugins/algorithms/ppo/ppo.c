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
#include "common/advantage.h"
#include "common/kl.h"
#include "common/module.h"
#include "common/policy.h"
#include "common/shape.h"
#include "common/totals.h"

struct config {
    double beta;
    struct penalty_options penalty;
    struct critic_options critic;
    struct trust_options trust;
};

struct ppo {
    struct policy policy;
    struct config config;
};

static const struct rein_param params[] = {
    {ROW(beta, beta, REAL, "0.05"), .min = 0, .max = 1e3,
     .doc = "Weight of the per-token KL penalty in the reward; with target_kl its first value."},
    PENALTY_ROWS,
    REWARD_CLIP_ROW,
    CRITIC_ROWS,
    TRUST_ROWS,
    {.name = NULL},
};

static rein_status ppo_create(const struct rein_host *host, const void *config, void **self) {
    struct config c = *(const struct config *)config;
    rein_status status = policy_create(host, sizeof(struct ppo), &c.penalty, &c.trust, c.beta, self);

    if (status == REIN_OK)
        ((struct ppo *)*self)->config = c;
    return status;
}

static rein_status ppo_describe(void *self, struct rein_needs *needs) {
    const struct config *c = &((const struct ppo *)self)->config;

    policy_needs(&c->trust, c->beta, needs);
    needs->needs |= REIN_NEED_CRITIC;
    needs->lr = 3e-6;
    needs->temperature = 0.7;
    needs->max_tokens = 53;
    needs->epochs = 4;
    return REIN_OK;
}

static rein_status ppo_prepare(void *self, struct rein_experience *e) {
    struct ppo *p = self;
    struct scratch s;
    rein_status status = scratch_open(&p->policy, e, &s);

    if (status != REIN_OK)
        return status;
    status = shape_rewards(p->policy.host, e, &p->config.penalty, &p->policy.beta, 0, s.score, s.reward);
    if (status == REIN_OK) {
        place_scores(e, s.score, s.reward);
        advantage_critic(e, &p->config.critic, &s);
    }
    scratch_close(&p->policy, &s);
    return status;
}

static rein_status ppo_loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct config *c = &((const struct ppo *)self)->config;
    struct totals t = {0};

    out->loss = totals_surrogate(&t, b, &c->trust, out);
    totals_rest(&t, b, &c->critic, c->trust.entropy, out);
    totals_metrics(&t, b, out->metrics);
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {.size = sizeof(ops),
                                              .create = ppo_create,
                                              .destroy = policy_destroy,
                                              .describe = ppo_describe,
                                              .prepare = ppo_prepare,
                                              .loss = ppo_loss,
                                              .after = policy_after,
                                              .save = policy_save,
                                              .load = policy_load};

MODULE(REIN_KIND_ALGORITHM, "ppo", "Proximal policy optimisation with a critic and a KL penalty.");
