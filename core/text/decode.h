/* core/text/decode.h - tokenizer.json's "decoder": tokens back to text.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_DECODE_H
#define REIN_CORE_TEXT_DECODE_H

#include "text/pieces.h"

#include <jansson.h>

struct decoder;

/* `json` may be NULL or null: then *out is NULL and tokens are joined by spaces. */
int decoder_parse(const json_t *json, struct decoder **out, struct error *err);
void decoder_free(struct decoder *d);
/* `tokens` (changed on the way) holds one piece per token; appends their text. */
int decoder_run(const struct decoder *d, struct pieces *tokens, struct buffer *out, struct error *err);
/* The bytes of one token in the middle of a text: nothing is stripped, and a byte need not be valid UTF-8 alone. */
int decoder_token(const struct decoder *d, const char *token, size_t length, struct buffer *out, struct error *err);

/* Appends `bytes` with each ill-formed part (Unicode 3.9, maximal subparts) replaced by U+FFFD. */
void text_repair(const char *bytes, size_t length, struct buffer *out);

#endif
