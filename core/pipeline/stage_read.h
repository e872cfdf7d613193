/* core/pipeline/stage_read.h - one entry of `stages:` into struct stage.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_STAGE_READ_H
#define REIN_CORE_STAGE_READ_H

#include "pipeline/build.h"

extern const struct params use_params, reference_params, critic_params; /* model:, reference:, critic: */

/* `s` has its name, node and output folder; the stages before it are complete. */
int stage_read(struct build *b, struct stage *s);

#endif
