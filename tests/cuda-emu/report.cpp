/* SPDX-License-Identifier: MIT
 * Messages, and what the environment sets.
 */
#include "emu.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

namespace emu {

static void say(const char *fmt, va_list ap) {
    char text[1200];
    int n = snprintf(text, sizeof(text), "cuda-emu: ");

    vsnprintf(text + n, sizeof(text) - (size_t)n - 1, fmt, ap);
    fprintf(stderr, "%s\n", text);
    fflush(stderr);
}

void fatal(const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    fflush(stdout);
    _exit(EXIT_PUNISHED);
}

void complain(const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
}

/* "NAME" or "NAME:SEED"; the index of the name */
static int word(const char *variable, const char *const *names, uint64_t *seed) {
    const char *value = getenv(variable);
    size_t length;

    if (!value || !*value)
        return 0;
    length = strcspn(value, ":");
    for (int i = 0; names[i]; i++)
        if (!strncmp(value, names[i], length) && names[i][length] == '\0') {
            if (value[length])
                *seed = strtoull(value + length + 1, NULL, 10);
            return i;
        }
    fatal("%s=%s: expected one of %s, %s, ...", variable, value, names[0], names[1]);
}

static settings read_environment() {
    static const char *const schedules[] = {"forward", "reverse", "interleaved", "random", NULL};
    static const char *const kinds[] = {"lazy", "eager", "random", NULL};
    const char *memory_size = getenv("REIN_EMU_MEMORY"); /* MiB */
    settings s = {};

    s.seed = 1;
    s.schedule = (enum schedule)word("REIN_EMU_SCHEDULE", schedules, &s.seed);
    s.streams = (enum streams)word("REIN_EMU_STREAMS", kinds, &s.seed);
    s.memory = (memory_size ? strtoull(memory_size, NULL, 10) : 4096) << 20;
    return s;
}

const settings &set() {
    static const settings s = read_environment();
    return s;
}

/* xorshift64* (Vigna 2016) */
uint64_t random_bits() {
    static uint64_t x = set().seed * 0x9e3779b97f4a7c15u | 1;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    return (x * 0x2545f4914f6cdd1du) >> 11;
}

} // namespace emu
