/* core/train/signals.h - stopping politely: SIGINT, SIGTERM and SIGUSR1 ask for a checkpoint and an end.
 * SPDX-License-Identifier: MIT
 *
 * The handler sets a flag; training looks at it between micro-batches and between sampled tokens. A second SIGINT
 * ends the process at once.
 */
#ifndef REIN_CORE_SIGNALS_H
#define REIN_CORE_SIGNALS_H

#include "base/error.h"

#include <stdbool.h>

void signals_install(void);  /* idempotent */
void signals_restore(void);  /* what was there before */
bool signals_pending(void);
/* Sets or clears the flag without a signal (tests, and a caller that goes on after a stop). */
void signals_raise(bool pending);
/* 0, or -1 with ERROR_STOPPED when a signal has come. */
int signals_check(struct error *err);

#endif
