/* What every algorithm must satisfy, whoever wrote it. SPDX-License-Identifier: MIT */
#include "conform/algorithm.h"
#include "conform/conform.h"
#include "conform/guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *subject_make(const struct subject *s) {
    void *self = NULL;
    struct rein_needs needs = {.size = sizeof(needs)};

    if (s->ops->create(conform_host(), s->config, &self) != REIN_OK)
        return NULL;
    if (s->ops->describe(self, &needs) == REIN_OK)
        return self;
    s->ops->destroy(self);
    return NULL;
}

void subject_fresh(const struct subject *s, uint64_t seed, struct outcome *o) {
    struct workload w;
    void *self = subject_make(s);

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
    ok = conform_ok(n->needs && n->needs < 2 * REIN_NEED_KL_ROWS, "describe: needs are known") && ok;
    conform_ok(n->data == REIN_DATA_PROMPTS || !(n->needs & rollout),
               "describe: only on-policy needs what a rollout gives");
    ok = conform_ok((s->ops->prepare != NULL) == (n->data == REIN_DATA_PROMPTS), "prepare is there if on-policy") && ok;
    ok = conform_ok(n->data == REIN_DATA_LABELLED || !(n->needs & REIN_NEED_KL_ROWS),
                    "describe: mismatched rows are those of labelled data") &&
         ok;
    ok = conform_ok(n->sums <= REIN_MAX_SUMS && (s->ops->measure || n->sums == 0), "measure is there if it sums") && ok;
    conform_ok(isfinite(n->lr) && n->lr >= 0 && isfinite(n->temperature) && n->temperature >= 0,
               "describe: defaults of the stage are in range");
    conform_ok((s->ops->save != NULL) == (s->ops->load != NULL), "save and load come together");
    return ok;
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
        check_threads(s);
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
