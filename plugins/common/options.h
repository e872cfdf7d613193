/* plugins/common/options.h - options that several on-policy algorithms have, with one wording.
 * SPDX-License-Identifier: MIT
 *
 * An algorithm's `struct config` holds these structs as members of the names used
 * below (penalty, critic, trust) and its table their rows. Defaults are TRL's.
 */
#ifndef REIN_COMMON_OPTIONS_H
#define REIN_COMMON_OPTIONS_H

#include <rein/param.h>

/* ROW(critic.gamma, gamma, REAL, "1"): where, name, type and default of an option */
#define ROW(where, called, t, d)                                                                                       \
    .name = #called, .type = REIN_PARAM_##t, .offset = offsetof(struct config, where), .dflt = d

/* What is taken off a score, and how beta adapts. reward_clip has its row apart: REWARD_CLIP_ROW. */
struct penalty_options {
    double target_kl, horizon, missing_eos_penalty, reward_clip;
    int64_t kl; /* enum kl_estimator */
};
#define PENALTY_ROWS                                                                                                   \
    {ROW(penalty.kl, kl, CHOICE, "k1"), .choices = kl_choices,                                                         \
     .doc = "Estimator of the KL penalty in the reward: k1 is unbiased, k2 and k3 are never negative."},               \
        {ROW(penalty.target_kl, target_kl, REAL, "0"), .min = 0, .max = 1e6, .unit = "nats",                           \
         .doc = "Adapt beta so that the KL of a whole completion comes to this; 0 keeps beta fixed."},                 \
        {ROW(penalty.horizon, horizon, REAL, "10000"), .min = 1, .max = 1e12, .unit = "completions",                   \
         .doc = "How slowly beta adapts: by at most a fifth over this many completions."},                             \
    {                                                                                                                  \
        ROW(penalty.missing_eos_penalty, missing_eos_penalty, REAL, "0"),                                              \
            .min = 0, .max = 1e6,                                                                                      \
            .doc = "Taken off the score of a completion that was cut off before it ended; 0 for none."                 \
    }
#define REWARD_CLIP_ROW                                                                                                \
    {                                                                                                                  \
        ROW(penalty.reward_clip, reward_clip, REAL, "0"),                                                              \
            .min = 0, .max = 1e6,                                                                                      \
            .doc = "Scores are limited to plus and minus this before the penalty for a missing end; 0 for no limit."   \
    }

/* How a critic turns rewards into advantages, and how it learns. */
struct critic_options {
    double gamma, lambda, vf_coef, clip_value;
    int64_t advantage; /* enum advantage_kind */
    uint8_t whiten_rewards, whiten_advantages;
};
#define CRITIC_ROWS                                                                                                    \
    {ROW(critic.gamma, gamma, REAL, "1"), .min = 0, .max = 1, .doc = "Discount of later rewards, per token."},         \
        {ROW(critic.lambda, lambda, REAL, "0.95"), .min = 0, .max = 1,                                                 \
         .doc = "Generalised advantage estimation: 0 trusts the critic, 1 the sampled rewards."},                      \
        {ROW(critic.advantage, advantage, CHOICE, "gae"), .choices = advantage_choices,                                \
         .doc = "Per token by generalised advantage estimation, or the completion's reward minus V(prompt)."},         \
        {ROW(critic.whiten_rewards, whiten_rewards, BOOL, "false"),                                                    \
         .doc = "Scale the rollout's per-token rewards to unit deviation."},                                           \
        {ROW(critic.whiten_advantages, whiten_advantages, BOOL, "true"),                                               \
         .doc = "Shift and scale the rollout's advantages to zero mean and unit deviation."},                          \
        {ROW(critic.vf_coef, vf_coef, REAL, "0.1"), .min = 0, .max = 1e3, .doc = "Weight of the value loss."}, {       \
        ROW(critic.clip_value, clip_value, REAL, "0.2"),                                                               \
            .min = 0, .max = 1e6,                                                                                      \
            .doc =                                                                                                     \
                "The value loss earns nothing for moving further than this from the rollout's value; 0 for no limit."  \
    }

/* How far one rollout may move the policy. */
struct trust_options {
    double clip, clip_high, dual_clip, entropy, target_kl_stop;
    int64_t ratio; /* enum ratio_kind */
};
#define TRUST_ROWS                                                                                                     \
    {ROW(trust.clip, clip, REAL, "0.2"), .min = 0, .max = 1e3,                                                         \
     .doc = "The probability ratio earns nothing beyond 1 minus and 1 plus this."},                                    \
        {ROW(trust.clip_high, clip_high, REAL, "0"), .min = 0, .max = 1e3,                                             \
         .doc = "The ratio earns nothing beyond 1 plus this instead of 1 plus clip; 0 takes clip."},                   \
        {ROW(trust.dual_clip, dual_clip, REAL, "0"), .min = 0, .max = 1e6,                                             \
         .doc = "Bounds the loss of a bad token at this times its advantage; above 1 (3 is usual), 0 for none."},      \
        {ROW(trust.ratio, ratio, CHOICE, "old"), .choices = ratio_choices,                                             \
         .doc = "Denominator of the probability ratio: the policy that sampled, or the reference."},                   \
        {ROW(trust.entropy, entropy, REAL, "0"), .min = 0, .max = 1e3, .doc = "Weight of the entropy bonus."}, {       \
        ROW(trust.target_kl_stop, target_kl_stop, REAL, "0"),                                                          \
            .min = 0, .max = 1e6, .unit = "nats",                                                                      \
            .doc = "Leave a rollout once a step's policy/approxkl_avg exceeds this; 0 never does."                     \
    }

#endif
