/* SPDX-License-Identifier: MIT */
#include "model/gguf.h"

#include "base/utf8.h"
#include "model/gguf_quant.h"

#include <rein/backend.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_LIMIT = 65535,     /* bytes: the format's own */
    VALUE_LIMIT = 1 << 16, /* keys in a file */
    DIMENSIONS = 4,        /* ggml's */
    ALIGNMENT_LIMIT = 1 << 20,
};

/* Bytes of an item; 0 for strings and arrays, whose size varies. */
static const unsigned char widths[GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* ---- a cursor that cannot leave the file ------------------------------------------------------------------------ */

struct cursor {
    const unsigned char *at, *end;
    const char *path;
    struct error *err;
};

static size_t left(const struct cursor *c) {
    return (size_t)(c->end - c->at);
}

static uint64_t little(const unsigned char *p, unsigned bytes) {
    uint64_t n = 0;

    for (unsigned i = bytes; i > 0; i--)
        n = n << 8 | p[i - 1];
    return n;
}

static int take(struct cursor *c, unsigned bytes, uint64_t *out) {
    *out = 0;
    if (left(c) < bytes)
        return error_input(c->err, "%s: the file is cut short", c->path);
    *out = little(c->at, bytes);
    c->at += bytes;
    return 0;
}

static int take_string(struct cursor *c, const char **text, size_t *length, const char *what) {
    uint64_t n;

    if (take(c, 8, &n) != 0)
        return -1;
    if (n > left(c))
        return error_input(c->err, "%s: %s of %" PRIu64 " bytes, but only %zu are left in the file", c->path, what, n,
                           left(c));
    *text = (const char *)c->at;
    *length = (size_t)n;
    c->at += n;
    return 0;
}

/* ---- metadata --------------------------------------------------------------------------------------------------- */

static int check_booleans(struct cursor *c, const struct gguf_value *v) {
    for (uint64_t i = 0; v->type == GGUF_BOOL && i < v->count; i++)
        if (v->data[i] > 1)
            return error_input(c->err, "%s: key '%s': a boolean of %u", c->path, v->key, v->data[i]);
    return 0;
}

static int skip_items(struct cursor *c, struct gguf_value *v) {
    const unsigned width = widths[v->type];
    uint64_t bytes;

    v->data = c->at;
    if (v->type == GGUF_STRING) {
        if (v->count > left(c) / 8)
            return error_input(c->err, "%s: key '%s': %" PRIu64 " strings do not fit into the file", c->path, v->key,
                               v->count);
        for (uint64_t i = 0; i < v->count; i++) {
            const char *text;
            size_t length;
            if (take_string(c, &text, &length, "a string") != 0)
                return error_prefix(c->err, "key '%s'", v->key);
        }
        return 0;
    }
    if (__builtin_mul_overflow(v->count, (uint64_t)width, &bytes) || bytes > left(c))
        return error_input(c->err, "%s: key '%s': %" PRIu64 " items do not fit into the file", c->path, v->key,
                           v->count);
    c->at += bytes;
    return check_booleans(c, v);
}

static int parse_value(struct cursor *c, struct gguf *g, struct gguf_value *v) {
    const char *key;
    size_t length;
    uint64_t type;

    if (take_string(c, &key, &length, "a key") != 0)
        return -1;
    if (length == 0 || length > KEY_LIMIT || memchr(key, '\0', length) != NULL ||
        utf8_valid_prefix(key, length) != length)
        return error_input(c->err, "%s: a metadata key is empty, too long or not text", c->path);
    v->key = arena_strndup(&g->arena, key, length);
    if (v->key == NULL)
        return error_nomem(c->err, c->path);
    if (take(c, 4, &type) != 0)
        return error_prefix(c->err, "key '%s'", v->key);
    v->count = 1;
    v->array = type == GGUF_ARRAY;
    if (v->array && (take(c, 4, &type) != 0 || take(c, 8, &v->count) != 0))
        return error_prefix(c->err, "key '%s'", v->key);
    if (type >= GGUF_TYPES || type == GGUF_ARRAY)
        return error_input(c->err, "%s: key '%s': type %" PRIu64 " is not known%s", c->path, v->key, type,
                           type == GGUF_ARRAY ? " (arrays of arrays)" : "");
    v->type = (uint32_t)type;
    return skip_items(c, v);
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const struct gguf_value *)a)->key, ((const struct gguf_value *)b)->key);
}

static int parse_values(struct cursor *c, struct gguf *g, uint64_t count) {
    /* a key of one byte, its type and a value of one byte take 14 */
    if (count > VALUE_LIMIT || count > left(c) / 14)
        return error_input(c->err, "%s: %" PRIu64 " metadata keys do not fit into the file", c->path, count);
    g->values = mem_zeros((size_t)count, sizeof(*g->values));
    if (g->values == NULL)
        return error_nomem(c->err, c->path);
    for (uint64_t i = 0; i < count; i++) {
        if (parse_value(c, g, &g->values[i]) != 0)
            return -1;
        g->count++;
    }
    if (g->count > 1)
        qsort(g->values, g->count, sizeof(*g->values), compare_keys);
    for (size_t i = 1; i < g->count; i++)
        if (strcmp(g->values[i - 1].key, g->values[i].key) == 0)
            return error_input(c->err, "%s: key '%s' is there twice", c->path, g->values[i].key);
    return 0;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

static int parse_shape(struct cursor *c, struct tensor_info *info) {
    uint64_t rank, n;

    if (take(c, 4, &rank) != 0)
        return -1;
    if (rank < 1 || rank > DIMENSIONS)
        return error_input(c->err, "%s: tensor '%s': %" PRIu64 " dimensions (1 to %d are allowed)", c->path, info->name,
                           rank, DIMENSIONS);
    info->rank = (uint32_t)rank;
    for (uint32_t i = 0; i < info->rank; i++) { /* the file lists the innermost first */
        if (take(c, 8, &n) != 0)
            return -1;
        if (n < 1 || n > TENSOR_DIM_LIMIT)
            return error_input(c->err, "%s: tensor '%s': dimension %u is %" PRIu64, c->path, info->name, i, n);
        info->shape[info->rank - 1 - i] = (int64_t)n;
    }
    if (!table_elements(info->shape, info->rank, &info->elements))
        return error_input(c->err, "%s: tensor '%s': the shape is too large", c->path, info->name);
    return 0;
}

/* Where the data begins is not known yet: the offset is kept in *offset. */
static int parse_tensor(struct cursor *c, struct tensor_table *table, uint32_t alignment, uint64_t *offset) {
    struct tensor_entry *entry;
    struct tensor_info *info;
    const struct gguf_quant *q;
    const char *name;
    size_t length;
    uint64_t type;

    if (take_string(c, &name, &length, "a tensor's name") != 0)
        return -1;
    if (length == 0 || length > TENSOR_NAME_LIMIT || memchr(name, '\0', length) != NULL ||
        utf8_valid_prefix(name, length) != length)
        return error_input(c->err, "%s: a tensor's name is empty, longer than %d bytes or not text", c->path,
                           TENSOR_NAME_LIMIT);
    entry = table_add(table, name, length, c->err);
    if (entry == NULL)
        return -1;
    info = &entry->info;
    if (parse_shape(c, info) != 0 || take(c, 4, &type) != 0 || take(c, 8, offset) != 0)
        return -1;
    q = type <= UINT32_MAX ? gguf_quant_find((uint32_t)type) : NULL;
    if (q == NULL)
        return error_input(c->err, "%s: tensor '%s': type %" PRIu64 " is not known", c->path, info->name, type);
    if ((uint64_t)info->shape[info->rank - 1] % q->elements != 0)
        return error_input(c->err, "%s: tensor '%s': rows of %" PRId64 " are not whole blocks of %u (%s)", c->path,
                           info->name, info->shape[info->rank - 1], q->elements, q->name);
    if (__builtin_mul_overflow(info->elements / q->elements, (uint64_t)q->bytes, &info->bytes))
        return error_input(c->err, "%s: tensor '%s': the shape is too large", c->path, info->name);
    if (*offset % alignment != 0)
        return error_input(c->err, "%s: tensor '%s': offset %" PRIu64 " is not a multiple of %u", c->path, info->name,
                           *offset, alignment);
    info->type = q->name;
    info->dtype = q->dtype ? q->dtype : REIN_F32;
    entry->type = q->type;
    entry->storage = q->dtype ? STORED_PLAIN : q->block ? STORED_GGUF : STORED_NONE;
    return 0;
}

static int compare_places(const void *a, const void *b) {
    const struct tensor_entry *x = a, *y = b;
    return x->data < y->data ? -1 : x->data > y->data;
}

/* Tensors follow each other with less than `alignment` bytes between, to the end of the file. */
static int check_cover(struct cursor *c, struct tensor_entry *entries, size_t count, const unsigned char *data,
                       uint32_t alignment) {
    uint64_t at = 0;
    const uint64_t size = (uint64_t)(c->end - data);

    qsort(entries, count, sizeof(*entries), compare_places);
    for (size_t i = 0; i < count; i++) {
        const uint64_t begin = (uint64_t)(entries[i].data - data);
        if (begin < at)
            return error_input(c->err, "%s: tensor '%s' overlaps '%s'", c->path, entries[i].info.name,
                               entries[i - 1].info.name);
        if (begin - at >= alignment)
            return error_input(c->err, "%s: a hole of %" PRIu64 " bytes before tensor '%s'", c->path, begin - at,
                               entries[i].info.name);
        at = begin + entries[i].info.bytes;
    }
    if (size - at >= alignment)
        return error_input(c->err, "%s: %" PRIu64 " bytes after the last tensor", c->path, size - at);
    return 0;
}

static int place_tensors(struct cursor *c, const unsigned char *start, struct tensor_entry *entries,
                         const uint64_t *offsets, size_t count, uint32_t alignment) {
    const uint64_t header = (uint64_t)(c->at - start), length = (uint64_t)(c->end - start);
    const uint64_t begin = (header + alignment - 1) / alignment * alignment;

    if (begin > length)
        return error_input(c->err, "%s: the file is cut short: no tensor data", c->path);
    for (size_t i = 0; i < count; i++) {
        const uint64_t size = length - begin;
        if (offsets[i] > size || entries[i].info.bytes > size - offsets[i])
            return error_input(c->err,
                               "%s: tensor '%s': %" PRIu64 " bytes at offset %" PRIu64
                               " do not lie in the file's %" PRIu64 " bytes of data",
                               c->path, entries[i].info.name, entries[i].info.bytes, offsets[i], size);
        entries[i].data = start + begin + offsets[i];
    }
    return check_cover(c, entries, count, start + begin, alignment);
}

static int parse_tensors(struct cursor *c, const unsigned char *start, struct gguf *g, uint64_t count,
                         struct tensor_table *table) {
    const size_t first = table->count;
    int64_t alignment = 32;
    uint64_t *offsets;
    int rc = 0;

    if (gguf_integer(g, "general.alignment", 1, ALIGNMENT_LIMIT, &alignment, c->err) < 0)
        return -1;
    if ((alignment & (alignment - 1)) != 0)
        return error_input(c->err, "%s: general.alignment %" PRId64 " is not a power of two", c->path, alignment);
    /* a name of one byte, one dimension, type and offset take 33 */
    if (count > TENSOR_COUNT_LIMIT || count > left(c) / 33)
        return error_input(c->err, "%s: %" PRIu64 " tensors do not fit into the file", c->path, count);
    offsets = mem_array((size_t)count, sizeof(*offsets));
    if (offsets == NULL)
        return error_nomem(c->err, c->path);
    for (uint64_t i = 0; i < count && rc == 0; i++)
        rc = parse_tensor(c, table, (uint32_t)alignment, &offsets[i]);
    if (rc == 0 && count > 0)
        rc = place_tensors(c, start, table->entries + first, offsets, (size_t)count, (uint32_t)alignment);
    free(offsets);
    return rc;
}

int gguf_parse(const unsigned char *data, size_t length, const char *path, struct gguf *g, struct tensor_table *table,
               struct error *err) {
    struct cursor c = {data, data + length, path, err};
    uint64_t version, tensors, values;

    memset(g, 0, sizeof(*g));
    g->path = path;
    if (length < 4 || memcmp(data, "GGUF", 4) != 0)
        return error_input(err, "%s: not a GGUF file", path);
    c.at += 4;
    if (take(&c, 4, &version) != 0)
        return -1;
    if (version == 1 || version > 3 || version == 0)
        return error_input(err, "%s: GGUF version %" PRIu64 " is not supported%s; 2 and 3 are", path, version,
                           version != 0 && version % 65536 == 0 ? " (a big-endian file)" : "");
    g->version = (uint32_t)version;
    if (take(&c, 8, &tensors) != 0 || take(&c, 8, &values) != 0 || parse_values(&c, g, values) != 0)
        return -1;
    return parse_tensors(&c, data, g, tensors, table);
}

void gguf_free(struct gguf *g) {
    free(g->values);
    arena_free(&g->arena);
    memset(g, 0, sizeof(*g));
}

/* ---- access ----------------------------------------------------------------------------------------------------- */

const struct gguf_value *gguf_find(const struct gguf *g, const char *key) {
    const struct gguf_value wanted = {.key = (char *)(uintptr_t)key};

    return g->count ? bsearch(&wanted, g->values, g->count, sizeof(*g->values), compare_keys) : NULL;
}

int64_t gguf_item_integer(const struct gguf_value *v, uint64_t i) {
    const unsigned width = widths[v->type];
    const uint64_t n = little(v->data + i * width, width);

    switch (v->type) {
    case GGUF_I8:
        return (int8_t)n;
    case GGUF_I16:
        return (int16_t)n;
    case GGUF_I32:
        return (int32_t)n;
    case GGUF_U64:
        return n > INT64_MAX ? INT64_MAX : (int64_t)n;
    default:
        return (int64_t)n;
    }
}

double gguf_item_real(const struct gguf_value *v, uint64_t i) {
    float f;
    double d;

    if (v->type == GGUF_F32) {
        memcpy(&f, v->data + 4 * i, 4);
        return (double)f;
    }
    if (v->type == GGUF_F64) {
        memcpy(&d, v->data + 8 * i, 8);
        return d;
    }
    return (double)gguf_item_integer(v, i);
}

static bool is_integer(uint32_t type) {
    return type != GGUF_STRING && type != GGUF_BOOL && type != GGUF_F32 && type != GGUF_F64;
}

int gguf_integer(const struct gguf *g, const char *key, int64_t low, int64_t high, int64_t *out, struct error *err) {
    const struct gguf_value *v = gguf_find(g, key);
    int64_t n;

    if (v == NULL)
        return 1;
    if (v->array || !is_integer(v->type))
        return error_input(err, "%s: key '%s' must be a whole number", g->path, key);
    n = gguf_item_integer(v, 0);
    if (n < low || n > high)
        return error_input(err, "%s: key '%s' is %" PRId64 ", which is not between %" PRId64 " and %" PRId64, g->path,
                           key, n, low, high);
    *out = n;
    return 0;
}

int gguf_real(const struct gguf *g, const char *key, double low, double high, double *out, struct error *err) {
    const struct gguf_value *v = gguf_find(g, key);
    double x;

    if (v == NULL)
        return 1;
    if (v->array || v->type == GGUF_STRING || v->type == GGUF_BOOL)
        return error_input(err, "%s: key '%s' must be a number", g->path, key);
    x = gguf_item_real(v, 0);
    if (!(x >= low && x <= high))
        return error_input(err, "%s: key '%s' is %g, which is not between %g and %g", g->path, key, x, low, high);
    *out = x;
    return 0;
}

int gguf_boolean(const struct gguf *g, const char *key, bool *out, struct error *err) {
    const struct gguf_value *v = gguf_find(g, key);

    if (v == NULL)
        return 1;
    if (v->array || v->type != GGUF_BOOL)
        return error_input(err, "%s: key '%s' must be true or false", g->path, key);
    *out = v->data[0] != 0;
    return 0;
}

const char *gguf_next_string(const unsigned char **at, size_t *length) {
    const char *text = (const char *)*at + 8;

    *length = (size_t)little(*at, 8);
    *at += 8 + *length;
    return text;
}

int gguf_text(struct gguf *g, const char *key, const char **out, struct error *err) {
    const struct gguf_value *v = gguf_find(g, key);
    const unsigned char *at;
    const char *text;
    size_t length;

    if (v == NULL)
        return 1;
    if (v->array || v->type != GGUF_STRING)
        return error_input(err, "%s: key '%s' must be text", g->path, key);
    at = v->data;
    text = gguf_next_string(&at, &length);
    if (memchr(text, '\0', length) != NULL || utf8_valid_prefix(text, length) != length)
        return error_input(err, "%s: key '%s' is not valid UTF-8 text", g->path, key);
    *out = arena_strndup(&g->arena, text, length);
    return *out ? 0 : error_nomem(err, g->path);
}

static json_t *item_json(const struct gguf_value *v, uint64_t i, const unsigned char **at) {
    size_t length;
    const char *text;
    json_t *string;

    if (v->type == GGUF_STRING) {
        text = gguf_next_string(at, &length);
        string = json_stringn(text, length);
        return string ? string : json_string("(not UTF-8)");
    }
    if (v->type == GGUF_BOOL)
        return json_boolean(v->data[i]);
    if (is_integer(v->type))
        return json_integer(gguf_item_integer(v, i));
    string = json_real(gguf_item_real(v, i)); /* NULL for NaN and infinity */
    return string ? string : json_null();
}

json_t *gguf_metadata(const struct gguf *g) {
    enum { SHOWN = 8 };
    json_t *o = json_object();

    for (size_t i = 0; i < g->count; i++) {
        const struct gguf_value *v = &g->values[i];
        const unsigned char *at = v->data;
        json_t *list;
        if (!v->array) {
            json_object_set_new(o, v->key, item_json(v, 0, &at));
            continue;
        }
        list = json_array();
        for (uint64_t k = 0; k < v->count && k < SHOWN; k++)
            json_array_append_new(list, item_json(v, k, &at));
        if (v->count > SHOWN)
            list = json_pack("{s:I, s:o}", "count", (json_int_t)v->count, "first", list);
        json_object_set_new(o, v->key, list);
    }
    return o;
}
