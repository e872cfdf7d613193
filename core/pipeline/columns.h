/* core/pipeline/columns.h - are the columns that plugins name in the data?
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_COLUMNS_H
#define REIN_CORE_COLUMNS_H

#include "pipeline/pipeline.h"

/* Looks at every row of the stage's data, held-out rows too, for the columns that the pipeline gives (not for a plugin's
 * defaults): what is missing would be found when a rollout comes to that row, or after the last step. */
int columns_check(const struct stage *s, struct error *err);

#endif
