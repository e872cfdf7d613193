/* The loss and its derivatives. SPDX-License-Identifier: MIT */
#include "conform/algorithm.h"
#include "conform/conform.h"
#include "conform/guard.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Central differences of loss around float inputs, in double, with measure()'s sums held fast; the one nearest to
 * `expect`. A kink within h of a value spoils the difference there, so smaller steps are tried before an element counts
 * as wrong. */
static double difference(const struct subject *s, void *self, struct workload *w, const double *sums, float *x,
                         uint32_t i, double expect, double accept) {
    double best = NAN;

    for (double h = 1.0 / 4096; h > 1e-6 && !(fabs(best - expect) <= accept); h /= 16) {
        const float keep = x[i];
        struct outcome o;
        double up, down, lift, drop;

        guard_seal(x, false);
        x[i] = keep + (float)h;
        lift = (double)x[i];
        workload_loss(s->ops, self, w, sums, &o);
        up = o.loss;
        outcome_free(&o);
        guard_seal(x, false);
        x[i] = keep - (float)h;
        drop = (double)x[i];
        workload_loss(s->ops, self, w, sums, &o);
        down = o.loss;
        outcome_free(&o);
        x[i] = keep;
        double slope = (up - down) / (lift - drop);
        if (!(fabs(best - expect) <= fabs(slope - expect)))
            best = slope;
        guard_seal(x, true);
    }
    return best;
}

/* What an author may have got wrong, by the ratio of what was written to what was measured. */
static void explain_slope(const struct workload *w, int k, uint32_t i, double written, double slope) {
    double ratio = written / slope;
    char place[100];

    conform_note("%s: loss() wrote %.9g, but the loss it returns changes by %.9g per unit of %s",
                 workload_where(w, k, i, place, sizeof(place)), written, slope, outcome_names[k] + 2);
    if (fabs(slope) <= 0 || !isfinite(ratio))
        conform_note("the loss does not depend on it there, or is not finite around it");
    else if (fabs(ratio + 1) < 1e-3)
        conform_note("the sign is wrong");
    else if (fabs(written) <= 0)
        conform_note("the loss depends on it there, and nothing was written");
    else
        conform_note("it is %.6g times what it should be: a missing factor, or another normaliser than the loss's",
                     ratio);
}

void check_derivatives(const struct subject *s) {
    double sums[REIN_MAX_SUMS] = {0}; /* constants to the derivatives */
    struct workload w;
    struct outcome o;
    void *self = subject_make(s);

    workload_make(&w, &s->needs, s->data, 1, s->masks);
    bool prepared = workload_prepare(s->ops, self, &w, 0) == REIN_OK;
    bool finite = true;
    for (uint32_t i = 0; w.b.advantage && i < w.b.tokens; i++)
        finite = finite && isfinite(w.b.advantage[i]) && (!w.b.return_ || isfinite(w.b.return_[i]));
    if (s->data == REIN_DATA_PROMPTS)
        conform_ok(prepared && finite, "%s: prepare gives finite advantages and returns", s->label);
    workload_measure(s->ops, self, &w, sums);
    workload_step(s->ops, self, &w, 0, &o);
    if (!conform_ok(outcome_finite(&o), "%s: loss and derivatives are finite", s->label))
        outcome_explain_finite(&w, &o);
    conform_ok(outcome_metrics_sane(&o), "%s: metrics are well-formed", s->label);
    float *inputs[D_COUNT] = {(float *)(uintptr_t)w.b.logp, (float *)(uintptr_t)w.b.value,
                              (float *)(uintptr_t)w.b.entropy, (float *)(uintptr_t)w.b.score};
    for (int k = 0; k < D_COUNT; k++) {
        double largest = 0, worst = 0, slope = 0;
        uint32_t at = 0;
        if (!o.d[k])
            continue;
        for (uint32_t i = 0; i < o.length[k]; i++)
            largest = fmax(largest, fabs((double)o.d[k][i]));
        for (uint32_t i = 0; i < o.length[k]; i++) {
            double d = difference(s, self, &w, sums, inputs[k], i, (double)o.d[k][i], 1e-5 * largest + 1e-8);
            double off = isnan(d) ? INFINITY : fabs(d - (double)o.d[k][i]);
            if (off > worst) {
                worst = off;
                slope = d;
                at = i;
            }
        }
        if (!conform_ok(worst <= 1e-4 * largest + 1e-7, "%s: %s is the derivative of loss", s->label, outcome_names[k]))
            explain_slope(&w, k, at, (double)o.d[k][at], slope);
        conform_note("worst |finite difference - %s| = %.2g, largest |%s| = %.2g", outcome_names[k], worst,
                     outcome_names[k], largest);
    }
    outcome_free(&o);
    workload_free(&w);
    s->ops->destroy(self);
}

static void explain_masked(const struct workload *w, const struct outcome *o) {
    char place[100];

    for (int k = 0; k < D_SCORE; k++)
        for (uint32_t i = 0; i < o->length[k]; i++)
            if (!w->b.mask[i] && !(fabsf(o->d[k][i]) <= 0)) {
                conform_note("%s is %.9g, expected 0", workload_where(w, k, i, place, sizeof(place)),
                             (double)o->d[k][i]);
                return;
            }
}

void check_masked(const struct subject *s) {
    struct workload w;
    struct outcome clean, poisoned;
    void *self = subject_make(s);
    bool zero = true;

    subject_fresh(s, 1, &clean);
    workload_make(&w, &s->needs, s->data, 1, true);
    workload_poison(&w);
    workload_prepare(s->ops, self, &w, 0);
    workload_poison(&w);
    workload_step(s->ops, self, &w, 0, &poisoned);
    for (int k = 0; k < D_SCORE; k++)
        for (uint32_t i = 0; i < poisoned.length[k]; i++)
            zero = zero && (w.b.mask[i] || fabsf(poisoned.d[k][i]) <= 0);
    if (!conform_ok(outcome_same(&clean, &poisoned), "%s: masked tokens (poisoned with NaN) change nothing",
                    s->label)) {
        outcome_explain(&w, &clean, "with numbers there", &poisoned, "with NaN there");
        conform_note("skip tokens whose mask is 0 before reading anything of theirs, in prepare, measure and loss");
    }
    if (!conform_ok(zero, "%s: masked tokens get no derivative", s->label))
        explain_masked(&w, &poisoned);
    outcome_free(&clean);
    outcome_free(&poisoned);
    workload_free(&w);
    s->ops->destroy(self);
}

/* Rows from[0 .. rows - 1] of w, in that order, are turned's: every row must get its own derivatives back. */
static void compare_turned(const struct subject *s, const struct workload *w, struct workload *turned,
                           const uint32_t *from, const char *what) {
    struct outcome a, b, back;
    void *self = subject_make(s);

    workload_prepare(s->ops, self, (struct workload *)(uintptr_t)w, 0);
    workload_step(s->ops, self, (struct workload *)(uintptr_t)w, 0, &a);
    s->ops->destroy(self);
    self = subject_make(s);
    workload_prepare(s->ops, self, turned, 0);
    workload_step(s->ops, self, turned, 0, &b);
    outcome_make(&back, w);
    back.status = b.status;
    back.loss = b.loss;
    for (uint32_t row = 0; row < w->b.rows; row++)
        for (int k = 0; k < D_COUNT; k++) {
            uint32_t r = from[row], at = k == D_SCORE ? row : turned->b.offset[row];
            uint32_t to = k == D_SCORE ? r : w->b.offset[r];
            if (a.d[k])
                memcpy(back.d[k] + to, b.d[k] + at,
                       (k == D_SCORE ? 1 : w->b.offset[r + 1] - w->b.offset[r]) * sizeof(float));
        }
    if (!conform_ok(fabs(a.loss - b.loss) <= 1e-6 * (fabs(a.loss) + 1e-6) && outcome_distance(&a, &back) <= 1e-6,
                    "%s: the order of %s does not matter", s->label, what))
        outcome_explain(w, &a, "in order", &back, "in another order");
    outcome_free(&a);
    outcome_free(&b);
    outcome_free(&back);
    s->ops->destroy(self);
}

/* The units in another order; and the completions of each prompt. */
void check_order(const struct subject *s) {
    static const uint32_t order[] = {5, 2, 7, 0, 3, 6, 1, 4};
    struct workload w, turned;
    uint32_t from[64], rows = 0;

    workload_make(&w, &s->needs, s->data, 1, s->masks);
    for (uint32_t u = 0; u < w.b.units; u++)
        for (uint32_t r = w.b.unit[order[u]]; r < w.b.unit[order[u] + 1]; r++)
            from[rows++] = r;
    workload_select(&w, order, w.b.units, &turned);
    compare_turned(s, &w, &turned, from, "units");
    workload_free(&turned);
    if (s->data == REIN_DATA_PROMPTS && (s->needs.needs & REIN_NEED_GROUPS)) {
        for (uint32_t u = 0; u < w.b.units; u++)
            for (uint32_t r = w.b.unit[u]; r < w.b.unit[u + 1]; r++)
                from[r] = w.b.unit[u + 1] - 1 - (r - w.b.unit[u]);
        workload_turn(&w, &turned);
        compare_turned(s, &w, &turned, from, "rows within a group");
        workload_free(&turned);
    }
    workload_free(&w);
}

/* The name of the first metric that is another after cutting, or NULL. */
static const char *metric_that_differs(const struct outcome *whole, const struct outcome *cut) {
    for (uint32_t m = 0; m < whole->list.count && m < OUTCOME_METRICS; m++) {
        double x = 0, y = 0;
        bool there = outcome_metric(whole, whole->items[m].name, &x);
        if (there != outcome_metric(cut, whole->items[m].name, &y) || !(fabs(x - y) <= 1e-6 * (fabs(x) + 1e-6)))
            return whole->items[m].name;
    }
    return NULL;
}

static void explain_metric(const struct outcome *whole, const struct outcome *cut, const char *name, const char *how) {
    double x = NAN, y = NAN;

    outcome_metric(whole, name, &x);
    outcome_metric(cut, name, &y);
    conform_note("metric %s: %.9g in one batch, %.9g %s", name, x, y, how);
    conform_note("the weight of a mean is what its sum was taken over in this batch");
}

void check_micro_batches(const struct subject *s) {
    static const uint32_t sizes[] = {4, 1, 3};
    struct workload w;
    struct outcome whole, cut;
    void *self = subject_make(s);

    workload_make(&w, &s->needs, s->data, 1, s->masks);
    workload_prepare(s->ops, self, &w, 0);
    workload_step(s->ops, self, &w, 0, &whole);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        char text[64];
        snprintf(text, sizeof(text), "in micro-batches of %u units", sizes[i]);
        workload_step(s->ops, self, &w, sizes[i], &cut);
        if (!conform_ok(fabs(whole.loss - cut.loss) <= 1e-6 * (fabs(whole.loss) + 1e-6) &&
                            outcome_distance(&whole, &cut) <= 1e-6,
                        "%s: micro-batches of %u give the same gradient", s->label, sizes[i])) {
            outcome_explain(&w, &whole, "in one batch", &cut, text);
            conform_note(
                "divide by norm_tokens, norm_rows, norm_units or the sums of measure(), never by counts of the batch");
        }
        const char *off = metric_that_differs(&whole, &cut);
        if (!conform_ok(!off, "%s: micro-batches of %u give the same metrics", s->label, sizes[i]))
            explain_metric(&whole, &cut, off, text);
        outcome_free(&cut);
    }
    outcome_free(&whole);
    workload_free(&w);
    s->ops->destroy(self);
}
