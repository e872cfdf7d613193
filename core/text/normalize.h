/* core/text/normalize.h - tokenizer.json's "normalizer".
 * SPDX-License-Identifier: MIT
 *
 * Unicode's normal forms by utf8proc, whose tables are newer than those of Hugging Face's library: marks assigned
 * after Unicode 9 (98 up to Unicode 14) may come in another order there, and 72 letters have no NFKC form there.
 */
#ifndef REIN_CORE_TEXT_NORMALIZE_H
#define REIN_CORE_TEXT_NORMALIZE_H

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>

struct normalizer;

/* `json` may be NULL or null: then *out is NULL, which normalizer_run takes as "leave it as it is". */
int normalizer_parse(const json_t *json, struct normalizer **out, struct error *err);
void normalizer_free(struct normalizer *n);
/* Appends the normalised form of `text` (well-formed UTF-8) to `out`. */
int normalizer_run(const struct normalizer *n, const char *text, size_t length, struct buffer *out, struct error *err);

#endif
