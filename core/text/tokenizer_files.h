/* core/text/tokenizer_files.h - the files that make up a tokenizer, as they were read.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_TOKENIZER_FILES_H
#define REIN_CORE_TEXT_TOKENIZER_FILES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum tokenizer_file {
    FILE_TOKENIZER,  /* tokenizer.json; the others need not be there */
    FILE_CONFIG,     /* tokenizer_config.json */
    FILE_SPECIAL,    /* special_tokens_map.json */
    FILE_GENERATION, /* generation_config.json */
    FILE_TEMPLATE,   /* chat_template.jinja */
    TOKENIZER_FILES,
};

/* Zero-initialise. */
struct tokenizer_files {
    char *path[TOKENIZER_FILES]; /* for messages */
    char *text[TOKENIZER_FILES]; /* NULL: not there */
    size_t length[TOKENIZER_FILES];
};

int tokenizer_files_read(const char *folder, struct tokenizer_files *out, struct error *err);
/* Copies of the texts; `config` may be NULL. */
int tokenizer_files_copy(const char *json, size_t length, const char *config, size_t config_length, const char *name,
                         struct tokenizer_files *out, struct error *err);
void tokenizer_files_free(struct tokenizer_files *f);
/* The same texts, wherever they came from. */
bool tokenizer_files_same(const struct tokenizer_files *a, const struct tokenizer_files *b);

#endif
