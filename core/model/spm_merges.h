/* core/model/spm_merges.h - the merges of a SentencePiece-style BPE, from its scores.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_SPM_MERGES_H
#define REIN_CORE_SPM_MERGES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spm_token {
    const char *text;        /* UTF-8, not NUL-terminated */
    size_t length;
    float score;             /* not NaN */
    bool mergeable;          /* an ordinary piece, not a special token or a byte */
};
/* Text to id. Sorted rather than hashed: a hostile vocabulary cannot make it slow. */
struct spm_index {
    const struct spm_token *tokens;
    size_t count;
    const struct spm_token **sorted;
};
/* Fails on a token that is there twice. Release with spm_index_free whatever happens. */
int spm_index_make(struct spm_index *x, const struct spm_token *tokens, size_t count, struct error *err);
int64_t spm_index_find(const struct spm_index *x, const char *text, size_t length); /* -1: not there */
void spm_index_free(struct spm_index *x);

struct spm_merge {
    int64_t left, right;     /* token ids */
};
/* In the order of application, as in the tokenizer.json files published with Llama 2 and Mistral: the higher score
 * first, then the lower id of the token made, of its left and of its right part. free(*out). */
int spm_merges(const struct spm_index *x, struct spm_merge **out, size_t *merges, struct error *err);

#endif
