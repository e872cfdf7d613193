/* SPDX-License-Identifier: MIT */
#include "cli/session.h"
#include "pipeline/plan.h"

#include <stdio.h>

static int run(const struct command *self, int argc, char **argv) {
    struct cli_common common;
    struct cli_many sets = {.count = 0};
    const struct cli_option options[] = {
        {"--set", CLI_MANY, &sets, "KEY=VALUE", "change an option, as in --set align.train.lr=5e-7; may be repeated"},
        {0},
    };
    const char *file;
    struct session s = {0};
    struct pipeline p = {0};
    struct plan plan = {0};
    struct buffer out = {0};
    struct error err = {0};
    int rc = cli_parse(self, argc, argv, options, &common, &file, 1, 1);

    if (rc != CLI_GO)
        return rc;
    rc = session_plugins(&common, &s, &err) || pipeline_load(file, sets.items, sets.count, s.registry, &p, &err) ||
                 session_backend(&common, node_get(p.document.root, "backend"), &s, &err) ||
                 session_rewards(&common, &p, &s, &err) || plan_create(&p, session_memory(&s), &plan, &err)
             ? -1 : 0;
    if (rc == 0 && common.json)
        plan_json(&plan, &p, session_memory(&s), &out);
    else if (rc == 0)
        plan_print(&plan, session_memory(&s), &out);
    if (rc == 0 && out.failed)
        rc = error_nomem(&err, "output");
    if (rc == 0)
        fputs(out.data, stdout);
    buffer_free(&out);
    plan_free(&plan);
    pipeline_free(&p);
    session_close(&s);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_check = {
    "check", "FILE", "Checks a pipeline and its data, and prints which models it loads and how much memory that takes.",
    NULL, CLI_BACKEND | CLI_JSON, run,
};
