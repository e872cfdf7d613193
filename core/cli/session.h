/* core/cli/session.h - the plugins of a command, and the backend that it computes on.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_SESSION_H
#define REIN_CORE_SESSION_H

#include "base/yaml.h"
#include "cli/cli.h"
#include "pipeline/pipeline.h"
#include "plugin/backend.h"
#include "plugin/loader.h"

enum { SESSION_MOST_OTHERS = 8 };

/* Zero-initialise. */
struct session {
    struct registry *registry;
    struct backend *backend;
    uint32_t device; /* of that backend */
    struct backend *others[SESSION_MOST_OTHERS]; /* opened by session_rewards */
    uint32_t other_devices[SESSION_MOST_OTHERS];
    size_t nothers;
    struct document machine; /* machine.yaml; the backend's options point into it */
    struct arena arena;
};
/* Only the registry. */
int session_plugins(const struct cli_common *common, struct session *s, struct error *err);
/* Opens the backend named by, in this order: --backend, REIN_BACKEND, `wanted` (the pipeline's `backend:`; may be
 * NULL), machine.yaml, the best that probes above 0. Device and threads: the command line, then machine.yaml. Makes
 * the registry too. */
int session_backend(const struct cli_common *common, const struct node *wanted, struct session *s, struct error *err);
/* The backends that the stages name for their reward models (reward_backend:, reward_device:), after session_backend:
 * the same instance where backend and device are the same. */
int session_rewards(const struct cli_common *common, struct pipeline *p, struct session *s, struct error *err);
/* Bytes that models of the session's backend could ever get; UINT64_MAX: not known, as a device's are. */
uint64_t session_memory(const struct session *s);
void session_close(struct session *s);
/* The score of a backend plugin, 0 when it cannot run here; *out is filled. */
uint32_t session_probe(const struct rein_plugin *plugin, struct rein_probe *out);
/* Is this the module meant by "ppo", or by "reward/rm" where two kinds share a name? */
bool session_is_named(const struct module *m, const char *name);
/* "there is no plugin 'pppo' (did you mean 'ppo'?)", or why a file of that name was refused; after registry_scan. */
int session_unknown(const struct session *s, const char *name, struct error *err);

#endif
