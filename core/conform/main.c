/* SPDX-License-Identifier: MIT */
#include "conform/conform.h"
#include "ref/ref.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kind {
    const char *name;
    uint32_t kind;
    int (*check)(const struct rein_plugin *plugin, const char *path);
} kinds[] = {
    {"algorithm", REIN_KIND_ALGORITHM, conform_algorithm},
    {"backend", REIN_KIND_BACKEND, conform_backend},
    {"reward", REIN_KIND_REWARD, conform_reward},
};

enum { EXIT_USAGE = 2, MOST_SETTINGS = 32 };
static const char *settings[MOST_SETTINGS];
static int nsettings;

static int usage(FILE *out) {
    fputs("usage: rein-conform KIND FILE.so [--set OPTION=VALUE]...\n"
          "Checks that a plugin does what rein's headers promise, and prints TAP.\n"
          "KIND is one of:",
          out);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        fprintf(out, " %s", kinds[i].name);
    fputs("\nThe built-in reference backend is checked by `rein-conform backend ref`.\n", out);
    return out == stdout ? 0 : EXIT_USAGE;
}

/* Parses one value into the option block. */
static bool store_value(const struct rein_param *row, const char *text, char *config) {
    char *end = NULL;

    errno = 0;
    if (row->type == REIN_PARAM_BOOL) {
        config[row->offset] = !strcmp(text, "true");
        return config[row->offset] || !strcmp(text, "false");
    }
    if (row->type == REIN_PARAM_INT) {
        int64_t value = strtoll(text, &end, 10);
        memcpy(config + row->offset, &value, sizeof(value));
        return end != text && !*end && !errno && (row->min > row->max || (value >= row->min && value <= row->max));
    }
    if (row->type == REIN_PARAM_REAL) {
        double value = strtod(text, &end);
        memcpy(config + row->offset, &value, sizeof(value));
        return end != text && !*end && isfinite(value) &&
               (row->min > row->max || (value >= row->min && value <= row->max));
    }
    if (row->type == REIN_PARAM_CHOICE) {
        for (int64_t i = 0; row->choices && row->choices[i]; i++)
            if (!strcmp(row->choices[i], text)) {
                memcpy(config + row->offset, &i, sizeof(i));
                return true;
            }
        return false;
    }
    memcpy(config + row->offset, &text, sizeof(text));
    return !(row->type & REIN_PARAM_LIST);
}

static const struct rein_param *find_row(const struct rein_plugin *plugin, const char *name, size_t length) {
    const char *row = (const char *)plugin->params;

    for (; row && ((const struct rein_param *)row)->name; row += plugin->param_stride) {
        const struct rein_param *p = (const struct rein_param *)row;
        if (strlen(p->name) == length && !strncmp(p->name, name, length))
            return p;
    }
    return NULL;
}

static bool was_set(const char *name) {
    size_t length = strlen(name);

    for (int i = 0; i < nsettings; i++)
        if (!strncmp(settings[i], name, length) && settings[i][length] == '=')
            return true;
    return false;
}

void *conform_config(const struct rein_plugin *plugin) {
    char *config = calloc(1, plugin->config_size ? plugin->config_size : 1);
    const char *at = (const char *)plugin->params;

    if (!config)
        return NULL;
    for (; at && ((const struct rein_param *)at)->name; at += plugin->param_stride) {
        const struct rein_param *row = (const struct rein_param *)at;
        if (row->dflt && !(row->type & REIN_PARAM_LIST) && !store_value(row, row->dflt, config)) {
            fprintf(stderr, "rein-conform: %s: the default of option %s is bad\n", plugin->name, row->name);
            free(config);
            return NULL;
        }
    }
    for (int i = 0; i < nsettings; i++) {
        const char *equal = strchr(settings[i], '=');
        const struct rein_param *row = find_row(plugin, settings[i], (size_t)(equal - settings[i]));
        if (!row || !store_value(row, equal + 1, config)) {
            fprintf(stderr, "rein-conform: --set %s: %s\n", settings[i], row ? "bad value" : "no such option");
            free(config);
            return NULL;
        }
    }
    for (at = (const char *)plugin->params; at && ((const struct rein_param *)at)->name; at += plugin->param_stride) {
        const struct rein_param *row = (const struct rein_param *)at;
        if (row->flags & REIN_PARAM_REQUIRED && !was_set(row->name)) {
            fprintf(stderr, "rein-conform: %s needs --set %s=VALUE\n", plugin->name, row->name);
            free(config);
            return NULL;
        }
    }
    return config;
}

static const struct rein_plugin *load(const char *path, uint32_t kind) {
    const struct rein_plugin *(*entry)(uint32_t);
    const struct rein_plugin *plugin;
    char absolute[PATH_MAX];
    void *handle;

    if (kind == REIN_KIND_BACKEND && !strcmp(path, "ref"))
        return &ref_plugin;
    if (!realpath(path, absolute)) {
        fprintf(stderr, "rein-conform: %s: %s\n", path, strerror(errno));
        return NULL;
    }
    handle = dlopen(absolute, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        fprintf(stderr, "rein-conform: %s\n", dlerror());
        return NULL;
    }
    *(void **)&entry = dlsym(handle, REIN_PLUGIN_ENTRY);
    if (!entry) {
        fprintf(stderr, "rein-conform: %s exports no %s\n", path, REIN_PLUGIN_ENTRY);
        return NULL;
    }
    for (uint32_t i = 0; (plugin = entry(i)); i++)
        if (plugin->abi != REIN_ABI_VERSION) {
            fprintf(stderr, "rein-conform: %s was built for ABI %u.%u, this is %u.%u\n", path, plugin->abi >> 16,
                    plugin->abi & 0xffffu, REIN_ABI_MAJOR, REIN_ABI_MINOR);
            return NULL;
        } else if (plugin->kind == kind) {
            return plugin;
        }
    fprintf(stderr, "rein-conform: %s holds no plugin of that kind\n", path);
    return NULL;
}

int main(int argc, char **argv) {
    const char *words[2];
    int nwords = 0;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return usage(stdout);
        if (!strcmp(argv[i], "--set") && i + 1 < argc && strchr(argv[i + 1], '=') && nsettings < MOST_SETTINGS)
            settings[nsettings++] = argv[++i];
        else if (argv[i][0] != '-' && nwords < 2)
            words[nwords++] = argv[i];
        else
            return usage(stderr);
    }
    if (nwords != 2)
        return usage(stderr);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (!strcmp(kinds[i].name, words[0])) {
            const struct rein_plugin *plugin = load(words[1], kinds[i].kind);
            return plugin ? kinds[i].check(plugin, words[1]) : EXIT_USAGE;
        }
    return usage(stderr);
}
