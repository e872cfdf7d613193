/* SPDX-License-Identifier: MIT */
#include "common/shape.h"
#include "common/kl.h"
#include "common/numeric.h"

#include <rein/util.h>

rein_status shape_rewards(const struct rein_host *host, const struct rein_experience *e, const struct shaping *how,
                          double *score, double *reward, double *kl) {
    double total_kl = 0, surprise = 0, scores = 0, ended = 0, rows = e->rows;

    for (uint32_t r = 0; r < e->rows; r++) {
        double *last = NULL;

        if (!isfinite(score[r]))
            return rein_failf(host, REIN_ERR_ARG, "completion %u of rollout %u has no finite reward", r, e->rollout);
        for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++) {
            double k = 0;

            if (!counts(e->mask, i))
                continue;
            if (e->logp_ref)
                k = kl_estimate(how->kl, (double)e->logp_old[i], (double)e->logp_ref[i], NULL);
            reward[i] = -how->beta * k;
            total_kl += k;
            surprise -= (double)e->logp_old[i];
            last = &reward[i];
        }
        if (how->reward_clip > 0)
            score[r] = clampd(score[r], -how->reward_clip, how->reward_clip);
        if (!e->ended[r])
            score[r] -= how->missing_eos_penalty;
        if (last)
            *last += score[r];
        scores += score[r];
        ended += e->ended[r] != 0;
    }
    if (e->logp_ref)
        rein_metric_mean(e->metrics, "objective/kl", total_kl, rows);
    rein_metric_mean(e->metrics, "objective/entropy", surprise, rows);
    rein_metric_mean(e->metrics, "objective/non_score_reward", -how->beta * total_kl, rows);
    rein_metric_mean(e->metrics, "objective/rlhf_reward", scores - how->beta * total_kl, rows);
    rein_metric_mean(e->metrics, "objective/scores", scores, rows);
    rein_metric_add(e->metrics, "val/num_eos_tokens", REIN_METRIC_SUM, ended, rows);
    *kl = total_kl * inverse_or_zero(rows);
    return REIN_OK;
}
