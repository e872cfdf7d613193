/* SPDX-License-Identifier: MIT */
#include "cli/rows.h"

#include <rein/algorithm.h>
#include <stdio.h>

static int run(const struct command *self, int argc, char **argv) {
    const char *words[2], *template = NULL, *base = NULL;
    const struct cli_option options[] = {
        {"--template", CLI_TEXT, &template, "NAME", "chat template for message lists and prompts"},
        {"--base", CLI_TEXT, &base, "PATH", "an adapter's base model, in place of the one that it names"},
        {0}};
    struct cli_common common;
    struct rows rows = {0};
    struct error err = {0};
    int rc = cli_parse(self, argc, argv, options, &common, words, 2, 2), more = 0;

    if (rc != CLI_GO)
        return rc;
    struct rows_setup setup = {.model = words[0],
                               .data = words[1],
                               .base = base,
                               .template = template,
                               .score = true,
                               .kinds = REIN_DATA_COMPLETIONS | REIN_DATA_LABELLED | REIN_DATA_PAIRS | REIN_DATA_LISTS};
    rc = rows_open(&rows, &common, &setup, &err);
    while (rc == 0 && (more = rows_next(&rows, &err)) > 0) {
        rc = rows_scores(&rows, &err);
        for (uint32_t s = 0; rc == 0 && s < rows.batch.count; s++)
            printf("{\"score\": %.9g}\n", (double)rows.values[s]);
    }
    rows_close(&rows);
    return rc || more < 0 ? cli_fail(&err) : 0;
}

const struct command command_score = {
    "score",
    "MODEL DATA.jsonl",
    "Prints a reward model's score of every row, as JSON lines.",
    "The score is read at the row's last token. `input_ids` are used exactly as given, completions in text end with\n"
    "EOS as in training. A pair or a list gives a line for each of its answers, the best first.",
    CLI_BACKEND,
    run,
};
