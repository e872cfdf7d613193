/* SPDX-License-Identifier: MIT */
#include "report/fanout.h"

static int begin(void *ctx, const char *stage, const char *folder, uint64_t total_steps, int append, uint64_t step,
                 struct error *err) {
    const struct fanout *f = ctx;

    for (size_t i = 0; i < f->count; i++)
        if (f->targets[i]->begin &&
            f->targets[i]->begin(f->targets[i]->ctx, stage, folder, total_steps, append, step, err) != 0)
            return -1;
    return 0;
}

static int step(void *ctx, uint64_t number, int eval, const struct report_value *values, size_t count,
                struct error *err) {
    const struct fanout *f = ctx;

    for (size_t i = 0; i < f->count; i++)
        if (f->targets[i]->step && f->targets[i]->step(f->targets[i]->ctx, number, eval, values, count, err) != 0)
            return -1;
    return 0;
}

static int sample(void *ctx, const struct report_sample *s, struct error *err) {
    const struct fanout *f = ctx;

    for (size_t i = 0; i < f->count; i++)
        if (f->targets[i]->sample && f->targets[i]->sample(f->targets[i]->ctx, s, err) != 0)
            return -1;
    return 0;
}

static void progress(void *ctx, const char *what, uint64_t done, uint64_t total) {
    const struct fanout *f = ctx;

    for (size_t i = 0; i < f->count; i++)
        if (f->targets[i]->progress)
            f->targets[i]->progress(f->targets[i]->ctx, what, done, total);
}

static int cost(void *ctx, uint64_t number, const struct report_cost *c, struct error *err) {
    const struct fanout *f = ctx;

    for (size_t i = 0; i < f->count; i++)
        if (f->targets[i]->cost && f->targets[i]->cost(f->targets[i]->ctx, number, c, err) != 0)
            return -1;
    return 0;
}

static int end(void *ctx, struct error *err) {
    const struct fanout *f = ctx;
    int rc = 0;

    for (size_t i = 0; i < f->count; i++)
        if (f->targets[i]->end && f->targets[i]->end(f->targets[i]->ctx, rc == 0 ? err : NULL) != 0)
            rc = -1;
    return rc;
}

void fanout_init(struct fanout *f) {
    *f = (struct fanout){.sink = {.ctx = f, .begin = begin, .step = step, .sample = sample, .progress = progress,
                                  .cost = cost, .end = end}};
}

void fanout_add(struct fanout *f, const struct report_sink *target) {
    if (f->count < FANOUT_MAX)
        f->targets[f->count++] = target;
}
