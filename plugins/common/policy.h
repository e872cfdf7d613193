/* plugins/common/policy.h - what every algorithm that samples does alike, apart from its mathematics.
 * SPDX-License-Identifier: MIT
 *
 * An instance begins with a struct policy; then policy_destroy, policy_after, policy_save and
 * policy_load are its operations.
 */
#ifndef REIN_COMMON_POLICY_H
#define REIN_COMMON_POLICY_H

#include "common/beta.h"
#include "common/options.h"

#include <rein/algorithm.h>

struct policy {
    const struct rein_host *host;
    struct beta beta;
    double target_kl, target_kl_stop;
};

/* An instance of `size` bytes, or the reason why these options cannot be used. Sets trust->clip_high when it is left to
 * `clip`. beta: the first weight of the KL in the reward. */
rein_status policy_create(const struct rein_host *host, size_t size, const struct penalty_options *penalty,
                          struct trust_options *trust, double beta, void **self);
void policy_destroy(void *self);
/* Prompts, log-probabilities, rewards; a reference and entropies when the options use them. */
void policy_needs(const struct trust_options *trust, double beta, struct rein_needs *needs);
rein_status policy_after(void *self, const struct rein_step *s, uint32_t *stop);
rein_status policy_save(void *self, struct rein_state *state);
rein_status policy_load(void *self, const struct rein_state *state);

/* Working memory of prepare(). */
struct scratch {
    double *score;                        /* [rows], begun with e->reward */
    double *reward, *advantage, *return_; /* [tokens] */
    uint8_t *scored;                      /* [tokens] */
};
rein_status scratch_open(const struct policy *p, const struct rein_experience *e, struct scratch *out);
void scratch_close(const struct policy *p, struct scratch *s);

#endif
