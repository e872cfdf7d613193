/* core/base/error.h - why a call failed, and whose fault it was.
 *
 * SPDX-License-Identifier: MIT
 *
 * Every fallible function in core returns 0 or -1 (or a pointer or NULL) and
 * takes `struct error *err` last. The function that *decides* that something
 * failed writes the sentence; callers pass it up and only prepend context.
 * `err` may be NULL where the caller does not care.
 */
#ifndef REIN_CORE_ERROR_H
#define REIN_CORE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

enum error_kind {
    ERROR_NONE = 0,
    ERROR_INPUT,   /* usage, configuration or a file the user gave: exit code 2 */
    ERROR_RUN,     /* the run failed: I/O, memory, numbers, device: exit code 1 */
    ERROR_STOPPED, /* a signal asked us to stop, state was saved: exit code 3 */
};

struct error {
    enum error_kind kind;
    char text[1024];
};

/* All return -1, so that callers can write `return error_input(err, "...")`. */
int error_set(struct error *err, enum error_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int error_vset(struct error *err, enum error_kind kind, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* "file:line:col: ..."; a line of 0 leaves out line and column, a column of 0 the column. */
int error_at(struct error *err, const char *file, size_t line, size_t column, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

#define error_input(err, ...) error_set((err), ERROR_INPUT, __VA_ARGS__)
#define error_run(err, ...)   error_set((err), ERROR_RUN, __VA_ARGS__)
int error_nomem(struct error *err, const char *what);
/* "PATH: <what>: <strerror(errno)>"; ENOENT, EISDIR, EACCES and the like are ERROR_INPUT when reading. */
int error_errno_input(struct error *err, const char *path, const char *what);
int error_errno_run(struct error *err, const char *path, const char *what);

/* Puts "context: " in front of the text that is already there. Returns -1. */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The process's exit code for this kind of failure: 0, 1, 2 or 3. */
int error_exit_code(const struct error *err);

#endif
