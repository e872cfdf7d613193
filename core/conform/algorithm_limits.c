/* Numbers and options at their ends. SPDX-License-Identifier: MIT */
#include "conform/algorithm.h"
#include "conform/conform.h"
#include "conform/options.h"

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

/* A setting of the options. */
struct ends {
    struct subject t;
    uint32_t refused;
};

/* Refused with a reason, or finite. */
static bool use_options(void *ctx, const void *config) {
    struct ends *e = ctx;
    struct subject *t = &e->t;
    struct workload w;
    struct outcome o;
    void *self = NULL;
    bool described, good;

    if (t->ops->create(conform_host(), config, &self) != REIN_OK) {
        e->refused++;
        return true;
    }
    t->needs = (struct rein_needs){.size = sizeof(t->needs)};
    described = t->ops->describe(self, &t->needs) == REIN_OK;
    workload_make(&w, &t->needs, t->needs.data & ~(t->needs.data - 1), 1, t->masks);
    described = described && workload_prepare(t->ops, self, &w, 0) == REIN_OK;
    workload_step(t->ops, self, &w, 0, &o);
    good = described && outcome_finite(&o);
    if (!described)
        conform_note("describe or prepare fails; create() should refuse these options");
    else if (!good)
        outcome_explain_finite(&w, &o);
    outcome_free(&o);
    workload_free(&w);
    t->ops->destroy(self);
    return good;
}

void check_options(const struct subject *s) {
    struct ends e = {.t = *s};
    uint32_t tried;
    const bool ok = options_ends(s->plugin, s->config, use_options, &e, &tried);

    conform_ok(ok, "every option at its least and greatest gives finite numbers (%u settings, %u refused)", tried,
               e.refused);
}
