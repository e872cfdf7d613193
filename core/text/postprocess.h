/* core/text/postprocess.h - tokenizer.json's "post_processor": ids put around a text.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_POSTPROCESS_H
#define REIN_CORE_TEXT_POSTPROCESS_H

#include "text/tokenizer.h"

#include <jansson.h>

/* Fills what stands before and behind a single text; every id lies below `size`. `json` may be NULL. */
int postprocess_parse(const json_t *json, size_t size, struct ids *prefix, struct ids *suffix, struct error *err);

#endif
