/* SPDX-License-Identifier: MIT */
#include "conform/conform.h"
#include "conform/rig.h"
#include "ref/ref.h"

#include <stdlib.h>
#include <string.h>

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

static void check_slots(const struct rein_backend_ops *ops) {
    const struct rein_kernels *k = ops->kernels;
    size_t empty = 0, count = (sizeof(*k) - offsetof(struct rein_kernels, linear)) / sizeof(k->linear);

    for (size_t i = 0; i < count; i++) {
        size_t at = offsetof(struct rein_kernels, linear) + i * sizeof(k->linear);
        void (*slot)(void);
        memcpy(&slot, (const char *)k + at, sizeof(slot));
        empty += k->size < at + sizeof(slot) || !slot;
    }
    conform_ok(empty == 0 || (ops->flags & REIN_MEMORY_HOST), "%zu of %zu kernels are provided%s", count - empty, count,
               empty ? "; the rest are the reference's" : "");
}

static const struct {
    const char *name;
    void (*check)(struct rig *r);
} groups[] = {
    {"linear", check_linear},         {"embedding", check_embedding}, {"norm", check_norm},
    {"rope", check_rope},             {"activation", check_activation}, {"attention", check_attention},
    {"head", check_head},             {"sample", check_sample},       {"adamw", check_adamw},
    {"sum_squares", check_sum_squares}, {"axpy", check_axpy},         {"gather", check_gather},
    {"cast", check_cast},
};

/* False when --only names none of them. */
static bool check_groups(struct rig *r) {
    const char *only = conform_only();
    bool found = false;

    for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
        if (!only || !strcmp(only, groups[i].name)) {
            groups[i].check(r);
            found = true;
        }
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
    check_no_memory(ops, config);
    check_slots(ops);
    if (plugin == &ref_plugin && !conform_only())
        check_reference_gradients();
    if (rig_open(&rig, plugin, config)) {
        if (!check_groups(&rig))
            conform_ok(false, "--only %s: there is no such kernel", conform_only());
        rig_close(&rig);
        conform_ok(conform_host_live() == 0, "nothing is left allocated");
    }
    free(config);
    return conform_done();
}
