/* core/train/save.h - the models that a stage leaves behind.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_SAVE_H
#define REIN_CORE_SAVE_H

#include "train/run.h"

/* <output>/critic, then <output>/ema, then <output>/model: each appears whole or not at all, and model comes last, so
 * that its being there means that the stage is done. What is kept with a reward model is measured of each, and a signal
 * may stop that. */
int save_models(struct run *r, struct error *err);

#endif
