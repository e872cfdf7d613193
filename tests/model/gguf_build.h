/* tests/model/gguf_build.h - GGUF files made by hand, right and wrong.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_TESTS_GGUF_BUILD_H
#define REIN_TESTS_GGUF_BUILD_H

#include "base/buffer.h"
#include "model/gguf.h"

#include <string.h>

static inline void put_u32(struct buffer *b, uint32_t x) {
    for (unsigned i = 0; i < 4; i++)
        buffer_byte(b, (unsigned char)(x >> 8 * i));
}
static inline void put_u64(struct buffer *b, uint64_t x) {
    put_u32(b, (uint32_t)x);
    put_u32(b, (uint32_t)(x >> 32));
}
static inline void put_f32(struct buffer *b, float x) {
    buffer_add(b, &x, 4);
}
static inline void put_text(struct buffer *b, const char *text) {
    put_u64(b, strlen(text));
    buffer_text(b, text);
}

/* Metadata is counted as it is added; the header is put in front at the end. */
struct gguf_build {
    struct buffer values, infos, data;
    uint64_t nvalues, ntensors;
    uint32_t version;          /* 0: 3 */
};
static inline struct buffer *build_key(struct gguf_build *g, const char *key, uint32_t type) {
    g->nvalues++;
    put_text(&g->values, key);
    put_u32(&g->values, type);
    return &g->values;
}
static inline void build_u32(struct gguf_build *g, const char *key, uint32_t x) {
    put_u32(build_key(g, key, GGUF_U32), x);
}
static inline void build_f32(struct gguf_build *g, const char *key, float x) {
    put_f32(build_key(g, key, GGUF_F32), x);
}
static inline void build_bool(struct gguf_build *g, const char *key, unsigned char x) {
    buffer_byte(build_key(g, key, GGUF_BOOL), x);
}
static inline void build_text(struct gguf_build *g, const char *key, const char *text) {
    put_text(build_key(g, key, GGUF_STRING), text);
}
static inline struct buffer *build_array(struct gguf_build *g, const char *key, uint32_t type, uint64_t count) {
    struct buffer *b = build_key(g, key, GGUF_ARRAY);

    put_u32(b, type);
    put_u64(b, count);
    return b;
}
/* ne: innermost first, as in the file. Data follows by build_data, which pads to 32. */
static inline void build_tensor(struct gguf_build *g, const char *name, uint32_t rank, const uint64_t *ne,
                                uint32_t type, uint64_t offset) {
    g->ntensors++;
    put_text(&g->infos, name);
    put_u32(&g->infos, rank);
    for (uint32_t i = 0; i < rank && i < 8; i++)
        put_u64(&g->infos, ne[i]);
    put_u32(&g->infos, type);
    put_u64(&g->infos, offset);
}
static inline void build_data(struct gguf_build *g, const void *data, size_t length) {
    buffer_add(&g->data, data, length);
    while (g->data.length % 32 != 0)
        buffer_byte(&g->data, 0);
}
/* The whole file in memory of exactly its size, so that a sanitizer sees the first byte read beyond it. */
static inline unsigned char *build_finish(struct gguf_build *g, size_t *length) {
    struct buffer b = {0};
    unsigned char *file;

    buffer_text(&b, "GGUF");
    put_u32(&b, g->version ? g->version : 3);
    put_u64(&b, g->ntensors);
    put_u64(&b, g->nvalues);
    buffer_add(&b, g->values.data, g->values.length);
    buffer_add(&b, g->infos.data, g->infos.length);
    while (g->data.length > 0 && b.length % 32 != 0)
        buffer_byte(&b, 0);
    buffer_add(&b, g->data.data, g->data.length);
    file = malloc(b.length);
    if (file != NULL)
        memcpy(file, b.data, b.length);
    *length = b.length;
    buffer_free(&b);
    buffer_free(&g->values);
    buffer_free(&g->infos);
    buffer_free(&g->data);
    memset(g, 0, sizeof(*g));
    return file;
}

#endif
