/* SPDX-License-Identifier: MIT */
#include "model/safetensors.h"

#include "base/file.h"
#include "model/dtype.h"
#include "model/json_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_LIMIT ((uint64_t)100000000) /* the reference's own */

static const struct {
    const char *name;
    uint32_t bits, dtype; /* dtype: REIN_*, 0 when we do not read it */
} types[] = {
    {"F32", 32, REIN_F32}, {"F16", 16, REIN_F16}, {"BF16", 16, REIN_BF16}, {"F64", 64, 0},
    {"I64", 64, 0},        {"I32", 32, 0},        {"I16", 16, 0},          {"I8", 8, 0},
    {"U64", 64, 0},        {"U32", 32, 0},        {"U16", 16, 0},          {"U8", 8, 0},
    {"BOOL", 8, 0},        {"C64", 64, 0},        {"F8_E4M3", 8, 0},       {"F8_E5M2", 8, 0},
    {"F8_E8M0", 8, 0},     {"F6_E2M3", 6, 0},     {"F6_E3M2", 6, 0},       {"F4", 4, 0},
};

static size_t find_type(const char *name) {
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

static uint64_t read_u64(const unsigned char *p) {
    uint64_t n = 0;

    for (int i = 7; i >= 0; i--)
        n = n << 8 | p[i];
    return n;
}

static int parse_shape(const json_t *shape, struct tensor_info *info, const char *path, struct error *err) {
    const json_t *item;
    size_t i;

    if (!json_is_array(shape))
        return error_input(err, "%s: tensor '%s': 'shape' must be a list", path, info->name);
    if (json_array_size(shape) > TENSOR_MAX_RANK)
        return error_input(err, "%s: tensor '%s': %zu dimensions (the limit is %d)", path, info->name,
                           json_array_size(shape), TENSOR_MAX_RANK);
    info->rank = (uint32_t)json_array_size(shape);
    json_array_foreach(shape, i, item) {
        if (!json_is_integer(item) || json_integer_value(item) < 0 ||
            (uint64_t)json_integer_value(item) > TENSOR_DIM_LIMIT)
            return error_input(err, "%s: tensor '%s': dimension %zu is not a whole number from 0 to 2^40", path,
                               info->name, i);
        info->shape[i] = json_integer_value(item);
    }
    if (!table_elements(info->shape, info->rank, &info->elements))
        return error_input(err, "%s: tensor '%s': the shape is too large", path, info->name);
    return 0;
}

/* The entry's place in the data: two whole numbers, begin <= end <= size. */
static int parse_offsets(const json_t *offsets, struct tensor_entry *entry, const unsigned char *data, size_t size,
                         const char *path, struct error *err) {
    const json_t *a = json_array_get(offsets, 0), *b = json_array_get(offsets, 1);
    int64_t begin, end;

    if (json_array_size(offsets) != 2 || !json_is_integer(a) || !json_is_integer(b))
        return error_input(err, "%s: tensor '%s': 'data_offsets' must be two whole numbers", path, entry->info.name);
    begin = json_integer_value(a);
    end = json_integer_value(b);
    if (begin < 0 || end < begin || (uint64_t)end > size)
        return error_input(
            err, "%s: tensor '%s': offsets %" PRId64 " to %" PRId64 " do not lie in the file's %zu bytes of data", path,
            entry->info.name, begin, end, size);
    entry->data = data + begin;
    entry->info.bytes = (uint64_t)(end - begin);
    return 0;
}

static int parse_tensor(const json_t *value, struct tensor_entry *entry, const unsigned char *data, size_t size,
                        const char *path, struct error *err) {
    struct tensor_info *info = &entry->info;
    const char *type = json_string_value(json_object_get(value, "dtype"));
    uint64_t bits;
    size_t k;

    if (!json_is_object(value))
        return error_input(err, "%s: tensor '%s': must be described by an object", path, info->name);
    if (type == NULL)
        return error_input(err, "%s: tensor '%s': 'dtype' must be a string", path, info->name);
    k = find_type(type);
    if (k == SIZE_MAX)
        return error_input(err, "%s: tensor '%s': unknown dtype '%s'", path, info->name, type);
    info->type = types[k].name;
    info->dtype = types[k].dtype ? types[k].dtype : REIN_F32;
    entry->storage = types[k].dtype ? STORED_PLAIN : STORED_NONE;
    if (parse_shape(json_object_get(value, "shape"), info, path, err) != 0 ||
        parse_offsets(json_object_get(value, "data_offsets"), entry, data, size, path, err) != 0)
        return -1;
    if (__builtin_mul_overflow(info->elements, (uint64_t)types[k].bits, &bits) || bits % 8 != 0 ||
        bits / 8 != info->bytes)
        return error_input(err, "%s: tensor '%s': %" PRIu64 " elements of %s do not fill its %" PRIu64 " bytes", path,
                           info->name, info->elements, info->type, info->bytes);
    return 0;
}

static int check_metadata(const json_t *metadata, const char *path, struct error *err) {
    const char *key;
    json_t *value;

    if (!json_is_object(metadata))
        return error_input(err, "%s: __metadata__ must be an object", path);
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value) if (!json_is_string(value)) return error_input(
        err, "%s: __metadata__: '%s' must be a string", path, key);
    return 0;
}

static int compare_places(const void *a, const void *b) {
    const struct tensor_entry *x = a, *y = b;

    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    if (x->info.bytes != y->info.bytes)
        return x->info.bytes < y->info.bytes ? -1 : 1;
    return strcmp(x->info.name, y->info.name);
}

/* In the order of their data the tensors must follow each other without gap or overlap, to the end of the file. */
static int check_cover(const struct tensor_table *table, size_t first, const unsigned char *data, size_t size,
                       const char *path, struct error *err) {
    struct tensor_entry *entries = table->entries;
    size_t at = 0;

    if (table->count > first)
        qsort(entries + first, table->count - first, sizeof(*entries), compare_places);
    for (size_t i = first; i < table->count; i++) {
        const size_t begin = (size_t)(entries[i].data - data);
        if (begin < at)
            return error_input(err, "%s: tensor '%s' overlaps '%s'", path, entries[i].info.name,
                               entries[i - 1].info.name);
        if (begin > at)
            return error_input(err, "%s: a hole of %zu bytes before tensor '%s'", path, begin - at,
                               entries[i].info.name);
        at = begin + (size_t)entries[i].info.bytes;
    }
    if (at != size)
        return error_input(err, "%s: %zu bytes after the last tensor", path, size - at);
    return 0;
}

static int parse_header(json_t *root, const unsigned char *data, size_t size, const char *path,
                        struct tensor_table *table, json_t **metadata, struct error *err) {
    const size_t first = table->count;
    const char *name;
    json_t *value;

    json_object_foreach(root, name, value) {
        struct tensor_entry *entry;
        if (strcmp(name, "__metadata__") == 0) {
            if (json_is_null(value))
                continue;
            if (check_metadata(value, path, err) != 0)
                return -1;
            if (metadata != NULL)
                *metadata = json_incref(value);
            continue;
        }
        if (strlen(name) > TENSOR_NAME_LIMIT)
            return error_input(err, "%s: a tensor's name has %zu bytes (the limit is %d)", path, strlen(name),
                               TENSOR_NAME_LIMIT);
        if (table->count >= TENSOR_COUNT_LIMIT)
            return error_input(err, "%s: more than %d tensors", path, TENSOR_COUNT_LIMIT);
        entry = table_add(table, name, strlen(name), err);
        if (entry == NULL || parse_tensor(value, entry, data, size, path, err) != 0)
            return -1;
    }
    return check_cover(table, first, data, size, path, err);
}

int safetensors_parse(const unsigned char *data, size_t length, const char *path, struct tensor_table *table,
                      json_t **metadata, struct error *err) {
    json_t *root;
    uint64_t n;
    int rc;

    if (metadata != NULL)
        *metadata = NULL;
    if (length < 8)
        return error_input(err, "%s: %zu bytes are too few for a safetensors file", path, length);
    n = read_u64(data);
    if (n > HEADER_LIMIT)
        return error_input(err, "%s: a header of %" PRIu64 " bytes (the limit is %" PRIu64 "); not a safetensors file?",
                           path, n, HEADER_LIMIT);
    if (n > length - 8)
        return error_input(err, "%s: is cut short: a header of %" PRIu64 " bytes, but only %zu are there", path, n,
                           length - 8);
    root = json_read_text((const char *)data + 8, (size_t)n, path, err);
    if (root == NULL)
        return -1;
    if (!json_is_object(root))
        rc = error_input(err, "%s: the safetensors header must be a JSON object", path);
    else
        rc = parse_header(root, data + 8 + n, length - 8 - (size_t)n, path, table, metadata, err);
    if (rc != 0 && metadata != NULL) {
        json_decref(*metadata);
        *metadata = NULL;
    }
    json_decref(root);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

struct tensors_writer {
    struct file_writer file;
    struct tensor_out *list; /* names not kept */
    uint64_t *left;          /* elements still to come, for each tensor */
    size_t count, at;
};

static int build_header(const struct tensor_out *list, uint64_t *elements, size_t count, struct buffer *b,
                        const char *path, struct error *err) {
    uint64_t at = 0;

    buffer_text(b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes, end;
        const uint32_t width = dtype_width(list[i].dtype);
        const char *type = dtype_name(list[i].dtype);
        if (type == NULL || list[i].rank > TENSOR_MAX_RANK ||
            !table_elements(list[i].shape, list[i].rank, &elements[i]) ||
            __builtin_mul_overflow(elements[i], (uint64_t)width, &bytes) || __builtin_add_overflow(at, bytes, &end))
            return error_run(err, "%s: tensor '%s' has a dtype or shape that cannot be written", path, list[i].name);
        buffer_byte(b, ',');
        buffer_json_string(b, list[i].name, strlen(list[i].name));
        buffer_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", type);
        for (uint32_t d = 0; d < list[i].rank; d++)
            buffer_printf(b, "%s%" PRId64, d ? "," : "", list[i].shape[d]);
        buffer_printf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, end);
        at = end;
    }
    buffer_byte(b, '}');
    while ((8 + b->length) % 64 != 0 && !b->failed) /* so that vectors of a mapped file are aligned */
        buffer_byte(b, ' ');
    if (!b->failed && b->length > HEADER_LIMIT)
        return error_run(err, "%s: too many tensors for one file", path);
    return b->failed ? error_nomem(err, path) : 0;
}

int tensors_create(const char *path, const struct tensor_out *list, size_t count, struct tensors_writer **out,
                   struct error *err) {
    struct tensors_writer *w = mem_zeros(1, sizeof(*w));
    struct buffer header = {0};
    unsigned char size[8];

    *out = NULL;
    if (w == NULL)
        return error_nomem(err, path);
    w->file.fd = -1;
    w->count = count;
    w->list = mem_array(count, sizeof(*w->list));
    w->left = mem_array(count, sizeof(*w->left));
    if (w->list == NULL || w->left == NULL) {
        error_nomem(err, path);
        goto failed;
    }
    if (count > 0)
        memcpy(w->list, list, count * sizeof(*list));
    if (build_header(list, w->left, count, &header, path, err) != 0)
        goto failed;
    for (unsigned i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)header.length >> 8 * i);
    if (file_begin(&w->file, path, err) != 0 || file_put(&w->file, size, sizeof(size), err) != 0 ||
        file_put(&w->file, header.data, header.length, err) != 0)
        goto failed;
    buffer_free(&header);
    *out = w;
    return 0;
failed:
    buffer_free(&header);
    tensors_abandon(w);
    return -1;
}

int tensors_put(struct tensors_writer *w, const void *data, uint64_t elements, uint32_t from, struct error *err) {
    enum { CHUNK = 4096 };
    unsigned char buffer[CHUNK * 4];
    const unsigned char *p = data;
    const uint32_t width = dtype_width(from);

    if (width == 0)
        return error_run(err, "%s: cannot write from dtype %u", w->file.path, from);
    while (w->at < w->count && w->left[w->at] == 0)
        w->at++;
    if (elements == 0)
        return 0;
    if (w->at >= w->count || elements > w->left[w->at])
        return error_run(err, "%s: more data than tensor %zu of %zu holds", w->file.path, w->at, w->count);
    w->left[w->at] -= elements;
    if (from == w->list[w->at].dtype)
        return file_put(&w->file, p, (size_t)elements * width, err);
    while (elements > 0) {
        const size_t step = elements < CHUNK ? (size_t)elements : CHUNK;
        dtype_convert(p, from, buffer, w->list[w->at].dtype, step);
        if (file_put(&w->file, buffer, step * dtype_width(w->list[w->at].dtype), err) != 0)
            return -1;
        p += step * width;
        elements -= step;
    }
    return 0;
}

int tensors_finish(struct tensors_writer *w, uint32_t *crc, struct error *err) {
    int rc = 0;

    for (size_t i = w->at; i < w->count && rc == 0; i++)
        if (w->left[i] != 0)
            rc = error_run(err, "%s: the data of tensor %zu of %zu is incomplete", w->file.path, i, w->count);
    if (crc != NULL)
        *crc = w->file.crc;
    if (rc == 0) {
        rc = file_commit(&w->file, err);
        memset(&w->file, 0, sizeof(w->file));
        w->file.fd = -1;
    }
    tensors_abandon(w);
    return rc;
}

void tensors_abandon(struct tensors_writer *w) {
    if (w == NULL)
        return;
    file_abort(&w->file);
    free(w->list);
    free(w->left);
    free(w);
}
