/* SPDX-License-Identifier: MIT */
#include "conform/conform.h"

#include <stdarg.h>
#include <stdio.h>

static int count, failed;

static void say(const char *prefix, const char *fmt, va_list ap) {
    char text[400];

    vsnprintf(text, sizeof(text), fmt, ap);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '#')
            *c = ' ';
    printf("%s%s\n", prefix, text);
    fflush(stdout);
}

bool conform_ok(bool ok, const char *fmt, ...) {
    char prefix[40];
    va_list ap;

    failed += !ok;
    snprintf(prefix, sizeof(prefix), "%sok %d - ", ok ? "" : "not ", ++count);
    va_start(ap, fmt);
    say(prefix, fmt, ap);
    va_end(ap);
    return ok;
}

bool conform_skip(const char *what, const char *why) {
    printf("ok %d - %s # SKIP %s\n", ++count, what, why);
    fflush(stdout);
    return true;
}

void conform_note(const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    say("# ", fmt, ap);
    va_end(ap);
}

int conform_done(void) {
    printf("1..%d\n", count);
    if (failed)
        printf("# %d of %d failed\n", failed, count);
    return failed ? 1 : 0;
}
