/* SPDX-License-Identifier: MIT */
#include "base/memlimit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* A number in a file; "max", nonsense and absence are no limit. */
static uint64_t number_in(const char *path) {
    FILE *f = fopen(path, "re");
    unsigned long long value;
    int n;

    if (f == NULL)
        return UINT64_MAX;
    n = fscanf(f, "%llu", &value);
    fclose(f);
    return n == 1 && value > 0 ? value : UINT64_MAX;
}

/* A group is bound by the limits of all the groups above it too. */
static uint64_t group_limit(const char *mount, char *group, const char *file) {
    uint64_t limit = UINT64_MAX;
    char path[1024];

    for (;;) {
        char *slash = strrchr(group, '/');
        if (snprintf(path, sizeof(path), "%s%s/%s", mount, strcmp(group, "/") ? group : "", file) < (int)sizeof(path))
            limit = least(limit, number_in(path));
        if (slash == NULL || slash[1] == '\0')
            break;
        slash[slash == group] = '\0'; /* "/a/b" -> "/a" -> "/" */
    }
    return limit;
}

static uint64_t control_groups(void) {
    FILE *f = fopen("/proc/self/cgroup", "re");
    uint64_t limit = UINT64_MAX;
    char line[1024];

    if (f == NULL)
        return limit;
    while (fgets(line, sizeof(line), f) != NULL) {
        char *path = strchr(line, ':'), *names = path ? path + 1 : NULL;

        path = names ? strchr(names, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (*names == '\0')
            limit = least(limit, group_limit("/sys/fs/cgroup", path, "memory.max"));
        else if (strstr(names, "memory") != NULL)
            limit = least(limit, group_limit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"));
    }
    fclose(f);
    return limit;
}

uint64_t memory_limit(void) {
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t limit = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
    struct rlimit own;

    if (getrlimit(RLIMIT_AS, &own) == 0 && own.rlim_cur != RLIM_INFINITY)
        limit = least(limit, own.rlim_cur);
    return least(limit, control_groups());
}
