/* core/text/added.h - tokenizer.json's "added_tokens": found in the text before anything else.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_ADDED_H
#define REIN_CORE_TEXT_ADDED_H

#include "base/mem.h"
#include "text/normalize.h"
#include "text/pieces.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

#include <jansson.h>

struct added_token {
    const char *text;
    size_t length;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
};

struct added; /* immutable once parsed */

/* Ids are checked against `vocab` and one another. `json` may be NULL. Strings live in `strings`. */
int added_parse(const json_t *json, const struct vocab *vocab, const struct normalizer *normalizer,
                struct arena *strings, struct added **out, struct error *err);
void added_free(struct added *a);
const struct added_token *added_list(const struct added *a, size_t *count);

/* Appends pieces of `text`: the tokens found (leftmost, of those the longest) and the text between them. First
 * those with "normalized": false are sought in the text as it came, then the others in its normal form. Special
 * tokens are left as text unless `special`, and always in the `ordinary` ranges, whose places count from `origin`. */
struct added_rules {
    bool special;
    const struct text_range *ordinary;
    size_t count, origin;
};
int added_split(const struct added *a, bool normalized, const struct added_rules *rules, const char *text,
                size_t length, bool first, struct pieces *out, struct error *err);
/* Does a range of `rules` touch the bytes from start to end? */
bool added_ordinary(const struct added_rules *rules, size_t start, size_t end);

#endif
