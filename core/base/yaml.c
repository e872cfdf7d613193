/* SPDX-License-Identifier: MIT */
#include "base/yaml.h"

#include "base/file.h"
#include "base/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum {
    FILE_LIMIT = 1 << 20,
    SCALAR_LIMIT = 64 << 10,
    KEY_LIMIT = 256,
    DEPTH_LIMIT = 32,
    NODE_LIMIT = 10000,
};

struct reader {
    yaml_parser_t parser;
    struct arena *arena;
    const char *file;
    bool lines;              /* nodes know their line (not so for --set) */
    size_t nodes, depth;
    struct error *err;
};

static int at_mark(struct reader *r, yaml_mark_t mark, const char *text) {
    return error_at(r->err, r->file, r->lines ? mark.line + 1 : 0, mark.column + 1, "%s", text);
}

static int next_event(struct reader *r, yaml_event_t *event) {
    const yaml_parser_t *p = &r->parser;
    char text[256];

    if (yaml_parser_parse(&r->parser, event))
        return 0;
    if (p->error == YAML_MEMORY_ERROR)
        return error_nomem(r->err, r->file);
    if (p->error == YAML_READER_ERROR)
        return error_input(r->err, "%s: byte %zu: not YAML: %s", r->file, p->problem_offset,
                           p->problem ? p->problem : "bad encoding");
    snprintf(text, sizeof(text), "not YAML: %s%s%s", p->problem ? p->problem : "syntax error", p->context ? " " : "",
             p->context ? p->context : "");
    return at_mark(r, p->problem_mark, text);
}

static struct node *new_node(struct reader *r, enum node_type type, yaml_mark_t mark) {
    struct node *n;

    if (++r->nodes > NODE_LIMIT) {
        at_mark(r, mark, "more than 10000 values in one file");
        return NULL;
    }
    n = arena_alloc(r->arena, sizeof(*n));
    if (n == NULL) {
        error_nomem(r->err, r->file);
        return NULL;
    }
    n->type = type;
    n->file = r->file;
    n->line = r->lines ? mark.line + 1 : 0;
    n->column = mark.column + 1;
    return n;
}

static struct node *read_scalar(struct reader *r, const yaml_event_t *e) {
    const char *text = (const char *)e->data.scalar.value;
    const size_t length = e->data.scalar.length;
    struct node *n;

    if (length > SCALAR_LIMIT) {
        at_mark(r, e->start_mark, "a value longer than 64 KiB");
        return NULL;
    }
    if (memchr(text, '\0', length) != NULL) {
        at_mark(r, e->start_mark, "a value with a NUL character");
        return NULL;
    }
    n = new_node(r, NODE_SCALAR, e->start_mark);
    if (n == NULL)
        return NULL;
    n->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    n->text = arena_strndup(r->arena, text, length);
    if (n->text == NULL)
        error_nomem(r->err, r->file);
    return n->text ? n : NULL;
}

static struct node *read_node(struct reader *r, const yaml_event_t *e);

static int check_key(struct reader *r, const struct node *key, struct node *const *keys, size_t count) {
    if (key->type != NODE_SCALAR)
        return node_error(key, r->err, "a key must be a word, got %s",
                          key->type == NODE_SEQUENCE ? "a list" : "a mapping");
    if (strlen(key->text) > KEY_LIMIT)
        return node_error(key, r->err, "a key longer than 256 characters");
    if (key->plain && strcmp(key->text, "<<") == 0)
        return node_error(key, r->err, "merge keys (<<) are not supported");
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i]->text, key->text) == 0)
            return node_error(key, r->err, "key '%s' is given twice (first in line %zu)", key->text, keys[i]->line);
    return 0;
}

/* Moves the collected pointers into the arena; the temporary is freed in any case. */
static int keep(struct reader *r, struct node **from, size_t count, struct node ***to) {
    *to = arena_alloc(r->arena, (count ? count : 1) * sizeof(**to));
    if (*to == NULL)
        return error_nomem(r->err, r->file);
    if (count)
        memcpy(*to, from, count * sizeof(**to));
    return 0;
}

/* Reads up to the collection's end event. Recursion is bounded by DEPTH_LIMIT. */
static int read_items(struct reader *r, struct node *n, yaml_event_type_t end) {
    struct node **keys = NULL, **items = NULL;
    size_t kcap = 0, icap = 0, count = 0;
    bool want_key = n->type == NODE_MAPPING;
    int rc = -1;

    for (;;) {
        yaml_event_t e;
        struct node *child;

        if (next_event(r, &e) != 0)
            break;
        if (e.type == end) {
            yaml_event_delete(&e);
            n->count = count;
            rc = keep(r, items, count, &n->items);
            if (rc == 0 && n->type == NODE_MAPPING)
                rc = keep(r, keys, count, &n->keys);
            break;
        }
        child = read_node(r, &e);
        yaml_event_delete(&e);
        if (child == NULL)
            break;
        if (mem_grow((void **)&items, &icap, count + 1, sizeof(*items)) != 0 ||
            mem_grow((void **)&keys, &kcap, count + 1, sizeof(*keys)) != 0) {
            error_nomem(r->err, r->file);
            break;
        }
        if (want_key) {
            if (check_key(r, child, keys, count) != 0)
                break;
            keys[count] = child;
        } else {
            items[count++] = child;
        }
        want_key = n->type == NODE_MAPPING && !want_key;
    }
    free(keys);
    free(items);
    return rc;
}

static struct node *read_collection(struct reader *r, const yaml_event_t *e, enum node_type type) {
    struct node *n = new_node(r, type, e->start_mark);

    if (n == NULL)
        return NULL;
    if (++r->depth > DEPTH_LIMIT) {
        at_mark(r, e->start_mark, "nested more than 32 deep");
        return NULL;
    }
    if (read_items(r, n, type == NODE_MAPPING ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT) != 0)
        return NULL;
    r->depth--;
    return n;
}

static struct node *read_node(struct reader *r, const yaml_event_t *e) {
    const yaml_char_t *anchor = NULL, *tag = NULL;

    switch (e->type) {
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
        break;
    case YAML_ALIAS_EVENT:
        at_mark(r, e->start_mark, "aliases (*name) are not supported");
        return NULL;
    default:
        at_mark(r, e->start_mark, "not YAML: a value is missing");
        return NULL;
    }
    if (anchor != NULL || tag != NULL) {
        at_mark(r, e->start_mark, anchor ? "anchors (&name) are not supported" : "tags (!name) are not supported");
        return NULL;
    }
    if (e->type == YAML_SCALAR_EVENT)
        return read_scalar(r, e);
    return read_collection(r, e, e->type == YAML_MAPPING_START_EVENT ? NODE_MAPPING : NODE_SEQUENCE);
}

/* The stream's only document. *out is NULL when there is nothing but comments. */
static int read_stream(struct reader *r, struct node **out) {
    yaml_event_t e;
    int documents = 0;

    *out = NULL;
    for (;;) {
        yaml_event_type_t type;
        int rc = 0;

        if (next_event(r, &e) != 0)
            return -1;
        type = e.type;
        if (type == YAML_DOCUMENT_START_EVENT) {
            if (documents++ > 0)
                rc = at_mark(r, e.start_mark, "a second document (---) in one file");
            else if (e.data.document_start.tag_directives.start != e.data.document_start.tag_directives.end)
                rc = at_mark(r, e.start_mark, "%TAG directives are not supported");
        } else if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT && type != YAML_DOCUMENT_END_EVENT) {
            *out = read_node(r, &e);
            rc = *out ? 0 : -1;
        }
        yaml_event_delete(&e);
        if (rc != 0 || type == YAML_STREAM_END_EVENT)
            return rc;
    }
}

/* The event interface is asked for one event at a time, so that the limit of depth stops the
 * scanner before its quadratic handling of flow collections is felt (libyaml 0.2.5 has no limit of its own). */
static int read_text(const char *text, size_t length, const char *file, bool lines, struct arena *arena,
                     struct node **out, struct error *err) {
    struct reader r = {.arena = arena, .file = file, .lines = lines, .err = err};
    int rc;

    if (!yaml_parser_initialize(&r.parser))
        return error_nomem(err, file);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
    rc = read_stream(&r, out);
    yaml_parser_delete(&r.parser);
    return rc;
}

int yaml_parse(const char *text, size_t length, const char *name, struct document *out, struct error *err) {
    memset(out, 0, sizeof(*out));
    if (length > FILE_LIMIT)
        return error_input(err, "%s: more than 1 MiB of YAML", name);
    out->file = arena_strdup(&out->arena, name);
    if (out->file == NULL)
        return error_nomem(err, name);
    if (read_text(text, length, out->file, true, &out->arena, &out->root, err) != 0)
        goto fail;
    if (out->root == NULL || out->root->type != NODE_MAPPING) {
        if (out->root == NULL)
            error_input(err, "%s: there is nothing in it", name);
        else
            node_error(out->root, err, "expected a mapping (key: value)");
        goto fail;
    }
    return 0;
fail:
    yaml_free(out);
    return -1;
}

int yaml_load(const char *path, struct document *out, struct error *err) {
    size_t length;
    char *text = file_read(path, FILE_LIMIT, &length, err);
    int rc;

    memset(out, 0, sizeof(*out));
    if (text == NULL)
        return -1;
    rc = yaml_parse(text, length, path, out, err);
    free(text);
    return rc;
}

void yaml_free(struct document *doc) {
    arena_free(&doc->arena);
    memset(doc, 0, sizeof(*doc));
}

struct node *yaml_value(struct arena *arena, const char *text, const char *name, struct error *err) {
    struct node *n = NULL;
    const char *file = arena_strdup(arena, name);

    if (file == NULL) {
        error_nomem(err, name);
        return NULL;
    }
    if (read_text(text, strlen(text), file, false, arena, &n, err) != 0)
        return NULL;
    if (n == NULL) { /* nothing is a value too: null */
        n = arena_alloc(arena, sizeof(*n));
        if (n == NULL) {
            error_nomem(err, name);
            return NULL;
        }
        n->type = NODE_SCALAR;
        n->file = file;
        n->text = "";
        n->plain = true;
    }
    return n;
}

/* ---- --set ------------------------------------------------------------------------- */

static struct node *find_stage(const struct node *root, const char *name) {
    const struct node *stages = node_get(root, "stages");

    for (size_t i = 0; stages && stages->type == NODE_SEQUENCE && i < stages->count; i++) {
        const struct node *label = node_get(stages->items[i], "name");
        if (label && label->type == NODE_SCALAR && strcmp(label->text, name) == 0)
            return stages->items[i];
    }
    return NULL;
}

static int unknown_target(const struct node *root, const char *file, const char *name, struct error *err) {
    const struct node *stages = node_get(root, "stages");
    struct suggestion s = {0};
    char hint[128];

    for (size_t i = 0; i < root->count; i++)
        suggest_offer(&s, name, root->keys[i]->text);
    for (size_t i = 0; stages && stages->type == NODE_SEQUENCE && i < stages->count; i++) {
        const struct node *label = node_get(stages->items[i], "name");
        if (label && label->type == NODE_SCALAR)
            suggest_offer(&s, name, label->text);
    }
    return error_input(err, "%s: there is no stage and no top-level key '%s'%s", file, name,
                       suggest_text(&s, hint, sizeof(hint)));
}

int yaml_put(struct arena *arena, struct node *map, const char *file, const char *key, struct node *value,
             struct error *err) {
    struct node **keys, **items, *k;

    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i]->text, key) == 0) {
            map->items[i] = value;
            return 0;
        }
    keys = arena_alloc(arena, (map->count + 1) * sizeof(*keys));
    items = arena_alloc(arena, (map->count + 1) * sizeof(*items));
    k = arena_alloc(arena, sizeof(*k));
    if (!keys || !items || !k || (k->text = arena_strdup(arena, key)) == NULL)
        return error_nomem(err, file);
    k->type = NODE_SCALAR;
    k->file = file;
    k->plain = true;
    if (map->count) {
        memcpy(keys, map->keys, map->count * sizeof(*keys));
        memcpy(items, map->items, map->count * sizeof(*items));
    }
    keys[map->count] = k;
    items[map->count++] = value;
    map->keys = keys;
    map->items = items;
    return 0;
}

/* An item of a list by its number, from 0. */
static struct node **list_item(const struct node *list, const char *index) {
    char *end;
    const unsigned long i = strtoul(index, &end, 10);

    if (index[0] < '0' || index[0] > '9' || *end != '\0' || i >= list->count)
        return NULL;
    return &list->items[i];
}

static struct node *new_mapping(struct arena *arena, const char *file) {
    struct node *n = arena_alloc(arena, sizeof(*n));

    if (n != NULL) {
        n->type = NODE_MAPPING;
        n->file = file;
    }
    return n;
}

static int set_path(struct document *doc, char *path, const char *file, struct node *value, struct error *err) {
    struct node *at = doc->root;
    char *save = NULL, *part = strtok_r(path, ".", &save), *next = part ? strtok_r(NULL, ".", &save) : NULL;

    if (part == NULL)
        return error_input(err, "%s: expected KEY=VALUE", file);
    if (node_get(at, part) == NULL && find_stage(at, part) != NULL) {
        at = find_stage(at, part);
        if (next == NULL)
            return error_input(err, "%s: name a key of the stage, as in %s.train.lr", file, part);
        part = next;
        next = strtok_r(NULL, ".", &save);
    } else if (next != NULL && node_get(at, part) == NULL) {
        return unknown_target(at, file, part, err);
    }
    for (;; part = next, next = strtok_r(NULL, ".", &save)) {
        struct node **item = NULL, *child;

        if (at->type == NODE_SEQUENCE && (item = list_item(at, part)) == NULL)
            return error_input(err, "%s: '%s' is not one of the list's items 0 to %zu", file, part,
                               at->count ? at->count - 1 : 0);
        if (at->type == NODE_SCALAR)
            return error_input(err, "%s: there is no '%s' inside a plain value", file, part);
        if (next == NULL) {
            if (item != NULL)
                *item = value;
            return item ? 0 : yaml_put(&doc->arena, at, file, part, value, err);
        }
        child = item ? *item : node_get(at, part);
        if (child == NULL || node_is_null(child)) {
            child = new_mapping(&doc->arena, file);
            if (child == NULL)
                return error_nomem(err, file);
            if (item != NULL)
                *item = child;
            else if (yaml_put(&doc->arena, at, file, part, child, err) != 0)
                return -1;
        }
        at = child;
    }
}

int yaml_set(struct document *doc, const char *assignment, struct error *err) {
    const char *equal = strchr(assignment, '=');
    struct buffer label = {0};
    struct node *value;
    char *path, *file = NULL;
    int rc = -1;

    buffer_printf(&label, "--set %.200s", assignment);
    if (label.failed || (file = arena_strdup(&doc->arena, label.data)) == NULL) {
        buffer_free(&label);
        return error_nomem(err, "--set");
    }
    buffer_free(&label);
    if (equal == NULL || equal == assignment || strlen(assignment) > SCALAR_LIMIT)
        return error_input(err, "%s: expected KEY=VALUE", file);
    value = yaml_value(&doc->arena, equal + 1, file, err);
    path = mem_strndup(assignment, (size_t)(equal - assignment));
    if (path == NULL)
        error_nomem(err, file);
    else if (value != NULL)
        rc = set_path(doc, path, file, value, err);
    free(path);
    return rc;
}
