/* SPDX-License-Identifier: MIT
 * Shared memory: arrays one after the other with red zones between them, placed when a thread of the launch first meets them.
 */
#include "emu.h"

#include <cstdio>

namespace emu {

enum { SHARED_ZONE = 128, MOST_ARRAYS = 32 };

static struct array {
    const char *name;
    const void *key;
    size_t offset, bytes, element;
} arrays[MOST_ARRAYS];
static int count;
static size_t end;         /* of what is placed, zones included */
static size_t static_used; /* bytes */
static size_t dynamic_bytes;

static array *place_array(const char *name, size_t bytes, size_t element, const void *key) {
    if (count == MOST_ARRAYS)
        fatal("%s: more than %d shared arrays", who(), MOST_ARRAYS);
    array *a = &arrays[count++];
    *a = {name, key, end, bytes, element};
    end += (bytes + SHARED_ZONE - 1) / SHARED_ZONE * SHARED_ZONE + SHARED_ZONE;
    mark_range((void *)(memory.shared + a->offset), bytes, UNWRITTEN);
    return a;
}

/* A new launch: nothing is placed. */
void shared_begin(size_t dynamic) {
    mark_range((void *)memory.shared, end, NOTHING);
    count = 0;
    end = SHARED_ZONE;
    static_used = 0;
    dynamic_bytes = dynamic;
}

void *shared_array(const char *name, size_t n, size_t size, const void *key) {
    for (int i = 0; i < count; i++)
        if (arrays[i].key == key)
            return (void *)(memory.shared + arrays[i].offset);
    if (!running())
        fatal("shared array %s outside of a kernel", name);
    static_used += n * size;
    if (static_used + dynamic_bytes > MOST_SHARED)
        fatal("%s: %zu bytes of static and %zu of dynamic shared memory; a block has %d", who(), static_used,
              dynamic_bytes, MOST_SHARED);
    return (void *)(memory.shared + place_array(name, n * size, size, key)->offset);
}

/* Named as the first thread that met it calls it. */
void *shared_dynamic(const char *name, size_t size) {
    static const char key = 0;

    for (int i = 0; i < count; i++)
        if (arrays[i].key == &key)
            return (void *)(memory.shared + arrays[i].offset);
    if (!running())
        fatal("shared memory %s outside of a kernel", name);
    return (void *)(memory.shared + place_array(name, dynamic_bytes, size, &key)->offset);
}

const char *shared_name(uintptr_t address, char out[200]) {
    const ptrdiff_t offset = (ptrdiff_t)(address - memory.shared);
    const array *best = NULL;

    for (int i = 0; i < count; i++) /* the array that it is in, after, or shortly before */
        if (offset >= (ptrdiff_t)arrays[i].offset - SHARED_ZONE / 2)
            best = &arrays[i];
    if (!best) {
        snprintf(out, 200, "shared memory, at none of the arrays");
        return out;
    }
    const ptrdiff_t in = offset - (ptrdiff_t)best->offset, size = (ptrdiff_t)best->element;
    snprintf(out, 200, "shared array %s[%td], which has %zu elements", best->name, in < 0 ? -((size - 1 - in) / size) : in / size,
             best->bytes / best->element);
    return out;
}

} // namespace emu
