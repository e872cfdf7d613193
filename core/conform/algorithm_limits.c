/* Numbers and options at their ends. SPDX-License-Identifier: MIT */
#include "conform/algorithm.h"
#include "conform/conform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Drifts and scores far beyond reason; and a batch of nothing. */
void check_extremes(const struct subject *s) {
    struct workload w, none;
    struct outcome o;
    void *self = subject_make(s);

    workload_make(&w, &s->needs, s->data, 1, s->masks);
    workload_select(&w, NULL, 0, &none);
    none.b.norm_tokens = none.b.norm_rows = none.b.norm_units = 0;
    bool ok = workload_prepare(s->ops, self, &none, 0) == REIN_OK;
    workload_step(s->ops, self, &none, 0, &o);
    if (!conform_ok(ok && outcome_finite(&o) && fabs(o.loss) <= 0, "%s: a batch without rows has loss 0", s->label))
        conform_note("prepare %s, loss() returned %d, the loss is %g", ok ? "is fine" : "fails", (int)o.status, o.loss);
    outcome_free(&o);
    workload_stretch(&w);
    ok = workload_prepare(s->ops, self, &w, 1) == REIN_OK;
    workload_step(s->ops, self, &w, 0, &o);
    if (!conform_ok(ok && outcome_finite(&o), "%s: finite with log-probabilities 200 nats and scores 1000 apart",
                    s->label))
        outcome_explain_finite(&w, &o);
    outcome_free(&o);
    workload_free(&none);
    workload_free(&w);
    s->ops->destroy(self);
}

/* Each option at its least and greatest, and each choice: refused with a reason, or finite. */
void check_options(const struct subject *s) {
    const char *row = (const char *)s->plugin->params;
    struct subject t = *s;
    uint32_t tried = 0, refused = 0;
    bool ok = true;

    t.config = malloc(s->plugin->config_size + 1);
    for (; t.config && row && ((const struct rein_param *)row)->name; row += s->plugin->param_stride) {
        const struct rein_param *p = (const struct rein_param *)row;
        int64_t n = p->type == REIN_PARAM_CHOICE ? 0 : 2;

        while (p->type == REIN_PARAM_CHOICE && p->choices[n])
            n++;
        if (p->type < REIN_PARAM_BOOL || p->type > REIN_PARAM_CHOICE || p->type == REIN_PARAM_STRING ||
            ((p->type == REIN_PARAM_INT || p->type == REIN_PARAM_REAL) && p->min > p->max))
            continue;
        for (int64_t i = 0; i < n; i++) {
            double real = i ? p->max : p->min;
            int64_t whole = p->type == REIN_PARAM_CHOICE ? i : (int64_t)real;
            struct workload w;
            struct outcome o;
            void *self = NULL;

            memcpy(t.config, s->config, s->plugin->config_size);
            if (p->type == REIN_PARAM_BOOL)
                ((char *)t.config)[p->offset] = (char)i;
            else
                memcpy((char *)t.config + p->offset, p->type == REIN_PARAM_REAL ? (void *)&real : (void *)&whole, 8);
            tried++;
            conform_host_quiet(true);
            if (s->ops->create(conform_host(), t.config, &self) != REIN_OK) {
                refused++;
                continue;
            }
            t.needs = (struct rein_needs){.size = sizeof(t.needs)};
            bool good = s->ops->describe(self, &t.needs) == REIN_OK;
            workload_make(&w, &t.needs, t.needs.data & ~(t.needs.data - 1), 1, s->masks);
            good = good && workload_prepare(s->ops, self, &w, 0) == REIN_OK;
            workload_step(s->ops, self, &w, 0, &o);
            conform_host_quiet(false);
            if (!good || !outcome_finite(&o)) {
                conform_note("option %s at %g%s", p->name, p->type == REIN_PARAM_REAL ? real : (double)whole,
                             good ? ":" : ": describe or prepare fails; create() should refuse it");
                outcome_explain_finite(&w, &o);
                ok = false;
            }
            outcome_free(&o);
            workload_free(&w);
            s->ops->destroy(self);
        }
        conform_host_quiet(false);
    }
    free(t.config);
    conform_ok(ok, "every option at its least and greatest gives finite numbers (%u settings, %u refused)", tried,
               refused);
}
