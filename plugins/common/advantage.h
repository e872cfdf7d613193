/* plugins/common/advantage.h - from a rollout's rewards to its advantages.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_ADVANTAGE_H
#define REIN_COMMON_ADVANTAGE_H

#include "common/options.h"
#include "common/policy.h"

#include <rein/algorithm.h>

enum advantage_kind { ADVANTAGE_GAE, ADVANTAGE_REWARD_MINUS_VALUE };
extern const char *const advantage_choices[];
enum scale_kind { SCALE_GROUP, SCALE_BATCH, SCALE_NONE };
extern const char *const scale_choices[];

/* By the critic: fills e->advantage and e->return_ from the per-token rewards s->reward, which whitening changes. */
void advantage_critic(const struct rein_experience *e, const struct critic_options *o, struct scratch *s);

/* The others compare the completions of a prompt (e->unit). A row whose score is NaN counts nowhere and gets an
 * advantage of 0; so does a row that is alone. All add the metric frac_reward_zero_std: the share of the scored
 * rows whose group has one and the same score. */

/* DeepSeekMath, arXiv 2402.03300, as in TRL 1.16, on every token of the row:
 *     A = (score - mean of the group) / (deviation + 1e-4)
 * The deviation (divisor n - 1, 0 for one row) is the group's, the rollout's, or left out. Adds reward_std. */
void advantage_group(const struct rein_experience *e, const double *score, int64_t scale);

/* Leave-one-out, Ahmadian et al., arXiv 2402.14740, as in TRL 1.16, on every token of the row:
 *     A = score - mean of the group's other scores;   normalize: A / (deviation + 1e-4) over the rows
 * `score` is used up. */
void advantage_leave_one_out(const struct rein_experience *e, double *score, int normalize);

/* score -= mean of the group: the baseline of REINFORCE++-baseline. */
void subtract_group_mean(const struct rein_experience *e, double *score);

#endif
