/* SPDX-License-Identifier: MIT */
#include "model/tensors.h"

#include "base/file.h"
#include "model/dtype.h"
#include "model/gguf.h"
#include "model/gguf_model.h"
#include "model/gguf_quant.h"
#include "model/gguf_tokenizer.h"
#include "model/json_read.h"
#include "model/safetensors.h"
#include "model/tensor_table.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { SHARD_LIMIT = 4096 };

struct tensors {
    char *path;
    struct file_map *maps;
    size_t nmaps;
    struct tensor_table table;
    json_t *metadata;
    struct gguf *gguf; /* NULL for safetensors */
};

/* ---- sharded safetensors --------------------------------------------------------------------------------------- */

/* A shard is named by a file that came from elsewhere: it must be a plain name, and what it resolves to must lie in the
 * folder. The one exception is the Hugging Face cache, whose snapshots/REVISION/ links to blobs/ beside snapshots/. */
static int check_shard(const char *folder, const char *path, const char *name, struct error *err) {
    char *real_folder = realpath(folder, NULL), *real = realpath(path, NULL);
    char *up = NULL;
    size_t length;
    int rc = 0;

    if (real_folder == NULL || real == NULL) {
        rc = error_errno_input(err, path, "cannot open the shard that the index names");
        goto out;
    }
    length = strlen(real_folder);
    if (strncmp(real, real_folder, length) == 0 && real[length] == '/')
        goto out;
    for (char *slash = strrchr(real_folder, '/'); slash != NULL && up == NULL; slash = NULL) {
        *slash = '\0';
        if ((slash = strrchr(real_folder, '/')) == NULL || strcmp(slash, "/snapshots") != 0)
            break;
        *slash = '\0';
        up = file_join(real_folder, "blobs/");
    }
    if (up == NULL || strncmp(real, up, strlen(up)) != 0)
        rc = error_input(err, "%s: shard '%s' leads out of the folder", folder, name);
out:
    free(real_folder);
    free(real);
    free(up);
    return rc;
}

static int open_map(struct tensors *t, const char *path, struct error *err) {
    size_t capacity = t->nmaps;

    if (mem_grow((void **)&t->maps, &capacity, t->nmaps + 1, sizeof(*t->maps)) != 0)
        return error_nomem(err, path);
    if (file_map_open(path, &t->maps[t->nmaps], err) != 0)
        return -1;
    t->nmaps++;
    return 0;
}

static int open_shard(struct tensors *t, const char *folder, const char *name, const json_t *map, struct error *err) {
    char *path = NULL;
    size_t first = t->table.count;
    int rc = -1;

    if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL || strchr(name, '\\') != NULL)
        return error_input(err, "%s: shard '%s' is not a plain file name", t->path, name);
    path = file_join(folder, name);
    if (path == NULL)
        return error_nomem(err, t->path);
    if (check_shard(folder, path, name, err) != 0 || open_map(t, path, err) != 0 ||
        safetensors_parse(t->maps[t->nmaps - 1].data, t->maps[t->nmaps - 1].length, path, &t->table, NULL, err) != 0)
        goto out;
    for (; first < t->table.count; first++) {
        const char *tensor = t->table.entries[first].info.name;
        const char *where = json_string_value(json_object_get(map, tensor));
        if (where == NULL || strcmp(where, name) != 0) {
            error_input(err, "%s: tensor '%s' is in '%s' but weight_map %s%s%s", t->path, tensor, name,
                        where ? "puts it into '" : "does not know it", where ? where : "", where ? "'" : "");
            goto out;
        }
    }
    rc = 0;
out:
    free(path);
    return rc;
}

static int open_shards(struct tensors *t, const char *folder, const json_t *map, struct error *err) {
    json_t *seen = json_object(), *value;
    const char *tensor;
    int rc = seen ? 0 : error_nomem(err, t->path);

    json_object_foreach((json_t *)(uintptr_t)map, tensor, value) {
        const char *name = json_string_value(value);
        if (rc != 0)
            break;
        if (name == NULL)
            rc = error_input(err, "%s: weight_map: '%s' must name a file", t->path, tensor);
        else if (json_object_get(seen, name) != NULL)
            continue;
        else if (json_object_size(seen) >= SHARD_LIMIT)
            rc = error_input(err, "%s: more than %d shards", t->path, SHARD_LIMIT);
        else if (json_object_set_new(seen, name, json_true()) != 0)
            rc = error_nomem(err, t->path);
        else
            rc = open_shard(t, folder, name, map, err);
    }
    json_decref(seen);
    return rc;
}

static int open_index(struct tensors *t, const char *folder, struct error *err) {
    json_t *root = json_read_file(t->path, err), *map, *value;
    const char *name;
    int rc = -1;

    if (root == NULL)
        return -1;
    map = json_object_get(root, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0) {
        error_input(err, "%s: 'weight_map' must be an object that names the tensors' files", t->path);
        goto out;
    }
    t->metadata =
        json_is_object(json_object_get(root, "metadata")) ? json_incref(json_object_get(root, "metadata")) : NULL;
    if (open_shards(t, folder, map, err) != 0 || table_index(&t->table, t->path, err) != 0)
        goto out;
    json_object_foreach(map, name, value) if (table_find(&t->table, name) == NULL) {
        error_input(err, "%s: tensor '%s' is not in its shard '%s'", t->path, name, json_string_value(value));
        goto out;
    }
    rc = 0;
out:
    json_decref(root);
    return rc;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

static int open_gguf(struct tensors *t, const struct file_map *map, struct error *err) {
    t->gguf = mem_zeros(1, sizeof(*t->gguf));
    if (t->gguf == NULL)
        return error_nomem(err, t->path);
    if (gguf_parse(map->data, map->length, t->path, t->gguf, &t->table, err) != 0)
        return -1;
    return gguf_translate(t->gguf, &t->table, err);
}

static int open_single(struct tensors *t, struct error *err) {
    const struct file_map *map;
    const char *dot = strrchr(t->path, '.');
    int rc;

    if (open_map(t, t->path, err) != 0)
        return -1;
    map = &t->maps[0];
    if ((dot != NULL && strcmp(dot, ".gguf") == 0) || (map->length >= 4 && memcmp(map->data, "GGUF", 4) == 0))
        rc = open_gguf(t, map, err);
    else
        rc = safetensors_parse(map->data, map->length, t->path, &t->table, &t->metadata, err);
    return rc == 0 ? table_index(&t->table, t->path, err) : -1;
}

static int open_folder(struct tensors *t, const char *folder, struct error *err) {
    char *single = file_join(folder, "model.safetensors"), *index = file_join(folder, "model.safetensors.index.json");
    char *torch = file_join(folder, "pytorch_model.bin");
    int rc = -1;

    if (single == NULL || index == NULL || torch == NULL) {
        error_nomem(err, folder);
    } else if (file_exists(single)) {
        t->path = single;
        single = NULL;
        rc = open_single(t, err);
    } else if (file_exists(index)) {
        t->path = index;
        index = NULL;
        rc = open_index(t, folder, err);
    } else {
        error_input(err, "%s: has neither model.safetensors nor model.safetensors.index.json%s", folder,
                    file_exists(torch) ? "; pytorch_model.bin is not read, save the model with safe_serialization"
                                       : "");
    }
    free(single);
    free(index);
    free(torch);
    return rc;
}

int tensors_open(const char *path, struct tensors **out, struct error *err) {
    struct tensors *t = mem_zeros(1, sizeof(*t));
    int rc;

    *out = NULL;
    if (t == NULL)
        return error_nomem(err, path);
    if (file_is_folder(path)) {
        rc = open_folder(t, path, err);
    } else {
        t->path = mem_strdup(path);
        rc = t->path ? open_single(t, err) : error_nomem(err, path);
    }
    if (rc != 0) {
        tensors_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

void tensors_close(struct tensors *t) {
    if (t == NULL)
        return;
    if (t->gguf != NULL)
        gguf_free(t->gguf);
    free(t->gguf);
    table_free(&t->table);
    for (size_t i = 0; i < t->nmaps; i++)
        file_map_close(&t->maps[i]);
    free(t->maps);
    free(t->path);
    json_decref(t->metadata);
    free(t);
}

size_t tensors_count(const struct tensors *t) {
    return t->table.count;
}

const struct tensor_info *tensors_at(const struct tensors *t, size_t index) {
    return &t->table.entries[index].info;
}

const struct tensor_info *tensors_find(const struct tensors *t, const char *name) {
    const struct tensor_entry *entry = table_find(&t->table, name);
    return entry ? &entry->info : NULL;
}

bool tensors_is_gguf(const struct tensors *t) {
    return t->gguf != NULL;
}

const char *tensors_path(const struct tensors *t) {
    return t->path;
}

int tensors_config(const struct tensors *t, struct model_config *out, struct error *err) {
    if (t->gguf == NULL)
        return error_run(err, "%s: only GGUF files hold a config", t->path);
    return gguf_config(t->gguf, &t->table, out, err);
}

int tensors_tokenizer(const struct tensors *t, char **json, char **config, struct error *err) {
    *json = *config = NULL;
    if (t->gguf == NULL)
        return error_run(err, "%s: only GGUF files hold a tokenizer", t->path);
    return gguf_tokenizer(t->gguf, json, config, err);
}

json_t *tensors_metadata(const struct tensors *t) {
    if (t->gguf != NULL)
        return gguf_metadata(t->gguf);
    return t->metadata ? json_incref(t->metadata) : json_object();
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Elements that lie side by side in the file. */
static void read_run(const struct tensor_entry *e, uint64_t first, uint64_t count, uint32_t dtype, void *out) {
    enum { CHUNK = 4096 };
    const struct gguf_quant *q;
    unsigned char *to = out;
    float values[CHUNK];

    if (e->storage == STORED_PLAIN) {
        dtype_convert(e->data + first * dtype_width(e->info.dtype), e->info.dtype, out, dtype, (size_t)count);
        return;
    }
    q = gguf_quant_find(e->type);
    if (dtype == REIN_F32 && (uintptr_t)out % sizeof(float) == 0) {
        gguf_quant_read(q, e->data, first, count, out);
        return;
    }
    while (count > 0) {
        const uint64_t step = count < CHUNK ? count : CHUNK;
        gguf_quant_read(q, e->data, first, step, values);
        dtype_convert(values, REIN_F32, to, dtype, (size_t)step);
        first += step;
        count -= step;
        to += step * dtype_width(dtype);
    }
}

/* llama.cpp's converter stores row p d/2 + j of a head (d rows, p = 0, 1) as row 2 j + p, so that rope's pairs lie side
 * by side (convert_hf_to_gguf.py, LlamaModel.permute). */
static int64_t stored_row(const struct tensor_entry *e, int64_t row) {
    const int64_t d = e->info.shape[0] / e->permuted_heads, within = row % d, half = d / 2;

    return row - within + 2 * (within % half) + within / half;
}

int tensors_read(const struct tensors *t, const struct tensor_info *info, uint64_t first, uint64_t count,
                 uint32_t dtype, void *out, struct error *err) {
    const struct tensor_entry *entry = (const struct tensor_entry *)info;
    unsigned char *to = out;
    uint64_t width;

    if (first > info->elements || count > info->elements - first || dtype_width(dtype) == 0)
        return error_run(
            err, "%s: tensor '%s': %" PRIu64 " elements from %" PRIu64 " of %" PRIu64 " cannot be read as type %u",
            t->path, info->name, count, first, info->elements, dtype);
    if (entry->storage == STORED_NONE)
        return error_input(err, "%s: tensor '%s' is of type %s, which cannot be read as weights", t->path, info->name,
                           info->type);
    if (entry->permuted_heads == 0) {
        read_run(entry, first, count, dtype, out);
        return 0;
    }
    width = info->elements / (uint64_t)info->shape[0];
    while (count > 0) {
        const uint64_t row = first / width, column = first % width;
        const uint64_t step = count < width - column ? count : width - column;
        read_run(entry, (uint64_t)stored_row(entry, (int64_t)row) * width + column, step, dtype, to);
        first += step;
        count -= step;
        to += step * dtype_width(dtype);
    }
    return 0;
}

const void *tensors_data(const struct tensors *t, const struct tensor_info *info) {
    const struct tensor_entry *entry = (const struct tensor_entry *)info;

    (void)t;
    if (entry->storage != STORED_PLAIN || entry->permuted_heads > 0 ||
        (uintptr_t)entry->data % dtype_width(info->dtype) != 0)
        return NULL;
    return entry->data;
}

void tensors_forget(const struct tensors *t, const struct tensor_info *info) {
    const struct tensor_entry *entry = (const struct tensor_entry *)info;

    for (size_t i = 0; i < t->nmaps; i++) {
        const struct file_map *map = &t->maps[i];

        if (entry->data >= map->data && entry->data < map->data + map->length)
            file_map_forget(map, (size_t)(entry->data - map->data), (size_t)info->bytes);
    }
}

bool tensors_same(const struct tensors *a, const struct tensors *b) {
    bool same = strcmp(a->path, b->path) == 0 && a->nmaps == b->nmaps;

    for (size_t i = 0; same && i < a->nmaps; i++) {
        const struct file_identity *x = &a->maps[i].of, *y = &b->maps[i].of;

        same = x->device == y->device && x->inode == y->inode && x->seconds == y->seconds &&
               x->nanoseconds == y->nanoseconds && a->maps[i].length == b->maps[i].length;
    }
    return same;
}

static uint32_t entry_crc(const struct tensor_entry *e) {
    const uint64_t bytes = e->info.bytes;
    uLong crc = crc32_z(0, (const void *)e->info.name, strlen(e->info.name));

    crc = crc32_z(crc, (const void *)e->info.type, strlen(e->info.type));
    crc = crc32_z(crc, (const void *)e->info.shape, e->info.rank * sizeof(*e->info.shape));
    if (bytes <= TENSORS_SAMPLES * TENSORS_BLOCK)
        return (uint32_t)crc32_z(crc, e->data, (size_t)bytes);
    for (uint64_t i = 0; i < TENSORS_SAMPLES; i++) /* from the first byte to the last */
        crc = crc32_z(crc, e->data + (bytes - TENSORS_BLOCK) * i / (TENSORS_SAMPLES - 1), TENSORS_BLOCK);
    return (uint32_t)crc;
}

uint32_t tensors_sum(const struct tensors *t) {
    uint32_t sum = 0;

    for (size_t i = 0; i < t->table.count; i++) {
        sum += entry_crc(&t->table.entries[i]);
        tensors_forget(t, &t->table.entries[i].info);
    }
    return sum;
}
