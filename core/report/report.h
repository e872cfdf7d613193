/* core/report/report.h - all that a run shows, as one sink.
 * SPDX-License-Identifier: MIT
 *
 * Per stage metrics.jsonl, samples.jsonl and TensorBoard events; a bar or lines on stderr; and <run>/report.html,
 * written anew when a stage ends.
 */
#ifndef REIN_CORE_REPORT_H
#define REIN_CORE_REPORT_H

#include "report/sink.h"

#include <stdbool.h>

struct report;

/* `terminal`: stderr is one, draw a bar. */
int report_create(const char *run_folder, bool terminal, struct report **out, struct error *err);
const struct report_sink *report_sink(const struct report *r);
void report_free(struct report *r);

#endif
