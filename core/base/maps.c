/* SPDX-License-Identifier: MIT */
#include "base/maps.h"

#include "base/mem.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct map {
    struct map *next;
    uintptr_t begin, end;
    char said[]; /* the whole message */
};
static struct map *volatile maps;

int maps_add(const void *data, size_t length, const char *path, struct error *err) {
    static const char format[] = "rein: %s: was cut short while it was in use: what was read from it is gone\n";
    const size_t size = sizeof(format) + strlen(path);
    struct map *m = mem_zeros(1, sizeof(*m) + size);

    if (m == NULL)
        return error_nomem(err, path);
    snprintf(m->said, size, format, path);
    for (char *c = m->said; c[0] != '\0' && c[1] != '\0'; c++) /* one line, whatever the name holds */
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    m->begin = (uintptr_t)data;
    m->end = m->begin + length;
    m->next = maps;
    maps = m;
    return 0;
}

void maps_remove(const void *data) {
    for (struct map *m = maps, *before = NULL; m != NULL; before = m, m = m->next)
        if (m->begin == (uintptr_t)data) {
            if (before != NULL)
                before->next = m->next;
            else
                maps = m->next;
            free(m);
            return;
        }
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
    static atomic_flag said = ATOMIC_FLAG_INIT; /* several threads may read one file */
    const uintptr_t at = (uintptr_t)info->si_addr;

    (void)context;
    for (const struct map *m = maps; m != NULL; m = m->next)
        if (at >= m->begin && at < m->end) {
            while (atomic_flag_test_and_set(&said))
                pause();
            if (write(STDERR_FILENO, m->said, strlen(m->said)) < 0)
                _exit(1);
            _exit(1);
        }
    signal(number, SIG_DFL); /* the instruction is tried again, and kills */
}

void maps_guard(void) {
    struct sigaction action = {0};

    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
