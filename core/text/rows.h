/* core/text/rows.h - one line's columns to token ids.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_ROWS_H
#define REIN_CORE_TEXT_ROWS_H

#include "text/columns.h"
#include "text/dataset.h"

/* One sequence while it is made. */
struct row_ids {
    struct ids ids;
    struct buffer mask; /* for the ids behind the prompt; unused unless masked */
    size_t prompt;      /* ids that are the prompt */
    bool masked;
};
void row_ids_clear(struct row_ids *r); /* keeps the memory */
void row_ids_free(struct row_ids *r);

/* The prompt alone (PROMPTS), or answer `index` behind it. */
int rows_prompt(const struct dataset_options *o, const struct columns *c, struct row_ids *out, struct error *err);
int rows_answer(const struct dataset_options *o, const struct columns *c, size_t index, struct row_ids *out,
                struct error *err);
/* The prompt's messages when it was a list, or became one through a template: a new reference, or NULL. */
json_t *rows_messages(const struct dataset_options *o, const struct columns *c);

#endif
