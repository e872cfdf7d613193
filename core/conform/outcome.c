/* What a step came to, and how two of them differ. SPDX-License-Identifier: MIT */
#include "conform/conform.h"
#include "conform/guard.h"
#include "conform/workload.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const outcome_names[D_COUNT] = {"d_logp", "d_value", "d_entropy", "d_score"};

void outcome_make(struct outcome *o, const struct workload *w) {
    const uint32_t need[D_COUNT] = {REIN_NEED_LOGP, REIN_NEED_CRITIC, REIN_NEED_ENTROPY, REIN_NEED_SCORE};

    memset(o, 0, sizeof(*o));
    for (int k = 0; k < D_COUNT; k++)
        if (w->needs.needs & need[k]) {
            o->length[k] = k == D_SCORE ? w->b.rows : w->b.tokens;
            o->d[k] = guard_alloc(o->length[k], sizeof(float));
            guard_label(o->d[k], outcome_names[k]);
        }
    o->list = (struct rein_metrics){.size = sizeof(o->list), .capacity = OUTCOME_METRICS, .items = o->items};
}

void outcome_free(struct outcome *o) {
    for (int k = 0; k < D_COUNT; k++)
        guard_free(o->d[k]);
}

bool outcome_same(const struct outcome *a, const struct outcome *b) {
    if (a->status != b->status || memcmp(&a->loss, &b->loss, sizeof(a->loss)) != 0)
        return false;
    for (int k = 0; k < D_COUNT; k++)
        for (uint32_t i = 0; i < a->length[k]; i++)
            if (a->d[k][i] < b->d[k][i] || a->d[k][i] > b->d[k][i] || isnan(a->d[k][i]) || isnan(b->d[k][i]))
                return false;
    return true;
}

bool outcome_finite(const struct outcome *o) {
    bool ok = o->status == REIN_OK && isfinite(o->loss);

    for (int k = 0; k < D_COUNT; k++)
        for (uint32_t i = 0; i < o->length[k]; i++)
            ok = ok && isfinite(o->d[k][i]);
    return ok;
}

double outcome_distance(const struct outcome *a, const struct outcome *b) {
    double worst = 0;

    for (int k = 0; k < D_COUNT; k++) {
        double largest = 1e-30, off = 0;
        for (uint32_t i = 0; i < a->length[k]; i++) {
            double x = (double)a->d[k][i], y = (double)b->d[k][i];
            if (!isfinite(x) || !isfinite(y))
                return INFINITY;
            largest = fmax(largest, fabs(x));
            off = fmax(off, fabs(x - y));
        }
        worst = fmax(worst, off / largest);
    }
    return worst;
}

bool outcome_metrics_sane(const struct outcome *o) {
    bool ok = o->list.count <= o->list.capacity;

    for (uint32_t i = 0; ok && i < o->list.count; i++) {
        const struct rein_metric *m = &o->items[i];
        ok = m->name && *m->name && m->how <= REIN_METRIC_MAX && isfinite(m->weight) && m->weight >= 0 &&
             (m->weight == 0 || isfinite(m->sum));
    }
    return ok;
}

bool outcome_metric(const struct outcome *o, const char *name, double *value) {
    for (uint32_t i = 0; i < o->list.count && i < OUTCOME_METRICS; i++)
        if (!strcmp(o->items[i].name, name) && o->items[i].weight > 0) {
            *value = o->items[i].how == REIN_METRIC_MEAN ? o->items[i].sum / o->items[i].weight : o->items[i].sum;
            return true;
        }
    return false;
}

const char *workload_where(const struct workload *w, int k, uint32_t i, char *out, size_t size) {
    uint32_t r = 0;

    if (k == D_SCORE) {
        snprintf(out, size, "%s[%u]", outcome_names[k], i);
        return out;
    }
    while (r < w->b.rows && w->b.offset[r + 1] <= i)
        r++;
    snprintf(out, size, "%s[%u] (row %u, its token %u%s)", outcome_names[k], i, r, i - w->b.offset[r],
             w->b.mask && !w->b.mask[i] ? ", masked" : "");
    return out;
}

void outcome_explain(const struct workload *w, const struct outcome *x, const char *a, const struct outcome *y,
                     const char *b) {
    char place[100];

    if (x->status != y->status)
        conform_note("loss() returned %d %s, %d %s", (int)x->status, a, (int)y->status, b);
    if (memcmp(&x->loss, &y->loss, sizeof(x->loss)) != 0)
        conform_note("loss: %.9g %s, %.9g %s", x->loss, a, y->loss, b);
    for (int k = 0; k < D_COUNT; k++) {
        double worst = 0;
        uint32_t at = 0;
        for (uint32_t i = 0; i < x->length[k]; i++) {
            double d = fabs((double)x->d[k][i] - (double)y->d[k][i]);
            if (d > worst || isnan(d)) {
                worst = isnan(d) ? INFINITY : d;
                at = i;
            }
        }
        if (worst > 0)
            conform_note("%s: %.9g %s, %.9g %s", workload_where(w, k, at, place, sizeof(place)), (double)x->d[k][at], a,
                         (double)y->d[k][at], b);
    }
}

void outcome_explain_finite(const struct workload *w, const struct outcome *o) {
    char place[100];

    if (o->status != REIN_OK)
        conform_note("loss() returned %d", (int)o->status);
    if (!isfinite(o->loss))
        conform_note("loss is %g", o->loss);
    for (int k = 0; k < D_COUNT; k++)
        for (uint32_t i = 0; i < o->length[k]; i++)
            if (!isfinite(o->d[k][i])) {
                conform_note("%s is %g", workload_where(w, k, i, place, sizeof(place)), (double)o->d[k][i]);
                break;
            }
}
