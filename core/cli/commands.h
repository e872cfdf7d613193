/* core/cli/commands.h - the subcommands, in the order in which `rein --help` lists them.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_COMMANDS_H
#define REIN_CORE_COMMANDS_H

/* X(name) for each `const struct command command_name` */
#define COMMANDS(X) \
    X(run) \
    X(check) \
    X(plugins) \
    X(schema) \
    X(new) \
    X(report) \
    X(import) \
    X(merge) \
    X(inspect) \
    X(generate) \
    X(logprobs) \
    X(score) \
    X(eval)

#endif
