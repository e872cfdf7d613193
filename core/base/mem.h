/* core/base/mem.h - checked sizes, checked allocation, and an arena.
 * SPDX-License-Identifier: MIT
 *
 * Sizes that come from a file go through size_mul/size_add before anything is
 * allocated or indexed; one header, so that no call site is forgotten.
 */
#ifndef REIN_CORE_MEM_H
#define REIN_CORE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* false when the result does not fit; *out is untouched then. */
static inline bool size_mul(size_t a, size_t b, size_t *out) {
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}
static inline bool size_add(size_t a, size_t b, size_t *out) {
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* malloc/calloc/realloc of count * size bytes with the product checked; a
 * request for zero bytes returns a unique pointer. NULL on overflow or no memory. */
void *mem_array(size_t count, size_t size);
void *mem_zeros(size_t count, size_t size);
void *mem_resize(void *old, size_t count, size_t size); /* frees nothing on failure */
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t length);
/* 64-byte aligned, for vectors and matrices; release with free(). */
void *mem_aligned(size_t count, size_t size);

/* Grows *array (elements of `size` bytes, *capacity of them) so that `need` fit,
 * at least doubling. Returns 0 or -1 (nothing changed). */
int mem_grow(void **array, size_t *capacity, size_t need, size_t size);

/* An arena: many small things with one lifetime. Zero-initialise it. */
struct arena_block;
struct arena {
    struct arena_block *head;
};
void *arena_alloc(struct arena *arena, size_t bytes); /* zeroed, 16-byte aligned; NULL when out of memory */
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_strdup(struct arena *arena, const char *text);
void arena_free(struct arena *arena);

/* a + b, or UINT64_MAX: sizes that are compared, not allocated. */
static inline uint64_t u64_plus(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

#endif
