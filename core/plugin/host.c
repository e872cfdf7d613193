/* SPDX-License-Identifier: MIT */
#include "plugin/host.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/pages.h"
#include "plugin/loader.h"
#include "plugin/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *host_alloc(void *ctx, size_t bytes) {
    (void)ctx;
    return pages_alloc(bytes);
}

static void host_release(void *ctx, void *ptr) {
    (void)ctx;
    pages_free(ptr);
}

static void host_log(void *ctx, uint32_t level, const char *text) {
    const struct host_instance *h = ctx;
    enum log_level at = level == REIN_LOG_ERROR ? LOG_ERROR : level == REIN_LOG_WARN ? LOG_WARN : LOG_INFO;

    log_print(at, "%s: %s", h->plugin->name, text ? text : "");
}

static enum error_kind kind_of(rein_status status) {
    return status == REIN_ERR_ARG || status == REIN_ERR_UNSUPPORTED ? ERROR_INPUT : ERROR_RUN;
}

/* The first complaint of a call is the cause: what threads say after it is not kept. */
static rein_status host_fail(void *ctx, rein_status code, const char *text) {
    struct host_instance *h = ctx;

    pthread_mutex_lock(&h->lock);
    if (h->last.kind == ERROR_NONE) {
        error_set(&h->last, kind_of(code), "%s", text ? text : "");
        h->placed = false;
    }
    pthread_mutex_unlock(&h->lock);
    return code;
}

static rein_status host_fail_param(void *ctx, const char *param, const char *text) {
    struct host_instance *h = ctx;

    if (!h->marks) {
        char line[512];
        snprintf(line, sizeof(line), "%s: %s", param, text);
        return host_fail(ctx, REIN_ERR_ARG, line);
    }
    pthread_mutex_lock(&h->lock);
    if (h->last.kind == ERROR_NONE) {
        params_fail(h->marks, param, text, &h->last);
        h->placed = true;
    }
    pthread_mutex_unlock(&h->lock);
    return REIN_ERR_ARG;
}

static const void *host_service(void *ctx, const char *id) {
    const struct host_instance *h = ctx;

    return h->service ? h->service(h->service_ctx, id) : NULL;
}

static uint32_t host_stopping(void *ctx) {
    const struct host_instance *h = ctx;

    return h->stopping != NULL && h->stopping();
}

struct host_instance *host_create(const struct rein_plugin *plugin, const struct params_marks *marks,
                                  struct error *err) {
    struct host_instance *h = mem_zeros(1, sizeof(*h));

    if (!h || pthread_mutex_init(&h->lock, NULL) != 0) {
        free(h);
        error_nomem(err, "plugin instance");
        return NULL;
    }
    h->plugin = plugin;
    h->marks = marks;
    h->table.size = sizeof(h->table);
    h->table.abi = REIN_ABI_VERSION;
    h->table.ctx = h;
    h->table.alloc = host_alloc;
    h->table.free = host_release;
    h->table.log = host_log;
    h->table.fail = host_fail;
    h->table.fail_param = host_fail_param;
    h->table.service = host_service;
    h->table.stopping = host_stopping;
    return h;
}

void host_free(struct host_instance *h) {
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static const char *status_text(rein_status status) {
    switch (status) {
    case REIN_ERR_NOMEM:
        return "out of memory";
    case REIN_ERR_ARG:
        return "wrong arguments";
    case REIN_ERR_UNSUPPORTED:
        return "not supported";
    case REIN_ERR_DEVICE:
        return "the device failed";
    case REIN_ERR_IO:
        return "input or output failed";
    default:
        return "internal error";
    }
}

int host_check(struct host_instance *h, rein_status status, const char *call, struct error *err) {
    struct error said;
    bool placed;

    pthread_mutex_lock(&h->lock);
    said = h->last;
    placed = h->placed;
    h->last.kind = ERROR_NONE;
    h->last.text[0] = '\0';
    pthread_mutex_unlock(&h->lock);
    if (status == REIN_OK)
        return 0;
    if (said.kind == ERROR_NONE)
        return error_set(err, kind_of(status), "%s %s: %s: %s (status %d)", kind_name(h->plugin->kind), h->plugin->name,
                         call, status_text(status), (int)status);
    if (placed) /* begins with the place in the pipeline file */
        return error_set(err, said.kind, "%s", said.text);
    return error_set(err, kind_of(status), "%s %s: %.900s", kind_name(h->plugin->kind), h->plugin->name, said.text);
}
