/* core/model/gguf_tokenizer.h - a GGUF file's tokenizer as Hugging Face's files.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_GGUF_TOKENIZER_H
#define REIN_CORE_GGUF_TOKENIZER_H

#include "model/gguf.h"

/* The texts of tokenizer.json and tokenizer_config.json; free() them. */
int gguf_tokenizer(struct gguf *g, char **json, char **config, struct error *err);

#endif
