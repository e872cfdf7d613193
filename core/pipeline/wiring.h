/* core/pipeline/wiring.h - does a stage have what its algorithm asks for, and nothing that contradicts it?
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_WIRING_H
#define REIN_CORE_WIRING_H

#include "pipeline/build.h"

/* After everything of the stage was read. Also fills in what the algorithm's defaults decide (lr, epochs, temperature,
 * lengths), so that struct stage says what will happen. */
int wiring_check(struct build *b, struct stage *s);

#endif
