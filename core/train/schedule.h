/* core/train/schedule.h - the learning rate over the steps of a stage.
 * SPDX-License-Identifier: MIT
 *
 * As transformers' get_{linear,cosine,constant}_schedule_with_warmup: with step counting from 0, the first
 * step of a warm-up has factor 0, and the last step is one short of the end of the decay.
 */
#ifndef REIN_CORE_SCHEDULE_H
#define REIN_CORE_SCHEDULE_H

#include <stdint.h>

/* Steps of warm-up: ceil(share * total), as transformers' warmup_ratio. */
uint64_t schedule_warmup(double share, uint64_t total);
/* What the base learning rate is multiplied by in step 0, 1 ... total - 1. `kind` is SCHEDULE_*. */
double schedule_factor(int64_t kind, uint64_t step, uint64_t warmup, uint64_t total);

#endif
