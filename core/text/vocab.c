/* SPDX-License-Identifier: MIT */
#include "text/vocab.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a with a final mix, since the low bits pick the slot. */
static uint32_t hash_bytes(const char *text, size_t length) {
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    h ^= h >> 32;
    return (uint32_t)(h * 0x9e3779b1u >> 3);
}

static struct vocab_entry *find(const struct vocab *v, const char *text, size_t length, uint32_t hash) {
    for (size_t i = hash & v->mask;; i = (i + 1) & v->mask) {
        struct vocab_entry *e = &v->slots[i];
        if (e->text == NULL || (e->hash == hash && e->length == length && memcmp(e->text, text, length) == 0))
            return e;
    }
}

int vocab_init(struct vocab *v, size_t expected, struct error *err) {
    size_t slots = 64;

    while (slots / 2 <= expected)
        if (!size_mul(slots, 2, &slots))
            return error_nomem(err, "a vocabulary");
    v->slots = mem_zeros(slots, sizeof *v->slots);
    v->mask = slots - 1;
    v->count = 0;
    return v->slots == NULL ? error_nomem(err, "a vocabulary") : 0;
}

void vocab_free(struct vocab *v) {
    free(v->slots);
    *v = (struct vocab){0};
}

static int grow(struct vocab *v, struct error *err) {
    const struct vocab old = *v;

    if (vocab_init(v, old.mask + 1, err) != 0) {
        *v = old;
        return -1;
    }
    for (size_t i = 0; i <= old.mask; i++)
        if (old.slots[i].text != NULL)
            *find(v, old.slots[i].text, old.slots[i].length, old.slots[i].hash) = old.slots[i];
    v->count = old.count;
    free(old.slots);
    return 0;
}

int vocab_put(struct vocab *v, const char *text, size_t length, int32_t id, struct error *err) {
    const uint32_t hash = hash_bytes(text, length);
    struct vocab_entry *e;

    if (length > UINT32_MAX)
        return error_input(err, "a token is too long");
    if ((v->count + 1) * 2 > v->mask && grow(v, err) != 0)
        return -1;
    e = find(v, text, length, hash);
    if (e->text != NULL)
        return 1;
    *e = (struct vocab_entry){.text = text, .length = (uint32_t)length, .hash = hash, .id = id};
    v->count++;
    return 0;
}

int32_t vocab_get(const struct vocab *v, const char *text, size_t length) {
    const struct vocab_entry *e;

    if (v->slots == NULL)
        return -1;
    e = find(v, text, length, hash_bytes(text, length));
    return e->text == NULL ? -1 : e->id;
}
