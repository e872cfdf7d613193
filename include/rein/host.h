/* rein/host.h - services that the host lends to a plugin instance.
 * SPDX-License-Identifier: MIT
 *
 * Handed to create()/open() and valid until destroy()/close() returns. Plugins
 * have no undefined host symbols: this table is all there is, so a unit test
 * passes its own.
 */
#ifndef REIN_HOST_H
#define REIN_HOST_H

#include "abi.h"

#define REIN_LOG_ERROR 1u
#define REIN_LOG_WARN  2u
#define REIN_LOG_INFO  3u

struct rein_host {
    uint32_t size;
    uint32_t abi;
    void *ctx; /* first argument of every function below */

    /* Memory for the instance, 64-byte aligned; NULL when there is none. [thread-safe] */
    void *(*alloc)(void *ctx, size_t bytes);
    void (*free)(void *ctx, void *ptr);
    /* One line for people, without newline. [thread-safe] */
    void (*log)(void *ctx, uint32_t level, const char *text);
    /* Records why the current call fails and returns `code`, so that the function
     * that decides writes `return host->fail(host->ctx, REIN_ERR_ARG, "...")`.
     * Callers pass the code up silently. The text is copied. [thread-safe] */
    rein_status (*fail)(void *ctx, rein_status code, const char *text);
    /* The same for an option whose value cannot be used: the host adds the place
     * in the pipeline file. Allowed in create() and describe(). [main] */
    rein_status (*fail_param)(void *ctx, const char *param, const char *text);
    /* Optional services by versioned id ("rein.scorer/1"); NULL when the host
     * has none. Valid until the instance is destroyed. [main] */
    const void *(*service)(void *ctx, const char *id);
    /* 1: the user asks the run to stop. A call that waits for something looks now and then, and fails; why it failed
     * is not told to anybody. NULL in a table that knows of no stop. [thread-safe] */
    uint32_t (*stopping)(void *ctx);
};

#endif
