/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/log.h"
#include "cli/session.h"
#include "model/model.h"
#include "model/peft.h"

static int merge(const char *from, const char *base, const char *to, struct session *s, struct error *err) {
    struct model_source source = {.path = from, .base = base};
    struct model *m = NULL;
    bool score = false;
    int rc = model_has_score(from, base, &score, err);

    source.head = score ? MODEL_SCORE : MODEL_LM;
    if (rc == 0)
        rc = model_open(s->backend, &source, &m, err) || model_save_merged(m, to, NULL, err) ? -1 : 0;
    model_close(m);
    return rc;
}

static int run(const struct command *self, int argc, char **argv) {
    const char *words[2], *base = NULL;
    const struct cli_option options[] = {
        {"--base", CLI_TEXT, &base, "PATH", "the adapter's base model, in place of the one that it names"}, {0}};
    struct cli_common common;
    struct session session = {0};
    struct error err = {0};
    int rc = cli_parse(self, argc, argv, options, &common, words, 2, 2);

    if (rc != CLI_GO)
        return rc;
    if (!peft_is_adapter(words[0]))
        rc = error_input(&err, "%s: is no adapter: it has no adapter_config.json", words[0]);
    else if (!file_folder_is_empty(words[1]))
        rc = error_input(&err, "%s: is not an empty folder", words[1]);
    else
        rc = session_backend(&common, NULL, &session, &err) || merge(words[0], base, words[1], &session, &err) ? -1 : 0;
    if (rc == 0)
        log_info("%s: %s in its base", words[1], words[0]);
    session_close(&session);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_merge = {
    "merge",
    "ADAPTER OUT",
    "Adds a LoRA adapter to its base model and writes the whole.",
    "ADAPTER is a folder that PEFT or a stage with `lora:` wrote. OUT becomes a Hugging Face folder in the base's dtype,\n"
    "and must be empty or not exist.",
    CLI_BACKEND,
    run,
};
