/* SPDX-License-Identifier: MIT */
#include "conform/guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What lies in front of the pages of a block, on a page of its own. */
struct guard {
    size_t body; /* bytes of the pages between this page and the unmapped one */
    struct guard *next;
    char *block;
    size_t count, size;
    const char *name;
};
static struct guard *all;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static size_t page_size(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* What the address is to the block that it lies in or after; 0 when it belongs to none. The fault came out of the
 * plugin's own code, so that nothing here is in the middle of a call. */
static int explain(const char *address, char *out, size_t size) {
    for (const struct guard *g = all; g; g = g->next) {
        const char *body = (const char *)g + page_size(), *end = body + g->body;
        const char *name = g->name ? g->name : "an array";

        if (address < body || address >= end + page_size())
            continue;
        if (address >= end)
            return snprintf(out, size, "# it touched %s[%zu], past the end: there are %zu elements\n", name,
                            (size_t)(address - g->block) / g->size, g->count);
        if (address < g->block)
            return snprintf(out, size, "# it wrote in front of %s\n", name);
        return snprintf(out, size, "# it wrote into the input %s, at [%zu]\n", name,
                        (size_t)(address - g->block) / g->size);
    }
    return 0;
}

static void on_fault(int number, siginfo_t *info, void *context) {
    static const char rule[] = "not ok - the plugin stays inside its arrays and leaves its inputs alone\n";
    char text[200];
    int length = explain(info->si_addr, text, sizeof(text));

    (void)number;
    (void)context;
    if (length <= 0)
        length =
            snprintf(text, sizeof(text), "# it touched the address %p, which belongs to no array\n", info->si_addr);
    if (write(STDOUT_FILENO, rule, sizeof(rule) - 1) < 0 || write(STDOUT_FILENO, text, (size_t)length) < 0)
        _exit(2);
    _exit(1);
}

void guard_install(void) {
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

void *guard_alloc(size_t count, size_t size) {
    size_t page = page_size(), bytes = count * size, body = (bytes + page - 1) / page * page;
    char *base = mmap(NULL, page + body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct guard *g = (struct guard *)base;

    if (base == MAP_FAILED || mprotect(base + page + body, page, PROT_NONE) < 0) {
        fputs("rein-conform: out of memory\n", stderr);
        exit(2);
    }
    *g = (struct guard){.body = body, .block = base + page + body - bytes, .count = count, .size = size};
    pthread_mutex_lock(&mutex);
    g->next = all;
    all = g;
    pthread_mutex_unlock(&mutex);
    return g->block;
}

/* The place of the block in the list; call it with the mutex held. */
static struct guard **find(const void *block) {
    struct guard **at = &all;

    while (*at && (*at)->block != block)
        at = &(*at)->next;
    return at;
}

void guard_free(void *block) {
    struct guard **at, *g;

    pthread_mutex_lock(&mutex);
    at = find(block);
    g = *at;
    if (g)
        *at = g->next;
    pthread_mutex_unlock(&mutex);
    if (g)
        munmap(g, page_size() + g->body + page_size());
}

void guard_label(void *block, const char *name) {
    struct guard *g;

    pthread_mutex_lock(&mutex);
    g = *find(block);
    if (g)
        g->name = name;
    pthread_mutex_unlock(&mutex);
}

void guard_seal(void *block, bool sealed) {
    struct guard *g;

    pthread_mutex_lock(&mutex);
    g = *find(block);
    pthread_mutex_unlock(&mutex);
    if (g && g->body)
        mprotect((char *)g + page_size(), g->body, sealed ? PROT_READ : PROT_READ | PROT_WRITE);
}
