/* core/base/mempeak.h - how much memory this process has had resident at most.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_MEMPEAK_H
#define REIN_CORE_MEMPEAK_H

#include <stdbool.h>
#include <stdint.h>

/* From now on the peak counts anew; false where the system cannot, and it goes on counting from the process's start. */
bool mempeak_reset(void);
/* Bytes; 0 when nothing is known. */
uint64_t mempeak(void);

#endif
