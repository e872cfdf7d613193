/* core/plugin/host.h - the host's side of one plugin instance: the service table it is given.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_HOST_H
#define REIN_CORE_HOST_H

#include "base/error.h"

#include <pthread.h>
#include <rein/host.h>
#include <rein/plugin.h>
#include <stdbool.h>

struct params_marks; /* where each option stood in the pipeline file; see plugin/params.h */

struct host_instance {
    struct rein_host table;          /* what the plugin sees; table.ctx points back here */
    const struct rein_plugin *plugin;
    const struct params_marks *marks; /* for fail_param; may be NULL */
    pthread_mutex_t lock;            /* around `last`: fail() may be called from any thread */
    struct error last;               /* what the plugin said first in the current call */
    bool placed;                     /* `last` begins with file:line:col */
    /* offers services by id; NULL: none */
    const void *(*service)(void *ctx, const char *id);
    void *service_ctx;
    bool (*stopping)(void); /* was the run asked to stop? NULL: nobody can */
};

struct host_instance *host_create(const struct rein_plugin *plugin, const struct params_marks *marks, struct error *err);
void host_free(struct host_instance *h);
/* Status of a call into the plugin: 0, or -1 with "algorithm ppo: <what it said>" (or with the place in the pipeline
 * file in front, after fail_param). `call` names the function, for when it said nothing. Forgets what was said. */
int host_check(struct host_instance *h, rein_status status, const char *call, struct error *err);

#endif
