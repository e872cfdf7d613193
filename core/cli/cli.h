/* core/cli/cli.h - the command line: subcommands and their options.
 * SPDX-License-Identifier: MIT
 *
 * A subcommand is one file core/cli/NAME.c that defines `const struct command command_NAME` and is
 * listed in core/cli/commands.h; core/cli/session.h opens the plugins and the backend:
 *
 *     static int run(const struct command *self, int argc, char **argv) {
 *         struct cli_common common;
 *         int64_t n = 16;
 *         const char *words[2];                       // MODEL [PROMPT]
 *         const struct cli_option options[] = {{"--max-tokens", CLI_INT, &n, "N", "length (default 16)"}, {0}};
 *         int rc = cli_parse(self, argc, argv, options, &common, words, 1, 2);
 *         if (rc != CLI_GO)
 *             return rc;
 *         ...
 *         return failed ? cli_fail(&err) : 0;
 *     }
 *     const struct command command_generate = {"generate", "MODEL [PROMPT]", "Continues a prompt.", NULL,
 *                                              CLI_BACKEND | CLI_JSON, run};
 */
#ifndef REIN_CORE_CLI_H
#define REIN_CORE_CLI_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Which common options a command takes. --help, -v and -q are always there. */
#define CLI_PLUGINS (1u << 0) /* --plugin-path */
#define CLI_BACKEND (1u << 1) /* --backend, --device, --threads, --plugin-path */
#define CLI_JSON    (1u << 2) /* --json */

struct cli_common {
    const char *backend;     /* NULL: not given */
    const char *plugin_path; /* NULL: not given */
    int64_t device;          /* -1: not given */
    int64_t threads;         /* 0: not given */
    bool json;
};

enum cli_type {
    CLI_FLAG, /* bool */
    CLI_TEXT, /* const char * */
    CLI_INT,  /* int64_t */
    CLI_REAL, /* double */
    CLI_MANY, /* struct cli_many: may be repeated */
};
enum { CLI_MOST = 64 };
struct cli_many {
    const char *items[CLI_MOST];
    size_t count;
};
struct cli_option {
    const char *name;  /* "--max-tokens"; NULL ends the table */
    enum cli_type type;
    void *to;          /* keeps its value when the option is not given */
    const char *value; /* what help calls the argument: "N"; NULL for a flag */
    const char *doc;
};

struct command {
    const char *name;
    const char *words;   /* "MODEL [PROMPT]" */
    const char *summary; /* one sentence */
    const char *more;    /* further paragraphs of --help, or NULL */
    uint32_t common;     /* CLI_BACKEND ... */
    int (*run)(const struct command *self, int argc, char **argv); /* argv[0] is the first word after the command; exit code */
};

/* Reads options (in any order, `--name value` or `--name=value`, `--` ends them) and between `least` and `most` words
 * into words[most], NULL where there is none. Returns CLI_GO, or the exit code to return at once: after --help, or
 * after a complaint. */
#define CLI_GO (-1)
int cli_parse(const struct command *self, int argc, char **argv, const struct cli_option *options,
              struct cli_common *common, const char **words, size_t least, size_t most);

/* Prints why and returns the exit code. */
int cli_fail(const struct error *err);
/* A complaint about the command line itself: prints it with a pointer to --help, returns 2. */
int cli_usage(const struct command *self, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Finds the command, runs it, and makes sure that stdout was written. */
int cli_main(const struct command *const *commands, int argc, char **argv);

#endif
