/* core/text/pieces.h - a text cut into pieces: what each step of a tokenizer takes and gives.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TEXT_PIECES_H
#define REIN_CORE_TEXT_PIECES_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct piece {
    size_t start, length; /* in pieces.text, bytes */
    int32_t id;           /* an added token; -1: still text */
    bool first;           /* begins where the whole input begins */
};

struct pieces {
    struct buffer text;
    struct piece *items;
    size_t count, capacity;
};

/* A piece over the `length` bytes from `start` of p->text. */
int pieces_add(struct pieces *p, size_t start, size_t length, int32_t id, bool first, struct error *err);
/* Copies `length` bytes behind p->text and adds a piece over them. */
int pieces_copy(struct pieces *p, const char *bytes, size_t length, int32_t id, bool first, struct error *err);
void pieces_clear(struct pieces *p); /* keeps the memory */
void pieces_free(struct pieces *p);
void pieces_swap(struct pieces *a, struct pieces *b);
static inline const char *piece_text(const struct pieces *p, const struct piece *i) {
    return p->text.data == NULL ? "" : p->text.data + i->start;
}

#endif
