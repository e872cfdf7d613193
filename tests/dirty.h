/* tests/dirty.h - memory as a backend may hand it out: alloc() promises nothing about what it holds.
 * SPDX-License-Identifier: MIT
 *
 * Fresh pages of the system are zero, so that code which forgets to write before it reads passes in a short test.
 */
#ifndef REIN_TESTS_DIRTY_H
#define REIN_TESTS_DIRTY_H

#include "plugin/backend.h"

static const struct rein_backend_ops *dirty_below;

static rein_status dirty_alloc(void *dev, size_t bytes, void **ptr) {
    const rein_status rc = dirty_below->alloc(dev, bytes, ptr);

    return rc == REIN_OK ? dirty_below->fill(dev, *ptr, 0xff, bytes) : rc; /* not a number, in every dtype */
}

/* From here on, of the backend that was opened last. */
static inline void dirty_memory(struct backend *b) {
    static struct rein_backend_ops ops;

    dirty_below = b->plugin->ops;
    ops = *dirty_below;
    ops.alloc = dirty_alloc;
    b->ops = &ops;
}

#endif
