/* core/report/progress.h - how far a stage is: a bar on a terminal, now and then a line in a log.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_PROGRESS_H
#define REIN_CORE_PROGRESS_H

#include "report/sink.h"

#include <stdbool.h>

/* Everything goes to stderr. Registers a hook with base/log.h, so that a bar never tears a message. */
int progress_open(struct report_sink *sink, bool terminal, struct error *err);
void progress_close(struct report_sink *sink);

/* "1:02:03" or "2:03"; out has room for 32 bytes. */
const char *progress_clock(double seconds, char out[32]);

#endif
