/* core/train/room.h - how large the batches of a stage get: for memory that is taken before its first step, and for
 * what `rein check` says of it. SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_ROOM_H
#define REIN_CORE_ROOM_H

#include "train/order.h"
#include "train/run.h"

/* What a stage does with its data. */
struct room_plan {
    const struct stage *stage;
    uint64_t steps;             /* of the stage */
    uint32_t micro, max_tokens; /* units computed at once; tokens of a completion at most */
    uint32_t epochs;            /* over a rollout */
};

/* Both widen *out. Given data in its order, or, with order NULL, once as it lies and without a backward pass. */
int room_of_samples(const struct room_plan *p, const struct samples *s, struct order *order, struct stage_extent *out,
                    struct error *err);
/* Prompts, in the order that rollouts take them; completions go to their last token. */
int room_of_rollouts(const struct room_plan *p, const struct dataset *prompts, struct order *order,
                     struct stage_extent *out, struct error *err);

/* What that asks of each pass. */
struct room_passes {
    struct pass_size actor, critic, reference;
};
/* scores: the actor has so many score heads instead of its language model's; valued: a critic shares its trunk. */
struct room_passes room_of_passes(const struct stage *s, uint32_t micro, const struct stage_extent *e, uint32_t scores,
                                  bool valued);

/* After that no step, rollout or evaluation allocates on the device, unless a reward model's texts are larger than
 * ours. */
int room_make(struct run *r, struct error *err);

#endif
