/* core/text/pattern.h - what tokenizer.json calls a pattern: a literal string or a regular expression.
 * SPDX-License-Identifier: MIT
 *
 * Hugging Face's expressions are Oniguruma's; they run on PCRE2 here. What the two read
 * differently is translated (\s, \w, \uHHHH, \p{Script}) or refused (nested classes, && and the like), never guessed.
 * Held against each other on every code point of Unicode 14 they agree; letters and numbers that a newer Unicode
 * added are known to one or the other as its tables are older or newer (PCRE2 10.42: Unicode 14).
 * A compiled pattern is immutable; match data belongs to each call.
 */
#ifndef REIN_CORE_TEXT_PATTERN_H
#define REIN_CORE_TEXT_PATTERN_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What stands in a class for Rust's \w: Alphabetic, marks, digits, connectors. */
#define PATTERN_WORDS                                                                                                  \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"

struct pattern;

struct span {
    size_t start, end; /* bytes */
    bool match;        /* else a gap between matches */
};
struct spans {
    struct span *items;
    size_t count, capacity;
};
void spans_free(struct spans *s);

int pattern_compile(const char *expression, struct pattern **out, struct error *err);
int pattern_literal(const char *text, struct pattern **out, struct error *err);
/* {"String": "..."} or {"Regex": "..."} */
int pattern_parse(const json_t *json, struct pattern **out, struct error *err);
void pattern_free(struct pattern *p);

/* Replaces *out by matches and gaps in turn, covering `text` (well-formed UTF-8). Empty matches are
 * reported where they do not touch the match before. */
int pattern_find(const struct pattern *p, const char *text, size_t length, struct spans *out, struct error *err);

#endif
