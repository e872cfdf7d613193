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

#include "common/advantage.h"
#include "common/beta.h"
#include "common/kl.h"
#include "common/module.h"
#include "common/numeric.h"
#include "common/shape.h"
#include "common/totals.h"

struct config {
    double beta;
    struct penalty_options penalty;
    struct critic_options critic;
    struct trust_options trust;
};

struct ppo {
    const struct rein_host *host;
    struct config config;
    struct beta beta;
};

static const struct rein_param params[] = {
    {ROW(beta, beta, REAL, "0.05"), .min = 0, .max = 1e3,
     .doc = "Weight of the per-token KL penalty in the reward; with target_kl its first value."},
    PENALTY_ROWS,
    CRITIC_ROWS,
    TRUST_ROWS,
    {.name = NULL},
};

static rein_status ppo_create(const struct rein_host *host, const void *config, void **self) {
    const struct config *c = config;
    struct ppo *p;

    if (c->trust.dual_clip > 0 && c->trust.dual_clip <= 1)
        return host->fail_param(host->ctx, "dual_clip", "must be above 1, or 0 for none");
    if (c->penalty.target_kl > 0 && c->beta <= 0)
        return host->fail_param(host->ctx, "target_kl", "adapts beta, which must be above 0 to begin with");
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
    if (c->beta > 0 || c->trust.ratio == RATIO_REF)
        needs->needs |= REIN_NEED_REFERENCE;
    if (c->trust.entropy > 0)
        needs->needs |= REIN_NEED_ENTROPY;
    needs->lr = 3e-6;
    needs->temperature = 0.7;
    needs->max_tokens = 53;
    needs->epochs = 4;
    return REIN_OK;
}

static rein_status ppo_prepare(void *self, struct rein_experience *e) {
    struct ppo *p = self;
    double *reward = p->host->alloc(p->host->ctx, (3 * (size_t)e->tokens + e->rows + 1) * sizeof(double)), *score;
    rein_status status;

    if (!reward)
        return p->host->fail(p->host->ctx, REIN_ERR_NOMEM, "out of memory for a rollout's rewards");
    score = reward + 3 * (size_t)e->tokens;
    for (uint32_t r = 0; r < e->rows; r++)
        score[r] = (double)e->reward[r];
    status = shape_rewards(p->host, e, &p->config.penalty, &p->beta, 0, score, reward);
    if (status == REIN_OK)
        advantage_critic(e, &p->config.critic, reward, reward + e->tokens);
    p->host->free(p->host->ctx, reward);
    return status;
}

static rein_status ppo_loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct config *c = &((const struct ppo *)self)->config;
    const float *denominator = c->trust.ratio == RATIO_REF ? b->logp_ref : b->logp_old;
    double scale = inverse_or_zero(b->norm_tokens);
    struct totals t = {0};

    for (uint32_t i = 0; i < b->tokens; i++) {
        if (!counts(b->mask, i))
            continue;
        struct surrogate s = surrogate_clip((double)b->logp[i] - (double)denominator[i], (double)b->advantage[i],
                                            c->trust.clip, c->trust.clip, c->trust.dual_clip);

        out->d_logp[i] = (float)(s.d_logp * scale);
        totals_policy(&t, b, i, &s, s.loss);
    }
    out->loss = t.policy * scale;
    totals_rest(&t, b, &c->critic, c->trust.entropy, out);
    totals_metrics(&t, b, out->metrics);
    return REIN_OK;
}

static rein_status ppo_after(void *self, const struct rein_step *s, uint32_t *stop) {
    totals_stop(s, ((const struct ppo *)self)->config.trust.target_kl_stop, stop);
    return REIN_OK;
}

static rein_status ppo_save(void *self, struct rein_state *state) {
    const struct ppo *p = self;
    return beta_save(&p->beta, p->host, state);
}

static rein_status ppo_load(void *self, const struct rein_state *state) {
    struct ppo *p = self;
    return beta_load(&p->beta, p->host, state, p->config.penalty.target_kl > 0);
}

static const struct rein_algorithm_ops ops = {.size = sizeof(ops),
                                              .create = ppo_create,
                                              .destroy = ppo_destroy,
                                              .describe = ppo_describe,
                                              .prepare = ppo_prepare,
                                              .loss = ppo_loss,
                                              .after = ppo_after,
                                              .save = ppo_save,
                                              .load = ppo_load};

MODULE(REIN_KIND_ALGORITHM, "ppo", "Proximal policy optimisation with a critic and a KL penalty.");
