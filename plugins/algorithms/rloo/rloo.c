/* REINFORCE leave-one-out. SPDX-License-Identifier: MIT
 *
 * Ahmadian et al., arXiv 2402.14740, as TRL 1.16's RLOOTrainer does it: a completion is one action.
 * Per rollout, over the completions of a prompt:             per optimiser step, with log p = sum_t logp_t:
 *   R = clip(score) - beta sum_t KL_t                          rho = exp(log p - log p_old)
 *   A = R - mean of the others' R                              loss = mean over rows of max(-A rho, -A clip(rho))
 * A completion without a score (NaN) is left out of the others' mean and has no advantage.
 */
#include <rein/util.h>

#include "common/advantage.h"
#include "common/kl.h"
#include "common/module.h"
#include "common/moments.h"
#include "common/numeric.h"
#include "common/policy.h"
#include "common/shape.h"
#include "common/totals.h"

struct config {
    double beta;
    uint8_t normalize_advantages;
    struct penalty_options penalty;
    struct trust_options trust;
};

struct rloo {
    struct policy policy;
    struct config config;
};

static const struct rein_param params[] = {
    {ROW(beta, beta, REAL, "0.05"), .min = 0, .max = 1e3,
     .doc = "Weight of the KL to the reference, which is taken off the reward; with target_kl its first value."},
    {ROW(normalize_advantages, normalize_advantages, BOOL, "false"),
     .doc = "Shift and scale the rollout's advantages to zero mean and unit deviation."},
    PENALTY_ROWS,
    REWARD_CLIP_ROW,
    TRUST_ROWS,
    {.name = NULL},
};

static rein_status rloo_create(const struct rein_host *host, const void *config, void **self) {
    struct config c = *(const struct config *)config;
    rein_status status = policy_create(host, sizeof(struct rloo), &c.penalty, &c.trust, c.beta, self);

    if (status == REIN_OK)
        ((struct rloo *)*self)->config = c;
    return status;
}

static rein_status rloo_describe(void *self, struct rein_needs *needs) {
    const struct config *c = &((const struct rloo *)self)->config;

    policy_needs(&c->trust, c->beta, needs);
    needs->needs |= REIN_NEED_GROUPS;
    needs->lr = 1e-6;
    needs->temperature = 1;
    needs->max_tokens = 512;
    needs->epochs = 1;
    return REIN_OK;
}

/* R = score - beta sum_t KL_t, the second term of which shape_rewards() left in s->reward. */
static void subtract_kl(const struct rein_experience *e, double beta, struct scratch *s) {
    double penalties = 0, tokens = 0;

    for (uint32_t r = 0; r < e->rows; r++)
        for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++)
            if (counts(e->mask, i)) {
                s->score[r] += s->reward[i];
                penalties += s->reward[i];
                tokens++;
            }
    if (beta > 0)
        rein_metric_mean(e->metrics, "kl", -penalties / beta, tokens);
}

static rein_status rloo_prepare(void *self, struct rein_experience *e) {
    struct rloo *p = self;
    struct scratch s;
    rein_status status = scratch_open(&p->policy, e, &s);

    if (status != REIN_OK)
        return status;
    struct moments raw = moments_of(s.score, NULL, 0, e->rows);
    rein_metric_mean(e->metrics, "reward_std", moments_deviation(&raw) * raw.n, raw.n);
    status = shape_rewards(p->policy.host, e, &p->config.penalty, &p->policy.beta, 1, s.score, s.reward);
    if (status == REIN_OK) {
        subtract_kl(e, p->policy.beta.now, &s);
        advantage_leave_one_out(e, s.score, p->config.normalize_advantages);
    }
    scratch_close(&p->policy, &s);
    return status;
}

/* One row's loss, with its derivatives. All tokens of a row have its advantage. */
static double row_loss(const struct trust_options *o, const struct rein_batch *b, uint32_t r, struct rein_loss *out,
                       struct totals *t, struct clips *clips) {
    const float *denominator = o->ratio == RATIO_REF ? b->logp_ref : b->logp_old;
    double log_ratio = 0, advantage = 0, weight = inverse_or_zero(b->norm_rows);

    for (uint32_t i = b->offset[r]; i < b->offset[r + 1]; i++)
        if (counts(b->mask, i)) {
            log_ratio += (double)b->logp[i] - (double)denominator[i];
            advantage = (double)b->advantage[i];
        }
    struct surrogate s = surrogate_clip(log_ratio, advantage, o->clip, o->clip_high, o->dual_clip);
    for (uint32_t i = b->offset[r]; i < b->offset[r + 1]; i++)
        if (counts(b->mask, i)) {
            out->d_logp[i] = (float)(weight * s.d_logp);
            totals_policy(t, b, i, &s, s.loss);
        }
    int low = advantage < 0 && s.ratio < 1 - o->clip;
    int high = advantage > 0 && s.ratio > 1 + o->clip_high;
    clips_row(clips, low, high, 1);
    return weight * s.loss;
}

static rein_status rloo_loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct config *c = &((const struct rloo *)self)->config;
    struct totals t = {0};
    struct clips clips = {0};

    out->loss = 0;
    for (uint32_t r = 0; r < b->rows; r++)
        out->loss += row_loss(&c->trust, b, r, out, &t, &clips);
    totals_rest(&t, b, NULL, c->trust.entropy, out);
    totals_metrics(&t, b, out->metrics);
    clips_metrics(&clips, out->metrics);
    if (b->entropy)
        rein_metric_mean(out->metrics, "entropy", t.entropy, t.tokens);
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {.size = sizeof(ops),
                                              .create = rloo_create,
                                              .destroy = policy_destroy,
                                              .describe = rloo_describe,
                                              .prepare = rloo_prepare,
                                              .loss = rloo_loss,
                                              .after = policy_after,
                                              .save = policy_save,
                                              .load = policy_load};

MODULE(REIN_KIND_ALGORITHM, "rloo", "REINFORCE against the other completions of a prompt, leaving one out.");
