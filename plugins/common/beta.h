/* plugins/common/beta.h - the KL coefficient, fixed or adaptive, and what else outlives prepare().
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_BETA_H
#define REIN_COMMON_BETA_H

#include <rein/algorithm.h>

/* The next coefficient is kept apart until the next rollout begins, so that a rollout
 * taken up again from a checkpoint is shaped with its own. */
struct beta {
    double now, next;
    uint32_t rollout, started;
    double rows_per_token; /* of the rollout: by it dapo divides */
};

void beta_init(struct beta *b, double value);
/* At the start of prepare(): `now` is that of rollout number `rollout`. */
void beta_begin(struct beta *b, uint32_t rollout);
/* Ziegler et al., arXiv 1909.08593, section 2.2, as in TRL 0.11:
 *     next = now (1 + clamp(kl / target - 1, -0.2, 0.2) rows / horizon)
 * kl: mean over the rollout's `rows` completions, nats. A target of 0 keeps it fixed. */
void beta_adapt(struct beta *b, double kl, double target, double horizon, uint32_t rows);

rein_status beta_save(const struct beta *b, const struct rein_host *host, struct rein_state *state);
/* A fixed coefficient (adaptive == 0) stays the configuration's business. */
rein_status beta_load(struct beta *b, const struct rein_host *host, const struct rein_state *state, int adaptive);

#endif
