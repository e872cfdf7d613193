/* SPDX-License-Identifier: MIT */
#include "common/totals.h"
#include "common/numeric.h"

#include <rein/util.h>

#include <string.h>

const char *const ratio_choices[] = {"old", "ref", NULL};

void totals_policy(struct totals *t, const struct rein_batch *b, uint32_t i, const struct surrogate *s, double policy) {
    double moved = (double)b->logp[i] - (double)b->logp_old[i];

    t->tokens++;
    t->policy += policy;
    t->approxkl += 0.5 * moved * moved;
    t->clipped += s->clipped;
    t->ratio += s->ratio;
    t->ratio_var += (s->ratio - 1) * (s->ratio - 1);
    if (b->entropy)
        t->entropy += (double)b->entropy[i];
}

void totals_rest(struct totals *t, const struct rein_batch *b, const struct critic_options *critic, double entropy,
                 struct rein_loss *out) {
    double scale = inverse_or_zero(b->norm_tokens);

    for (uint32_t i = 0; i < b->tokens; i++) {
        if (!counts(b->mask, i))
            continue;
        if (critic) {
            struct value_loss v =
                value_clip((double)b->value[i], (double)b->value_old[i], (double)b->return_[i], critic->clip_value);
            t->value += v.loss;
            t->value_clipped += v.clipped;
            out->d_value[i] = (float)(critic->vf_coef * v.d_value * scale);
        }
        if (entropy > 0)
            out->d_entropy[i] = (float)(-entropy * scale);
    }
    if (critic)
        out->loss += critic->vf_coef * t->value * scale;
    out->loss -= entropy * t->entropy * scale;
}

void totals_metrics(const struct totals *t, const struct rein_batch *b, struct rein_metrics *m) {
    rein_metric_mean(m, "policy/approxkl_avg", t->approxkl, t->tokens);
    rein_metric_mean(m, "policy/clipfrac_avg", t->clipped, t->tokens);
    if (b->entropy)
        rein_metric_mean(m, "policy/entropy_avg", t->entropy, t->tokens);
    rein_metric_mean(m, "loss/policy_avg", t->policy, t->tokens);
    rein_metric_mean(m, "val/ratio", t->ratio, t->tokens);
    rein_metric_mean(m, "val/ratio_var", t->ratio_var, t->tokens);
    if (b->value) {
        rein_metric_mean(m, "loss/value_avg", t->value, t->tokens);
        rein_metric_mean(m, "val/clipfrac_avg", t->value_clipped, t->tokens);
    }
}

void totals_stop(const struct rein_step *s, double target, uint32_t *stop) {
    for (uint32_t i = 0; target > 0 && s->metrics && i < s->metrics->count && i < s->metrics->capacity; i++) {
        const struct rein_metric *m = &s->metrics->items[i];
        if (!strcmp(m->name, "policy/approxkl_avg") && m->sum > target * m->weight)
            *stop = REIN_STOP_ROLLOUT;
    }
}
