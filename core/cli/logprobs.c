/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "cli/rows.h"

#include <rein/algorithm.h>
#include <stdio.h>

/* {"ids":[1,2],"logprobs":[null,-3.5]}; nine significant digits are a float32 exactly. */
static void print_row(const struct rows *r, uint32_t s, struct buffer *out) {
    uint32_t begin = r->offset[s], end = r->offset[s + 1];

    buffer_text(out, "{\"ids\":[");
    for (uint32_t i = begin; i < end; i++)
        buffer_printf(out, "%s%d", i > begin ? "," : "", r->ids[i]);
    buffer_text(out, "],\"logprobs\":[null");
    for (uint32_t i = begin + 1; i < end; i++)
        buffer_printf(out, ",%.9g", (double)r->values[i]);
    buffer_text(out, "]}\n");
}

static int run(const struct command *self, int argc, char **argv) {
    const char *words[2], *template = NULL, *base = NULL;
    const struct cli_option options[] = {
        {"--template", CLI_TEXT, &template, "NAME", "chat template for message lists and prompts"},
        {"--base", CLI_TEXT, &base, "PATH", "an adapter's base model, in place of the one that it names"},
        {0}};
    struct cli_common common;
    struct rows rows = {0};
    struct buffer out = {0};
    struct error err = {0};
    int rc = cli_parse(self, argc, argv, options, &common, words, 2, 2), more = 0;

    if (rc != CLI_GO)
        return rc;
    struct rows_setup setup = {.model = words[0],
                               .data = words[1],
                               .base = base,
                               .template = template,
                               .whole = true,
                               .kinds = REIN_DATA_PROMPTS | REIN_DATA_COMPLETIONS | REIN_DATA_LABELLED |
                                        REIN_DATA_PAIRS | REIN_DATA_LISTS};
    rc = rows_open(&rows, &common, &setup, &err);
    while (rc == 0 && (more = rows_next(&rows, &err)) > 0) {
        rc = rows_logprobs(&rows, &err);
        buffer_clear(&out);
        for (uint32_t s = 0; rc == 0 && s < rows.batch.count; s++)
            print_row(&rows, s, &out);
        if (rc == 0 && out.failed)
            rc = error_nomem(&err, "output");
        if (rc == 0)
            fputs(out.data, stdout);
    }
    buffer_free(&out);
    rows_close(&rows);
    return rc || more < 0 ? cli_fail(&err) : 0;
}

const struct command command_logprobs = {
    "logprobs",
    "MODEL DATA.jsonl",
    "Prints the log-probability of every token of every row, as JSON lines.",
    "MODEL is a Hugging Face folder or a .gguf file. `input_ids` are used exactly as given, text gets what the\n"
    "tokenizer puts in front of it and no EOS. The first token of a row has no log-probability: null.",
    CLI_BACKEND,
    run,
};
