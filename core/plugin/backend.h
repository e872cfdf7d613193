/* core/plugin/backend.h - an opened compute backend, with `ref` behind its empty slots.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_BACKEND_H
#define REIN_CORE_BACKEND_H

#include "base/error.h"

#include <rein/backend.h>
#include <stdbool.h>

struct host_instance;

struct backend {
    const struct rein_plugin *plugin;
    const struct rein_backend_ops *ops;
    void *dev;
    struct rein_kernels k;         /* every slot filled */
    bool host_memory;
    struct host_instance *host;    /* keeps the last failure's text */
    const void *config;
    uint64_t allocations;          /* calls of backend_alloc so far */
    void *scratch;
    size_t scratch_bytes;
    const void *scratch_user;
};

/* Probes and opens the plugin. `config` is its option block from params_bind, which must outlive the backend (NULL
 * for a plugin without options). Slots that a host-memory backend leaves empty run on `ref`; this is logged once. */
int backend_open(const struct rein_plugin *plugin, const void *config, const struct rein_open *how,
                 struct backend **out, struct error *err);
void backend_close(struct backend *b);

/* Turns a kernel's status into an error: `if (backend_check(b, b->k.linear(b->dev, &a), "linear", err))` */
int backend_check(struct backend *b, rein_status status, const char *what, struct error *err);

/* Not zeroed; NULL with an error. */
void *backend_alloc(struct backend *b, size_t count, size_t size, struct error *err);
void backend_free(struct backend *b, void *ptr);
/* Memory that everything on a backend takes turns with: temporaries, passes that keep nothing, sampling. At least `bytes`;
 * what lies in it is the user's until somebody takes it. It grows, and stays until backend_scratch_free or backend_close. */
void *backend_scratch(struct backend *b, size_t bytes, const void *user, struct error *err);
bool backend_scratch_held(const struct backend *b, const void *user); /* since it took it, has nobody else? */
void backend_scratch_free(struct backend *b);
int backend_zero(struct backend *b, void *device, size_t bytes, struct error *err);
/* `host` stays unchanged until the next backend_sync. */
int backend_upload(struct backend *b, void *device, const void *host, size_t bytes, struct error *err);
int backend_copy(struct backend *b, void *to, const void *from, size_t bytes, struct error *err); /* on the device */
int backend_download(struct backend *b, void *host, const void *device, size_t bytes, struct error *err); /* synchronises */
/* Hands `count` elements of `size` bytes over as host memory, piece by piece: where they lie on a backend of host memory. */
typedef int (*backend_take)(void *ctx, const void *host, size_t count, struct error *err);
int backend_each_piece(struct backend *b, const void *device, size_t count, size_t size, backend_take take, void *ctx,
                       struct error *err);
int backend_sync(struct backend *b, struct error *err);

#endif
