/* core/text/dataset.h - JSONL files (plain or gzip) in TRL's columns, tokenised.
 * SPDX-License-Identifier: MIT
 *
 *   {text} {messages} {prompt, completion} {prompt, completion, label} {prompt, chosen, rejected[, margin]}
 *   {prompt, ranked: [...]} {prompt, ...}; strings or message lists; implicit prompts in chosen/rejected
 *   message lists are found as their common beginning. Pre-tokenised: {input_ids[, completion_mask]}
 *   {prompt_ids, completion_ids} {prompt_ids, chosen_ids, rejected_ids} {prompt_ids}.
 *
 * Rules: strings are never templated unless a template is given, message
 * lists always are; prompt and completion are encoded separately; BOS as the tokenizer's post-processor says,
 * never twice; EOS ends every text, completion, chosen and rejected unless eos is false; nothing is
 * added to pre-tokenised rows. Special tokens spelled out in plain strings are taken for what they are (people
 * write templates by hand), in message lists never. A conversation ends with the assistant's last end of turn; in
 * {messages} what the assistant wrote is trained on, and all before its first word is the prompt.
 */
#ifndef REIN_CORE_DATASET_H
#define REIN_CORE_DATASET_H

#include "base/mem.h"
#include "text/template.h"
#include "text/tokenizer.h"

/* One sequence: prompt ids, then completion ids. */
struct data_row {
    const int32_t *ids;      /* [length] */
    uint32_t length;
    uint32_t prompt_length;  /* tokens that are not predicted; 0 for {text} and {input_ids} */
    const uint8_t *mask;     /* [length - prompt_length] 1: trained on; NULL: all */
    uint32_t role;           /* REIN_ROLE_* */
    uint32_t rank;           /* lists: 0 = best */
};

/* What must stay together: one row, a pair (chosen first), or a list (best first). */
struct data_unit {
    uint32_t first, rows;    /* in dataset.rows */
    float margin;            /* 0 unless has_margin */
    uint8_t has_margin, label;
    const char *columns;     /* the line: one JSON object, for reward sources */
    const char *messages;    /* the prompt's message list as JSON, or NULL when it was a string or ids */
    uint64_t line;           /* in the file, from 1 */
};

struct dataset {
    uint32_t kind;           /* one REIN_DATA_* */
    size_t nunits, nrows;
    struct data_unit *units;
    struct data_row *rows;
    uint64_t tokens;
    uint32_t longest;        /* row, in tokens */
    size_t dropped;          /* units longer than max_length */
    char *path;
    struct arena arena;
};

struct dataset_options {
    const struct tokenizer *tokenizer;
    const struct chat_template *chat;  /* NULL: none; message lists are then an error */
    bool template_strings;             /* `template:` was given: {prompt: "..."} becomes a user turn too */
    uint32_t kinds;                    /* REIN_DATA_* accepted: PROMPTS alone ignores completions; LABELLED without PAIRS
                                          takes a pair as two units, chosen (label true) and rejected (false) */
    bool eos;                          /* append EOS as above */
    uint32_t max_length;               /* longer units are dropped and counted; 0: no limit */
    uint32_t context;                  /* model's positions: pre-tokenised rows beyond it are refused; 0: no limit */
    uint32_t prompt_room;              /* prompts: at most this many tokens (context - max_tokens); 0: no limit */
    bool strict_prompts;               /* a longer prompt is an error instead of dropped with a warning */
    size_t vocabulary;                 /* ids must lie below */
    size_t limit;                      /* stop after this many units; 0: all */
};

/* Refuses (file:line) a line of the wrong shape and mixed kinds, and an empty data set. */
int dataset_load(const char *path, const struct dataset_options *options, struct dataset *out, struct error *err);
void dataset_free(struct dataset *d);

#endif
