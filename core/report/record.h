/* core/report/record.h - metrics.jsonl and samples.jsonl in a stage's folder, one object a line.
 * SPDX-License-Identifier: MIT
 *
 * A line begins with {"step":N. It is written at once, so that a killed run leaves whole lines.
 */
#ifndef REIN_CORE_RECORD_H
#define REIN_CORE_RECORD_H

#include "report/sink.h"

#include <stdbool.h>

/* Fills `sink`; release with record_close. */
int record_open(struct report_sink *sink, struct error *err);
void record_close(struct report_sink *sink);

/* What the whole stage took, in a line of its own at the end: seconds, and bytes. */
#define RECORD_STAGE_TIME   "stage_time"
#define RECORD_PEAK         "peak_memory"
#define RECORD_PROCESS_PEAK "process_peak_memory" /* earlier stages counted too */

/* Names whose values tell of the machine (times, memory): the only ones that differ between two runs of one seed.
 * NULL past the end. */
const char *record_time_name(size_t index);
bool record_is_time(const char *name);
/* Drops the lines of steps after `step`, and a last line that was cut off. A missing file is no error. */
int record_cut(const char *path, uint64_t step, struct error *err);

#endif
