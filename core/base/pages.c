/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINE = 64, SMALL = 128 << 10, HUGE_PAGE = 2 << 20, REGION = 32 << 20 };

struct piece {
    char *at;
    size_t bytes; /* with the line after it */
};

/* A mapping and its pieces. What is known of them lies apart from the memory: to note it there would touch each piece
 * when it is handed out, one after the other, instead of where it is first used. */
struct region {
    struct region *next;
    char *memory;
    size_t size, used;    /* bytes of the mapping, and those given out */
    struct piece *pieces; /* not yet freed, in the order they came */
    size_t count, capacity;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct region *regions, *current; /* current: where the next piece of ordinary size comes from */

#if defined(__SANITIZE_ADDRESS__)
static const size_t smallest = SIZE_MAX; /* the sanitizer watches the borders of malloc's pieces only */
#else
static const size_t smallest = SMALL;
#endif

/* A mapping that begins and ends at huge pages. */
static char *map(size_t size) {
    size_t whole, front;
    char *at;

    if (!size_add(size, HUGE_PAGE, &whole))
        return NULL;
    at = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    front = (size_t)(-(uintptr_t)at % HUGE_PAGE);
    if (front > 0)
        munmap(at, front);
    if (front < HUGE_PAGE)
        munmap(at + front + size, HUGE_PAGE - front);
#if defined(MADV_HUGEPAGE)
    madvise(at + front, size, MADV_HUGEPAGE); /* a wish */
#endif
    return at + front;
}

static struct region *region_create(size_t size) {
    struct region *r;

    if (!size_add(size, HUGE_PAGE - 1, &size))
        return NULL;
    size &= ~(size_t)(HUGE_PAGE - 1);
    r = mem_zeros(1, sizeof(*r));
    if (r == NULL || (r->memory = map(size)) == NULL) {
        free(r);
        return NULL;
    }
    r->size = size;
    r->next = regions;
    regions = r;
    return r;
}

static void region_release(struct region *r) {
    struct region **at = &regions;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    if (r == current)
        current = NULL;
    munmap(r->memory, r->size);
    free(r->pieces);
    free(r);
}

static struct region *region_with(size_t bytes) {
    struct region *r;

    if (current && current->size - current->used >= bytes)
        return current;
    if (bytes > REGION / 2)
        return region_create(bytes); /* its own */
    r = region_create(REGION);
    if (r)
        current = r;
    return r;
}

static void *piece_of(size_t bytes) {
    struct region *r = region_with(bytes);
    void *pieces = r ? r->pieces : NULL;
    char *at;

    if (r == NULL)
        return NULL;
    if (mem_grow(&pieces, &r->capacity, r->count + 1, sizeof(*r->pieces)) != 0) {
        if (r->count == 0)
            region_release(r);
        return NULL;
    }
    r->pieces = pieces;
    at = r->memory + r->used;
    r->pieces[r->count++] = (struct piece){at, bytes};
    r->used += bytes;
    return at;
}

/* The line after a piece keeps arrays of whole pages from beginning at the same place within one, where stores to one
 * hold up loads from the next. */
void *pages_alloc(size_t bytes) {
    void *out = NULL;

    if (!size_add(bytes, 2 * LINE - 1, &bytes))
        return NULL;
    bytes &= ~(size_t)(LINE - 1);
    if (bytes >= smallest) {
        pthread_mutex_lock(&lock);
        out = piece_of(bytes);
        pthread_mutex_unlock(&lock);
    }
    return out ? out : aligned_alloc(LINE, bytes);
}

/* The whole pages within a freed piece. */
static void give_back(char *from, size_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const size_t front = (size_t)(-(uintptr_t)from % page);

    if (bytes > front)
        madvise(from + front, (bytes - front) / page * page, MADV_DONTNEED);
}

static void piece_free(struct region *r, const char *at) {
    size_t i = 0;
    struct piece p;

    while (r->pieces[i].at != at)
        i++;
    p = r->pieces[i];
    memmove(&r->pieces[i], &r->pieces[i + 1], (--r->count - i) * sizeof(p));
    if (r->count == 0) {
        region_release(r);
        return;
    }
    if (p.at + p.bytes == r->memory + r->used)
        r->used -= p.bytes;
    give_back(p.at, p.bytes);
}

void pages_free(void *ptr) {
    const uintptr_t at = (uintptr_t)ptr;
    struct region *r;

    pthread_mutex_lock(&lock);
    for (r = regions; r; r = r->next)
        if (at >= (uintptr_t)r->memory && at - (uintptr_t)r->memory < r->size)
            break;
    if (r)
        piece_free(r, ptr);
    pthread_mutex_unlock(&lock);
    if (!r)
        free(ptr);
}
