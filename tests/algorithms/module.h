/* tests/algorithms/module.h - a module from the build tree, and an instance of it.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_TESTS_MODULE_H
#define REIN_TESTS_MODULE_H

#include <rein/algorithm.h>
#include <rein/host.h>
#include <rein/plugin.h>

struct instance {
    const struct rein_plugin *plugin;
    const struct rein_algorithm_ops *ops; /* NULL for a reward */
    struct rein_host host;
    struct rein_needs needs;
    void *config, *self;
    void (*destroy)(void *self);
    long live;         /* blocks that the instance holds */
    char message[512]; /* of the last failure */
    char failed_param[64];
};

/* The plugin of plugins/<kind>s/<name>/<name>.so in the build tree; ends the test when there is none. */
const struct rein_plugin *module_open(const char *kind, const char *name);
/* The option block: defaults, then names and values (as in YAML) that end with NULL. */
void *module_config(const struct rein_plugin *plugin, const char *const *options);
/* create() and, for an algorithm, describe(). Returns create's status; on failure in->self is NULL. */
rein_status instance_open(struct instance *in, const char *kind, const char *name, const char *const *options);
void instance_close(struct instance *in);
/* What host->service answers for `id` from now on; without it there is no service. */
void module_offer(const char *id, const void *service);

#define MODULE_METRICS 64
struct metric_box {
    struct rein_metrics list;
    struct rein_metric items[MODULE_METRICS];
};
struct rein_metrics *metrics_reset(struct metric_box *box);
/* Adds `from` to `to`, as the host totals the micro-batches of a step. */
void metrics_total(struct metric_box *to, const struct rein_metrics *from);
/* What people see; NaN when there is none of that name. */
double metrics_value(const struct rein_metrics *m, const char *name);

#endif
