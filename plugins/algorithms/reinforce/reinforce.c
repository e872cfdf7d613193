/* REINFORCE++. SPDX-License-Identifier: MIT
 *
 * Hu et al., arXiv 2501.03262, as OpenRLHF 0.11 does it (estimators reinforce and reinforce_baseline), with its
 * defaults: PPO's clipped loss without a critic.
 *
 * Per rollout:                                                per optimiser step:
 *   score = score - mean of the prompt's   (baseline: group)    rho_t = exp(logp - logp_old)
 *   r_t = -beta KL_t, r_T += clip(score)                        loss = mean over tokens of
 *   A_t = r_t + gamma A_{t+1}                                          max(-A rho, -A clip(rho))
 *   A = (A - mean) / deviation, over all tokens of the rollout, population variance
 *
 * A completion without a score (NaN) is left out of both means and has no advantage. OpenRLHF limits the estimate of
 * the KL to +-10 a token; here it is not limited.
 */
#include <rein/util.h>

#include "common/advantage.h"
#include "common/gae.h"
#include "common/kl.h"
#include "common/module.h"
#include "common/numeric.h"
#include "common/policy.h"
#include "common/shape.h"
#include "common/totals.h"
#include "common/whiten.h"

enum { BASELINE_NONE, BASELINE_GROUP };
static const char *const baselines[] = {"none", "group", NULL};

struct config {
    double beta, gamma, clip_score;
    int64_t baseline;
    uint8_t whiten_advantages;
    struct penalty_options penalty;
    struct trust_options trust;
};

struct reinforce {
    struct policy policy;
    struct config config;
};

static const struct rein_param params[] = {
    {ROW(baseline, baseline, CHOICE, "none"), .choices = baselines,
     .doc = "What a score is compared with before all else: nothing, or the mean of the prompt's completions."},
    {ROW(beta, beta, REAL, "0.01"), .min = 0, .max = 1e3,
     .doc = "Weight of the per-token KL penalty in the reward; with target_kl its first value."},
    {ROW(gamma, gamma, REAL, "1"), .min = 0, .max = 1, .doc = "Discount of later rewards, per token."},
    {ROW(clip_score, reward_clip, REAL, "10"), .min = 0, .max = 1e6,
     .doc = "Scores are limited to plus and minus this once the baseline is off; 0 for no limit."},
    {ROW(whiten_advantages, whiten_advantages, BOOL, "true"),
     .doc = "Shift and scale the rollout's advantages to zero mean and unit deviation."},
    PENALTY_ROWS,
    TRUST_ROWS,
    {.name = NULL},
};

static rein_status reinforce_create(const struct rein_host *host, const void *config, void **self) {
    struct config c = *(const struct config *)config;
    rein_status status;

    c.penalty.reward_clip = 0; /* clip_score's business */
    status = policy_create(host, sizeof(struct reinforce), &c.penalty, &c.trust, c.beta, self);

    if (status == REIN_OK)
        ((struct reinforce *)*self)->config = c;
    return status;
}

static rein_status reinforce_describe(void *self, struct rein_needs *needs) {
    const struct config *c = &((const struct reinforce *)self)->config;

    policy_needs(&c->trust, c->beta, needs);
    if (c->baseline == BASELINE_GROUP)
        needs->needs |= REIN_NEED_GROUPS;
    needs->lr = 1e-6;
    needs->temperature = 1;
    needs->max_tokens = 1024;
    needs->epochs = 1;
    return REIN_OK;
}

/* From shaped scores and KL penalties to advantages. */
static void advantages(const struct config *c, const struct rein_experience *e, struct scratch *s) {
    if (c->baseline == BASELINE_GROUP)
        subtract_group_mean(e, s->score);
    for (uint32_t r = 0; r < e->rows; r++) {
        uint32_t at = e->offset[r], n = e->offset[r + 1] - at;

        if (c->clip_score > 0 && !isnan(s->score[r]))
            s->score[r] = clampd(s->score[r], -c->clip_score, c->clip_score);
        for (uint32_t i = at; i < at + n; i++)
            s->scored[i] = counts(e->mask, i) && !isnan(s->score[r]);
    }
    place_scores(e, s->score, s->reward);
    for (uint32_t r = 0; r < e->rows; r++) {
        uint32_t at = e->offset[r], n = e->offset[r + 1] - at;

        discounted_returns(s->reward + at, s->scored + at, n, c->gamma, s->advantage + at);
    }
    if (c->whiten_advantages)
        whiten_population(s->advantage, s->scored, e->tokens);
    for (uint32_t i = 0; i < e->tokens; i++)
        if (s->scored[i])
            e->advantage[i] = (float)s->advantage[i];
}

static rein_status reinforce_prepare(void *self, struct rein_experience *e) {
    struct reinforce *p = self;
    struct scratch s;
    rein_status status = scratch_open(&p->policy, e, &s);

    if (status != REIN_OK)
        return status;
    status = shape_rewards(p->policy.host, e, &p->config.penalty, &p->policy.beta, 1, s.score, s.reward);
    if (status == REIN_OK)
        advantages(&p->config, e, &s);
    scratch_close(&p->policy, &s);
    return status;
}

static rein_status reinforce_loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct config *c = &((const struct reinforce *)self)->config;
    struct totals t = {0};

    out->loss = totals_surrogate(&t, b, &c->trust, out);
    totals_rest(&t, b, NULL, c->trust.entropy, out);
    totals_metrics(&t, b, out->metrics);
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {.size = sizeof(ops),
                                              .create = reinforce_create,
                                              .destroy = policy_destroy,
                                              .describe = reinforce_describe,
                                              .prepare = reinforce_prepare,
                                              .loss = reinforce_loss,
                                              .after = policy_after,
                                              .save = policy_save,
                                              .load = policy_load};

MODULE(REIN_KIND_ALGORITHM, "reinforce",
       "REINFORCE++: PPO's clipped loss with normalised returns instead of a critic.");
