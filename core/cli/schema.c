/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "base/suggest.h"
#include "cli/session.h"
#include "pipeline/lora_read.h"
#include "pipeline/models.h"
#include "pipeline/stage_read.h"
#include "text/template_yaml.h"

#include <stdio.h>
#include <string.h>

/* The parts of a pipeline that are not a plugin's. */
static const struct {
    const char *name, *about, *opening;
    int indent;
    const struct params *table;
} sections[] = {
    {"pipeline", "the top of a pipeline; `models:` and `stages:` follow", "", 0, &pipeline_params},
    {"models", "an entry of `models:`", "models:\n  NAME:\n", 4, &models_params},
    {"model", "what a stage trains", "model:\n", 2, &use_params},
    {"lora", "an adapter that a model or a critic trains in place of its weights", "model:\n  lora:\n", 4, &lora_params},
    {"reference", "the frozen model that a stage compares with", "reference:\n", 2, &reference_params},
    {"critic", "what predicts the reward of a stage that samples", "critic:\n", 2, &critic_params},
    {"data", "a stage's data", "data:\n", 2, &data_params},
    {"template", "a chat template spelled out, in place of a name", "data:\n  template:\n", 4, &template_params},
    {"rollout", "how a stage samples completions", "rollout:\n", 2, &rollout_params},
    {"train", "how a stage trains", "train:\n", 2, &train_params},
    {"checkpoint", "when a stage saves what it needs to go on", "checkpoint:\n", 2, &checkpoint_params},
};
enum { NSECTIONS = sizeof(sections) / sizeof(*sections) };

static void section_schema(const char *name, struct buffer *out) {
    for (size_t i = 0; i < NSECTIONS; i++)
        if (strcmp(sections[i].name, name) == 0) {
            buffer_printf(out, "# %s: %s\n%s", name, sections[i].about, sections[i].opening);
            params_schema(sections[i].table, sections[i].indent, out);
        }
}

/* Names of sections are candidates too. */
static int unknown(const struct session *s, const char *name, struct error *err) {
    struct suggestion near = {0};
    char hint[128];

    for (size_t i = 0; i < NSECTIONS; i++)
        suggest_offer(&near, name, sections[i].name);
    if (near.best == NULL)
        return session_unknown(s, name, err);
    return error_input(err, "there is no plugin and no section '%.64s'%s", name, suggest_text(&near, hint, sizeof(hint)));
}

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
    if (rc == 0)
        section_schema(name, &out);
    for (size_t i = 0; rc == 0 && i < registry_count(s.registry); i++) {
        const struct module *m = registry_at(s.registry, i);
        if (m->plugin != NULL && session_is_named(m, name))
            plugin_schema(m->plugin, &out);
    }
    if (rc == 0 && out.length == 0)
        rc = unknown(&s, name, &err);
    if (rc == 0 && out.failed)
        rc = error_nomem(&err, "output");
    if (rc == 0)
        fputs(out.data, stdout);
    buffer_free(&out);
    session_close(&s);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_schema = {
    "schema", "NAME", "Prints the options of a plugin or of a section of a pipeline as YAML with comments, to copy from.",
    "NAME is a plugin, also with its kind as in reward/rm, or one of pipeline, models, model, reference, critic, data,\n"
    "template, rollout, train, checkpoint.", CLI_PLUGINS, run,
};
