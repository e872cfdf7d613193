/* core/conform/guard.h - memory that notices what a plugin must not do.
 * SPDX-License-Identifier: MIT
 *
 * Blocks may be made and given back on several threads.
 */
#ifndef REIN_CORE_GUARD_H
#define REIN_CORE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* From here on a fault is a failed check: says so in TAP and ends the program with 1. */
void guard_install(void);

/* A zeroed block of count * size bytes that ends exactly where an unmapped page begins, so
 * that one element too far faults. Aligned to `size` at least. Never NULL: ends the program without memory. */
void *guard_alloc(size_t count, size_t size);
void guard_free(void *block);
/* What the block is called when a plugin faults on it ("logp"); the text must last. NULL is ignored. */
void guard_label(void *block, const char *name);
/* Read-only from now on, or writable again. NULL is ignored. */
void guard_seal(void *block, bool sealed);

#endif
