/* core/report/sink.h - what training tells the world, and nobody else's business how it is shown.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_SINK_H
#define REIN_CORE_SINK_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct report_value {
    const char *name;     /* "loss", "objective/kl" */
    double value;
};

/* A finished completion, for samples.jsonl and the report. */
struct report_sample {
    uint64_t step;
    const char *prompt, *completion;
    double reward;        /* NaN when there is none */
    double kl;            /* sum of k1 over the completion; NaN */
};

/* What a whole stage took, from reading its models to writing them. */
struct report_cost {
    double seconds;
    uint64_t peak_memory; /* bytes resident at most */
    int of_process;       /* 1: of the process since it began, earlier stages too; the system keeps no other */
};

enum {
    REPORT_APPEND = 1,  /* resumed: what comes after `step` is cut off the files */
    REPORT_SAMPLED = 2, /* but the samples of the next step stay: its rollout is in the checkpoint and is not told again */
};

struct report_sink {
    void *ctx;
    /* A stage begins; append: 0, or REPORT_*. */
    int (*begin)(void *ctx, const char *stage, const char *folder, uint64_t total_steps, int append, uint64_t step,
                 struct error *err);
    /* One optimiser step (or an evaluation, eval = 1, names already prefixed eval_). */
    int (*step)(void *ctx, uint64_t step, int eval, const struct report_value *values, size_t count, struct error *err);
    int (*sample)(void *ctx, const struct report_sample *s, struct error *err);
    /* Work inside a step: "sampling", done of total tokens. For the progress bar only. */
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total);
    /* The stage is done and written; comes right before end(). A resumed stage counts from when it was resumed. */
    int (*cost)(void *ctx, uint64_t step, const struct report_cost *c, struct error *err);
    int (*end)(void *ctx, struct error *err);
};

#endif
