/* SPDX-License-Identifier: MIT
 * What tests of the backend's table need: a host that counts, and TAP.
 */
#ifndef BACKEND_HOST_H
#define BACKEND_HOST_H

#include "emu.h"
#include "plugin.h"

#include <cstdio>
#include <cstdlib>
#include <rein/plugin.h>

extern "C" const struct rein_plugin *rein_plugin_entry(uint32_t index);

static int tests, wrong;

static void ok(bool good, const char *name) {
    tests++;
    wrong += !good;
    printf("%sok %d - %s\n", good ? "" : "not ", tests, name);
}

static long live;
static char message[300];

static void *host_alloc(void *, size_t bytes) {
    void *at = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);

    live += at != NULL;
    return at;
}

static void host_free(void *, void *at) {
    live -= at != NULL;
    free(at);
}

static void host_log(void *, uint32_t, const char *) {}

static rein_status host_fail(void *, rein_status code, const char *text) {
    if (!message[0]) /* the first is why */
        snprintf(message, sizeof(message), "%s", text);
    return code;
}

static const struct rein_host a_host = {.size = sizeof(a_host),
                                      .abi = REIN_ABI_VERSION,
                                      .ctx = NULL,
                                      .alloc = host_alloc,
                                      .free = host_free,
                                      .log = host_log,
                                      .fail = host_fail,
                                      .fail_param = NULL,
                                      .service = NULL,
                                      .stopping = NULL};

static const struct rein_backend_ops *ops;
static const struct rein_kernels *k;

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        const rein_status rc_ = (call);                                                                                \
        if (rc_ != REIN_OK)                                                                                            \
            return rc_;                                                                                                \
    } while (0)

static void find_backend() {
    ops = static_cast<const struct rein_backend_ops *>(rein_plugin_entry(0)->ops);
    k = ops->kernels;
}

#endif
