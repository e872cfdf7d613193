/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A message is one line of printable text whatever a hostile file name or key holds. */
static void scrub(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

int error_vset(struct error *err, enum error_kind kind, const char *fmt, va_list ap) {
    if (err == NULL)
        return -1;
    err->kind = kind;
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    scrub(err->text);
    return -1;
}

int error_set(struct error *err, enum error_kind kind, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    error_vset(err, kind, fmt, ap);
    va_end(ap);
    return -1;
}

int error_at(struct error *err, const char *file, size_t line, size_t column, const char *fmt, ...) {
    char text[sizeof(err->text)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (line == 0)
        return error_input(err, "%s: %s", file, text);
    if (column == 0)
        return error_input(err, "%s:%zu: %s", file, line, text);
    return error_input(err, "%s:%zu:%zu: %s", file, line, column, text);
}

int error_nomem(struct error *err, const char *what) {
    return error_run(err, "out of memory (%s)", what);
}

int error_errno_input(struct error *err, const char *path, const char *what) {
    const int saved = errno;
    const enum error_kind kind = saved == EIO || saved == ENOMEM || saved == EMFILE ? ERROR_RUN : ERROR_INPUT;

    return error_set(err, kind, "%s: %s: %s", path, what, strerror(saved));
}

int error_errno_run(struct error *err, const char *path, const char *what) {
    return error_run(err, "%s: %s: %s", path, what, strerror(errno));
}

int error_prefix(struct error *err, const char *fmt, ...) {
    char head[256], rest[sizeof(err->text)];
    va_list ap;

    if (err == NULL)
        return -1;
    va_start(ap, fmt);
    vsnprintf(head, sizeof(head), fmt, ap);
    va_end(ap);
    memcpy(rest, err->text, sizeof(rest));
    snprintf(err->text, sizeof(err->text), "%s: %.*s", head, (int)(sizeof(rest) - sizeof(head) - 3), rest);
    scrub(err->text);
    return -1;
}

int error_exit_code(const struct error *err) {
    switch (err->kind) {
    case ERROR_NONE:
        return 0;
    case ERROR_INPUT:
        return 2;
    case ERROR_STOPPED:
        return 3;
    case ERROR_RUN:
        break;
    }
    return 1;
}
