/* SPDX-License-Identifier: MIT */
#include "conform/conform.h"

#include <rein/backend.h>

#include <stdlib.h>

/* Life of an instance: probe, open, memory, close, and everything given back. */
static void check_life(const struct rein_backend_ops *ops, const void *config) {
    struct rein_probe probe = {.size = sizeof(probe)};
    struct rein_open how = {.size = sizeof(how), .threads = 1};
    unsigned char bytes[100] = {1, 2, 3}, back[100] = {0};
    long before = conform_host_live();
    void *dev = NULL, *p = NULL;

    conform_ok(ops->probe(&probe) == REIN_OK && probe.score > 0, "probe: %s", probe.reason);
    if (!conform_ok(ops->open(conform_host(), config, &how, &dev) == REIN_OK, "open"))
        return;
    conform_ok(ops->alloc(dev, sizeof(bytes), &p) == REIN_OK && (uintptr_t)p % 64 == 0, "alloc: 64-byte aligned");
    ops->copy(dev, p, bytes, sizeof(bytes), REIN_COPY_TO_DEVICE);
    ops->fill(dev, (char *)p + 3, 9, 1);
    ops->copy(dev, back, p, sizeof(bytes), REIN_COPY_FROM_DEVICE);
    conform_ok(ops->sync(dev) == REIN_OK && back[0] == 1 && back[2] == 3 && back[3] == 9 && back[4] == 0,
               "copy there, fill, copy back");
    ops->free(dev, p);
    ops->close(dev);
    conform_ok(conform_host_live() == before, "close gives everything back");
}

int conform_backend(const struct rein_plugin *plugin, const char *path) {
    void *config = conform_config(plugin);

    if (!config)
        return 2;
    conform_note("%s from %s", plugin->name, path);
    check_life(plugin->ops, config);
    free(config);
    return conform_done();
}
