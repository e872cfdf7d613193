/* core/conform/algorithm.h - the checks of an algorithm, in three files.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_CONFORM_ALGORITHM_H
#define REIN_CORE_CONFORM_ALGORITHM_H

#include "conform/workload.h"

#include <rein/plugin.h>

/* What is under test, and one way to test it. */
struct subject {
    const struct rein_plugin *plugin;
    const struct rein_algorithm_ops *ops;
    void *config;
    struct rein_needs needs;
    uint32_t data;
    bool masks;
    const char *label; /* "pairs, masked" */
};

/* A new instance, described; NULL when it cannot be had. */
void *subject_make(const struct subject *s);
/* A new instance on a new workload: prepare and one step. */
void subject_fresh(const struct subject *s, uint64_t seed, struct outcome *o);

/* algorithm_gradient.c: the loss and its derivatives */
void check_derivatives(const struct subject *s);
void check_masked(const struct subject *s);
void check_order(const struct subject *s);
void check_micro_batches(const struct subject *s);

/* algorithm_life.c: instances, state, memory */
void check_instances(const struct subject *s);
void check_threads(const struct subject *s);
void check_state(const struct subject *s);
void check_memory(const struct subject *s);

/* algorithm_limits.c: numbers and options at their ends */
void check_extremes(const struct subject *s);
void check_options(const struct subject *s);

#endif
