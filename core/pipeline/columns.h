/* core/pipeline/columns.h - are the columns that plugins name in the data?
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_COLUMNS_H
#define REIN_CORE_COLUMNS_H

#include "pipeline/pipeline.h"

/* Looks at the first row of the stage's data, for the columns that the pipeline gives (not for a plugin's defaults). */
int columns_check(const struct stage *s, struct error *err);

#endif
