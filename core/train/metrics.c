/* SPDX-License-Identifier: MIT */
#include "train/metrics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct rein_metrics *metrics_page_open(struct metrics_page *page) {
    page->table = (struct rein_metrics){.size = sizeof(page->table), .capacity = METRICS_MAX, .items = page->items};
    return &page->table;
}

void metrics_clear(struct metrics *m) {
    m->count = 0;
    m->dropped = 0;
}

static struct rein_metric *find(struct metrics *m, const char *name, uint32_t how) {
    struct rein_metric *item;

    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->names[i], name) == 0)
            return &m->items[i];
    if (m->count == METRICS_MAX) {
        m->dropped++;
        return NULL;
    }
    memcpy(m->names[m->count], name, METRICS_NAME);
    item = &m->items[m->count];
    *item = (struct rein_metric){.name = m->names[m->count], .how = how};
    m->count++;
    return item;
}

void metrics_add(struct metrics *m, const char *prefix, const char *name, uint32_t how, double sum, double weight) {
    char full[METRICS_NAME] = {0};
    struct rein_metric *item;

    snprintf(full, sizeof(full), "%s%s", prefix ? prefix : "", name);
    item = find(m, full, how);
    if (item == NULL || weight == 0)
        return;
    if (how == REIN_METRIC_MIN)
        item->sum = item->weight > 0 ? fmin(item->sum, sum) : sum;
    else if (how == REIN_METRIC_MAX)
        item->sum = item->weight > 0 ? fmax(item->sum, sum) : sum;
    else
        item->sum += sum;
    item->weight += weight;
}

void metrics_merge(struct metrics *m, const char *prefix, const struct rein_metrics *from) {
    const uint32_t n = from->count < from->capacity ? from->count : from->capacity;

    for (uint32_t i = 0; i < n; i++) {
        const struct rein_metric *x = &from->items[i];
        metrics_add(m, prefix, x->name, x->how, x->sum, x->weight);
    }
    m->dropped += from->count - n;
}

struct rein_metrics metrics_table(struct metrics *m) {
    return (struct rein_metrics){.size = sizeof(struct rein_metrics),
                                 .count = (uint32_t)m->count,
                                 .capacity = (uint32_t)m->count,
                                 .items = m->items};
}

double metrics_value(const struct rein_metric *item) {
    return item->how == REIN_METRIC_MEAN ? item->sum / item->weight : item->sum;
}

size_t metrics_values(const struct metrics *m, struct report_value *out, size_t count, size_t capacity) {
    for (size_t i = 0; i < m->count && count < capacity; i++)
        if (m->items[i].weight != 0)
            out[count++] = (struct report_value){m->names[i], metrics_value(&m->items[i])};
    return count;
}
