/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* renameat2 */
#include "train/checkpoint.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/tensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { MANIFEST_BYTES = 1 << 20, MAX_CHECKPOINTS = 4096, PIECE = 1 << 20 };
static const char manifest_name[] = "manifest.json";

/* ---- writing ------------------------------------------------------------ */

int checkpoint_begin(const char *folder, uint64_t step, struct checkpoint_writer *w, struct error *err) {
    struct buffer name = {0};

    *w = (struct checkpoint_writer){.files = json_array(), .parent = mem_strdup(folder)};
    buffer_printf(&name, "%s/checkpoint-%llu", folder, (unsigned long long)step);
    w->path = buffer_take(&name);
    buffer_printf(&name, "%s/checkpoint-%llu.tmp-%ld", folder, (unsigned long long)step, (long)getpid());
    w->temporary = buffer_take(&name);
    if (!w->files || !w->parent || !w->path || !w->temporary) {
        free(w->temporary); /* nothing is there to be removed */
        w->temporary = NULL;
        checkpoint_abort(w);
        return error_nomem(err, "checkpoint");
    }
    if (file_remove_tree(w->temporary, err) == 0 && file_make_folder(w->temporary, err) == 0)
        return 0;
    checkpoint_abort(w);
    return -1;
}

static int list_file(struct checkpoint_writer *w, const char *name, uint64_t bytes, uint32_t crc, struct error *err) {
    json_t *file = json_pack("{s:s, s:I, s:I}", "name", name, "bytes", (json_int_t)bytes, "crc32", (json_int_t)crc);

    return json_array_append_new(w->files, file) == 0 ? 0 : error_nomem(err, "checkpoint");
}

int checkpoint_put(struct checkpoint_writer *w, const char *name, const void *data, size_t length, struct error *err) {
    char *path = file_join(w->temporary, name);
    int rc = path == NULL ? error_nomem(err, "checkpoint") : file_write(path, data, length, err);

    free(path);
    return rc != 0 ? -1 : list_file(w, name, length, (uint32_t)crc32_z(crc32(0L, Z_NULL, 0), data, length), err);
}

static size_t elements(const struct optimizer_slot *slot) {
    return (size_t)(slot->param->w.rows * slot->param->w.cols);
}

/* One tensor of the file being written. */
struct put {
    struct tensors_writer *out;
    const char *name;
};

static int put_piece(void *ctx, const void *host, size_t count, struct error *err) {
    const struct put *p = ctx;
    const float *x = host;

    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i]))
            return error_run(err, "%s holds a number that is not finite: not saved", p->name);
    return tensors_put(p->out, host, count, REIN_F32, err);
}

static int put_tensor(struct tensors_writer *out, const struct optimizer *o, const struct optimizer_slot *slot,
                      const float *device, struct error *err) {
    struct put p = {out, slot->param->name};

    return backend_each_piece(o->backend, device, elements(slot), sizeof(float), put_piece, &p, err);
}

struct tensor_set {
    struct tensor_out *list;
    char (*names)[256];
    size_t count;
};

static void set_free(struct tensor_set *s) {
    free(s->list);
    free(s->names);
}

/* Declares `per` tensors for each parameter: its weights, or its two moments. */
static int set_plan(const struct optimizer *o, bool moments, struct tensor_set *s, struct error *err) {
    const size_t per = moments ? 2 : 1;

    *s = (struct tensor_set){.count = o->count * per};
    s->list = mem_zeros(s->count, sizeof(*s->list));
    s->names = mem_zeros(s->count, sizeof(*s->names));
    if (!s->list || !s->names) {
        set_free(s);
        return error_nomem(err, "checkpoint");
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct model_param *p = o->slots[i / per].param;

        snprintf(s->names[i], sizeof(s->names[i]), "%.230s%s", p->name,
                 !moments ? "" : i % 2 == 0 ? ".exp_avg" : ".exp_avg_sq");
        s->list[i] = (struct tensor_out){.name = s->names[i], .dtype = REIN_F32, .rank = 2,
                                         .shape = {p->w.rows, p->w.cols}};
    }
    return 0;
}

static int put_set(struct checkpoint_writer *w, const char *name, const struct optimizer *o, bool moments,
                   struct error *err) {
    char *path = file_join(w->temporary, name);
    struct tensors_writer *out = NULL;
    struct tensor_set set = {0};
    struct stat st;
    uint32_t crc = 0;
    int rc = -1;

    if (path == NULL)
        return error_nomem(err, "checkpoint");
    if (set_plan(o, moments, &set, err) != 0)
        goto done;
    if (tensors_create(path, set.list, set.count, &out, err) != 0)
        goto out;
    for (size_t i = 0; i < o->count; i++) {
        const struct optimizer_slot *slot = &o->slots[i];

        if (moments ? put_tensor(out, o, slot, slot->m, err) != 0 ||
                          put_tensor(out, o, slot, slot->v, err) != 0
                    : put_tensor(out, o, slot, param_master(slot->param), err) != 0) {
            tensors_abandon(out);
            goto out;
        }
    }
    if (tensors_finish(out, &crc, err) != 0)
        goto out;
    rc = stat(path, &st) != 0 ? error_errno_run(err, path, "cannot stat")
                              : list_file(w, name, (uint64_t)st.st_size, crc, err);
out:
    set_free(&set);
done:
    free(path);
    return rc;
}

int checkpoint_put_weights(struct checkpoint_writer *w, const char *name, const struct optimizer *o, struct error *err) {
    char file[64];

    snprintf(file, sizeof(file), "%.32s.safetensors", name);
    return put_set(w, file, o, false, err);
}

int checkpoint_put_optimizer(struct checkpoint_writer *w, const char *name, struct optimizer *o, struct error *err) {
    char file[64];

    if (checkpoint_put_weights(w, name, o, err) != 0 || optimizer_set_moments(o, err) != 0)
        return -1;
    snprintf(file, sizeof(file), "%.32s-adamw.safetensors", name);
    return put_set(w, file, o, true, err);
}

static int put_manifest(struct checkpoint_writer *w, struct error *err) {
    json_t *root = json_pack("{s:i, s:O}", "rein_checkpoint", 1, "files", w->files);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    char *path = file_join(w->temporary, manifest_name);
    int rc = text && path ? file_write(path, text, strlen(text), err) : error_nomem(err, "checkpoint");

    json_decref(root);
    free(text);
    free(path);
    return rc;
}

/* A checkpoint of this step may be there already, from before a stop: the two change places in one instant. */
static int put_in_place(const struct checkpoint_writer *w, struct error *err) {
    if (rename(w->temporary, w->path) == 0)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return error_errno_run(err, w->path, "cannot rename into place");
    if (renameat2(AT_FDCWD, w->temporary, AT_FDCWD, w->path, RENAME_EXCHANGE) != 0)
        return error_errno_run(err, w->path, "cannot replace the checkpoint of the same step");
    return file_remove_tree(w->temporary, err);
}

struct numbered {
    uint64_t steps[MAX_CHECKPOINTS];
    size_t count;
};

static int descending(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* The number in "checkpoint-N", and nothing else. */
static bool parse_name(const char *name, uint64_t *step) {
    static const char head[] = "checkpoint-";
    char *end;

    if (strncmp(name, head, sizeof(head) - 1) != 0 || name[sizeof(head) - 1] < '0' || name[sizeof(head) - 1] > '9')
        return false;
    errno = 0;
    *step = strtoull(name + sizeof(head) - 1, &end, 10);
    return errno == 0 && *end == '\0';
}

static int list_checkpoints(const char *folder, struct numbered *out, struct error *err) {
    DIR *dir = opendir(folder);
    struct dirent *entry;

    out->count = 0;
    if (dir == NULL)
        return errno == ENOENT ? 0 : error_errno_run(err, folder, "cannot open folder");
    while ((entry = readdir(dir)) != NULL && out->count < MAX_CHECKPOINTS)
        if (parse_name(entry->d_name, &out->steps[out->count]))
            out->count++;
    closedir(dir);
    qsort(out->steps, out->count, sizeof(*out->steps), descending);
    return 0;
}

static char *numbered_path(const char *folder, uint64_t step) {
    struct buffer b = {0};

    buffer_printf(&b, "%s/checkpoint-%llu", folder, (unsigned long long)step);
    return buffer_take(&b);
}

/* Old ones go only after the new one lasts. One that cannot be removed is no reason to fail. */
static void remove_old(const char *folder, int64_t keep) {
    struct numbered *all = mem_zeros(1, sizeof(*all));

    if (all == NULL)
        return;
    if (list_checkpoints(folder, all, NULL) == 0)
        for (size_t i = (size_t)keep; i < all->count; i++) {
            char *path = numbered_path(folder, all->steps[i]);
            struct error why = {0};

            if (path != NULL && file_remove_tree(path, &why) != 0)
                log_warn("%s", why.text);
            free(path);
        }
    free(all);
}

int checkpoint_commit(struct checkpoint_writer *w, int64_t keep, struct error *err) {
    int rc = -1;

    if (put_manifest(w, err) == 0 && file_sync_folder(w->temporary, err) == 0 && put_in_place(w, err) == 0) {
        free(w->temporary);
        w->temporary = NULL;
        rc = file_sync_folder(w->parent, err);
        if (rc == 0)
            remove_old(w->parent, keep);
    }
    checkpoint_abort(w);
    return rc;
}

void checkpoint_abort(struct checkpoint_writer *w) {
    if (w->temporary != NULL)
        file_remove_tree(w->temporary, NULL);
    free(w->parent);
    free(w->path);
    free(w->temporary);
    json_decref(w->files);
    *w = (struct checkpoint_writer){0};
}

/* ---- reading ------------------------------------------------------------ */

/* What is read is let go at once: a checkpoint is larger than the model. */
static json_int_t checksum(const struct file_map *map) {
    uLong crc = crc32(0L, Z_NULL, 0);

    for (size_t at = 0; at < map->length; at += PIECE) {
        const size_t n = map->length - at < PIECE ? map->length - at : PIECE;

        crc = crc32_z(crc, map->data + at, n);
        file_map_forget(map, at, n);
    }
    return (json_int_t)crc;
}

static int verify_file(const char *folder, const json_t *file, struct error *err) {
    const char *name = json_string_value(json_object_get(file, "name"));
    const json_int_t bytes = json_integer_value(json_object_get(file, "bytes"));
    const json_int_t crc = json_integer_value(json_object_get(file, "crc32"));
    struct file_map map;
    char *path;
    int rc;

    if (name == NULL || strchr(name, '/') != NULL)
        return error_run(err, "%s: the manifest is damaged", folder);
    path = file_join(folder, name);
    if (path == NULL)
        return error_nomem(err, folder);
    rc = file_map_open(path, &map, err);
    if (rc == 0) {
        if ((json_int_t)map.length != bytes)
            rc = error_run(err, "%s: has %zu bytes instead of %lld", path, map.length, (long long)bytes);
        else if (checksum(&map) != crc)
            rc = error_run(err, "%s: its checksum is wrong", path);
        file_map_close(&map);
    }
    free(path);
    return rc;
}

static int verify(const char *folder, struct error *err) {
    char *path = file_join(folder, manifest_name), *text;
    size_t length;
    const json_t *files;
    json_t *root;
    int rc = 0;

    text = path ? file_read(path, MANIFEST_BYTES, &length, err) : NULL;
    free(path);
    if (text == NULL)
        return -1;
    root = json_loadb(text, length, 0, NULL);
    free(text);
    files = json_object_get(root, "files");
    if (json_integer_value(json_object_get(root, "rein_checkpoint")) != 1 || !json_is_array(files) ||
        json_array_size(files) == 0)
        rc = error_run(err, "%s: the manifest is damaged", folder);
    for (size_t i = 0; rc == 0 && i < json_array_size(files); i++)
        rc = verify_file(folder, json_array_get(files, i), err);
    json_decref(root);
    return rc;
}

int checkpoint_find(const char *folder, char **path, struct error *err) {
    struct numbered *all = mem_zeros(1, sizeof(*all));
    int rc = -1;

    *path = NULL;
    if (all == NULL)
        return error_nomem(err, "checkpoints");
    if (list_checkpoints(folder, all, err) != 0)
        goto out;
    rc = 0;
    for (size_t i = 0; rc == 0 && i < all->count; i++) {
        struct error why = {0};

        *path = numbered_path(folder, all->steps[i]);
        if (*path == NULL)
            rc = error_nomem(err, "checkpoints");
        else if (verify(*path, &why) == 0)
            break;
        else
            log_warn("CHECKPOINT DAMAGED, going back to an earlier one: %s", why.text);
        free(*path);
        *path = NULL;
    }
out:
    free(all);
    return rc;
}

int checkpoint_get(const char *path, const char *name, char **data, size_t *length, struct error *err) {
    char *file = file_join(path, name);

    *data = file ? file_read(file, (size_t)1 << 40, length, err) : NULL;
    if (file == NULL)
        error_nomem(err, name);
    free(file);
    return *data ? 0 : -1;
}

static int get_tensor(const struct tensors *t, const char *name, const struct optimizer *o,
                      const struct optimizer_slot *slot, float *device, struct error *err) {
    const struct tensor_info *info = tensors_find(t, name);
    const size_t n = elements(slot);
    float *host;
    int rc;

    if (info == NULL || info->elements != n)
        return error_input(err, "%s: has no tensor %s of %zu numbers: it is of another model", tensors_path(t), name, n);
    host = mem_array(n < PIECE ? n : PIECE, sizeof(*host));
    rc = host ? 0 : error_nomem(err, "checkpoint");
    for (size_t at = 0; rc == 0 && at < n; at += PIECE) {
        const size_t count = n - at < PIECE ? n - at : PIECE;

        rc = tensors_read(t, info, at, count, REIN_F32, host, err) ||
             backend_upload(o->backend, device + at, host, count * sizeof(*host), err) || backend_sync(o->backend, err);
    }
    tensors_forget(t, info);
    free(host);
    return rc ? -1 : 0;
}

static int get_set(const char *path, const char *name, bool moments, struct optimizer *o, struct error *err) {
    char *file = file_join(path, name);
    struct tensors *t = NULL;
    int rc = 0;

    if (file == NULL)
        return error_nomem(err, "checkpoint");
    if (tensors_open(file, &t, err) != 0) {
        free(file);
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < o->count; i++) {
        struct optimizer_slot *slot = &o->slots[i];
        char full[256];

        snprintf(full, sizeof(full), "%.230s%s", slot->param->name, moments ? ".exp_avg" : "");
        rc = get_tensor(t, full, o, slot, moments ? slot->m : param_master(slot->param), err);
        if (rc == 0 && !moments)
            rc = param_round(o->backend, slot->param, err);
        if (rc == 0 && moments) {
            snprintf(full, sizeof(full), "%.230s.exp_avg_sq", slot->param->name);
            rc = get_tensor(t, full, o, slot, slot->v, err);
            slot->moments_set = rc == 0;
        }
    }
    tensors_close(t);
    free(file);
    return rc;
}

int checkpoint_get_weights(const char *path, const char *name, struct optimizer *o, struct error *err) {
    char file[64];

    snprintf(file, sizeof(file), "%.32s.safetensors", name);
    return get_set(path, file, false, o, err);
}

int checkpoint_get_optimizer(const char *path, const char *name, struct optimizer *o, struct error *err) {
    char file[64];

    if (checkpoint_get_weights(path, name, o, err) != 0)
        return -1;
    snprintf(file, sizeof(file), "%.32s-adamw.safetensors", name);
    return get_set(path, file, true, o, err);
}

int checkpoint_clean(const char *folder, struct error *err) {
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int rc = 0;

    if (dir == NULL)
        return errno == ENOENT ? 0 : error_errno_run(err, folder, "cannot open folder");
    while (rc == 0 && (entry = readdir(dir)) != NULL)
        if (strstr(entry->d_name, ".tmp-") != NULL) {
            char *path = file_join(folder, entry->d_name);

            rc = path ? file_remove_tree(path, err) : error_nomem(err, folder);
            free(path);
        }
    closedir(dir);
    return rc;
}
