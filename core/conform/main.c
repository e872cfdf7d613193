/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "conform/conform.h"
#include "plugin/verify.h"
#include "ref/ref.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
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

enum { EXIT_USAGE = 2 };
static const char *only;

const char *conform_only(void) {
    return only;
}

static int usage(FILE *out) {
    fputs("usage: rein-conform KIND FILE.so [--set OPTION=VALUE]... [--only KERNEL]\n"
          "Checks that a plugin does what rein's headers promise, and prints TAP.\n"
          "--only checks one kernel of a backend, with its derivative. KIND is one of:",
          out);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        fprintf(out, " %s", kinds[i].name);
    fputs("\nThe built-in reference backend is checked by `rein-conform backend ref`.\n", out);
    return out == stdout ? 0 : EXIT_USAGE;
}

static const struct rein_plugin *load(const char *path, uint32_t kind) {
    const struct rein_plugin *(*entry)(uint32_t);
    const struct rein_plugin *plugin;
    char absolute[PATH_MAX];
    struct error err = {0};
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
            if (verify_plugin(plugin, &err) == 0)
                return plugin;
            fprintf(stderr, "rein-conform: %s: %s\n", path, err.text);
            return NULL;
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
        if (!strcmp(argv[i], "--set") && i + 1 < argc && conform_set(argv[i + 1]))
            i++;
        else if (!strcmp(argv[i], "--only") && i + 1 < argc)
            only = argv[++i];
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
