/* core/report/chart.h - a curve as inline SVG.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_CHART_H
#define REIN_CORE_CHART_H

#include "base/buffer.h"
#include "report/history.h"

/* A figure with the curve of `train` and, when not NULL, that of `eval` in the same axes. */
void chart_write(struct buffer *out, const char *title, const struct series *train, const struct series *eval);
/* Text with &, <, > and quotes escaped. */
void chart_escape(struct buffer *out, const char *text);
/* A number as people read it: "0.0123", "1.2e-06", "54,321" is "54321". */
void chart_number(struct buffer *out, double x);

#endif
