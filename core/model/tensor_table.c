/* SPDX-License-Identifier: MIT */
#include "model/tensor_table.h"

#include <stdlib.h>
#include <string.h>

struct tensor_entry *table_add(struct tensor_table *t, const char *name, size_t length, struct error *err) {
    struct tensor_entry *entry;
    char *copy;

    if (mem_grow((void **)&t->entries, &t->capacity, t->count + 1, sizeof(*t->entries)) != 0 ||
        (copy = arena_strndup(&t->names, name, length)) == NULL) {
        error_nomem(err, "tensor table");
        return NULL;
    }
    entry = &t->entries[t->count++];
    memset(entry, 0, sizeof(*entry));
    entry->info.name = copy;
    return entry;
}

static int compare_names(const void *a, const void *b) {
    const struct tensor_entry *const *x = a, *const *y = b;
    return strcmp((*x)->info.name, (*y)->info.name);
}

int table_index(struct tensor_table *t, const char *path, struct error *err) {
    t->by_name = mem_array(t->count, sizeof(*t->by_name));
    if (t->by_name == NULL)
        return error_nomem(err, path);
    for (size_t i = 0; i < t->count; i++)
        t->by_name[i] = &t->entries[i];
    qsort(t->by_name, t->count, sizeof(*t->by_name), compare_names);
    for (size_t i = 1; i < t->count; i++)
        if (strcmp(t->by_name[i - 1]->info.name, t->by_name[i]->info.name) == 0)
            return error_input(err, "%s: tensor '%s' is there twice", path, t->by_name[i]->info.name);
    return 0;
}

const struct tensor_entry *table_find(const struct tensor_table *t, const char *name) {
    size_t low = 0, high = t->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(name, t->by_name[middle]->info.name);
        if (order == 0)
            return t->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void table_free(struct tensor_table *t) {
    free(t->entries);
    free((void *)t->by_name);
    arena_free(&t->names);
    memset(t, 0, sizeof(*t));
}

bool table_elements(const int64_t *shape, uint32_t rank, uint64_t *out) {
    uint64_t n = 1;

    /* zeros first or last must not decide whether the rest overflows */
    for (uint32_t i = 0; i < rank; i++)
        if (shape[i] != 0 && __builtin_mul_overflow(n, (uint64_t)shape[i], &n))
            return false;
    for (uint32_t i = 0; i < rank; i++)
        if (shape[i] == 0)
            n = 0;
    *out = n;
    return true;
}
