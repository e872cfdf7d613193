/* SPDX-License-Identifier: MIT */
#include "train/signals.h"

#include <signal.h>
#include <string.h>

static const int caught[] = {SIGINT, SIGTERM, SIGUSR1};
enum { CAUGHT = sizeof(caught) / sizeof(caught[0]) };

static volatile sig_atomic_t pending, interrupts, installed;
static struct sigaction before[CAUGHT], before_pipe;

static void on_signal(int number) {
    pending = number;
    if (number != SIGINT || ++interrupts < 2)
        return;
    /* the shell should see a death by SIGINT */
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
}

void signals_install(void) {
    struct sigaction action = {0};

    if (installed)
        return;
    installed = 1;
    pending = interrupts = 0;
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < CAUGHT; i++)
        sigaction(caught[i], &action, &before[i]);
    /* a write to a closed pipe fails with a message instead of killing the run */
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, &before_pipe);
}

void signals_restore(void) {
    if (!installed)
        return;
    for (int i = 0; i < CAUGHT; i++)
        sigaction(caught[i], &before[i], NULL);
    sigaction(SIGPIPE, &before_pipe, NULL);
    installed = 0;
}

bool signals_pending(void) {
    return pending != 0;
}

void signals_raise(bool on) {
    pending = on ? SIGUSR1 : 0;
    interrupts = 0;
}

int signals_check(struct error *err) {
    if (!pending)
        return 0;
    return error_set(err, ERROR_STOPPED, "stopped by %s", strsignal((int)pending));
}
