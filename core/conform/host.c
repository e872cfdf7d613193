/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "conform/conform.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 30 }; /* no machine gives this to a check; a sanitizer would complain about larger ones */
static atomic_long live, said, fail_in;
static atomic_bool failed;
static bool quiet;
static const char *offered_id;
static const void *offered;

static void *host_alloc(void *ctx, size_t bytes) {
    void *p;

    (void)ctx;
    if (fail_in && atomic_fetch_sub(&fail_in, 1) == 1) {
        failed = true;
        return NULL;
    }
    if (bytes > MOST_BYTES)
        return NULL;
    p = mem_aligned(bytes, 1);
    if (p)
        memset(p, 0xa5, bytes); /* nothing promises zeroes */
    live += p != NULL;
    return p;
}

static void host_release(void *ctx, void *ptr) {
    (void)ctx;
    live -= ptr != NULL;
    free(ptr);
}

static void host_log(void *ctx, uint32_t level, const char *text) {
    (void)ctx;
    (void)level;
    if (!quiet)
        conform_note("%s", text);
}

static rein_status host_fail(void *ctx, rein_status code, const char *text) {
    (void)ctx;
    said++;
    if (!quiet)
        conform_note("status %d: %s", (int)code, text);
    return code;
}

static rein_status host_fail_param(void *ctx, const char *param, const char *text) {
    (void)ctx;
    said++;
    if (!quiet)
        conform_note("option %s: %s", param, text);
    return REIN_ERR_ARG;
}

static const void *host_service(void *ctx, const char *id) {
    (void)ctx;
    return offered_id && !strcmp(offered_id, id) ? offered : NULL;
}

static const struct rein_host table = {
    .size = sizeof(table),
    .abi = REIN_ABI_VERSION,
    .alloc = host_alloc,
    .free = host_release,
    .log = host_log,
    .fail = host_fail,
    .fail_param = host_fail_param,
    .service = host_service,
};

const struct rein_host *conform_host(void) {
    return &table;
}

long conform_host_live(void) {
    return live;
}

long conform_host_said(void) {
    return said;
}

void conform_host_fail_alloc(long nth) {
    fail_in = nth;
    failed = false;
}

bool conform_host_alloc_failed(void) {
    return failed;
}

void conform_host_quiet(bool on) {
    quiet = on;
}

void conform_host_offer(const char *id, const void *service) {
    offered_id = id;
    offered = service;
}
