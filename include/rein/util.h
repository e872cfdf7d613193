/* rein/util.h - inline helpers over the tables; nothing here is linked.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_UTIL_H
#define REIN_UTIL_H

#include "algorithm.h"
#include "host.h"

#include <stdarg.h>
#include <stdio.h>

#if defined(__GNUC__)
#define REIN_PRINTF(f, a) __attribute__((format(printf, f, a), unused))
#else
#define REIN_PRINTF(f, a)
#endif

REIN_PRINTF(3, 4)
static rein_status rein_failf(const struct rein_host *host, rein_status code, const char *fmt, ...) {
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return host->fail(host->ctx, code, text);
}

REIN_PRINTF(3, 4)
static rein_status rein_fail_paramf(const struct rein_host *host, const char *param, const char *fmt, ...) {
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return host->fail_param(host->ctx, param, text);
}

REIN_PRINTF(3, 4)
static void rein_logf(const struct rein_host *host, uint32_t level, const char *fmt, ...) {
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    host->log(host->ctx, level, text);
}

/* Appends to a metric list; silently full when the host's list is (the host
 * sizes it generously and warns). `name` must live as long as the module. */
static inline void rein_metric_add(struct rein_metrics *m, const char *name, uint32_t how, double sum, double weight) {
    if (m->count < m->capacity) {
        struct rein_metric *x = &m->items[m->count];
        x->name = name;
        x->how = how;
        x->reserved = 0;
        x->sum = sum;
        x->weight = weight;
    }
    m->count++;
}
static inline void rein_metric_mean(struct rein_metrics *m, const char *name, double sum, double weight) {
    rein_metric_add(m, name, REIN_METRIC_MEAN, sum, weight);
}

#endif
