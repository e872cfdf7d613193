/* core/text/template.h - chat templates: a list of messages to token ids.
 * SPDX-License-Identifier: MIT
 *
 * Known by name (chatml, llama3, zephyr, alpaca, plain ...) or recognised by the exact text of a
 * tokenizer's Jinja template. An unknown Jinja template is an error, never a guess.
 */
#ifndef REIN_CORE_TEMPLATE_H
#define REIN_CORE_TEMPLATE_H

#include "text/tokenizer.h"

#include <jansson.h>

struct chat_template;

/* By name; NULL and an error with the nearest name when there is none. */
const struct chat_template *template_find(const char *name, struct error *err);
/* The one that equals the tokenizer's own; *out is NULL (and 0 returned) when the tokenizer has none;
 * an error when it has one that we do not know. */
int template_recognise(const struct tokenizer *t, const struct chat_template **out, struct error *err);
const char *template_name(const struct chat_template *c);
/* NULL past the end. */
const char *template_list(size_t index);

/* Appends the ids of `messages` (JSON array of {role, content}). With `generation` the opening of an
 * assistant turn follows. BOS comes once, as the template says. mask (may be NULL) receives one
 * byte per appended id: 1 for tokens the assistant wrote, its end-of-turn included.
 * Text of messages never becomes special tokens. */
int template_render(const struct chat_template *c, const struct tokenizer *t, const json_t *messages, bool generation,
                    struct ids *out, struct buffer *mask, struct error *err);
/* The same as text, special tokens spelled out (what apply_chat_template(tokenize=False) gives). */
int template_text(const struct chat_template *c, const struct tokenizer *t, const json_t *messages, bool generation,
                  struct buffer *out, struct error *err);
/* The token that ends a turn in this template (-1: the tokenizer's EOS). */
int32_t template_end_of_turn(const struct chat_template *c, const struct tokenizer *t);

#endif
