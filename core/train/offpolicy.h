/* core/train/offpolicy.h - learning from data that is there: SFT, reward models, DPO.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_OFFPOLICY_H
#define REIN_CORE_OFFPOLICY_H

#include "train/run.h"

int offpolicy_run(struct run *r, struct error *err);

#endif
