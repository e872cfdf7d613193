/* plugins/common/shape.h - per-token rewards: a KL penalty, and the score on the last token.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_SHAPE_H
#define REIN_COMMON_SHAPE_H

#include "common/beta.h"
#include "common/options.h"

#include <rein/algorithm.h>

/* reward[i] = -beta KL_i for every token that counts. `beta` is begun for this rollout and adapted to its KL, and
 * learns its rows per token. `score` [rows] is changed to what counts: limited to +-reward_clip, then less
 * missing_eos_penalty for a completion that was cut off. Adds the metrics objective/{kl,entropy,non_score_reward,
 * rlhf_reward,scores} (means over completions, as in TRL 1.9), objective/kl_coef when it adapts, and
 * val/num_eos_tokens. A score that is not finite fails; with `none_allowed` a NaN is left out. */
rein_status shape_rewards(const struct rein_host *host, const struct rein_experience *e,
                          const struct penalty_options *o, struct beta *beta, int none_allowed, double *score,
                          double *reward);

/* Adds each row's score to the reward of its last token that counts; a NaN and an empty row have no place. */
void place_scores(const struct rein_experience *e, const double *score, double *reward);

#endif
