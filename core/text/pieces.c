/* SPDX-License-Identifier: MIT */
#include "text/pieces.h"

#include "base/mem.h"

#include <stdlib.h>

int pieces_add(struct pieces *p, size_t start, size_t length, int32_t id, bool first, struct error *err) {
    void *items = p->items;

    if (mem_grow(&items, &p->capacity, p->count + 1, sizeof *p->items) != 0)
        return error_nomem(err, "pieces of a text");
    p->items = items;
    p->items[p->count++] = (struct piece){.start = start, .length = length, .id = id, .first = first};
    return 0;
}

int pieces_copy(struct pieces *p, const char *bytes, size_t length, int32_t id, bool first, struct error *err) {
    const size_t start = p->text.length;

    buffer_add(&p->text, bytes, length);
    if (p->text.failed)
        return error_nomem(err, "pieces of a text");
    return pieces_add(p, start, length, id, first, err);
}

void pieces_clear(struct pieces *p) {
    buffer_clear(&p->text);
    p->count = 0;
}

void pieces_free(struct pieces *p) {
    buffer_free(&p->text);
    free(p->items);
    *p = (struct pieces){0};
}

void pieces_swap(struct pieces *a, struct pieces *b) {
    const struct pieces t = *a;

    *a = *b;
    *b = t;
}
