/* core/text/pretokenize.h - tokenizer.json's "pre_tokenizer": pieces that merges never cross.
 * SPDX-License-Identifier: MIT
 *
 * "Punctuation" asks PCRE2's tables; those of Hugging Face's library lack the 106 signs of newer
 * versions of Unicode.
 */
#ifndef REIN_CORE_TEXT_PRETOKENIZE_H
#define REIN_CORE_TEXT_PRETOKENIZE_H

#include "text/pieces.h"

#include <jansson.h>

struct pretokenizer;

/* `json` may be NULL or null: then *out is NULL and every piece stays whole. */
int pretokenizer_parse(const json_t *json, struct pretokenizer **out, struct error *err);
void pretokenizer_free(struct pretokenizer *p);
/* Replaces the pieces that are still text (id < 0) by smaller ones. */
int pretokenizer_run(const struct pretokenizer *p, struct pieces *pieces, struct error *err);

/* GPT-2's alphabet: the code point (below 0x180) that stands for a byte, and back (-1: none). */
uint32_t byte_to_code(unsigned char byte);
int byte_from_code(uint32_t code);

#endif
