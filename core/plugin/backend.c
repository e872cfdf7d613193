/* SPDX-License-Identifier: MIT */
#include "plugin/backend.h"

#include "base/buffer.h"
#include "base/log.h"
#include "base/mem.h"
#include "plugin/host.h"
#include "ref/ref.h"

#include <stdlib.h>
#include <string.h>

/* Every kernel slot, so that the table is written once. */
#define KERNELS(X)                                                                                                     \
    X(linear)                                                                                                          \
    X(linear_dx) X(linear_dw) X(embedding) X(embedding_dw) X(norm) X(norm_dx) X(rope) X(activation) X(activation_dx)   \
        X(attention) X(attention_dx) X(head) X(head_dx) X(sample) X(adamw) X(sum_squares) X(axpy) X(gather) X(cast) \
        X(perturb)

/* Copies the plugin's table (maybe of an older size), then fills what is empty. */
static int fill_kernels(struct backend *b, struct error *err) {
    const struct rein_kernels *given = b->ops->kernels;
    const struct rein_backend_ops *reference = ref_plugin.ops;
    struct buffer missing = {0};
    bool some;

    memcpy(&b->k, given, given->size < sizeof(b->k) ? given->size : sizeof(b->k));
    b->k.size = sizeof(b->k);
#define FILL(name)                                                                                                     \
    if (!b->k.name) {                                                                                                  \
        buffer_printf(&missing, "%s" #name, missing.length ? ", " : "");                                               \
        b->k.name = reference->kernels->name;                                                                          \
    }
    KERNELS(FILL)
#undef FILL
    some = missing.length > 0;
    if (some && b->host_memory)
        log_info("backend %s: the reference kernels stand in for %s", b->plugin->name, missing.data);
    else if (some)
        error_run(err, "backend %s: a device backend must provide every kernel; missing: %s", b->plugin->name,
                  missing.data);
    buffer_free(&missing);
    return some && !b->host_memory ? -1 : 0;
}

static int check_ops(const struct rein_plugin *plugin, struct error *err) {
    const struct rein_backend_ops *ops = plugin->ops;

    if (plugin->kind != REIN_KIND_BACKEND || !ops || !REIN_HAS(ops, struct rein_backend_ops, kernels) || !ops->probe ||
        !ops->open || !ops->close || !ops->alloc || !ops->free || !ops->copy || !ops->fill || !ops->sync ||
        !ops->kernels || ops->kernels->size < sizeof(uint32_t))
        return error_run(err, "backend %s: its table of functions is incomplete", plugin->name);
    return 0;
}

static int probe(const struct rein_plugin *plugin, const struct rein_open *how, struct error *err) {
    const struct rein_backend_ops *ops = plugin->ops;
    struct rein_probe found = {.size = sizeof(found)};

    if (ops->probe(&found) != REIN_OK || found.score == 0) {
        found.reason[sizeof(found.reason) - 1] = '\0';
        return error_input(err, "backend %s cannot run here: %s", plugin->name,
                           found.reason[0] ? found.reason : "it gives no reason");
    }
    if (how && how->device >= found.devices)
        return error_input(err, "backend %s: there is no device %u; it has %u", plugin->name, how->device,
                           found.devices);
    return 0;
}

int backend_open(const struct rein_plugin *plugin, const void *config, const struct rein_open *how,
                 struct backend **out, struct error *err) {
    struct rein_open wish = {.size = sizeof(wish)};
    struct backend *b;

    *out = NULL;
    if (check_ops(plugin, err) || probe(plugin, how, err))
        return -1;
    if (how)
        memcpy(&wish, how, how->size < sizeof(wish) ? how->size : sizeof(wish));
    wish.size = sizeof(wish);
    b = mem_zeros(1, sizeof(*b));
    if (!b)
        return error_nomem(err, "backend");
    b->plugin = plugin;
    b->ops = plugin->ops;
    b->config = config;
    b->host_memory = (b->ops->flags & REIN_MEMORY_HOST) != 0;
    b->host = host_create(plugin, NULL, err);
    if (!b->host || fill_kernels(b, err) ||
        host_check(b->host, b->ops->open(&b->host->table, config, &wish, &b->dev), "open", err)) {
        host_free(b->host);
        free(b);
        return -1;
    }
    *out = b;
    return 0;
}

void backend_close(struct backend *b) {
    if (!b)
        return;
    backend_scratch_free(b);
    b->ops->close(b->dev);
    host_free(b->host);
    free(b);
}

int backend_check(struct backend *b, rein_status status, const char *what, struct error *err) {
    if (status == REIN_OK)
        return 0;
    host_check(b->host, status, what, err);
    if (err) /* the arguments of kernels are ours, not the user's */
        err->kind = ERROR_RUN;
    return -1;
}

void *backend_alloc(struct backend *b, size_t count, size_t size, struct error *err) {
    void *ptr = NULL;
    size_t bytes;

    if (!size_mul(count, size, &bytes)) {
        error_nomem(err, "a size beyond the address space");
        return NULL;
    }
    b->allocations++;
    if (backend_check(b, b->ops->alloc(b->dev, bytes, &ptr), "alloc", err))
        return NULL;
    return ptr;
}

void backend_free(struct backend *b, void *ptr) {
    if (ptr)
        b->ops->free(b->dev, ptr);
}

void *backend_scratch(struct backend *b, size_t bytes, const void *user, struct error *err) {
    if (!b->scratch || bytes > b->scratch_bytes) {
        backend_scratch_free(b);
        b->scratch = backend_alloc(b, bytes, 1, err);
        if (!b->scratch)
            return NULL;
        b->scratch_bytes = bytes;
    }
    b->scratch_user = user;
    return b->scratch;
}

bool backend_scratch_held(const struct backend *b, const void *user) {
    return b->scratch_user == user;
}

void backend_scratch_free(struct backend *b) {
    backend_free(b, b->scratch);
    b->scratch = NULL;
    b->scratch_bytes = 0;
    b->scratch_user = NULL;
}

int backend_zero(struct backend *b, void *device, size_t bytes, struct error *err) {
    return backend_check(b, b->ops->fill(b->dev, device, 0, bytes), "fill", err);
}

int backend_upload(struct backend *b, void *device, const void *host, size_t bytes, struct error *err) {
    return backend_check(b, b->ops->copy(b->dev, device, host, bytes, REIN_COPY_TO_DEVICE), "copy", err);
}

int backend_copy(struct backend *b, void *to, const void *from, size_t bytes, struct error *err) {
    return backend_check(b, b->ops->copy(b->dev, to, from, bytes, REIN_COPY_ON_DEVICE), "copy", err);
}

int backend_download(struct backend *b, void *host, const void *device, size_t bytes, struct error *err) {
    if (backend_check(b, b->ops->copy(b->dev, host, device, bytes, REIN_COPY_FROM_DEVICE), "copy", err))
        return -1;
    return backend_sync(b, err);
}

int backend_each_piece(struct backend *b, const void *device, size_t count, size_t size, backend_take take, void *ctx,
                       struct error *err) {
    enum { PIECE = 1 << 20 };
    void *host;
    int rc = 0;

    if (b->host_memory)
        return backend_sync(b, err) ? -1 : take(ctx, device, count, err);
    host = mem_array(count < PIECE ? count : PIECE, size);
    if (!host)
        return error_nomem(err, "copy from a device");
    for (size_t at = 0; rc == 0 && at < count; at += PIECE) {
        const size_t n = count - at < PIECE ? count - at : PIECE;

        rc = backend_download(b, host, (const char *)device + at * size, n * size, err) || take(ctx, host, n, err);
    }
    free(host);
    return rc ? -1 : 0;
}

int backend_sync(struct backend *b, struct error *err) {
    return backend_check(b, b->ops->sync(b->dev), "sync", err);
}
