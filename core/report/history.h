/* core/report/history.h - what the files of a stage's folder say about its run.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_HISTORY_H
#define REIN_CORE_HISTORY_H

#include "base/error.h"
#include "base/mem.h"

#include <stddef.h>
#include <stdint.h>

struct series {
    char *name;
    size_t count, step_capacity, value_capacity;
    double *step, *value;
};

struct history_sample {
    uint64_t step;
    const char *prompt, *completion;
    double reward, kl;            /* NaN when not known */
};

enum { HISTORY_SAMPLES = 12 };

struct history {
    struct series *series;        /* in the order in which they first appear */
    size_t count, capacity;
    struct history_sample first[HISTORY_SAMPLES], last[HISTORY_SAMPLES]; /* of the earliest and of the latest step */
    size_t nfirst, nlast;
    uint64_t last_step;
    struct arena arena;
};

/* Reads <folder>/metrics.jsonl and samples.jsonl (which may be missing). Lines that are not ours are passed over. */
int history_load(const char *folder, struct history *out, struct error *err);
void history_free(struct history *h);
const struct series *history_find(const struct history *h, const char *name);

#endif
