/* core/report/fanout.h - one sink that tells several others.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_FANOUT_H
#define REIN_CORE_FANOUT_H

#include "report/sink.h"

enum { FANOUT_MAX = 8 };

/* Members of a target that are NULL are skipped. Targets are told in order; the first failure is returned, but
 * end() reaches all. */
struct fanout {
    struct report_sink sink;                     /* hand out &fanout.sink */
    const struct report_sink *targets[FANOUT_MAX];
    size_t count;
};

void fanout_init(struct fanout *f);
void fanout_add(struct fanout *f, const struct report_sink *target); /* at most FANOUT_MAX */

#endif
