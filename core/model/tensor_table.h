/* core/model/tensor_table.h - the tensors that a file parser found, whatever the format.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TENSOR_TABLE_H
#define REIN_CORE_TENSOR_TABLE_H

#include "base/error.h"
#include "base/mem.h"
#include "model/tensors.h"

enum {
    TENSOR_NAME_LIMIT = 512,      /* bytes */
    TENSOR_COUNT_LIMIT = 1 << 20,
};
#define TENSOR_DIM_LIMIT ((uint64_t)1 << 40)

/* How elements are stored. PLAIN: as REIN_F32/F16/BF16; GGUF: blocks of gguf_quant.h; NONE: listed, not readable. */
enum tensor_storage { STORED_NONE, STORED_PLAIN, STORED_GGUF };

struct tensor_entry {
    struct tensor_info info;      /* first, so that a tensor_info is its entry */
    const unsigned char *data;    /* in a mapping */
    enum tensor_storage storage;
    uint32_t type;                /* GGUF's type */
    int64_t permuted_heads;       /* > 0: rows are permuted per head as llama.cpp does */
};

/* Zero-initialise. Entries move while the table grows; after table_index they stay. */
struct tensor_table {
    struct tensor_entry *entries; /* in the order of their data */
    size_t count, capacity;
    const struct tensor_entry **by_name;
    struct arena names;
};
/* A zeroed entry with a copy of the name, or NULL. */
struct tensor_entry *table_add(struct tensor_table *t, const char *name, size_t length, struct error *err);
/* Sorts by name; two tensors of one name are a mistake. */
int table_index(struct tensor_table *t, const char *path, struct error *err);
const struct tensor_entry *table_find(const struct tensor_table *t, const char *name);
void table_free(struct tensor_table *t);

/* Multiplies out a shape whose dimensions are below TENSOR_DIM_LIMIT; false when the product is too large. */
bool table_elements(const int64_t *shape, uint32_t rank, uint64_t *out);

#endif
