/* core/base/memlimit.h - how much memory this process could ever get.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_MEMLIMIT_H
#define REIN_CORE_MEMLIMIT_H

#include <stdint.h>

/* Bytes: the least of physical memory, the control group's limit (version 2 and 1) and the process's own
 * (ulimit -v); UINT64_MAX when nothing is known. */
uint64_t memory_limit(void);

#endif
