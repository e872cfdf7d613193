/* core/model/gguf.h - GGUF files (versions 2 and 3, little-endian), parsed where they lie in memory.
 * SPDX-License-Identifier: MIT
 *
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#ifndef REIN_CORE_GGUF_H
#define REIN_CORE_GGUF_H

#include "model/tensor_table.h"

enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING, GGUF_ARRAY, GGUF_U64,
    GGUF_I64, GGUF_F64, GGUF_TYPES
};

/* One entry of the metadata. Everything is checked to lie in the file, each string of an array included. */
struct gguf_value {
    char *key;
    uint32_t type;             /* enum gguf_type; of the items when `array` */
    bool array;
    uint64_t count;            /* items; 1 when not an array */
    const unsigned char *data; /* the first item; a string is 8 bytes of length and its bytes */
};

struct gguf {
    const char *path;          /* the caller's, for messages */
    uint32_t version;
    struct gguf_value *values; /* sorted by key */
    size_t count;
    struct arena arena;
};

/* `g` is released with gguf_free whatever happens. Tensors are added to `table` under the file's names. */
int gguf_parse(const unsigned char *data, size_t length, const char *path, struct gguf *g, struct tensor_table *table,
               struct error *err);
void gguf_free(struct gguf *g);

const struct gguf_value *gguf_find(const struct gguf *g, const char *key);
/* 0 when read, 1 when the key is absent (*out untouched), -1 when it has another type or does not lie in range. */
int gguf_integer(const struct gguf *g, const char *key, int64_t low, int64_t high, int64_t *out, struct error *err);
int gguf_real(const struct gguf *g, const char *key, double low, double high, double *out, struct error *err);
int gguf_boolean(const struct gguf *g, const char *key, bool *out, struct error *err);
/* A copy in the file's arena, valid UTF-8 without NUL. */
int gguf_text(struct gguf *g, const char *key, const char **out, struct error *err);

/* Steps through strings: *at starts at v->data; returns the bytes, not NUL-terminated. */
const char *gguf_next_string(const unsigned char **at, size_t *length);
/* Item i of a value of numbers. */
int64_t gguf_item_integer(const struct gguf_value *v, uint64_t i);
double gguf_item_real(const struct gguf_value *v, uint64_t i);

/* All of the metadata, arrays of more than eight items shortened. */
json_t *gguf_metadata(const struct gguf *g);

#endif
