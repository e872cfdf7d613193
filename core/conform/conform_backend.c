/* SPDX-License-Identifier: MIT */
#include "conform/conform.h"
#include "conform/rig.h"
#include "ref/ref.h"

#include <stdlib.h>
#include <string.h>

/* More than there is, also after rounding up to 64 bytes: a status, and the instance goes on. */
static void check_too_much(const struct rein_backend_ops *ops, void *dev) {
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 32, SIZE_MAX / 2};
    bool refused = true, usable = true;

    conform_host_quiet(true);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        void *p = NULL;
        refused = refused && ops->alloc(dev, sizes[i], &p) != REIN_OK;
        ops->sync(dev); /* may tell of it again */
        p = NULL;
        usable = usable && ops->alloc(dev, 64, &p) == REIN_OK && p && ops->fill(dev, p, 1, 64) == REIN_OK &&
                 ops->sync(dev) == REIN_OK;
        ops->free(dev, p);
    }
    conform_host_quiet(false);
    conform_ok(refused, "alloc: more than there is is refused");
    conform_ok(usable, "and the instance can be used afterwards");
}

/* Life of an instance: probe, open, memory, close, and everything given back. */
static void check_life(const struct rein_backend_ops *ops, const void *config) {
    struct rein_probe probe = {.size = sizeof(probe)};
    struct rein_open how = {.size = sizeof(how), .threads = 1};
    unsigned char bytes[100] = {1, 2, 3}, back[100] = {0};
    long before = conform_host_live();
    void *dev = NULL, *p = NULL;

    conform_ok(ops->probe(&probe) == REIN_OK && probe.score > 0 && probe.devices > 0, "probe: %.*s",
               (int)sizeof(probe.reason), probe.reason);
    if (!conform_ok(ops->open(conform_host(), config, &how, &dev) == REIN_OK, "open"))
        return;
    conform_ok(ops->alloc(dev, sizeof(bytes), &p) == REIN_OK && (uintptr_t)p % 64 == 0, "alloc: 64-byte aligned");
    ops->copy(dev, p, bytes, sizeof(bytes), REIN_COPY_TO_DEVICE);
    ops->fill(dev, (char *)p + 3, 9, 1);
    ops->copy(dev, back, p, sizeof(bytes), REIN_COPY_FROM_DEVICE);
    conform_ok(ops->sync(dev) == REIN_OK && back[0] == 1 && back[2] == 3 && back[3] == 9 && back[4] == 0,
               "copy there, fill, copy back");
    ops->free(dev, p);
    check_too_much(ops, dev);
    if (REIN_HAS(ops, struct rein_backend_ops, describe) && ops->describe)
        conform_ok(strlen(ops->describe(dev)) > 0 && !strchr(ops->describe(dev), '\n'), "describe: %s",
                   ops->describe(dev));
    ops->close(dev);
    conform_ok(conform_host_live() == before, "close gives everything back");
    how.device = probe.devices;
    conform_host_quiet(true);
    conform_ok(ops->open(conform_host(), config, &how, &dev) != REIN_OK, "a device that does not exist is refused");
    conform_host_quiet(false);
}

/* So much at a time that threads may share it, from odd places and with odd ends. */
static void check_large(const struct rein_backend_ops *ops, const void *config) {
    enum { BYTES = (9 << 19) + 77, FROM = 13, FILLED = (5 << 19) + 5 };
    const struct rein_open how = {.size = sizeof(how), .threads = 3};
    unsigned char *there = malloc(BYTES), *back = malloc(BYTES);
    void *dev = NULL, *p = NULL, *q = NULL;
    size_t wrong = 0;
    bool fine = there && back && ops->open(conform_host(), config, &how, &dev) == REIN_OK;

    for (size_t i = 0; fine && i < BYTES; i++)
        there[i] = (unsigned char)(i * 2654435761u >> 13);
    fine = fine && ops->alloc(dev, BYTES, &p) == REIN_OK && ops->alloc(dev, BYTES, &q) == REIN_OK &&
           ops->copy(dev, p, there, BYTES, REIN_COPY_TO_DEVICE) == REIN_OK &&
           ops->fill(dev, q, 0x5a, BYTES) == REIN_OK &&
           ops->copy(dev, (char *)q + FROM, (char *)p + FROM, BYTES - 2 * FROM, REIN_COPY_ON_DEVICE) == REIN_OK &&
           ops->fill(dev, (char *)q + FROM, 7, FILLED) == REIN_OK &&
           ops->copy(dev, back, q, BYTES, REIN_COPY_FROM_DEVICE) == REIN_OK && ops->sync(dev) == REIN_OK;
    for (size_t i = 0; fine && i < BYTES; i++)
        wrong += back[i] != (i < FROM || i >= BYTES - FROM ? 0x5a : i < FROM + FILLED ? 7 : there[i]);
    conform_ok(fine && wrong == 0, "the same with %d bytes", (int)BYTES);
    if (dev) {
        ops->free(dev, p);
        ops->free(dev, q);
        ops->close(dev);
    }
    free(there);
    free(back);
}

/* Every allocation of open fails once: a status, and nothing kept. */
static void check_no_memory(const struct rein_backend_ops *ops, const void *config) {
    struct rein_open how = {.size = sizeof(how), .threads = 1};
    long before = conform_host_live();
    bool fine = true;

    conform_host_quiet(true);
    for (long nth = 1; nth < 100; nth++) {
        void *dev = NULL;
        rein_status rc;
        conform_host_fail_alloc(nth);
        rc = ops->open(conform_host(), config, &how, &dev);
        if (rc == REIN_OK)
            ops->close(dev);
        fine = fine && conform_host_live() == before && (rc == REIN_OK || conform_host_alloc_failed());
        if (!conform_host_alloc_failed())
            break;
    }
    conform_host_fail_alloc(0);
    conform_host_quiet(false);
    conform_ok(fine, "open without memory fails and keeps nothing");
}

static bool provides(const struct rein_kernels *k, size_t slot) {
    void (*kernel)(void);

    if (k->size < slot + sizeof(kernel))
        return false;
    memcpy(&kernel, (const char *)k + slot, sizeof(kernel));
    return kernel != NULL;
}

static void check_slots(const struct rein_backend_ops *ops) {
    const struct rein_kernels *k = ops->kernels;
    size_t empty = 0, count = (sizeof(*k) - offsetof(struct rein_kernels, linear)) / sizeof(k->linear);

    for (size_t i = 0; i < count; i++)
        empty += !provides(k, offsetof(struct rein_kernels, linear) + i * sizeof(k->linear));
    if (!conform_ok(empty == 0 || (ops->flags & REIN_MEMORY_HOST), "%zu of %zu kernels are provided%s", count - empty,
                    count, empty ? "; the rest are the reference's" : ""))
        conform_note("without REIN_MEMORY_HOST the reference cannot stand in: fill every slot");
}

/* Kernels that are checked together. `special`: also with NaN and infinities; sampling from such is nobody's promise.
 */
#define SLOT(kernel) offsetof(struct rein_kernels, kernel)
static const struct group {
    const char *name;
    void (*check)(struct rig *r);
    size_t slots[3]; /* 0: no more */
    enum rig_special special;
} groups[] = {
    {"linear", check_linear, {SLOT(linear), SLOT(linear_dx), SLOT(linear_dw)}, RIG_SPECIAL},
    {"embedding", check_embedding, {SLOT(embedding), SLOT(embedding_dw)}, RIG_SPECIAL},
    {"norm", check_norm, {SLOT(norm), SLOT(norm_dx)}, RIG_SPECIAL},
    {"rope", check_rope, {SLOT(rope)}, RIG_SPECIAL},
    {"activation", check_activation, {SLOT(activation), SLOT(activation_dx)}, RIG_SPECIAL},
    {"attention", check_attention, {SLOT(attention), SLOT(attention_dx)}, RIG_SPREADS},
    {"head", check_head, {SLOT(head), SLOT(head_dx)}, RIG_SPECIAL},
    {"sample", check_sample, {SLOT(sample)}, RIG_ORDINARY},
    {"adamw", check_adamw, {SLOT(adamw)}, RIG_SPECIAL},
    {"sum_squares", check_sum_squares, {SLOT(sum_squares)}, RIG_SPECIAL},
    {"axpy", check_axpy, {SLOT(axpy)}, RIG_SPECIAL},
    {"gather", check_gather, {SLOT(gather)}, RIG_SPECIAL},
    {"cast", check_cast, {SLOT(cast)}, RIG_SPECIAL},
    {"perturb", check_perturb, {SLOT(perturb)}, RIG_ORDINARY},
};

static void check_group(struct rig *r, const struct group *g) {
    bool any = false;

    for (size_t i = 0; i < 3 && g->slots[i]; i++)
        any = any || provides(r->ops->kernels, g->slots[i]);
    if (!any) {
        conform_skip(g->name, "the reference's");
        return;
    }
    g->check(r);
    r->special = g->special;
    if (g->special)
        g->check(r);
    r->special = RIG_ORDINARY;
}

/* False when --only names none of them. */
static bool check_groups(struct rig *r) {
    const char *only = conform_only();
    bool found = false;

    for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
        if (!only || !strcmp(only, groups[i].name)) {
            check_group(r, &groups[i]);
            found = true;
        }
    conform_note("%d calls found no memory at first", r->starved);
    return found;
}

int conform_backend(const struct rein_plugin *plugin, const char *path) {
    void *config = conform_config(plugin);
    const struct rein_backend_ops *ops = plugin->ops;
    struct rig rig = {0};

    if (!config)
        return 2;
    conform_note("%s from %s", plugin->name, path);
    if (plugin != &ref_plugin && !conform_only())
        conform_module(path);
    check_life(ops, config);
    check_large(ops, config);
    check_no_memory(ops, config);
    check_slots(ops);
    if (plugin == &ref_plugin && !conform_only())
        check_reference_gradients();
    if (rig_open(&rig, plugin, config)) {
        if (!check_groups(&rig))
            conform_ok(false, "--only %s: there is no such kernel", conform_only());
        rig_close(&rig);
        if (conform_perf())
            measure_kernels(plugin, config);
        conform_ok(conform_host_live() == 0, "nothing is left allocated");
    }
    free(config);
    return conform_done();
}
