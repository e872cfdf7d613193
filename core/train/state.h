/* core/train/state.h - a run as a checkpoint, and back.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_STATE_H
#define REIN_CORE_STATE_H

#include "train/run.h"

int state_save(struct run *r, struct error *err);
/* The newest valid checkpoint of the stage; *found is false when there is none. Refuses one that was made with
 * another seed, other data or another model. */
int state_load(struct run *r, bool *found, struct error *err);

#endif
