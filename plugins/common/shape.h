/* plugins/common/shape.h - per-token rewards: a KL penalty, and the score on the last token.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_SHAPE_H
#define REIN_COMMON_SHAPE_H

#include <rein/algorithm.h>

struct shaping {
    double beta;                /* weight of the KL penalty; 0 without a reference */
    int64_t kl;                 /* enum kl_estimator */
    double reward_clip;         /* scores are first limited to +-this; 0: not */
    double missing_eos_penalty; /* then this is taken off those of completions that were cut off */
};

/* reward[i] = -beta KL_i for every token that counts, plus the row's score on the last of
 * them. `score` [rows] is changed to what was added. *kl is the mean KL of a completion in
 * nats. Adds the metrics objective/{kl,entropy,non_score_reward,rlhf_reward,scores} (means over completions, as
 * in TRL 1.9) and val/num_eos_tokens. A score that is not finite fails. */
rein_status shape_rewards(const struct rein_host *host, const struct rein_experience *e, const struct shaping *how,
                          double *score, double *reward, double *kl);

#endif
