/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include "base/log.h"
#include "base/maps.h"
#include "base/node.h"
#include "base/suggest.h"
#include "config.h"

#include <rein/abi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { USAGE = 2, HELP_COLUMN = 26 };

int cli_fail(const struct error *err) {
    log_print(LOG_ERROR, "%s", err->text);
    return error_exit_code(err);
}

int cli_usage(const struct command *self, const char *fmt, ...) {
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_print(LOG_ERROR, "%s", text);
    fprintf(stderr, "usage: rein %s %s%s(see rein %s --help)\n", self->name, self->words, *self->words ? " " : "",
            self->name);
    return USAGE;
}

/* ---- options ------------------------------------------------------------------------- */

struct verbosity {
    bool more, less;
};

/* The common options as a table; returns how many. */
static size_t common_options(const struct command *self, struct cli_common *c, struct verbosity *v,
                             struct cli_option *out) {
    size_t n = 0;

    if (self->common & CLI_JSON)
        out[n++] = (struct cli_option){"--json", CLI_FLAG, &c->json, NULL, "print JSON"};
    if (self->common & CLI_BACKEND) {
        out[n++] = (struct cli_option){"--backend", CLI_TEXT, &c->backend, "NAME",
                                       "compute with this backend (default: REIN_BACKEND, then the machine's, then the best)"};
        out[n++] = (struct cli_option){"--device", CLI_INT, &c->device, "N", "which of the backend's devices, from 0"};
        out[n++] = (struct cli_option){"--threads", CLI_INT, &c->threads, "N", "CPU threads (default: the backend decides)"};
    }
    if (self->common & (CLI_BACKEND | CLI_PLUGINS))
        out[n++] = (struct cli_option){"--plugin-path", CLI_TEXT, &c->plugin_path, "DIRS",
                                       "search these folders first (separated by colons)"};
    out[n++] = (struct cli_option){"--verbose", CLI_FLAG, &v->more, NULL, "say more (also -v)"};
    out[n++] = (struct cli_option){"--quiet", CLI_FLAG, &v->less, NULL, "only warnings and errors (also -q)"};
    out[n] = (struct cli_option){0};
    return n;
}

static void help_row(const char *name, const char *value, const char *doc) {
    char left[64];

    snprintf(left, sizeof(left), "  %s%s%s", name, value ? " " : "", value ? value : "");
    printf("%-*s%s%s\n", HELP_COLUMN - 1, left, strlen(left) >= HELP_COLUMN - 1 ? " " : "", doc);
}

static void print_help(const struct command *self, const struct cli_option *own, const struct cli_option *shared) {
    printf("usage: rein %s%s%s [OPTION]...\n%s\n", self->name, *self->words ? " " : "", self->words, self->summary);
    if (self->more != NULL)
        printf("\n%s\n", self->more);
    printf("\nOptions:\n");
    for (; own && own->name; own++)
        help_row(own->name, own->value, own->doc);
    for (; shared->name; shared++)
        help_row(shared->name, shared->value, shared->doc);
    help_row("--help", NULL, "print this");
}

static const struct cli_option *find_option(const struct cli_option *table, const char *name, size_t length,
                                            struct suggestion *near) {
    char wanted[64];

    snprintf(wanted, sizeof(wanted), "%.*s", (int)(length < 63 ? length : 63), name);
    for (; table && table->name; table++) {
        if (strcmp(table->name, wanted) == 0)
            return table;
        suggest_offer(near, wanted, table->name);
        suggest_longer(near, wanted, table->name);
    }
    return NULL;
}

static int store(const struct command *self, const struct cli_option *o, const char *text) {
    const struct node n = {.type = NODE_SCALAR, .text = text, .plain = true};
    struct cli_many *many = o->to;
    const char *expected = NULL;

    switch (o->type) {
    case CLI_FLAG:
        *(bool *)o->to = true;
        break;
    case CLI_TEXT:
        *(const char **)o->to = text;
        break;
    case CLI_INT:
        expected = node_read_int(&n, o->to);
        break;
    case CLI_REAL:
        expected = node_read_real(&n, o->to);
        break;
    case CLI_MANY:
        if (many->count >= CLI_MOST)
            return cli_usage(self, "%s is given more than %d times", o->name, CLI_MOST);
        many->items[many->count++] = text;
    }
    if (expected != NULL)
        return cli_usage(self, "%s: expected %s, got '%.60s'", o->name, expected, text);
    return CLI_GO;
}

/* One option; *i is the index of its last argument afterwards. */
static int read_option(const struct command *self, const struct cli_option *own, const struct cli_option *shared,
                       int argc, char **argv, int *i) {
    const char *text = argv[*i], *equal, *value;
    struct suggestion near = {0};
    const struct cli_option *o;
    char hint[128];

    if (strcmp(text, "-v") == 0)
        text = "--verbose";
    else if (strcmp(text, "-q") == 0)
        text = "--quiet";
    equal = strchr(text, '=');
    o = find_option(own, text, equal ? (size_t)(equal - text) : strlen(text), &near);
    if (o == NULL)
        o = find_option(shared, text, equal ? (size_t)(equal - text) : strlen(text), &near);
    if (o == NULL)
        return cli_usage(self, "unknown option '%.60s'%s", text, suggest_text(&near, hint, sizeof(hint)));
    if (o->type == CLI_FLAG) {
        if (equal != NULL)
            return cli_usage(self, "%s takes no value", o->name);
        return store(self, o, "");
    }
    value = equal ? equal + 1 : *i + 1 < argc ? argv[++*i] : NULL;
    if (value == NULL)
        return cli_usage(self, "%s needs a value: %s %s", o->name, o->name, o->value ? o->value : "X");
    return store(self, o, value);
}

static int check_common(const struct command *self, const struct cli_common *c) {
    if ((self->common & CLI_BACKEND) && (c->threads < 0 || c->threads > 4096))
        return cli_usage(self, "--threads: must lie in [0, 4096]");
    if ((self->common & CLI_BACKEND) && (c->device < -1 || c->device > 4096))
        return cli_usage(self, "--device: must lie in [0, 4096]");
    return CLI_GO;
}

int cli_parse(const struct command *self, int argc, char **argv, const struct cli_option *options,
              struct cli_common *common, const char **words, size_t least, size_t most) {
    struct cli_option shared[8];
    struct verbosity verbosity = {false, false};
    bool only_words = false;
    size_t count = 0;
    int rc;

    *common = (struct cli_common){.device = -1};
    common_options(self, common, &verbosity, shared);
    for (size_t i = 0; i < most; i++)
        words[i] = NULL;
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(self, options, shared);
            return 0;
        }
    for (int i = 0; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            rc = read_option(self, options, shared, argc, argv, &i);
            if (rc != CLI_GO)
                return rc;
        } else if (count >= most) {
            return cli_usage(self, "'%.60s' is one argument too many", argv[i]);
        } else {
            words[count++] = argv[i];
        }
    }
    if (count < least)
        return cli_usage(self, "an argument is missing");
    if (verbosity.more || verbosity.less)
        log_set_level(verbosity.less ? LOG_WARN : LOG_DEBUG);
    return check_common(self, common);
}

/* ---- the program --------------------------------------------------------------------- */

static int help(const struct command *const *commands) {
    printf("usage: rein COMMAND [ARGUMENT]...\n"
           "Aligns language models with human preferences. Commands:\n\n");
    for (; *commands; commands++)
        printf("  %-10s %s\n", (*commands)->name, (*commands)->summary);
    printf("\nrein COMMAND --help says more about each.\n");
    return 0;
}

static int unknown(const struct command *const *commands, const char *name) {
    struct suggestion near = {0};
    char hint[128];

    if (*name == '-') {
        suggest_offer(&near, name, "--help");
        suggest_offer(&near, name, "--version");
    }
    for (; *commands && *name != '-'; commands++)
        suggest_offer(&near, name, (*commands)->name);
    log_print(LOG_ERROR, *name == '-' ? "unknown option '%.60s'%s" : "there is no command '%.60s'%s", name,
              suggest_text(&near, hint, sizeof(hint)));
    fprintf(stderr, "usage: rein COMMAND [ARGUMENT]... (see rein --help)\n");
    return USAGE;
}

static int dispatch(const struct command *const *commands, int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: rein COMMAND [ARGUMENT]... (see rein --help)\n");
        return USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return help(commands);
    if (strcmp(argv[1], "--version") == 0) {
        printf("rein %s (plugin ABI %u.%u)\n", PACKAGE_VERSION, REIN_ABI_MAJOR, REIN_ABI_MINOR);
        return 0;
    }
    for (const struct command *const *c = commands; *c; c++)
        if (strcmp((*c)->name, argv[1]) == 0)
            return (*c)->run(*c, argc - 2, argv + 2);
    return unknown(commands, argv[1]);
}

int cli_main(const struct command *const *commands, int argc, char **argv) {
    int rc;

    signal(SIGXFSZ, SIG_IGN); /* a file over the limit of size is a failed write with a message, not a death */
    maps_guard();
    rc = dispatch(commands, argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        log_print(LOG_ERROR, "cannot write to standard output");
        rc = rc ? rc : 1;
    }
    return rc;
}
