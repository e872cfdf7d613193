/* core/cli/inspect_checkpoint.h - `rein inspect` of a checkpoint-N folder.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_INSPECT_CHECKPOINT_H
#define REIN_CORE_INSPECT_CHECKPOINT_H

#include "base/error.h"

#include <stdbool.h>

bool inspect_is_checkpoint(const char *folder);
int inspect_checkpoint(const char *folder, bool json, struct error *err);

#endif
