/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "report/html.h"

static int run(const struct command *self, int argc, char **argv) {
    struct error err = {0};
    struct cli_common common;
    const char *words[1];
    int rc = cli_parse(self, argc, argv, NULL, &common, words, 1, 1);

    if (rc != CLI_GO)
        return rc;
    return html_write(words[0], &err) != 0 ? cli_fail(&err) : 0;
}

const struct command command_report = {
    "report", "RUN", "Writes RUN/report.html anew: curves and samples of every stage in one page.",
    "It is made from the files of the run's stages, so it may be written while the run goes on.", 0, run};
