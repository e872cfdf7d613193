/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "cli/session.h"
#include "plugin/params.h"

#include <stdio.h>
#include <string.h>

/* The options where they stand in a pipeline, or in machine.yaml for a backend. */
static void plugin_schema(const struct rein_plugin *p, struct buffer *out) {
    const struct params table = params_of(p);

    buffer_printf(out, "# %s %s %s: %s\n", kind_name(p->kind), p->name, p->version, p->summary);
    if (p->kind == REIN_KIND_ALGORITHM) {
        buffer_printf(out, "algorithm:\n  use: %s\n", p->name);
        params_schema(&table, 2, out);
    } else if (p->kind == REIN_KIND_REWARD) {
        buffer_printf(out, "rewards:\n  - use: %s\n    # The name in metrics; not set by default: the plugin's.\n    # name:\n"
                           "    # The factor of its scores.\n    weight: 1.0\n", p->name);
        params_schema(&table, 4, out);
    } else {
        buffer_printf(out, "backends:\n  %s:%s\n", p->name, params_row(&table, 0) ? "" : " {}");
        params_schema(&table, 4, out);
    }
}

static int run(const struct command *self, int argc, char **argv) {
    struct cli_common common;
    struct session s = {0};
    struct buffer out = {0};
    struct error err = {0};
    const char *name;
    int rc = cli_parse(self, argc, argv, NULL, &common, &name, 1, 1);

    if (rc != CLI_GO)
        return rc;
    rc = session_plugins(&common, &s, &err) || registry_scan(s.registry, &err) ? -1 : 0;
    for (size_t i = 0; rc == 0 && i < registry_count(s.registry); i++) {
        const struct module *m = registry_at(s.registry, i);
        if (m->plugin != NULL && session_is_named(m, name))
            plugin_schema(m->plugin, &out);
    }
    if (rc == 0 && out.length == 0)
        rc = session_unknown(&s, name, &err);
    if (rc == 0 && out.failed)
        rc = error_nomem(&err, "output");
    if (rc == 0)
        fputs(out.data, stdout);
    buffer_free(&out);
    session_close(&s);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_schema = {
    "schema", "NAME", "Prints the options of a plugin as YAML with comments, to copy from.",
    "NAME may say its kind too, as in reward/rm.", CLI_PLUGINS, run,
};
