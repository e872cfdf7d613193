/* A reward source that conforms, in a module that breaks one rule of loading at a time: REIN_WRONG names it.
 * SPDX-License-Identifier: MIT */
#include <rein/reward.h>

#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int wrong(const char *what) {
    const char *asked = getenv("REIN_WRONG");

    return asked && !strcmp(asked, what);
}

static void *wait_for_ever(void *ctx) {
    for (;;)
        pause();
    return ctx;
}

__attribute__((constructor)) static void load(void) {
    sigset_t mask;
    pthread_t thread;

    if (wrong("rounding"))
        fesetround(FE_UPWARD);
    if (wrong("locale"))
        setlocale(LC_ALL, "C.UTF-8");
    if (wrong("folder") && chdir("/") != 0)
        abort();
    if (wrong("umask"))
        umask(0);
    if (wrong("file") && open("/dev/null", O_RDONLY) < 0)
        abort();
    if (wrong("handler"))
        signal(SIGUSR1, SIG_IGN);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    if (wrong("mask"))
        sigprocmask(SIG_BLOCK, &mask, NULL);
    if (wrong("thread") && pthread_create(&thread, NULL, wait_for_ever, NULL) != 0)
        abort();
}

#ifdef SURPLUS
/* a second exported symbol, and one that only the host could have */
extern int rein_of_the_host __attribute__((weak));
REIN_EXPORT int *surplus = &rein_of_the_host;
#endif

static int self;

static rein_status create(const struct rein_host *host, const void *config, void **out) {
    (void)host;
    (void)config;
    *out = &self;
    return REIN_OK;
}

static void destroy(void *ctx) {
    (void)ctx;
}

static rein_status members(void *ctx, uint32_t *k) {
    (void)ctx;
    *k = 1;
    return REIN_OK;
}

static rein_status score(void *ctx, const struct rein_completions *c, float *family) {
    (void)ctx;
    memset(family, 0, c->rows * sizeof(*family));
    return REIN_OK;
}

static const struct rein_reward_ops ops = {
    .size = sizeof(ops), .create = create, .destroy = destroy, .members = members, .score = score};
#define PLUGIN                                                                                                         \
    {                                                                                                                  \
        .size = sizeof(struct rein_plugin), .abi = REIN_ABI_VERSION, .kind = REIN_KIND_REWARD,                         \
        .name = "wrong-loading", .version = "0.1.0", .license = "MIT",                                                 \
        .summary = "Breaks one rule of loading at a time.", .ops = &ops                                                \
    }
static const struct rein_plugin plugins[] = {PLUGIN, PLUGIN};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    static uint32_t calls;

    if (wrong("endless") && index == UINT32_MAX)
        return plugins;
    return index != 0 ? NULL : wrong("fickle") ? &plugins[calls++ % 2] : plugins;
}
