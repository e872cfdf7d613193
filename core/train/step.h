/* core/train/step.h - one optimiser step (or one evaluation) over units of the samples.
 * SPDX-License-Identifier: MIT
 *
 * Divisors and sums are those of the whole step, so that its gradient does not depend on how it is cut into
 * micro-batches. Nothing has changed when it fails or is stopped.
 */
#ifndef REIN_CORE_STEP_H
#define REIN_CORE_STEP_H

#include "train/learner.h"
#include "train/trainer.h"

/* An algorithm on its own units. */
struct step_part {
    struct learner *learner;
    const struct samples *samples;
    const uint32_t *units;
    uint32_t count;
};

struct step_request {
    const struct step_part *parts;
    size_t count;
    uint32_t micro;               /* units at once */
    double temperature;           /* of a rollout; whatever else is learnt in the step is at 1 */
    double max_tokens;            /* of a rollout; 0: the longest row's */
    double factor;                /* of the learning rates */
    bool eval;                    /* no derivatives, no update; metrics are prefixed eval_ */
    bool critic_only;
    bool compare_old;             /* report how far log-probabilities are from those of sampling */
    double dropout;               /* of the actor, not in an evaluation */
    bool adapter_dropout;         /* it is of what the adapter reads */
    bool bootstrap;               /* of its score heads */
    uint64_t seed, step;          /* for their random numbers */
    const struct report_sink *sink; /* progress; may be NULL */
};

struct step_result {
    double loss, grad_norm, critic_grad_norm; /* norms before clipping */
    bool updated;                 /* false: a loss or gradient was not finite, weights are as before */
    uint64_t tokens;              /* read by the actor */
    struct metrics metrics;
};

/* Scratch that is kept from step to step. Zero-initialise; free with step_free. */
struct step {
    struct trainer *trainer;
    struct batch batch;
    struct metrics_page page;
    uint64_t *keys;               /* a key a row, for dropout */
    size_t keys_capacity;
};

int step_run(struct step *s, const struct step_request *r, struct step_result *out, struct error *err);
void step_free(struct step *s);

#endif
