/* core/text/tokenizer.h - tokenizer.json: text to token ids and back.
 * SPDX-License-Identifier: MIT
 *
 * Byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM) and SentencePiece-style BPE with byte
 * fallback (Llama 2, Mistral), token for token equal to Hugging Face `tokenizers`.
 * A loaded tokenizer is immutable: every function taking a const one is thread-safe.
 */
#ifndef REIN_CORE_TOKENIZER_H
#define REIN_CORE_TOKENIZER_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

/* Token ids that grow. Zero-initialise; free with ids_free. */
struct ids {
    int32_t *data;
    size_t count, capacity;
};
int ids_add(struct ids *ids, int32_t id, struct error *err);
int ids_append(struct ids *ids, const int32_t *data, size_t count, struct error *err);
void ids_free(struct ids *ids);

/* `folder` holds tokenizer.json and, when there is one, tokenizer_config.json,
 * special_tokens_map.json, generation_config.json. */
int tokenizer_load(const char *folder, struct tokenizer **out, struct error *err);
/* From the texts themselves (a GGUF file's metadata turned into JSON, tests). `config` may be
 * NULL. `name` is used in messages. */
int tokenizer_parse(const char *json, size_t length, const char *config, size_t config_length, const char *name,
                    struct tokenizer **out, struct error *err);
/* Each call of the two above needs one; what was made of the same files is one tokenizer underneath. */
void tokenizer_free(struct tokenizer *t);

/* The text of tokenizer.json / tokenizer_config.json as read, to be written beside a saved model;
 * config is NULL when there was none. */
const char *tokenizer_json(const struct tokenizer *t, size_t *length);
/* Two tokenizers are one when their files are; none is like none. */
bool tokenizer_same(const struct tokenizer *a, const struct tokenizer *b);
const char *tokenizer_config_json(const struct tokenizer *t, size_t *length);

#define TOKENIZE_BOS     1u /* add what the post-processor adds in front (and behind, if it does) */
#define TOKENIZE_SPECIAL 2u /* recognise special tokens written out in the text; without it "<|im_end|>" in
                             * user data is ordinary characters */

/* Appends the ids of `text` (any bytes; ill-formed UTF-8 is replaced by U+FFFD as Hugging Face does). */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t length, unsigned flags, struct ids *out,
                     struct error *err);
/* The same when parts of `text` (sorted, apart from one another) are somebody's words: special tokens written there
 * stay ordinary characters, while outside they are recognised as `flags` say. `text` must be well-formed. */
struct text_range {
    size_t start, end;
};
int tokenizer_encode_ranges(const struct tokenizer *t, const char *text, size_t length, unsigned flags,
                            const struct text_range *ordinary, size_t count, struct ids *out, struct error *err);
/* Appends the text of `count` ids; ill-formed UTF-8 becomes U+FFFD. Ids outside the vocabulary give nothing. */
void tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
                      struct buffer *out);
/* The bytes of one token as they appear in the middle of text (for streaming); not NUL-terminated. */
const char *tokenizer_token_bytes(const struct tokenizer *t, int32_t id, size_t *length);
const char *tokenizer_token_text(const struct tokenizer *t, int32_t id); /* as spelled in tokenizer.json, or NULL */

size_t tokenizer_size(const struct tokenizer *t);      /* 1 + the largest id, added tokens included */
int32_t tokenizer_id(const struct tokenizer *t, const char *token); /* -1 when there is none */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);
/* From tokenizer_config.json; -1 when not named there. */
int32_t tokenizer_bos(const struct tokenizer *t);
int32_t tokenizer_eos(const struct tokenizer *t);
int32_t tokenizer_pad(const struct tokenizer *t);
/* What the post-processor puts in front of a text (usually none or BOS). */
size_t tokenizer_prefix(const struct tokenizer *t, const int32_t **ids);
/* The Jinja text of `chat_template` (tokenizer_config.json or chat_template.jinja), or NULL. */
const char *tokenizer_chat_template(const struct tokenizer *t);

#endif
