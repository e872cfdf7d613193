/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "cli/commands.h"

#define DECLARE(name) extern const struct command command_##name;
#define ADDRESS(name) &command_##name,
COMMANDS(DECLARE)
static const struct command *const commands[] = {COMMANDS(ADDRESS) 0};

int main(int argc, char **argv) {
    return cli_main(commands, argc, argv);
}
