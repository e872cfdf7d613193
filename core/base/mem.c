/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void *mem_array(size_t count, size_t size) {
    size_t bytes;

    if (!size_mul(count, size, &bytes))
        return NULL;
    return malloc(bytes ? bytes : 1);
}

void *mem_zeros(size_t count, size_t size) {
    return calloc(count ? count : 1, size ? size : 1);
}

void *mem_resize(void *old, size_t count, size_t size) {
    size_t bytes;

    if (!size_mul(count, size, &bytes))
        return NULL;
    return realloc(old, bytes ? bytes : 1);
}

char *mem_strndup(const char *text, size_t length) {
    size_t bytes;
    char *copy;

    if (!size_add(length, 1, &bytes) || (copy = malloc(bytes)) == NULL)
        return NULL;
    if (length)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *mem_strdup(const char *text) {
    return mem_strndup(text, strlen(text));
}

void *mem_aligned(size_t count, size_t size) {
    size_t bytes;

    if (!size_mul(count, size, &bytes) || !size_add(bytes, 63, &bytes))
        return NULL;
    bytes &= ~(size_t)63;
    return aligned_alloc(64, bytes ? bytes : 64);
}

int mem_grow(void **array, size_t *capacity, size_t need, size_t size) {
    size_t cap = *capacity ? *capacity : 16;
    void *grown;

    if (need <= *capacity)
        return 0;
    while (cap < need)
        if (!size_mul(cap, 2, &cap))
            return -1;
    grown = mem_resize(*array, cap, size);
    if (grown == NULL)
        return -1;
    *array = grown;
    *capacity = cap;
    return 0;
}

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

void *arena_alloc(struct arena *arena, size_t bytes) {
    struct arena_block *block = arena->head;
    size_t need;
    void *p;

    if (!size_add(bytes, 15, &need))
        return NULL;
    need &= ~(size_t)15;
    if (block == NULL || block->size - block->used < need) {
        size_t size = block ? block->size * 2 : 4096, total;

        if (size > (size_t)1 << 20)
            size = (size_t)1 << 20;
        if (size < need)
            size = need;
        if (!size_add(size, sizeof(*block), &total) || (block = malloc(total)) == NULL)
            return NULL;
        block->used = 0;
        block->size = size;
        block->next = arena->head;
        arena->head = block;
    }
    p = block->data + block->used;
    block->used += need;
    memset(p, 0, need);
    return p;
}

char *arena_strndup(struct arena *arena, const char *text, size_t length) {
    size_t bytes;
    char *copy;

    if (!size_add(length, 1, &bytes) || (copy = arena_alloc(arena, bytes)) == NULL)
        return NULL;
    if (length)
        memcpy(copy, text, length);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text) {
    return arena_strndup(arena, text, strlen(text));
}

void arena_free(struct arena *arena) {
    while (arena->head != NULL) {
        struct arena_block *next = arena->head->next;
        free(arena->head);
        arena->head = next;
    }
}
