/* What every algorithm must satisfy, whoever wrote it. SPDX-License-Identifier: MIT */
#include "conform/conform.h"
#include "conform/guard.h"
#include "conform/options.h"
#include "conform/workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static void *make(const struct subject *s) {
    void *self = NULL;
    struct rein_needs needs = {.size = sizeof(needs)};

    if (s->ops->create(conform_host(), s->config, &self) != REIN_OK)
        return NULL;
    if (s->ops->describe(self, &needs) == REIN_OK)
        return self;
    s->ops->destroy(self);
    return NULL;
}

/* A fresh instance on a fresh workload: prepare and one step. */
static void fresh(const struct subject *s, uint64_t seed, struct outcome *o) {
    struct workload w;
    void *self = make(s);

    workload_make(&w, &s->needs, s->data, seed, s->masks);
    workload_prepare(s->ops, self, &w, 0);
    workload_step(s->ops, self, &w, 0, o);
    workload_free(&w);
    s->ops->destroy(self);
}

static bool check_describe(struct subject *s) {
    const uint32_t rollout =
        REIN_NEED_CRITIC | REIN_NEED_REWARD | REIN_NEED_FAMILY | REIN_NEED_GROUPS | REIN_NEED_OLD_LOGP;
    struct rein_needs *n = &s->needs;
    void *self = NULL;
    bool ok;

    if (!conform_ok(s->ops->create && s->ops->destroy && s->ops->describe && s->ops->loss,
                    "the required ops are there"))
        return false;
    if (!conform_ok(s->ops->create(conform_host(), s->config, &self) == REIN_OK && self, "create"))
        return false;
    n->size = sizeof(*n);
    ok = s->ops->describe(self, n) == REIN_OK;
    s->ops->destroy(self);
    if (!conform_ok(ok && n->size == sizeof(*n), "describe"))
        return false;
    ok = n->data && n->data < 2 * REIN_DATA_LISTS && (!(n->data & REIN_DATA_PROMPTS) || n->data == REIN_DATA_PROMPTS);
    ok = conform_ok(ok, "describe: data kinds are known, and on-policy stands alone") && ok;
    ok = conform_ok(n->needs && n->needs < 2 * REIN_NEED_WHOLE_TEXT, "describe: needs are known") && ok;
    conform_ok(n->data == REIN_DATA_PROMPTS || !(n->needs & rollout),
               "describe: only on-policy needs what a rollout gives");
    ok = conform_ok((s->ops->prepare != NULL) == (n->data == REIN_DATA_PROMPTS), "prepare is there if on-policy") && ok;
    ok = conform_ok(n->sums <= REIN_MAX_SUMS && (s->ops->measure != NULL) == (n->sums > 0),
                    "measure is there if it sums") &&
         ok;
    conform_ok(isfinite(n->lr) && n->lr >= 0 && isfinite(n->temperature) && n->temperature >= 0,
               "describe: defaults of the stage are in range");
    conform_ok((s->ops->save != NULL) == (s->ops->load != NULL), "save and load come together");
    return ok;
}

/* Central differences of loss around float inputs, in double. A kink within h of a value spoils
 * the difference there, so smaller steps are tried before an element counts as wrong. */
static double difference(const struct subject *s, void *self, struct workload *w, float *x, uint32_t i, double expect,
                         double accept) {
    double best = INFINITY;

    for (double h = 1.0 / 4096; h > 1e-6 && best > accept; h /= 16) {
        const float keep = x[i];
        struct outcome o;
        double up, down, lift, drop;

        guard_seal(x, false);
        x[i] = keep + (float)h;
        lift = (double)x[i];
        workload_step(s->ops, self, w, 0, &o);
        up = o.loss;
        outcome_free(&o);
        guard_seal(x, false);
        x[i] = keep - (float)h;
        drop = (double)x[i];
        workload_step(s->ops, self, w, 0, &o);
        down = o.loss;
        outcome_free(&o);
        x[i] = keep;
        best = fmin(best, fabs((up - down) / (lift - drop) - expect));
        guard_seal(x, true);
    }
    return best;
}

static void check_derivatives(const struct subject *s) {
    static const char *const names[D_COUNT] = {"d_logp", "d_value", "d_entropy", "d_score"};
    struct workload w;
    struct outcome o;
    void *self = make(s);

    workload_make(&w, &s->needs, s->data, 1, s->masks);
    bool prepared = workload_prepare(s->ops, self, &w, 0) == REIN_OK;
    bool finite = true;
    for (uint32_t i = 0; w.b.advantage && i < w.b.tokens; i++)
        finite = finite && isfinite(w.b.advantage[i]) && (!w.b.return_ || isfinite(w.b.return_[i]));
    if (s->data == REIN_DATA_PROMPTS)
        conform_ok(prepared && finite, "%s: prepare gives finite advantages and returns", s->label);
    workload_step(s->ops, self, &w, 0, &o);
    conform_ok(outcome_finite(&o), "%s: loss and derivatives are finite", s->label);
    conform_ok(outcome_metrics_sane(&o), "%s: metrics are well-formed", s->label);
    float *inputs[D_COUNT] = {(float *)(uintptr_t)w.b.logp, (float *)(uintptr_t)w.b.value,
                              (float *)(uintptr_t)w.b.entropy, (float *)(uintptr_t)w.b.score};
    for (int k = 0; k < D_COUNT; k++) {
        double largest = 0, worst = 0;
        if (!o.d[k])
            continue;
        for (uint32_t i = 0; i < o.length[k]; i++)
            largest = fmax(largest, fabs((double)o.d[k][i]));
        for (uint32_t i = 0; i < o.length[k]; i++)
            worst = fmax(worst, difference(s, self, &w, inputs[k], i, (double)o.d[k][i], 1e-5 * largest + 1e-8));
        conform_ok(worst <= 1e-4 * largest + 1e-7, "%s: %s is the derivative of loss", s->label, names[k]);
        conform_note("worst |finite difference - %s| = %.2g, largest |%s| = %.2g", names[k], worst, names[k], largest);
    }
    outcome_free(&o);
    workload_free(&w);
    s->ops->destroy(self);
}

static void check_masked(const struct subject *s) {
    struct workload w;
    struct outcome clean, poisoned;
    void *self = make(s);
    bool zero = true;

    fresh(s, 1, &clean);
    workload_make(&w, &s->needs, s->data, 1, true);
    workload_poison(&w);
    workload_prepare(s->ops, self, &w, 0);
    workload_poison(&w);
    workload_step(s->ops, self, &w, 0, &poisoned);
    for (int k = 0; k < D_SCORE; k++)
        for (uint32_t i = 0; i < poisoned.length[k]; i++)
            zero = zero && (w.b.mask[i] || fabsf(poisoned.d[k][i]) <= 0);
    conform_ok(outcome_same(&clean, &poisoned), "%s: masked tokens (poisoned with NaN) change nothing", s->label);
    conform_ok(zero, "%s: masked tokens get no derivative", s->label);
    outcome_free(&clean);
    outcome_free(&poisoned);
    workload_free(&w);
    s->ops->destroy(self);
}

/* The units in another order: every row gets its own derivatives back. */
static void check_order(const struct subject *s) {
    static const uint32_t order[] = {5, 2, 7, 0, 3, 6, 1, 4};
    struct workload w, turned;
    struct outcome a, b, back;
    void *self = make(s);

    workload_make(&w, &s->needs, s->data, 1, s->masks);
    workload_select(&w, order, w.b.units, &turned);
    workload_prepare(s->ops, self, &w, 0);
    workload_step(s->ops, self, &w, 0, &a);
    s->ops->destroy(self);
    self = make(s);
    workload_prepare(s->ops, self, &turned, 0);
    workload_step(s->ops, self, &turned, 0, &b);
    outcome_make(&back, &w);
    for (uint32_t u = 0, row = 0; u < w.b.units; u++)
        for (uint32_t r = w.b.unit[order[u]]; r < w.b.unit[order[u] + 1]; r++, row++)
            for (int k = 0; k < D_COUNT; k++) {
                uint32_t from = k == D_SCORE ? row : turned.b.offset[row], to = k == D_SCORE ? r : w.b.offset[r];
                if (a.d[k])
                    memcpy(back.d[k] + to, b.d[k] + from,
                           (k == D_SCORE ? 1 : w.b.offset[r + 1] - w.b.offset[r]) * sizeof(float));
            }
    conform_ok(fabs(a.loss - b.loss) <= 1e-6 * (fabs(a.loss) + 1e-6) && outcome_distance(&a, &back) <= 1e-6,
               "%s: the order of units does not matter", s->label);
    outcome_free(&a);
    outcome_free(&b);
    outcome_free(&back);
    workload_free(&turned);
    workload_free(&w);
    s->ops->destroy(self);
}

static void check_micro_batches(const struct subject *s) {
    static const uint32_t sizes[] = {4, 1, 3};
    struct workload w;
    struct outcome whole, cut;
    void *self = make(s);

    workload_make(&w, &s->needs, s->data, 1, s->masks);
    workload_prepare(s->ops, self, &w, 0);
    workload_step(s->ops, self, &w, 0, &whole);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        bool same = true;
        workload_step(s->ops, self, &w, sizes[i], &cut);
        for (uint32_t m = 0; m < whole.list.count && m < OUTCOME_METRICS; m++) {
            double x = 0, y = 0;
            bool there = outcome_metric(&whole, whole.items[m].name, &x);
            same = same && there == outcome_metric(&cut, whole.items[m].name, &y) &&
                   fabs(x - y) <= 1e-6 * (fabs(x) + 1e-6);
        }
        conform_ok(fabs(whole.loss - cut.loss) <= 1e-6 * (fabs(whole.loss) + 1e-6) &&
                       outcome_distance(&whole, &cut) <= 1e-6,
                   "%s: micro-batches of %u give the same gradient", s->label, sizes[i]);
        conform_ok(same, "%s: micro-batches of %u give the same metrics", s->label, sizes[i]);
        outcome_free(&cut);
    }
    outcome_free(&whole);
    workload_free(&w);
    s->ops->destroy(self);
}

/* Two instances take turns, each as if it were alone. */
static void check_instances(const struct subject *s) {
    struct workload u, v;
    struct outcome alone[2], first, second, again;
    void *a = make(s), *b = make(s);

    fresh(s, 1, &alone[0]);
    fresh(s, 2, &alone[1]);
    workload_make(&u, &s->needs, s->data, 1, s->masks);
    workload_make(&v, &s->needs, s->data, 2, s->masks);
    workload_prepare(s->ops, a, &u, 0);
    workload_prepare(s->ops, b, &v, 0);
    workload_step(s->ops, a, &u, 0, &first);
    workload_step(s->ops, b, &v, 0, &second);
    workload_step(s->ops, a, &u, 0, &again);
    conform_ok(outcome_same(&alone[0], &first) && outcome_same(&alone[1], &second),
               "%s: two instances do not interfere", s->label);
    conform_ok(outcome_same(&first, &again), "%s: the same input gives the same bits", s->label);
    u.b.flags = REIN_BATCH_EVAL;
    outcome_free(&again);
    workload_step(s->ops, a, &u, 0, &again);
    conform_ok(again.status == REIN_OK && isfinite(again.loss), "%s: evaluation batches work", s->label);
    outcome_free(&alone[0]);
    outcome_free(&alone[1]);
    outcome_free(&first);
    outcome_free(&second);
    outcome_free(&again);
    workload_free(&u);
    workload_free(&v);
    s->ops->destroy(a);
    s->ops->destroy(b);
}

/* One rollout or step with after(), as in a run. */
static void run_step(const struct subject *s, void *self, uint32_t number, struct outcome *o) {
    struct workload w;
    uint32_t stop = 0;

    workload_make(&w, &s->needs, s->data, 10 + number, s->masks);
    workload_prepare(s->ops, self, &w, number);
    workload_step(s->ops, self, &w, 0, o);
    struct rein_step step = {.size = sizeof(step),
                             .step = number + 1,
                             .rollout = number,
                             .last = 1,
                             .loss = o->loss,
                             .grad_norm = 1,
                             .lr = 1e-5,
                             .metrics = &o->list};
    if (s->ops->after)
        s->ops->after(self, &step, &stop);
    workload_free(&w);
}

static void check_state(const struct subject *s) {
    char bytes[4096];
    struct rein_state state = {.size = sizeof(state), .data = bytes, .capacity = sizeof(bytes)};
    struct outcome o, a, b;
    void *old = make(s), *resumed = make(s);
    bool ok = true;

    for (uint32_t i = 0; i < 2; i++) {
        run_step(s, old, i, &o);
        outcome_free(&o);
    }
    if (s->ops->save)
        ok = s->ops->save(old, &state) == REIN_OK && state.length <= state.capacity &&
             s->ops->load(resumed, &state) == REIN_OK;
    run_step(s, old, 2, &a);
    run_step(s, resumed, 2, &b);
    conform_ok(ok && outcome_same(&a, &b),
               s->ops->save ? "%s: a loaded instance goes on as the saved one would"
                            : "%s: nothing is remembered that save would have to keep",
               s->label);
    if (s->ops->save && state.length > 0) {
        state.length--;
        conform_host_quiet(true);
        conform_ok(s->ops->load(resumed, &state) != REIN_OK, "%s: a truncated state is refused", s->label);
        conform_host_quiet(false);
    }
    outcome_free(&a);
    outcome_free(&b);
    s->ops->destroy(old);
    s->ops->destroy(resumed);
}

/* The nth allocation fails: some call says so, and nothing stays behind. */
static void check_memory(const struct subject *s) {
    bool told = true, leaked = false;
    long n = 0;

    conform_host_quiet(true);
    do {
        long before = conform_host_live();
        struct rein_needs needs = {.size = sizeof(needs)};
        struct workload w;
        struct outcome o;
        void *self = NULL;
        rein_status status;

        workload_make(&w, &s->needs, s->data, 1, s->masks);
        conform_host_fail_alloc(++n);
        status = s->ops->create(conform_host(), s->config, &self);
        if (status == REIN_OK) {
            status = s->ops->describe(self, &needs);
            if (status == REIN_OK)
                status = workload_prepare(s->ops, self, &w, 0);
            if (status == REIN_OK) {
                workload_step(s->ops, self, &w, 0, &o);
                status = o.status;
                outcome_free(&o);
            }
            s->ops->destroy(self);
        }
        told = told && (!conform_host_alloc_failed() || status != REIN_OK);
        leaked = leaked || conform_host_live() != before;
        workload_free(&w);
    } while (conform_host_alloc_failed() && n < 1000);
    conform_host_fail_alloc(0);
    conform_host_quiet(false);
    conform_ok(told, "%s: a failed allocation is reported (%ld tried)", s->label, n - 1);
    conform_ok(!leaked, "%s: everything allocated is given back", s->label);
}

/* Drifts and scores far beyond reason; and a batch of nothing. */
static void check_extremes(const struct subject *s) {
    struct workload w, none;
    struct outcome o;
    void *self = make(s);

    workload_make(&w, &s->needs, s->data, 1, s->masks);
    workload_select(&w, NULL, 0, &none);
    none.b.norm_tokens = none.b.norm_rows = none.b.norm_units = 0;
    bool ok = workload_prepare(s->ops, self, &none, 0) == REIN_OK;
    workload_step(s->ops, self, &none, 0, &o);
    conform_ok(ok && outcome_finite(&o) && fabs(o.loss) <= 0, "%s: a batch without rows has loss 0", s->label);
    outcome_free(&o);
    workload_stretch(&w);
    ok = workload_prepare(s->ops, self, &w, 1) == REIN_OK;
    workload_step(s->ops, self, &w, 0, &o);
    conform_ok(ok && outcome_finite(&o), "%s: finite with log-probabilities 200 nats and scores 1000 apart", s->label);
    outcome_free(&o);
    workload_free(&none);
    workload_free(&w);
    s->ops->destroy(self);
}

/* Each option at its least and greatest, and each choice: refused with a reason, or finite. */
struct ends {
    struct subject t;
    uint32_t refused;
};

static bool use_options(void *ctx, const void *config) {
    struct ends *e = ctx;
    struct subject *t = &e->t;
    struct workload w;
    struct outcome o;
    void *self = NULL;
    bool good;

    if (t->ops->create(conform_host(), config, &self) != REIN_OK) {
        e->refused++;
        return true;
    }
    t->needs = (struct rein_needs){.size = sizeof(t->needs)};
    good = t->ops->describe(self, &t->needs) == REIN_OK;
    workload_make(&w, &t->needs, t->needs.data & ~(t->needs.data - 1), 1, t->masks);
    good = good && workload_prepare(t->ops, self, &w, 0) == REIN_OK;
    workload_step(t->ops, self, &w, 0, &o);
    good = good && outcome_finite(&o);
    outcome_free(&o);
    workload_free(&w);
    t->ops->destroy(self);
    return good;
}

static void check_options(const struct subject *s) {
    struct ends e = {.t = *s};
    uint32_t tried;
    const bool ok = options_ends(s->plugin, s->config, use_options, &e, &tried);

    conform_ok(ok, "every option at its least and greatest gives finite numbers (%u settings, %u refused)", tried,
               e.refused);
}

static void check_kind(struct subject *s, const char *name) {
    char label[64];

    for (int masks = 0; masks < 2; masks++) {
        s->masks = masks;
        strcpy(label, name);
        if (masks)
            strcat(label, ", masked");
        s->label = label;
        check_derivatives(s);
        check_order(s);
        check_micro_batches(s);
        check_instances(s);
        check_state(s);
        check_extremes(s);
        if (masks)
            check_masked(s);
        else
            check_memory(s);
    }
}

int conform_algorithm(const struct rein_plugin *plugin, const char *path) {
    static const char *const names[] = {"prompts", "completions", "labelled", "pairs", "lists"};
    struct subject s = {.plugin = plugin, .ops = plugin->ops, .config = conform_config(plugin)};
    long before = conform_host_live();

    if (!s.config)
        return 2;
    conform_note("%s from %s", plugin->name, path);
    guard_install();
    conform_ok(true, "its own defaults satisfy its own options");
    conform_module(path);
    if (check_describe(&s)) {
        for (int i = 0; i < 5; i++)
            if (s.needs.data & 1u << i) {
                s.data = 1u << i;
                check_kind(&s, names[i]);
            }
        check_options(&s);
    }
    conform_ok(conform_host_live() == before, "nothing is left allocated");
    free(s.config);
    return conform_done();
}
