/* core/conform/conform.h - what the conformance checks of the three kinds share.
 * SPDX-License-Identifier: MIT
 *
 * rein-conform KIND FILE.so [--set OPTION=VALUE]... prints TAP and exits with 0 (conforms), 1 (does not)
 * or 2 (usage, or not a plugin of that kind).
 */
#ifndef REIN_CORE_CONFORM_H
#define REIN_CORE_CONFORM_H

#include <rein/host.h>
#include <rein/plugin.h>

#include <stdbool.h>
#include <stdio.h>

/* One entry a kind. They return the exit code, from conform_done(). */
int conform_algorithm(const struct rein_plugin *plugin, const char *path);
int conform_reward(const struct rein_plugin *plugin, const char *path);
int conform_backend(const struct rein_plugin *plugin, const char *path);

/* One TAP line: "ok 3 - text" or "not ok 3 - text". Returns `ok`. */
bool conform_ok(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool conform_skip(const char *what, const char *why);
/* "# text": details for people */
void conform_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints the plan. 0 when everything was ok, else 1. */
int conform_done(void);

/* The services lent to instances under test: alloc that counts, log and failures as notes. */
const struct rein_host *conform_host(void);
/* Blocks from conform_host()->alloc that were not given back yet. */
long conform_host_live(void);

/* Lets the nth alloc from now on fail (1: the next one) and none after it; 0: none. */
void conform_host_fail_alloc(long nth);
/* Did that alloc happen? */
bool conform_host_alloc_failed(void);
/* How often fail() or fail_param() was called. */
long conform_host_said(void);
/* Whether failures and logs are printed as notes. */
void conform_host_quiet(bool quiet);
/* What host->service answers for `id`; one service at a time. */
void conform_host_offer(const char *id, const void *service);

/* Checks that the module exports its entry symbol alone, needs nothing of rein's, answers the same twice, and left the
 * process alone as it was loaded. */
void conform_module(const char *path);

/* Remembers "OPTION=VALUE"; false when it is not one, or there are too many. */
bool conform_set(const char *assignment);
/* The kernel that --only names, or NULL for all. */
const char *conform_only(void);
/* What --tolerance says: the largest difference of float32 results, relative to the largest value of their array. */
#define CONFORM_TOLERANCE 2e-5
double conform_tolerance(void);
/* Was --perf given? */
bool conform_perf(void);
/* checks.c: prints what is checked of a kind, for --help; "" is what is checked of all. */
void conform_list(FILE *out, const char *kind);
/* The option block of `plugin`: defaults, then every --set. NULL after a message on stderr (exit with 2).
 * Release with free(). */
void *conform_config(const struct rein_plugin *plugin);

#endif
