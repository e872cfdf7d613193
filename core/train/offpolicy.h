/* core/train/offpolicy.h - learning from data that is there: SFT, reward models, DPO.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_OFFPOLICY_H
#define REIN_CORE_OFFPOLICY_H

#include "train/run.h"

int offpolicy_run(struct run *r, struct error *err);

/* The loss and metrics of the whole evaluation set, as one step would compute them. */
int offpolicy_evaluate(struct run *r, struct error *err);

#endif
