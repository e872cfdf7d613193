/* core/pipeline/resolved.h - a pipeline written out in full.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_RESOLVED_H
#define REIN_CORE_RESOLVED_H

#include "base/buffer.h"
#include "pipeline/pipeline.h"

/* The file with every --set applied, absolute paths and the defaults that were used: it runs again from anywhere. Changes
 * the nodes of p. */
int resolved_write(struct pipeline *p, struct buffer *out, struct error *err);

#endif
