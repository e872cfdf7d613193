/* SPDX-License-Identifier: MIT */
#include "base/mempeak.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* proc(5): "5" sets the peak resident set to what is resident now. */
bool mempeak_reset(void) {
    const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    const bool done = fd >= 0 && write(fd, "5", 1) == 1;

    if (fd >= 0)
        close(fd);
    return done;
}

static uint64_t high_water_mark(void) {
    FILE *f = fopen("/proc/self/status", "re");
    unsigned long long kilobytes = 0;
    char line[256];

    if (f == NULL)
        return 0;
    while (kilobytes == 0 && fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "VmHWM: %llu kB", &kilobytes) != 1)
            kilobytes = 0;
    fclose(f);
    return (uint64_t)kilobytes * 1024;
}

uint64_t mempeak(void) {
    const uint64_t peak = high_water_mark();
    struct rusage usage;

    if (peak > 0 || getrusage(RUSAGE_SELF, &usage) != 0)
        return peak;
    return (uint64_t)usage.ru_maxrss * 1024;
}
