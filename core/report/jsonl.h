/* core/report/jsonl.h - metrics.jsonl and samples.jsonl in a stage's folder, one object a line.
 * SPDX-License-Identifier: MIT
 *
 * A line begins with {"step":N. It is written at once, so that a killed run leaves whole lines.
 */
#ifndef REIN_CORE_JSONL_H
#define REIN_CORE_JSONL_H

#include "report/sink.h"

#include <stdbool.h>

/* Fills `sink`; release with jsonl_close. */
int jsonl_sink_open(struct report_sink *sink, struct error *err);
void jsonl_sink_close(struct report_sink *sink);

/* Names whose values are wall-clock times: the only ones that differ between two runs of one seed.
 * NULL past the end. */
const char *jsonl_time_name(size_t index);
bool jsonl_is_time(const char *name);
/* Drops the lines of steps after `step`, and a last line that was cut off. A missing file is no error. */
int jsonl_cut(const char *path, uint64_t step, struct error *err);

#endif
