/* SPDX-License-Identifier: MIT */
#include "common/shape.h"
#include "common/kl.h"
#include "common/numeric.h"

#include <rein/util.h>

/* Sums over a rollout. */
struct sums {
    double tokens, kl, surprise, scores, scored, ended;
};

/* The KL penalty on row r's tokens. */
static void penalise(const struct rein_experience *e, uint32_t r, int64_t estimator, double beta, double *reward,
                     struct sums *sums) {
    for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++) {
        double kl = 0;

        if (!counts(e->mask, i))
            continue;
        if (e->logp_ref)
            kl = kl_estimate(estimator, (double)e->logp_old[i], (double)e->logp_ref[i], NULL);
        reward[i] = -beta * kl;
        sums->tokens++;
        sums->kl += kl;
        sums->surprise -= (double)e->logp_old[i];
    }
}

/* No source has an opinion on row r, and the host has masked it. */
static int is_silent(const struct rein_experience *e, uint32_t r, double score) {
    for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++)
        if (counts(e->mask, i))
            return 0;
    return e->mask && isnan(score);
}

rein_status shape_rewards(const struct rein_host *host, const struct rein_experience *e,
                          const struct penalty_options *o, struct beta *beta, int none_allowed, double *score,
                          double *reward) {
    struct sums s = {0};
    double rows = e->rows;

    beta_begin(beta, e->rollout);
    for (uint32_t r = 0; r < e->rows; r++) {
        penalise(e, r, o->kl, beta->now, reward, &s);
        s.ended += e->ended[r] != 0;
        if (is_silent(e, r, score[r]))
            continue;
        if (none_allowed && isnan(score[r]))
            continue;
        if (!isfinite(score[r]))
            return rein_failf(host, REIN_ERR_ARG, "completion %u of rollout %u has no finite reward", r, e->rollout);
        if (o->reward_clip > 0)
            score[r] = clampd(score[r], -o->reward_clip, o->reward_clip);
        if (!e->ended[r])
            score[r] -= o->missing_eos_penalty;
        s.scores += score[r];
        s.scored++;
    }
    double mean_kl = s.kl * inverse_or_zero(rows), mean_score = s.scores * inverse_or_zero(s.scored);
    if (e->logp_ref)
        rein_metric_mean(e->metrics, "objective/kl", s.kl, rows);
    rein_metric_mean(e->metrics, "objective/entropy", s.surprise, rows); /* -log p of samples estimates it */
    rein_metric_mean(e->metrics, "objective/non_score_reward", -beta->now * s.kl, rows);
    rein_metric_mean(e->metrics, "objective/rlhf_reward", (mean_score - beta->now * mean_kl) * rows, rows);
    rein_metric_mean(e->metrics, "objective/scores", s.scores, s.scored);
    rein_metric_add(e->metrics, "val/num_eos_tokens", REIN_METRIC_SUM, s.ended, rows);
    if (o->target_kl > 0)
        rein_metric_mean(e->metrics, "objective/kl_coef", beta->now, 1);
    beta->rows_per_token = rows * inverse_or_zero(s.tokens);
    beta_adapt(beta, mean_kl, o->target_kl, o->horizon, e->rows);
    return REIN_OK;
}

void place_scores(const struct rein_experience *e, const double *score, double *reward) {
    for (uint32_t r = 0; r < e->rows; r++) {
        uint32_t last = e->offset[r + 1];

        while (last > e->offset[r] && !counts(e->mask, last - 1))
            last--;
        if (last > e->offset[r] && !isnan(score[r]))
            reward[last - 1] += score[r];
    }
}
