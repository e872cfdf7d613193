/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static struct {
    enum log_level level;
    void (*before)(void *);
    void *ctx;
} state = {.level = LOG_INFO};

void log_set_level(enum log_level level) {
    state.level = level;
}

void log_set_hook(void (*before)(void *ctx), void *ctx) {
    state.before = before;
    state.ctx = ctx;
}

void log_print(enum log_level level, const char *fmt, ...) {
    static const char *const prefix[] = {"", "rein: ", "rein: warning: ", "", "rein: debug: "};
    char text[2048];
    va_list ap;

    if (level > state.level)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (state.before != NULL)
        state.before(state.ctx);
    fprintf(stderr, "%s%s\n", prefix[level], text);
}
