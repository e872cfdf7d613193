/* SPDX-License-Identifier: MIT */
#include "cli/inspect_checkpoint.h"

#include "base/file.h"
#include "cli/show.h"
#include "model/json_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *text, const char *tail) {
    const size_t a = strlen(text), b = strlen(tail);

    return a >= b && strcmp(text + a - b, tail) == 0;
}

bool inspect_is_checkpoint(const char *folder) {
    char *path = file_join(folder, "manifest.json");
    const bool there = path != NULL && file_is_folder(folder) && file_exists(path);

    free(path);
    return there;
}

/* A file of the manifest: its size must be the promised one, and a .safetensors must be well-formed. */
static int open_file(const char *folder, const json_t *entry, struct tensors **tensors, struct error *err) {
    const char *name = json_string_value(json_object_get(entry, "name"));
    struct file_map map;
    char *path;
    int rc;

    *tensors = NULL;
    if (name == NULL || strchr(name, '/') != NULL || !json_is_integer(json_object_get(entry, "bytes")))
        return error_input(err, "%s: the manifest is damaged", folder);
    path = file_join(folder, name);
    if (path == NULL)
        return error_nomem(err, folder);
    rc = file_map_open(path, &map, err);
    if (rc == 0) {
        if ((json_int_t)map.length != json_integer_value(json_object_get(entry, "bytes")))
            rc = error_input(err, "%s: has %zu bytes instead of %" JSON_INTEGER_FORMAT, path, map.length,
                             json_integer_value(json_object_get(entry, "bytes")));
        file_map_close(&map);
    }
    if (rc == 0 && ends_with(name, ".safetensors"))
        rc = tensors_open(path, tensors, err);
    free(path);
    return rc;
}

static void print_file(const json_t *entry, const struct tensors *t) {
    printf("file        ");
    show_safe(json_string_value(json_object_get(entry, "name")), 80);
    printf(", %" JSON_INTEGER_FORMAT " bytes", json_integer_value(json_object_get(entry, "bytes")));
    if (t != NULL)
        printf(", %zu tensors, %" PRIu64 " elements", tensors_count(t), show_elements(t));
    printf("\n");
    if (t != NULL)
        show_tensors(t);
}

static json_t *file_json(const json_t *entry, const struct tensors *t) {
    json_t *o =
        json_pack("{s:O, s:O}", "name", json_object_get(entry, "name"), "bytes", json_object_get(entry, "bytes"));

    if (t != NULL && json_object_set_new(o, "tensors", show_tensors_json(t)) != 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static int print_list(const char *folder, json_t *list, struct error *err) {
    json_t *o = json_pack("{s:s, s:s, s:O}", "path", folder, "format", "checkpoint", "files", list);
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;

    json_decref(o);
    if (text == NULL)
        return error_nomem(err, folder);
    printf("%s\n", text);
    free(text);
    return 0;
}

/* Twice over the files, so that nothing is printed of a checkpoint that is broken. */
static int show_files(const char *folder, const json_t *files, bool json, struct error *err) {
    json_t *list = json_array();
    struct tensors *t;
    int rc = list ? 0 : error_nomem(err, folder);

    for (size_t i = 0; rc == 0 && i < json_array_size(files); i++) {
        rc = open_file(folder, json_array_get(files, i), &t, err);
        if (rc == 0 && json_array_append_new(list, file_json(json_array_get(files, i), t)) != 0)
            rc = error_nomem(err, folder);
        tensors_close(t);
    }
    if (rc == 0 && json)
        rc = print_list(folder, list, err);
    else if (rc == 0)
        printf("format      checkpoint\n");
    for (size_t i = 0; rc == 0 && !json && i < json_array_size(files); i++) {
        rc = open_file(folder, json_array_get(files, i), &t, err);
        if (rc == 0)
            print_file(json_array_get(files, i), t);
        tensors_close(t);
    }
    json_decref(list);
    return rc;
}

int inspect_checkpoint(const char *folder, bool json, struct error *err) {
    char *path = file_join(folder, "manifest.json");
    json_t *root = path ? json_read_file(path, err) : NULL;
    const json_t *files = json_object_get(root, "files");
    int rc = -1;

    if (path == NULL)
        error_nomem(err, folder);
    else if (root != NULL && (!json_is_integer(json_object_get(root, "rein_checkpoint")) || !json_is_array(files)))
        error_input(err, "%s: not the manifest of a checkpoint", path);
    else if (root != NULL)
        rc = show_files(folder, files, json, err);
    json_decref(root);
    free(path);
    return rc;
}
