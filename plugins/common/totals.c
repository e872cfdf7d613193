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

double totals_surrogate(struct totals *t, const struct rein_batch *b, const struct trust_options *o,
                        struct rein_loss *out) {
    const float *denominator = o->ratio == RATIO_REF ? b->logp_ref : b->logp_old;
    double scale = inverse_or_zero(b->norm_tokens);

    for (uint32_t i = 0; i < b->tokens; i++) {
        if (!counts(b->mask, i))
            continue;
        struct surrogate s = surrogate_clip((double)b->logp[i] - (double)denominator[i], (double)b->advantage[i],
                                            o->clip, o->clip_high, o->dual_clip);

        out->d_logp[i] = (float)(s.d_logp * scale);
        totals_policy(t, b, i, &s, s.loss);
    }
    return t->policy * scale;
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

void clips_row(struct clips *c, double low, double high, double n) {
    if (n <= 0)
        return;
    c->low += low;
    c->high += high;
    c->n += n;
    c->low_min = c->rows > 0 ? fmin(c->low_min, low / n) : low / n;
    c->high_max = fmax(c->high_max, high / n);
    c->rows++;
}

void clips_metrics(const struct clips *c, struct rein_metrics *m) {
    rein_metric_mean(m, "clip_ratio/low_mean", c->low, c->n);
    rein_metric_add(m, "clip_ratio/low_min", REIN_METRIC_MIN, c->low_min, c->rows);
    rein_metric_mean(m, "clip_ratio/high_mean", c->high, c->n);
    rein_metric_add(m, "clip_ratio/high_max", REIN_METRIC_MAX, c->high_max, c->rows);
    rein_metric_mean(m, "clip_ratio/region_mean", c->low + c->high, c->n);
}

void totals_stop(const struct rein_step *s, double target, uint32_t *stop) {
    for (uint32_t i = 0; target > 0 && s->metrics && i < s->metrics->count && i < s->metrics->capacity; i++) {
        const struct rein_metric *m = &s->metrics->items[i];
        if (!strcmp(m->name, "policy/approxkl_avg") && m->sum > target * m->weight)
            *stop = REIN_STOP_ROLLOUT;
    }
}
