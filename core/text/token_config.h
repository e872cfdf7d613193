/* core/text/token_config.h - what stands beside tokenizer.json: which tokens begin and end a text, the chat template.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_TOKEN_CONFIG_H
#define REIN_CORE_TEXT_TOKEN_CONFIG_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Strings are owned; NULL where the files name none. */
struct token_config {
    char *bos, *eos, *pad;
    char *chat_template;
    int32_t bos_id, eos_id, pad_id; /* generation_config.json's numbers; -1: none */
};

void token_config_init(struct token_config *c);
void token_config_free(struct token_config *c);
/* Each reads the text of one file and fills what is still empty; errors name `name`. */
int token_config_read(struct token_config *c, const char *json, size_t length, const char *name, struct error *err);
int token_config_generation(struct token_config *c, const char *json, size_t length, const char *name,
                            struct error *err);

#endif
