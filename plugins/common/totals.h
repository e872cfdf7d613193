/* plugins/common/totals.h - what a policy and a critic did in one batch, as TRL's PPO metrics name it.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_TOTALS_H
#define REIN_COMMON_TOTALS_H

#include "common/clip.h"
#include "common/options.h"

#include <rein/algorithm.h>

enum ratio_kind { RATIO_OLD, RATIO_REF };
extern const char *const ratio_choices[];

/* Sums over the tokens that count. */
struct totals {
    double tokens, policy, value, entropy;
    double approxkl, clipped, value_clipped, ratio, ratio_var;
};

/* Takes up token i; `policy` is its whole policy loss. */
void totals_policy(struct totals *t, const struct rein_batch *b, uint32_t i, const struct surrogate *s, double policy);
/* PPO's policy loss, mean_i max(-A_i rho_i, -A_i clip(rho_i)) over the tokens of the step: returns this batch's share,
 * writes d_logp and takes up every token. */
double totals_surrogate(struct totals *t, const struct rein_batch *b, const struct trust_options *o,
                        struct rein_loss *out);
/* The critic's loss (unless `critic` is NULL) and the entropy bonus of the whole batch: adds their
 * share to out->loss and writes d_value and d_entropy. Both are means over the step's tokens. */
void totals_rest(struct totals *t, const struct rein_batch *b, const struct critic_options *critic, double entropy,
                 struct rein_loss *out);
/* policy/{approxkl,clipfrac,entropy}_avg, loss/policy_avg, val/ratio, val/ratio_var (about 1, the ratio's mean
 * under the policy that sampled); when there are values loss/value_avg and val/clipfrac_avg. */
void totals_metrics(const struct totals *t, const struct rein_batch *b, struct rein_metrics *m);

/* Where the clip bites, as TRL's GRPO and RLOO count it: a ratio below 1 - clip with A < 0, or above 1 + clip_high with
 * A > 0. One row after the other: `low` and `high` of its n tokens (or of its single ratio). */
struct clips {
    double low, high, n;
    double low_min, high_max; /* least and largest share of a row */
    double rows;
};
void clips_row(struct clips *c, double low, double high, double n);
/* clip_ratio/{low_mean,low_min,high_mean,high_max,region_mean} */
void clips_metrics(const struct clips *c, struct rein_metrics *m);

/* For after(): leave the rollout when this step's mean policy/approxkl_avg exceeds `target`; 0 never does. */
void totals_stop(const struct rein_step *s, double target, uint32_t *stop);

#endif
