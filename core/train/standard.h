/* core/train/standard.h - where a reward model's scores lie, for comparing models that were trained apart.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_STANDARD_H
#define REIN_CORE_STANDARD_H

#include "train/run.h"

/* After the last step of a model with score heads: mean and deviation of each head's scores over the evaluation data,
 * else the training data (every so many units of it, STANDARD_UNITS in all, when there are more), kept with the model.
 * Other models are left alone. */
enum { STANDARD_UNITS = 512 };
int standard_measure(struct run *r, struct error *err);

#endif
