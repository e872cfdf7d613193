/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "base/suggest.h"
#include "conform/conform.h"
#include "conform/watch.h"
#include "plugin/loader.h"
#include "ref/ref.h"

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
static bool perf;
static double tolerance;

const char *conform_only(void) {
    return only;
}

bool conform_perf(void) {
    return perf;
}

double conform_tolerance(void) {
    return tolerance > 0 ? tolerance : CONFORM_TOLERANCE;
}

static bool read_tolerance(const char *text) {
    char *end;

    tolerance = strtod(text, &end);
    return *end == '\0' && tolerance > 0 && tolerance <= 1;
}

static int unknown(const char *option) {
    static const char *const options[] = {"--set", "--only", "--tolerance", "--perf", "--help"};
    struct suggestion near = {0};
    char hint[128];

    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        suggest_offer(&near, option, options[i]);
    fprintf(stderr, "rein-conform: unknown option '%.60s'%s\n", option, suggest_text(&near, hint, sizeof(hint)));
    return EXIT_USAGE;
}

static int usage(FILE *out) {
    fputs("usage: rein-conform KIND FILE.so [--set OPTION=VALUE]... [--only KERNEL] [--tolerance T] [--perf]\n"
          "Checks that a plugin does what rein's headers promise, and prints TAP. KIND is one of:",
          out);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        fprintf(out, " %s", kinds[i].name);
    fputs("\n", out);
    if (out != stdout) {
        fputs("rein-conform --help lists the checks.\n", out);
        return EXIT_USAGE;
    }
    fputs("\n"
          "  --set OPTION=VALUE  gives the plugin an option, as a pipeline would\n"
          "  --only KERNEL       checks one kernel of a backend, with its derivative\n"
          "  --tolerance T       the rounding error of a backend's results that is allowed, as a share of the largest value\n"
          "                      (default 2e-5); for options that trade accuracy for speed\n"
          "  --perf              prints the speed of a backend's kernels when they were checked\n"
          "  --help              prints this\n"
          "\nThe built-in reference backend is checked by `rein-conform backend ref`.\n"
          "A line beginning with # below a failed check says where, what was found and what was expected.\n"
          "\nOf any module:\n",
          out);
    conform_list(out, "");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        fprintf(out, "\nOf %s %s:\n", strchr("aeiou", kinds[i].name[0]) ? "an" : "a", kinds[i].name);
        conform_list(out, kinds[i].name);
    }
    return 0;
}

/* The same checks as when rein loads it, whatever folder it lies in. */
static const struct rein_plugin *load(struct registry *registry, const char *path, uint32_t kind) {
    struct error err = {0};
    const struct module *module;

    if (kind == REIN_KIND_BACKEND && !strcmp(path, "ref"))
        return &ref_plugin;
    watch_begin();
    module = registry_open_file(registry, path, &err);
    watch_end(module && module->fp_mode);
    for (size_t i = 0; module && i < registry_count(registry); i++) {
        const struct module *m = registry_at(registry, i);
        if (m->plugin && m->plugin->kind == kind && strcmp(m->path, module->path) == 0)
            return m->plugin;
    }
    if (module)
        error_input(&err, "%s: holds no %s", path, kind_name(kind));
    fprintf(stderr, "rein-conform: %s\n", err.text);
    return NULL;
}

static int check(const struct kind *kind, const char *path) {
    const struct rein_plugin *plugin;
    struct registry *registry;
    struct error err = {0};
    int rc = EXIT_USAGE;

    if (registry_create(NULL, &registry, &err) != 0) {
        fprintf(stderr, "rein-conform: %s\n", err.text);
        return error_exit_code(&err);
    }
    plugin = load(registry, path, kind->kind);
    if (plugin)
        rc = kind->check(plugin, path);
    registry_free(registry);
    return rc;
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
        else if (!strcmp(argv[i], "--tolerance") && i + 1 < argc && read_tolerance(argv[i + 1]))
            i++;
        else if (!strcmp(argv[i], "--perf"))
            perf = true;
        else if (argv[i][0] == '-' && strcmp(argv[i], "--set") != 0 && strcmp(argv[i], "--only") != 0 &&
                 strcmp(argv[i], "--tolerance") != 0)
            return unknown(argv[i]);
        else if (argv[i][0] != '-' && nwords < 2)
            words[nwords++] = argv[i];
        else
            return usage(stderr);
    }
    if (nwords != 2)
        return usage(stderr);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (!strcmp(kinds[i].name, words[0]))
            return (perf || only || tolerance > 0) && kinds[i].kind != REIN_KIND_BACKEND ? usage(stderr) : check(&kinds[i], words[1]);
    return usage(stderr);
}
