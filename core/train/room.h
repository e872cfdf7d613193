/* core/train/room.h - memory for the largest batches that a stage will see, taken before its first step.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_ROOM_H
#define REIN_CORE_ROOM_H

#include "train/run.h"

/* After that no step, rollout or evaluation allocates on the device, unless a reward model's texts are larger than ours. */
int room_make(struct run *r, struct error *err);

#endif
