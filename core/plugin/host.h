/* core/plugin/host.h - the host's side of one plugin instance: the service table it is given.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_HOST_H
#define REIN_CORE_HOST_H

#include "base/error.h"

#include <rein/host.h>
#include <rein/plugin.h>

struct params_marks; /* where each option stood in the pipeline file; see plugin/params.h */

struct host_instance {
    struct rein_host table;          /* what the plugin sees; table.ctx points back here */
    const struct rein_plugin *plugin;
    const struct params_marks *marks; /* for fail_param; may be NULL */
    struct error last;               /* what the plugin said */
    /* offers services by id; NULL: none */
    const void *(*service)(void *ctx, const char *id);
    void *service_ctx;
};

struct host_instance *host_create(const struct rein_plugin *plugin, const struct params_marks *marks, struct error *err);
void host_free(struct host_instance *h);
/* Status of a call into the plugin: 0, or -1 with "algorithm ppo: <what it said>". */
int host_check(struct host_instance *h, rein_status status, const char *call, struct error *err);

#endif
