/* core/train/metrics.h - named numbers gathered over the micro-batches of a step.
 * SPDX-License-Identifier: MIT
 *
 * A mean is (sum of sums) / (sum of weights), so it does not depend on how a step was cut.
 */
#ifndef REIN_CORE_METRICS_H
#define REIN_CORE_METRICS_H

#include "base/error.h"
#include "report/sink.h"

#include <rein/algorithm.h>

enum { METRICS_MAX = 96, METRICS_NAME = 64 };

struct metrics {
    size_t count, dropped;                 /* dropped: there was no room for so many */
    char names[METRICS_MAX][METRICS_NAME]; /* our own copies: a prefix may have been added */
    struct rein_metric items[METRICS_MAX]; /* .name points into names */
};

/* Where an algorithm writes its metrics of one call. */
struct metrics_page {
    struct rein_metric items[METRICS_MAX];
    struct rein_metrics table;
};
struct rein_metrics *metrics_page_open(struct metrics_page *page);

void metrics_clear(struct metrics *m);
void metrics_add(struct metrics *m, const char *prefix, const char *name, uint32_t how, double sum, double weight);
/* Adds everything an algorithm wrote; `prefix` ("sft/") may be NULL. */
void metrics_merge(struct metrics *m, const char *prefix, const struct rein_metrics *from);
/* The table as after() reads it; valid until m changes. */
struct rein_metrics metrics_table(struct metrics *m);
/* Appends final values at out[count...], at most `capacity` in all; returns the new count. A metric of
 * no weight says nothing and is left out. Names are borrowed from m. */
size_t metrics_values(const struct metrics *m, struct report_value *out, size_t count, size_t capacity);
double metrics_value(const struct rein_metric *item);

#endif
