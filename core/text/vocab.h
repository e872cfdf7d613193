/* core/text/vocab.h - tokens by their text.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_VOCAB_H
#define REIN_CORE_TEXT_VOCAB_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { VOCAB_LARGEST_ID = (1 << 24) - 1 };

struct vocab_entry {
    const char *text; /* owned by the caller, NUL-terminated; NULL: empty slot */
    uint32_t length, hash;
    int32_t id;
};

/* Open addressing, never more than half full. */
struct vocab {
    struct vocab_entry *slots;
    size_t mask, count;
};

int vocab_init(struct vocab *v, size_t expected, struct error *err);
void vocab_free(struct vocab *v);
/* 0: added; 1: there already (nothing changed); -1: error. */
int vocab_put(struct vocab *v, const char *text, size_t length, int32_t id, struct error *err);
int32_t vocab_get(const struct vocab *v, const char *text, size_t length); /* -1: not there */

#endif
