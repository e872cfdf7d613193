/* SPDX-License-Identifier: MIT */
#include "common/advantage.h"
#include "common/gae.h"
#include "common/moments.h"
#include "common/numeric.h"
#include "common/whiten.h"

#include <rein/util.h>

const char *const advantage_choices[] = {"gae", "reward-minus-value", NULL};
const char *const scale_choices[] = {"group", "batch", "none", NULL};

void advantage_critic(const struct rein_experience *e, const struct critic_options *o, struct scratch *s) {
    if (o->whiten_rewards)
        whiten(s->reward, e->mask, e->tokens, 0);
    for (uint32_t r = 0; r < e->rows; r++) {
        uint32_t at = e->offset[r], n = e->offset[r + 1] - at;
        const uint8_t *mask = e->mask ? e->mask + at : NULL;
        const double *reward = s->reward + at;

        if (o->advantage == ADVANTAGE_GAE)
            gae(reward, e->value_old + at, mask, n, o->gamma, o->lambda, s->advantage + at, s->return_ + at);
        else
            reward_minus_value(reward, e->value_old + at, mask, n, o->gamma, s->advantage + at, s->return_ + at);
    }
    if (o->whiten_advantages)
        whiten(s->advantage, e->mask, e->tokens, 1);
    for (uint32_t i = 0; i < e->tokens; i++)
        if (counts(e->mask, i)) {
            e->advantage[i] = (float)s->advantage[i];
            e->return_[i] = (float)s->return_[i];
        }
}

/* Sums over the groups of a rollout. */
struct spread {
    double n, deviations, still;
};

static struct moments group_moments(const struct rein_experience *e, const double *score, uint32_t u,
                                    struct spread *s) {
    struct moments m = moments_of(score, NULL, e->unit[u], e->unit[u + 1]);
    double deviation = moments_deviation(&m);

    s->n += m.n;
    s->deviations += m.n * deviation;
    s->still += deviation > 1e-8 ? 0 : m.n; /* torch.isclose */
    return m;
}

static void tell_still(const struct rein_experience *e, const struct spread *s) {
    rein_metric_mean(e->metrics, "frac_reward_zero_std", s->still, s->n);
}

static void fill_row(const struct rein_experience *e, uint32_t r, double advantage) {
    for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++)
        if (counts(e->mask, i))
            e->advantage[i] = (float)advantage;
}

void advantage_group(const struct rein_experience *e, const double *score, int64_t scale) {
    struct moments all = moments_of(score, NULL, 0, e->rows);
    struct spread spread = {0};
    double of_all = moments_deviation(&all);

    for (uint32_t u = 0; u < e->units; u++) {
        struct moments m = group_moments(e, score, u, &spread);
        double divisor = scale == SCALE_NONE ? 1 : 1e-4 + (scale == SCALE_GROUP ? moments_deviation(&m) : of_all);

        for (uint32_t r = e->unit[u]; r < e->unit[u + 1]; r++)
            if (!isnan(score[r]))
                fill_row(e, r, (score[r] - m.mean) / divisor);
    }
    rein_metric_mean(e->metrics, "reward_std", scale == SCALE_BATCH ? of_all * all.n : spread.deviations, all.n);
    tell_still(e, &spread);
}

void advantage_leave_one_out(const struct rein_experience *e, double *score, int normalize) {
    struct spread spread = {0};
    struct moments all;
    double divisor;

    for (uint32_t u = 0; u < e->units; u++) {
        struct moments m = group_moments(e, score, u, &spread);
        double sum = m.mean * m.n;

        for (uint32_t r = e->unit[u]; r < e->unit[u + 1]; r++)
            score[r] = m.n > 1 ? score[r] - (sum - score[r]) / (m.n - 1) : NAN;
    }
    all = moments_of(score, NULL, 0, e->rows);
    divisor = normalize ? moments_deviation(&all) + 1e-4 : 1; /* in each group they sum up to 0: so does their mean */
    for (uint32_t r = 0; r < e->rows; r++)
        if (!isnan(score[r]))
            fill_row(e, r, score[r] / divisor);
    tell_still(e, &spread);
}

void subtract_group_mean(const struct rein_experience *e, double *score) {
    struct spread spread = {0};

    for (uint32_t u = 0; u < e->units; u++) {
        struct moments m = group_moments(e, score, u, &spread);

        for (uint32_t r = e->unit[u]; r < e->unit[u + 1]; r++)
            score[r] -= m.mean;
    }
    tell_still(e, &spread);
}
