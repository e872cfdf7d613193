/* core/base/pages.h - memory for weights, gradients and activations.
 * SPDX-License-Identifier: MIT
 *
 * Gigabytes in pieces of a few megabytes: half the time to the first step would go to the kernel, which hands memory out
 * in pages of 4 KiB and clears each. Pieces are therefore cut from regions that ask for huge pages, where the system has them.
 * Freed pieces go back to the system at once. Nothing is touched before the caller does. From any thread.
 */
#ifndef REIN_CORE_PAGES_H
#define REIN_CORE_PAGES_H

#include <stddef.h>

/* 64-byte aligned, not cleared; NULL when out of memory. Release with pages_free(). */
void *pages_alloc(size_t bytes);
void pages_free(void *ptr); /* NULL is allowed */

#endif
