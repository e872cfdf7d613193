/* Generalized Reward Policy Optimization. SPDX-License-Identifier: MIT
 *
 * The reward of a completion is a family of K scores (an ensemble, dropout samples, perturbations):
 *   R = aggregate_k R_k - variance * Var_k[R_k]
 * With aggregate mean that is the uncertainty-weighted optimisation of Coste et al., arXiv 2310.02743, whose lambda is
 * `variance`; min with variance 0 is their worst case; uncertainty is a soft minimum between the two, see family.h.
 *
 * The variance does not depend on the policy's parameters for a given completion; the gradient of its expectation is
 * that of a penalty on the reward, so it enters the reward here: completions that the family disagrees on get worse.
 *   baseline: value   PPO's advantages, critic and loss (see ppo.c) on that reward
 *   baseline: group   A = (R - mean) / (deviation + 1e-4) over the completions of the prompt, no critic: DeepSeekMath,
 *                     arXiv 2402.03300, as TRL 1.16's GRPOTrainer does it; the KL is a term of the loss (k3)
 *
 * Policy loss of a token: L_t = max(-A rho, -A clip(rho)) + beta rho k3_t, added up as reduce.h says. gspo has one rho
 * a row, the exponential of the tokens' mean log-ratio (arXiv 2507.18071); cispo's L_t is -const(min(rho, cap)) A logp.
 */
#include <rein/util.h>

#include "common/advantage.h"
#include "common/family.h"
#include "common/kl.h"
#include "common/module.h"
#include "common/numeric.h"
#include "common/policy.h"
#include "common/reduce.h"
#include "common/shape.h"
#include "common/totals.h"

enum { BASELINE_VALUE, BASELINE_GROUP };
static const char *const baselines[] = {"value", "group", NULL};
enum { LOSS_AUTO, LOSS_GRPO, LOSS_BNPO, LOSS_DR_GRPO, LOSS_DAPO, LOSS_GSPO, LOSS_CISPO };
static const char *const losses[] = {"auto", "grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo", NULL};
static const enum reduction reductions[] = {REDUCE_TOKENS,  REDUCE_ROWS, REDUCE_TOKENS, REDUCE_MAX_LENGTH,
                                            REDUCE_ROLLOUT, REDUCE_ROWS, REDUCE_ROLLOUT};

struct config {
    int64_t baseline, aggregate, loss, scale;
    double variance, softness, beta;
    uint8_t kl_correction;
    struct penalty_options penalty;
    struct critic_options critic;
    struct trust_options trust;
};

struct grpo {
    struct policy policy;
    struct config config;
};

static const struct rein_param params[] = {
    {ROW(baseline, baseline, CHOICE, "value"), .choices = baselines,
     .doc = "What a reward is compared with: a critic's value, or the other completions of the prompt."},
    {ROW(aggregate, aggregate, CHOICE, "mean"), .choices = aggregate_choices,
     .doc = "One reward from the family: its mean (with variance: uncertainty-weighted), its worst member, or a soft "
            "minimum between the two (see softness)."},
    {ROW(variance, variance, REAL, "0.1"), .min = 0, .max = 1e6,
     .doc = "Weight of the family's variance, which is taken off the reward."},
    {ROW(softness, softness, REAL, "1"), .min = 1e-3, .max = 1e6,
     .doc =
         "For aggregate uncertainty: large is the mean, small the worst member; about mean - variance / (2 softness)."},
    {ROW(beta, beta, REAL, "-1"), .min = -1, .max = 1e3,
     .doc = "Weight of the KL to the reference, in the reward with a critic, in the loss with groups; -1 takes TRL's "
            "default, 0.05 and 0."},
    {ROW(loss, loss, CHOICE, "auto"), .choices = losses,
     .doc = "How the tokens' losses are added up, as in TRL; auto is bnpo (PPO's) with a critic, dapo with groups; "
            "cispo caps the ratio at clip_high (5 is usual)."},
    {ROW(scale, scale, CHOICE, "group"), .choices = scale_choices,
     .doc = "Group advantages are divided by the deviation of the group, of the rollout, or not."},
    {ROW(kl_correction, kl_correction, BOOL, "true"),
     .doc = "Multiply the loss's KL term by the ratio, which makes its gradient unbiased."},
    PENALTY_ROWS,
    REWARD_CLIP_ROW,
    CRITIC_ROWS,
    TRUST_ROWS,
    {.name = NULL},
};

static rein_status grpo_create(const struct rein_host *host, const void *config, void **self) {
    struct config c = *(const struct config *)config;
    int critic = c.baseline == BASELINE_VALUE;
    rein_status status;

    if (c.beta < 0 && c.beta > -1)
        return host->fail_param(host->ctx, "beta", "must be 0 or more, or -1 for the default");
    if (c.loss == LOSS_CISPO && c.trust.clip_high <= 0)
        return host->fail_param(host->ctx, "clip_high", "is cispo's cap on the ratio and must be given; 5 is usual");
    if (c.beta < 0)
        c.beta = critic ? 0.05 : 0;
    if (c.loss == LOSS_AUTO)
        c.loss = critic ? LOSS_BNPO : LOSS_DAPO;
    /* with groups the KL is in the loss, not in the reward */
    status = policy_create(host, sizeof(struct grpo), &c.penalty, &c.trust, critic ? c.beta : 0, self);
    if (status == REIN_OK)
        ((struct grpo *)*self)->config = c;
    return status;
}

static rein_status grpo_describe(void *self, struct rein_needs *needs) {
    const struct config *c = &((const struct grpo *)self)->config;

    policy_needs(&c->trust, c->beta, needs);
    needs->needs |= REIN_NEED_FAMILY | (c->baseline == BASELINE_VALUE ? REIN_NEED_CRITIC : REIN_NEED_GROUPS);
    needs->lr = 1e-6;
    needs->temperature = 1;
    needs->max_tokens = 512;
    needs->epochs = 1;
    return REIN_OK;
}

static rein_status grpo_prepare(void *self, struct rein_experience *e) {
    struct grpo *g = self;
    const struct config *c = &g->config;
    const int critic = c->baseline == BASELINE_VALUE;
    double variances = 0, scored = 0;
    struct scratch s;
    rein_status status = scratch_open(&g->policy, e, &s);

    if (status != REIN_OK)
        return status;
    for (uint32_t r = 0; r < e->rows; r++) {
        double variance;
        s.score[r] =
            family_reward(e->family, e->members, e->rows, r, c->aggregate, c->softness, c->variance, &variance);
        variances += variance;
        scored += !isnan(s.score[r]);
    }
    rein_metric_mean(e->metrics, "objective/reward_variance", variances, scored);
    status = shape_rewards(g->policy.host, e, &c->penalty, &g->policy.beta, !critic, s.score, s.reward);
    if (status == REIN_OK && critic) {
        place_scores(e, s.score, s.reward);
        advantage_critic(e, &c->critic, &s);
    } else if (status == REIN_OK)
        advantage_group(e, s.score, c->scale);
    scratch_close(&g->policy, &s);
    return status;
}

/* One row's policy loss, with its derivatives. */
static double row_loss(const struct grpo *g, const struct rein_batch *b, uint32_t r, struct rein_loss *out,
                       struct totals *t, struct clips *clips, double *kl_sum) {
    const struct config *c = &g->config;
    const float *denominator = c->trust.ratio == RATIO_REF ? b->logp_ref : b->logp_old;
    double length = 0, log_ratio = 0, through_ratio = 0, loss = 0, low = 0, high = 0, weight;
    uint32_t from = b->offset[r], to = b->offset[r + 1];

    for (uint32_t i = from; i < to; i++)
        if (counts(b->mask, i)) {
            length++;
            log_ratio += (double)b->logp[i] - (double)denominator[i];
        }
    weight = reduce_weight(reductions[c->loss], b, length, g->policy.beta.rows_per_token);
    for (uint32_t i = from; i < to; i++) {
        if (!counts(b->mask, i))
            continue;
        double logp = (double)b->logp[i], advantage = (double)b->advantage[i], kl = 0, d_kl = 0, d_ratio, direct = 0;
        double logr = c->loss == LOSS_GSPO ? log_ratio / length : logp - (double)denominator[i];
        struct surrogate s = c->loss == LOSS_CISPO ? surrogate_cispo(logr, advantage, logp, c->trust.clip_high)
                                                   : surrogate_clip(logr, advantage, c->trust.clip, c->trust.clip_high,
                                                                    c->trust.dual_clip);
        double rho = c->kl_correction ? s.ratio : 1, term = s.loss;

        d_ratio = s.d_logp;
        if (c->baseline == BASELINE_GROUP && c->beta > 0) {
            kl = kl_estimate(KL_K3, logp, (double)b->logp_ref[i], &d_kl);
            term += c->beta * rho * kl;
            direct = c->beta * rho * d_kl;
            if (c->kl_correction && logr <= LOG_RATIO_MAX)
                d_ratio += c->beta * rho * kl;
        }
        loss += weight * term;
        if (c->loss == LOSS_GSPO)
            through_ratio += weight * d_ratio / length;
        else
            direct += d_ratio;
        out->d_logp[i] = (float)(weight * direct);
        totals_policy(t, b, i, &s, term);
        low += s.ratio < 1 - c->trust.clip && advantage < 0;
        high += s.ratio > (c->loss == LOSS_CISPO ? 0 : 1) + c->trust.clip_high && advantage > 0;
        *kl_sum += rho * kl; /* what TRL reports too */
    }
    clips_row(clips, low, high, length);
    for (uint32_t i = from; i < to && c->loss == LOSS_GSPO; i++)
        if (counts(b->mask, i))
            out->d_logp[i] = (float)((double)out->d_logp[i] + through_ratio);
    return loss;
}

static rein_status grpo_loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct grpo *g = self;
    const struct config *c = &g->config;
    struct totals t = {0};
    struct clips clips = {0};
    double kl = 0;

    out->loss = 0;
    for (uint32_t r = 0; r < b->rows; r++)
        out->loss += row_loss(g, b, r, out, &t, &clips, &kl);
    totals_rest(&t, b, c->baseline == BASELINE_VALUE ? &c->critic : NULL, c->trust.entropy, out);
    totals_metrics(&t, b, out->metrics);
    if (c->loss == LOSS_CISPO)
        rein_metric_mean(out->metrics, "cispo_clip_ratio", clips.high, clips.n);
    else
        clips_metrics(&clips, out->metrics);
    if (b->entropy)
        rein_metric_mean(out->metrics, "entropy", t.entropy, t.tokens);
    if (c->baseline == BASELINE_GROUP && c->beta > 0)
        rein_metric_mean(out->metrics, "kl", kl, t.tokens);
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {.size = sizeof(ops),
                                              .create = grpo_create,
                                              .destroy = policy_destroy,
                                              .describe = grpo_describe,
                                              .prepare = grpo_prepare,
                                              .loss = grpo_loss,
                                              .after = policy_after,
                                              .save = policy_save,
                                              .load = policy_load};

MODULE(REIN_KIND_ALGORITHM, "grpo",
       "PPO or group-relative optimisation of a reward family with a penalty on its variance.");
