/* SPDX-License-Identifier: MIT */
#include "cli/session.h"

#include "base/file.h"
#include "base/log.h"
#include "base/memlimit.h"
#include "base/suggest.h"
#include "plugin/params.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

/* machine.yaml */
struct machine {
    const char *backend;
    int64_t device, threads;
};
static const struct rein_param machine_rows[] = {
    {.name = "backend", .type = REIN_PARAM_STRING, .offset = offsetof(struct machine, backend), .dflt = "auto",
     .doc = "The backend that this machine computes on, unless the command line, REIN_BACKEND or the pipeline names one."},
    {.name = "device", .type = REIN_PARAM_INT, .offset = offsetof(struct machine, device), .max = 4096,
     .doc = "Which of the backend's devices."},
    {.name = "threads", .type = REIN_PARAM_INT, .offset = offsetof(struct machine, threads), .max = 4096,
     .doc = "CPU threads; 0: the backend decides."},
    {.name = NULL},
};
static const struct params machine_table = {"machine", machine_rows, sizeof(*machine_rows), sizeof(struct machine)};

static const char *environment(const char *name) {
    const char *text = getauxval(AT_SECURE) ? NULL : getenv(name);

    return text && *text ? text : NULL;
}

/* *backends is NULL when there are no options. */
static int bind_machine(struct session *s, const struct machine **machine, const struct node **backends,
                        struct error *err) {
    static const char *const reserved[] = {"backends", NULL};

    *machine = params_bind(&machine_table, s->machine.root, reserved, &s->arena, err);
    if (*machine == NULL)
        return -1;
    *backends = node_get(s->machine.root, "backends");
    if (*backends != NULL && (*backends)->type != NODE_MAPPING)
        return node_error(*backends, err, "backends: expected a mapping from backends to their options");
    return 0;
}

static int read_machine(struct session *s, const struct machine **machine, const struct node **backends,
                        struct error *err) {
    const char *path = environment("REIN_MACHINE"), *installed = REIN_SYSCONF_DIR "/machine.yaml";

    if (path == NULL && file_exists(installed))
        path = installed;
    if (path != NULL && yaml_load(path, &s->machine, err) != 0)
        return -1;
    return bind_machine(s, machine, backends, err);
}

uint32_t session_probe(const struct rein_plugin *plugin, struct rein_probe *out) {
    const struct rein_backend_ops *ops = plugin->ops;

    memset(out, 0, sizeof(*out));
    out->size = sizeof(*out);
    if (ops->probe(out) != REIN_OK)
        out->score = 0;
    out->reason[sizeof(out->reason) - 1] = '\0';
    return out->score;
}

/* The built-in one: no file takes its name. */
static bool is_reference(const struct rein_plugin *p) {
    return strcmp(p->name, "ref") == 0;
}

/* Why does this backend, or file of one, not compute? False when it is none. */
static bool why_not(const struct module *m, char *out, size_t size) {
    struct rein_probe probe;

    if (m->plugin == NULL) {
        snprintf(out, size, "%s: %s", m->path, m->why);
        return strstr(m->path, "/backends/") != NULL;
    }
    if (m->plugin->kind != REIN_KIND_BACKEND || is_reference(m->plugin))
        return false;
    session_probe(m->plugin, &probe);
    snprintf(out, size, "%s: %s", m->plugin->name, probe.reason);
    return true;
}

/* Nobody asked for the reference: it may take a hundred times as long. cpu-blas's reason is the one to tell. */
static void warn_of_reference(const struct registry *r) {
    char why[600] = "no other backend is on the plugin path", one[600];
    bool usual = false;

    for (size_t i = 0; i < registry_count(r) && !usual; i++)
        if (why_not(registry_at(r, i), one, sizeof(one))) {
            usual = strstr(one, "cpu-blas") != NULL;
            snprintf(why, sizeof(why), "%s", one);
        }
    log_warn("the slow reference backend computes (%s)", why);
}

static const struct rein_plugin *best_backend(struct registry *r, struct error *err) {
    const struct rein_plugin *best = NULL;
    uint32_t best_score = 0;

    if (registry_scan_kind(r, REIN_KIND_BACKEND, err) != 0)
        return NULL;
    for (size_t i = 0; i < registry_count(r); i++) {
        const struct module *m = registry_at(r, i);
        struct rein_probe probe;

        if (m->plugin == NULL || m->plugin->kind != REIN_KIND_BACKEND)
            continue;
        if (session_probe(m->plugin, &probe) > best_score) {
            best = m->plugin;
            best_score = probe.score;
        }
        log_debug("backend %s: score %u: %s", m->plugin->name, probe.score, probe.reason);
    }
    if (best == NULL)
        error_run(err, "no backend can run on this machine");
    else if (is_reference(best))
        warn_of_reference(r);
    return best;
}

static const struct rein_plugin *choose(const struct cli_common *common, const struct node *wanted, const char *machine,
                                        struct registry *r, struct error *err) {
    const char *env = environment("REIN_BACKEND");
    const char *name = common->backend ? common->backend : env;
    const struct module *m;

    if (name != NULL || (wanted && strcmp(wanted->text, "auto") == 0))
        wanted = NULL; /* a pipeline that says `auto` leaves it to the machine */
    if (name == NULL)
        name = wanted ? wanted->text : machine;
    if (strcmp(name, "auto") == 0)
        return best_backend(r, err);
    m = registry_find(r, REIN_KIND_BACKEND, name, err);
    if (m == NULL && err != NULL && (common->backend || env))
        error_prefix(err, common->backend ? "--backend" : "REIN_BACKEND");
    else if (m == NULL && wanted)
        node_place(wanted, err);
    return m ? m->plugin : NULL;
}

int session_plugins(const struct cli_common *common, struct session *s, struct error *err) {
    return s->registry ? 0 : registry_create(common->plugin_path, &s->registry, err);
}

/* machine.yaml's device is one of its own backend. */
static int64_t own_device(const struct machine *machine, const struct rein_plugin *plugin) {
    return strcmp(machine->backend, "auto") == 0 || strcmp(machine->backend, plugin->name) == 0 ? machine->device : 0;
}

/* With the options and threads that machine.yaml and the command line give it. */
static int open_plugin(const struct cli_common *common, struct session *s, const struct rein_plugin *plugin,
                       int64_t device, struct backend **out, struct error *err) {
    struct params table = params_of(plugin);
    struct rein_open how = {.size = sizeof(how), .device = (uint32_t)device};
    const struct machine *machine;
    const struct node *backends;
    const void *config;

    if (bind_machine(s, &machine, &backends, err) != 0)
        return -1;
    how.threads = (uint32_t)(common->threads > 0 ? common->threads : machine->threads);
    config = params_bind(&table, node_get(backends, plugin->name), NULL, &s->arena, err);
    return config ? backend_open(plugin, config, &how, out, err) : -1;
}

int session_backend(const struct cli_common *common, const struct node *wanted, struct session *s, struct error *err) {
    const struct machine *machine;
    const struct node *backends;
    const struct rein_plugin *plugin = NULL;
    int rc = -1;

    if (session_plugins(common, s, err) == 0 && read_machine(s, &machine, &backends, err) == 0)
        plugin = choose(common, wanted, machine->backend, s->registry, err);
    if (plugin != NULL) {
        s->device = (uint32_t)(common->device >= 0 ? common->device : own_device(machine, plugin));
        rc = open_plugin(common, s, plugin, s->device, &s->backend, err);
    }
    return rc;
}

static struct backend *opened(const struct session *s, const struct rein_plugin *plugin, uint32_t device) {
    if (s->backend->plugin == plugin && s->device == device)
        return s->backend;
    for (size_t i = 0; i < s->nothers; i++)
        if (s->others[i]->plugin == plugin && s->other_devices[i] == device)
            return s->others[i];
    return NULL;
}

/* Of one stage. Without a device: the run's, where the backend is the run's, else as machine.yaml says. */
static int reward_backend(const struct cli_common *common, struct stage *stage, struct session *s, struct error *err) {
    const struct node *name = stage->reward_backend_node, *at = stage->reward_device_node;
    const struct rein_plugin *plugin = s->backend->plugin;
    const struct machine *machine;
    const struct node *backends;
    int64_t device = stage->reward_device;

    if (name != NULL) {
        const struct module *m = registry_find(s->registry, REIN_KIND_BACKEND, name->text, err);
        if (m == NULL)
            return node_place(name, err);
        plugin = m->plugin;
    }
    if (bind_machine(s, &machine, &backends, err) != 0)
        return -1;
    if (at == NULL)
        device = plugin == s->backend->plugin ? s->device : own_device(machine, plugin);
    stage->reward_backend = opened(s, plugin, (uint32_t)device);
    if (stage->reward_backend != NULL)
        return 0;
    if (s->nothers == SESSION_MOST_OTHERS)
        return node_error(at ? at : name, err, "more than %d backends beside the first", SESSION_MOST_OTHERS);
    if (open_plugin(common, s, plugin, device, &stage->reward_backend, err) != 0)
        return node_place(at ? at : name, err);
    s->other_devices[s->nothers] = (uint32_t)device;
    s->others[s->nothers++] = stage->reward_backend;
    return 0;
}

int session_rewards(const struct cli_common *common, struct pipeline *p, struct session *s, struct error *err) {
    for (size_t i = 0; i < p->nstages; i++) {
        struct stage *stage = &p->stages[i];
        const struct backend *b;

        if (stage->reward_backend_node == NULL && stage->reward_device_node == NULL)
            continue;
        if (reward_backend(common, stage, s, err) != 0)
            return -1;
        b = stage->reward_backend;
        log_info("stage %s: reward models on backend %s: %s", stage->name, b->plugin->name,
                 b->ops->describe ? b->ops->describe(b->dev) : "");
    }
    return 0;
}

uint64_t session_memory(const struct session *s) {
    return s->backend->host_memory ? memory_limit() : UINT64_MAX;
}

bool session_is_named(const struct module *m, const char *name) {
    const char *kind = kind_name(m->plugin->kind);
    const size_t length = strlen(kind);

    if (strncmp(name, kind, length) == 0 && name[length] == '/')
        name += length + 1;
    return strcmp(m->plugin->name, name) == 0;
}

int session_unknown(const struct session *s, const char *name, struct error *err) {
    struct suggestion near = {0};
    char hint[128], file[128];

    snprintf(file, sizeof(file), "/%.100s.so", strchr(name, '/') ? strchr(name, '/') + 1 : name);
    for (size_t i = 0; i < registry_count(s->registry); i++) {
        const struct module *m = registry_at(s->registry, i);
        const size_t length = strlen(m->path), tail = strlen(file);

        if (m->plugin != NULL)
            suggest_offer(&near, name, m->plugin->name);
        else if (length > tail && strcmp(m->path + length - tail, file) == 0)
            return error_input(err, "%s: %s", m->path, m->why);
    }
    return error_input(err, "there is no plugin '%.64s'%s", name, suggest_text(&near, hint, sizeof(hint)));
}

void session_close(struct session *s) {
    for (size_t i = 0; i < s->nothers; i++)
        backend_close(s->others[i]);
    backend_close(s->backend);
    registry_free(s->registry);
    arena_free(&s->arena);
    yaml_free(&s->machine);
    memset(s, 0, sizeof(*s));
}
