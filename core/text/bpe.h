/* core/text/bpe.h - tokenizer.json's "model": byte-pair encoding.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_BPE_H
#define REIN_CORE_TEXT_BPE_H

#include "base/mem.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

#include <jansson.h>

struct bpe;

/* Work space of one thread's calls. Zero-initialise. */
struct bpe_symbol;
struct bpe_candidate;
struct bpe_scratch {
    struct bpe_symbol *symbols;
    struct bpe_candidate *heap;
    size_t symbol_capacity, heap_capacity;
};
void bpe_scratch_free(struct bpe_scratch *s);

/* The vocabulary's strings live in `strings`, which must outlive the model. */
int bpe_parse(const json_t *json, struct arena *strings, struct bpe **out, struct error *err);
void bpe_free(struct bpe *b);
const struct vocab *bpe_vocab(const struct bpe *b);

/* Appends the ids of one piece (well-formed UTF-8). O(n log n) in its length. */
int bpe_encode(const struct bpe *b, struct bpe_scratch *scratch, const char *text, size_t length, struct ids *out,
               struct error *err);

#endif
