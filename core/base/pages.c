/* SPDX-License-Identifier: MIT */
#include "base/pages.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINE = 64, SMALL = 128 << 10, HUGE_PAGE = 2 << 20, REGION = 32 << 20 };

/* At the beginning of its mapping. */
struct region {
    size_t size, used; /* bytes of the mapping, and those given out, this head among them */
    size_t pieces;     /* not yet freed */
};

/* A line before what the caller gets. */
struct piece {
    struct region *region; /* NULL: of malloc's */
    size_t bytes;          /* with this line */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct region *current; /* where the next piece of ordinary size comes from */

static void *usable(struct piece *p, struct region *region, size_t bytes) {
    *p = (struct piece){region, bytes};
    return (char *)p + LINE;
}

static void *by_malloc(size_t bytes) {
    struct piece *p = aligned_alloc(LINE, bytes);

    return p ? usable(p, NULL, bytes) : NULL;
}

#if defined(__SANITIZE_ADDRESS__)
static const size_t smallest = SIZE_MAX; /* the sanitizer watches the borders of malloc's pieces only */
#else
static const size_t smallest = SMALL;
#endif

/* A mapping that begins and ends at huge pages. */
static struct region *region_create(size_t size) {
    struct region *r;
    size_t whole, front;
    char *at;

    if (!size_add(size, HUGE_PAGE - 1, &size) || !size_add(size &= ~(size_t)(HUGE_PAGE - 1), HUGE_PAGE, &whole))
        return NULL;
    at = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    front = (size_t)(-(uintptr_t)at % HUGE_PAGE);
    if (front > 0)
        munmap(at, front);
    if (front < HUGE_PAGE)
        munmap(at + front + size, HUGE_PAGE - front);
    r = (struct region *)(void *)(at + front);
#if defined(MADV_HUGEPAGE)
    madvise(r, size, MADV_HUGEPAGE); /* a wish */
#endif
    *r = (struct region){.size = size, .used = LINE};
    return r;
}

static struct region *region_with(size_t bytes) {
    struct region *r;
    size_t size;

    if (current && current->size - current->used >= bytes)
        return current;
    if (!size_add(bytes, LINE, &size))
        return NULL;
    if (size > REGION / 2)
        return region_create(size); /* its own */
    r = region_create(REGION);
    if (r)
        current = r;
    return r;
}

void *pages_alloc(size_t bytes) {
    struct region *r;
    void *out = NULL;

    if (!size_add(bytes, 2 * LINE - 1, &bytes))
        return NULL;
    bytes &= ~(size_t)(LINE - 1);
    if (bytes < smallest)
        return by_malloc(bytes);
    pthread_mutex_lock(&lock);
    r = region_with(bytes);
    if (r) {
        out = usable((struct piece *)(void *)((char *)r + r->used), r, bytes);
        r->used += bytes;
        r->pieces++;
    }
    pthread_mutex_unlock(&lock);
    return out ? out : by_malloc(bytes);
}

/* The whole pages within a freed piece. */
static void give_back(char *from, size_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const size_t front = (size_t)(-(uintptr_t)from % page);

    if (bytes > front)
        madvise(from + front, (bytes - front) / page * page, MADV_DONTNEED);
}

static void region_release(struct region *r, char *from, size_t bytes) {
    if (--r->pieces == 0) {
        if (r == current)
            current = NULL;
        munmap(r, r->size);
        return;
    }
    if (from + bytes == (char *)r + r->used)
        r->used -= bytes;
    give_back(from, bytes);
}

void pages_free(void *ptr) {
    struct piece *p = ptr ? (struct piece *)(void *)((char *)ptr - LINE) : NULL;

    if (!p)
        return;
    if (!p->region) {
        free(p);
        return;
    }
    pthread_mutex_lock(&lock);
    region_release(p->region, (char *)p, p->bytes);
    pthread_mutex_unlock(&lock);
}
