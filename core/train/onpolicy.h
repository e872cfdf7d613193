/* core/train/onpolicy.h - learning from what the model itself samples: PPO, GRPO.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_ONPOLICY_H
#define REIN_CORE_ONPOLICY_H

#include "train/run.h"

int onpolicy_run(struct run *r, struct error *err);

#endif
