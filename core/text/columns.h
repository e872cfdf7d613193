/* core/text/columns.h - which of TRL's sets of columns a line of data has.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_COLUMNS_H
#define REIN_CORE_TEXT_COLUMNS_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct columns {
    uint32_t kind;    /* one REIN_DATA_* */
    bool whole;       /* {text}, {messages}, {input_ids}: one answer, no prompt */
    bool tokens;      /* prompt and answers are lists of ids */
    json_t *prompt;   /* string, list of messages or of ids; NULL: none */
    json_t *answers;  /* list of strings, of lists of messages or of ids: completion; chosen, rejected; ranking */
    const json_t *mask; /* completion_mask of {input_ids}, or NULL */
    float margin;
    bool has_margin, label;
};

/* Of a line's columns, what a stage that takes `kinds` needs. With PROMPTS alone, any line's prompt. */
int columns_read(const json_t *row, uint32_t kinds, struct columns *out, struct error *err);
void columns_free(struct columns *c);

/* "pairs {prompt, chosen, rejected}" and so on. */
const char *columns_name(uint32_t kind);

#endif
