/* plugins/common/advantage.h - from a rollout's rewards to its advantages.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_ADVANTAGE_H
#define REIN_COMMON_ADVANTAGE_H

#include "common/options.h"

#include <rein/algorithm.h>

enum advantage_kind { ADVANTAGE_GAE, ADVANTAGE_REWARD_MINUS_VALUE };
extern const char *const advantage_choices[];
enum scale_kind { SCALE_GROUP, SCALE_BATCH, SCALE_NONE };
extern const char *const scale_choices[];

/* By the critic: fills e->advantage and e->return_ from per-token rewards, which whitening
 * changes. `scratch` holds 2 * e->tokens doubles. */
void advantage_critic(const struct rein_experience *e, const struct critic_options *o, double *reward, double *scratch);

/* By the other completions of the prompt (e->unit), DeepSeekMath arXiv 2402.03300 as in TRL 1.16:
 *     A = (score - mean of the group) / (deviation + 1e-4)
 * on every token of the row. The deviation (divisor n - 1, 0 for one row) is the group's, the
 * rollout's, or left out. Rows whose score is NaN count nowhere and get 0. Adds the metrics
 * reward, reward_std and frac_reward_zero_std. */
void advantage_group(const struct rein_experience *e, const double *score, int64_t scale);

#endif
