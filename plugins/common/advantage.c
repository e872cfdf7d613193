/* SPDX-License-Identifier: MIT */
#include "common/advantage.h"
#include "common/gae.h"
#include "common/numeric.h"
#include "common/whiten.h"

#include <rein/util.h>

const char *const advantage_choices[] = {"gae", "reward-minus-value", NULL};
const char *const scale_choices[] = {"group", "batch", "none", NULL};

void advantage_critic(const struct rein_experience *e, const struct critic_options *o, double *reward,
                      double *scratch) {
    double *advantage = scratch, *return_ = scratch + e->tokens;

    if (o->whiten_rewards)
        whiten(reward, e->mask, e->tokens, 0);
    for (uint32_t r = 0; r < e->rows; r++) {
        uint32_t at = e->offset[r], n = e->offset[r + 1] - at;
        const uint8_t *mask = e->mask ? e->mask + at : NULL;

        if (o->advantage == ADVANTAGE_GAE)
            gae(reward + at, e->value_old + at, mask, n, o->gamma, o->lambda, advantage + at, return_ + at);
        else
            reward_minus_value(reward + at, e->value_old + at, mask, n, o->gamma, advantage + at, return_ + at);
    }
    if (o->whiten_advantages)
        whiten(advantage, e->mask, e->tokens, 1);
    for (uint32_t i = 0; i < e->tokens; i++)
        if (counts(e->mask, i)) {
            e->advantage[i] = (float)advantage[i];
            e->return_[i] = (float)return_[i];
        }
}

/* Mean and sample deviation of the scores that are numbers; returns how many. */
static double moments(const double *score, uint32_t from, uint32_t to, double *mean, double *deviation) {
    double n = 0, sum = 0, squares = 0;

    for (uint32_t r = from; r < to; r++)
        if (!isnan(score[r])) {
            sum += score[r];
            n++;
        }
    *mean = sum * inverse_or_zero(n);
    for (uint32_t r = from; r < to; r++)
        if (!isnan(score[r]))
            squares += (score[r] - *mean) * (score[r] - *mean);
    *deviation = sqrt(squares * inverse_or_zero(n - 1));
    return n;
}

void advantage_group(const struct rein_experience *e, const double *score, int64_t scale) {
    double all_mean, all_deviation, n = moments(score, 0, e->rows, &all_mean, &all_deviation), deviations = 0,
                                    still = 0;

    for (uint32_t u = 0; u < e->units; u++) {
        double mean, deviation, divisor = 1;
        double k = moments(score, e->unit[u], e->unit[u + 1], &mean, &deviation);

        deviations += k * deviation;
        still += deviation > 0 ? 0 : k;
        if (scale != SCALE_NONE)
            divisor = 1e-4 + (scale == SCALE_GROUP ? deviation : all_deviation);
        for (uint32_t r = e->unit[u]; r < e->unit[u + 1]; r++)
            for (uint32_t i = e->offset[r]; i < e->offset[r + 1] && !isnan(score[r]); i++)
                if (counts(e->mask, i))
                    e->advantage[i] = (float)((score[r] - mean) / divisor);
    }
    rein_metric_mean(e->metrics, "reward", all_mean * n, n);
    rein_metric_mean(e->metrics, "reward_std", scale == SCALE_BATCH ? all_deviation * n : deviations, n);
    rein_metric_mean(e->metrics, "frac_reward_zero_std", still, n);
}
