/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "cli/session.h"
#include "pipeline/plan.h"
#include "pipeline/runner.h"

#include <stdio.h>

static int run(const struct command *self, int argc, char **argv) {
    struct cli_common common;
    struct cli_many sets = {.count = 0};
    struct runner_options how = {false, false};
    const struct cli_option options[] = {
        {"--set", CLI_MANY, &sets, "KEY=VALUE", "change an option, as in --set align.train.lr=5e-7; may be repeated"},
        {"--resume", CLI_FLAG, &how.resume, NULL, "go on with a run that was stopped"},
        {"--overwrite", CLI_FLAG, &how.overwrite, NULL, "remove an earlier run of the same folder first"},
        {0},
    };
    const char *file;
    struct session s = {0};
    struct pipeline p = {0};
    struct plan plan = {0};
    struct error err = {0};
    int rc = cli_parse(self, argc, argv, options, &common, &file, 1, 1);

    if (rc != CLI_GO)
        return rc;
    if (how.resume && how.overwrite)
        return cli_usage(self, "--resume and --overwrite exclude each other");
    rc = session_plugins(&common, &s, &err) || pipeline_load(file, sets.items, sets.count, s.registry, &p, &err) ||
                 runner_check(&p, &how, &err) || session_backend(&common, node_get(p.document.root, "backend"), &s, &err) ||
                 session_rewards(&common, &p, &s, &err) || plan_create(&p, session_memory(&s), &plan, &err)
             ? -1 : 0;
    if (rc == 0) {
        log_info("backend %s: %s", s.backend->plugin->name,
                 s.backend->ops->describe ? s.backend->ops->describe(s.backend->dev) : "");
        rc = runner_run(&p, &how, s.backend, &err);
    }
    if (rc == 0)
        log_info("done: %s", p.output);
    plan_free(&plan);
    pipeline_free(&p);
    session_close(&s);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_run = {
    "run", "FILE", "Runs the stages of a pipeline.",
    "Exit codes: 0 done, 1 the run failed, 2 the pipeline or its files are wrong, 3 stopped by a signal after a\n"
    "checkpoint was saved: run again with --resume.",
    CLI_BACKEND, run,
};
