/* SPDX-License-Identifier: MIT */
#include "conform/watch.h"

#include "conform/conform.h"

#include <dirent.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LAST_SIGNAL = 64 };

struct process {
    char locale[256], folder[PATH_MAX];
    sigset_t mask;
    void (*handlers[LAST_SIGNAL + 1])(int);
    long files, threads;
    mode_t umask;
};
static struct process before, after;
static bool fp_mode;

/* Entries of a folder; -1 where there is no /proc. */
static long count(const char *path) {
    DIR *dir = opendir(path);
    long n = 0;

    if (!dir)
        return -1;
    for (const struct dirent *d; (d = readdir(dir)) != NULL;)
        n += d->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void look(struct process *p) {
    memset(p, 0, sizeof(*p));
    snprintf(p->locale, sizeof(p->locale), "%s", setlocale(LC_ALL, NULL));
    if (!getcwd(p->folder, sizeof(p->folder)))
        p->folder[0] = '\0';
    sigprocmask(SIG_SETMASK, NULL, &p->mask);
    for (int s = 1; s <= LAST_SIGNAL; s++) {
        struct sigaction action;
        if (sigaction(s, NULL, &action) == 0)
            p->handlers[s] = action.sa_handler;
    }
    p->umask = umask(0);
    umask(p->umask);
    p->files = count("/proc/self/fd");
    p->threads = count("/proc/self/task");
}

void watch_begin(void) {
    look(&before);
}

void watch_end(bool fp_mode_changed) {
    look(&after);
    fp_mode = fp_mode_changed;
}

static bool same_mask(const sigset_t *a, const sigset_t *b) {
    for (int s = 1; s <= LAST_SIGNAL; s++)
        if (sigismember(a, s) != sigismember(b, s))
            return false;
    return true;
}

void watch_report(void) {
    conform_ok(!fp_mode, "loading leaves the floating-point mode alone");
    conform_ok(!strcmp(before.locale, after.locale), "loading leaves the locale alone");
    conform_ok(!strcmp(before.folder, after.folder) && before.umask == after.umask,
               "loading leaves the working folder and the mask of files alone");
    conform_ok(same_mask(&before.mask, &after.mask) &&
                   !memcmp(before.handlers, after.handlers, sizeof(before.handlers)),
               "loading leaves signals alone");
    conform_ok(before.files == after.files, "loading leaves no file open");
    conform_ok(before.threads == after.threads, "loading starts no thread");
}
