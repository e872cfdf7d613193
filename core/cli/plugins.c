/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "base/log.h"
#include "cli/session.h"
#include "plugin/params.h"

#include <stdio.h>
#include <string.h>

static void json_field(struct buffer *out, const char *name, const char *text) {
    buffer_printf(out, "\"%s\": ", name);
    buffer_json_string(out, text, strlen(text));
}

static void json_module(const struct module *m, bool options, struct buffer *out) {
    const struct rein_plugin *p = m->plugin;
    const struct params table = params_of(p);
    struct rein_probe probe;

    buffer_text(out, "{");
    json_field(out, "kind", kind_name(p->kind));
    buffer_text(out, ", ");
    json_field(out, "name", p->name);
    buffer_text(out, ", ");
    json_field(out, "version", p->version);
    buffer_text(out, ", ");
    json_field(out, "license", p->license);
    buffer_text(out, ", ");
    json_field(out, "path", m->path);
    buffer_text(out, ", ");
    json_field(out, "summary", p->summary);
    if (p->kind == REIN_KIND_BACKEND) {
        buffer_printf(out, ", \"score\": %u, \"devices\": %u, ", session_probe(p, &probe), probe.devices);
        json_field(out, "reason", probe.reason);
    }
    if (options) {
        buffer_text(out, ", \"options\": ");
        params_json(&table, out);
    }
    buffer_text(out, "}");
}

static void print_module(const struct module *m, struct buffer *out) {
    const struct rein_plugin *p = m->plugin;
    const struct params table = params_of(p);
    struct rein_probe probe;

    buffer_printf(out, "%s %s %s (%s)\n%s\n%s\n", kind_name(p->kind), p->name, p->version, p->license, p->summary,
                  m->path);
    if (m->shadows != NULL)
        buffer_printf(out, "hides %s\n", m->shadows);
    if (p->kind == REIN_KIND_BACKEND) {
        session_probe(p, &probe);
        buffer_printf(out, "score %u, %u device%s: %s\n", probe.score, probe.devices, probe.devices == 1 ? "" : "s",
                      probe.reason);
    }
    buffer_text(out, params_row(&table, 0) ? "Options:\n" : "No options.\n");
    params_print(&table, out);
}

static void list_line(const struct module *m, int width, struct buffer *out) {
    struct rein_probe probe;

    buffer_printf(out, "%-10s %-*s %-8s %s\n", kind_name(m->plugin->kind), width, m->plugin->name, m->plugin->version,
                  m->plugin->summary);
    if (m->plugin->kind == REIN_KIND_BACKEND) {
        session_probe(m->plugin, &probe);
        buffer_printf(out, "%-10s %-*s %-8s score %u: %s\n", "", width, "", "", probe.score, probe.reason);
    }
    if (m->shadows != NULL)
        buffer_printf(out, "%-10s %-*s %-8s %s hides %s\n", "", width, "", "", m->path, m->shadows);
}

static void list_all(const struct registry *r, bool json, struct buffer *out) {
    bool first = true;
    int width = 4;

    for (size_t i = 0; i < registry_count(r); i++)
        if (registry_at(r, i)->plugin && (int)strlen(registry_at(r, i)->plugin->name) > width)
            width = (int)strlen(registry_at(r, i)->plugin->name);
    for (size_t i = 0; i < registry_count(r); i++) {
        const struct module *m = registry_at(r, i);
        if (m->plugin == NULL) {
            log_warn("%s: %s", m->path, m->why);
        } else if (json) {
            buffer_text(out, first ? "[" : ",\n ");
            json_module(m, false, out);
            first = false;
        } else {
            list_line(m, width, out);
        }
    }
    if (json)
        buffer_text(out, first ? "[]\n" : "]\n");
}

static int show_one(const struct registry *r, const char *name, bool json, struct buffer *out) {
    size_t found = 0;

    for (size_t i = 0; i < registry_count(r); i++) {
        const struct module *m = registry_at(r, i);
        if (m->plugin == NULL || !session_is_named(m, name))
            continue;
        if (++found > 1 && json) {
            log_info("there is also the %s %s: ask for %s/%s", kind_name(m->plugin->kind), name,
                     kind_name(m->plugin->kind), name);
        } else if (json) {
            json_module(m, true, out);
            buffer_text(out, "\n");
        } else {
            buffer_text(out, found > 1 ? "\n" : "");
            print_module(m, out);
        }
    }
    return found ? 0 : -1;
}

static int run(const struct command *self, int argc, char **argv) {
    struct cli_common common;
    struct session s = {0};
    struct buffer out = {0};
    struct error err = {0};
    const char *name;
    int rc = cli_parse(self, argc, argv, NULL, &common, &name, 0, 1);

    if (rc != CLI_GO)
        return rc;
    rc = session_plugins(&common, &s, &err) || registry_scan(s.registry, &err) ? -1 : 0;
    if (rc == 0 && name == NULL)
        list_all(s.registry, common.json, &out);
    else if (rc == 0 && show_one(s.registry, name, common.json, &out) != 0)
        rc = session_unknown(&s, name, &err);
    if (rc == 0 && out.failed)
        rc = error_nomem(&err, "output");
    if (rc == 0 && out.data != NULL)
        fputs(out.data, stdout);
    buffer_free(&out);
    session_close(&s);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_plugins = {
    "plugins", "[NAME]", "Lists the plugins, or says what one can be configured with.",
    "NAME may say its kind too, as in reward/rm.", CLI_PLUGINS | CLI_JSON, run,
};
