/* SPDX-License-Identifier: MIT */
#include "plugin/params.h"

#include "base/log.h"
#include "base/suggest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 512 };

struct params params_of(const struct rein_plugin *plugin) {
    return (struct params){plugin->name, plugin->params, plugin->param_stride, plugin->config_size};
}

const struct rein_param *params_row(const struct params *p, size_t index) {
    const struct rein_param *row;

    if (p->rows == NULL)
        return NULL;
    row = (const struct rein_param *)((const char *)p->rows + index * p->stride);
    return row->name ? row : NULL;
}

static uint32_t base_type(const struct rein_param *row) {
    return row->type & ~REIN_PARAM_LIST;
}

static size_t type_size(uint32_t type) {
    if (type & REIN_PARAM_LIST)
        return sizeof(struct rein_list);
    return type == REIN_PARAM_BOOL ? sizeof(uint8_t) : type == REIN_PARAM_INT || type == REIN_PARAM_CHOICE
               ? sizeof(int64_t) : type == REIN_PARAM_REAL ? sizeof(double) : sizeof(const char *);
}

const char *params_range(const struct rein_param *row, char *out, size_t size) {
    const bool lower = row->min > -1e18, upper = row->max < 1e18;

    out[0] = '\0';
    if (row->min > row->max || (base_type(row) != REIN_PARAM_INT && base_type(row) != REIN_PARAM_REAL))
        return out;
    if (lower && upper)
        snprintf(out, size, "lie in [%.10g, %.10g]", row->min, row->max);
    else if (lower || upper)
        snprintf(out, size, lower ? "be at least %.10g" : "be at most %.10g", lower ? row->min : row->max);
    return out;
}

static bool in_range(const struct rein_param *row, double value) {
    return row->min > row->max || (value >= row->min && value <= row->max);
}

/* ---- one value -------------------------------------------------------------------- */

static int choose(const struct rein_param *row, const char *text, int64_t *out, char *why, size_t size) {
    struct suggestion near = {0};
    char hint[96];
    size_t length;

    snprintf(why, size, "must be one of");
    for (int64_t i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *out = i;
            return 0;
        }
        suggest_offer(&near, text, row->choices[i]);
        length = strlen(why);
        snprintf(why + length, size - length, "%s %s", i ? "," : "", row->choices[i]);
    }
    length = strlen(why);
    snprintf(why + length, size - length, ", got '%.60s'%s", text, suggest_text(&near, hint, sizeof(hint)));
    return -1;
}

/* Stores one scalar at `to`; 0, or -1 with the sentence in `why`. */
static int store_scalar(const struct rein_param *row, const struct node *n, void *to, char *why, size_t size) {
    const char *expected = NULL, *text = "";
    char range[96], got[128];
    int64_t integer = 0;
    double real = 0;
    bool truth = false;

    switch (base_type(row)) {
    case REIN_PARAM_BOOL:
        expected = node_read_bool(n, &truth);
        *(uint8_t *)to = truth;
        break;
    case REIN_PARAM_INT:
        expected = node_read_int(n, &integer);
        memcpy(to, &integer, sizeof(integer));
        real = (double)integer;
        break;
    case REIN_PARAM_REAL:
        expected = node_read_real(n, &real);
        memcpy(to, &real, sizeof(real));
        break;
    case REIN_PARAM_CHOICE:
        expected = node_read_string(n, &text);
        if (expected == NULL && choose(row, text, &integer, why, size) != 0)
            return -1;
        memcpy(to, &integer, sizeof(integer));
        break;
    default:
        expected = node_read_string(n, &text);
        if (expected == NULL && base_type(row) != REIN_PARAM_STRING && *text == '\0')
            expected = base_type(row) == REIN_PARAM_MODEL ? "the name of a model" : "the name of a column";
        memcpy(to, &text, sizeof(text));
    }
    if (expected != NULL) {
        snprintf(why, size, "expected %s, got %s", expected, node_got(n, got, sizeof(got)));
        return -1;
    }
    if ((base_type(row) == REIN_PARAM_INT || base_type(row) == REIN_PARAM_REAL) && !in_range(row, real)) {
        snprintf(why, size, "must %s, got %s", params_range(row, range, sizeof(range)), node_got(n, got, sizeof(got)));
        return -1;
    }
    return 0;
}

/* *where is the node that a complaint is about. */
static int store(const struct rein_param *row, const struct node *n, void *to, struct arena *arena,
                 const struct node **where, char *why, size_t size) {
    const size_t each = type_size(base_type(row));
    struct rein_list list = {0, NULL};
    char *items, got[128];

    *where = n;
    if (!(row->type & REIN_PARAM_LIST))
        return store_scalar(row, n, to, why, size);
    if (n->type != NODE_SEQUENCE) {
        snprintf(why, size, "expected a list, got %s", node_got(n, got, sizeof(got)));
        return -1;
    }
    list.count = n->count;
    list.items = items = arena_alloc(arena, (n->count ? n->count : 1) * each);
    if (items == NULL) {
        snprintf(why, size, "out of memory");
        return -1;
    }
    for (size_t i = 0; i < n->count; i++) {
        *where = n->items[i];
        if (store_scalar(row, n->items[i], items + i * each, why, size) != 0)
            return -1;
    }
    memcpy(to, &list, sizeof(list));
    return 0;
}

static int store_default(const struct params *p, const struct rein_param *row, char *block, struct arena *arena,
                         struct error *err) {
    const struct node *where, *n;
    char why[512];

    if (row->dflt == NULL)
        return 0;
    n = yaml_value(arena, row->dflt, "default", err);
    if (n == NULL)
        return error_prefix(err, "%s.%s", p->owner, row->name);
    if (store(row, n, block + row->offset, arena, &where, why, sizeof(why)) != 0)
        return error_run(err, "%s.%s: the plugin's own default is wrong: %s", p->owner, row->name, why);
    return 0;
}

/* ---- the block --------------------------------------------------------------------- */

static bool is_reserved(const char *const *reserved, const char *key) {
    for (; reserved && *reserved; reserved++)
        if (strcmp(*reserved, key) == 0)
            return true;
    return false;
}

static const struct rein_param *find_row(const struct params *p, const char *name) {
    const struct rein_param *row;

    for (size_t i = 0; (row = params_row(p, i)) != NULL; i++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

static int unknown_key(const struct params *p, const struct node *key, const char *const *reserved, struct error *err) {
    const struct rein_param *row;
    struct suggestion near = {0};
    char hint[128];

    for (size_t i = 0; (row = params_row(p, i)) != NULL; i++)
        suggest_offer(&near, key->text, row->name);
    for (; reserved && *reserved; reserved++)
        suggest_offer(&near, key->text, *reserved);
    return node_error(key, err, "%s has no option '%s'%s", p->owner, key->text, suggest_text(&near, hint, sizeof(hint)));
}

static int bind_keys(const struct params *p, const struct node *mapping, const char *const *reserved, char *block,
                     struct arena *arena, struct error *err) {
    char why[512], got[128];

    if (mapping->type != NODE_MAPPING)
        return node_error(mapping, err, "%s: expected a mapping (key: value), got %s", p->owner,
                          node_got(mapping, got, sizeof(got)));
    for (size_t i = 0; i < mapping->count; i++) {
        const struct node *key = mapping->keys[i], *where;
        const struct rein_param *row;

        if (is_reserved(reserved, key->text))
            continue;
        row = find_row(p, key->text);
        if (row == NULL)
            return unknown_key(p, key, reserved, err);
        if (row->flags & REIN_PARAM_DEPRECATED)
            log_warn("%s:%zu:%zu: %s.%s is deprecated: %s", key->file, key->line, key->column, p->owner, row->name,
                     row->doc);
        if (store(row, mapping->items[i], block + row->offset, arena, &where, why, sizeof(why)) != 0)
            return node_error(where, err, "%s.%s: %s", p->owner, row->name, why);
    }
    return 0;
}

void *params_bind(const struct params *p, const struct node *mapping, const char *const *reserved, struct arena *arena,
                  struct error *err) {
    char *block = arena_alloc(arena, p->config_size ? p->config_size : 1);
    const struct rein_param *row;

    if (block == NULL) {
        error_nomem(err, p->owner);
        return NULL;
    }
    for (size_t i = 0; (row = params_row(p, i)) != NULL; i++)
        if (store_default(p, row, block, arena, err) != 0)
            return NULL;
    if (mapping != NULL && bind_keys(p, mapping, reserved, block, arena, err) != 0)
        return NULL;
    for (size_t i = 0; (row = params_row(p, i)) != NULL; i++)
        if ((row->flags & REIN_PARAM_REQUIRED) && !params_given(mapping, row->name)) {
            if (mapping != NULL)
                node_error(mapping, err, "%s needs the option '%s'", p->owner, row->name);
            else
                error_input(err, "%s needs the option '%s'", p->owner, row->name);
            return NULL;
        }
    return block;
}

bool params_given(const struct node *mapping, const char *name) {
    return node_get(mapping, name) != NULL;
}

int params_fail(const struct params_marks *marks, const char *name, const char *text, struct error *err) {
    const struct node *n = marks ? node_get(marks->mapping, name) : NULL;
    const char *owner = marks && marks->table ? marks->table->owner : "option";

    if (n == NULL && marks)
        n = marks->mapping;
    if (n == NULL)
        return error_input(err, "%s.%s: %s", owner, name, text);
    return node_error(n, err, "%s.%s: %s", owner, name, text);
}

int params_visit(const struct params *p, const void *config, uint32_t type,
                 int (*visit)(void *ctx, const struct rein_param *row, const char *value), void *ctx) {
    const struct rein_param *row;

    for (size_t i = 0; (row = params_row(p, i)) != NULL; i++) {
        const char *at = (const char *)config + row->offset;
        const char *const *values = (const char *const *)(const void *)at;
        uint64_t count = 1;

        if (base_type(row) != type)
            continue;
        if (row->type & REIN_PARAM_LIST) {
            const struct rein_list *list = (const struct rein_list *)(const void *)at;
            values = list->items;
            count = list->count;
        }
        for (uint64_t k = 0; k < count; k++) {
            const int rc = values[k] ? visit(ctx, row, values[k]) : 0;
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

static struct node *scalar_value(const struct rein_param *row, const char *at, struct arena *arena) {
    struct node *n = arena_alloc(arena, sizeof(*n));
    char text[40];
    int64_t integer;
    double real;

    if (n == NULL)
        return NULL;
    n->type = NODE_SCALAR;
    n->file = "";
    switch (base_type(row)) {
    case REIN_PARAM_BOOL:
        n->text = *at ? "true" : "false";
        break;
    case REIN_PARAM_INT:
        memcpy(&integer, at, sizeof(integer));
        snprintf(text, sizeof(text), "%lld", (long long)integer);
        n->text = arena_strdup(arena, text);
        break;
    case REIN_PARAM_REAL: /* the shortest text that reads back the same */
        memcpy(&real, at, sizeof(real));
        for (int digits = 6; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, real);
            if (strtod(text, NULL) == real)
                break;
        }
        n->text = arena_strdup(arena, text);
        break;
    case REIN_PARAM_CHOICE:
        memcpy(&integer, at, sizeof(integer));
        n->text = row->choices[integer];
        break;
    default:
        n->text = *(const char *const *)(const void *)at;
    }
    if (n->text == NULL)
        return NULL;
    n->plain = true;
    n->plain = base_type(row) < REIN_PARAM_STRING || !node_is_null(n); /* "null" is a string when quoted */
    return n;
}

struct node *params_value(const struct rein_param *row, const void *block, struct arena *arena) {
    const char *at = (const char *)block + row->offset;
    const struct rein_list *list = (const struct rein_list *)(const void *)at;
    struct node *n;

    if (!(row->type & REIN_PARAM_LIST))
        return scalar_value(row, at, arena);
    n = arena_alloc(arena, sizeof(*n));
    if (n == NULL || (n->items = arena_alloc(arena, (list->count + 1) * sizeof(*n->items))) == NULL)
        return NULL;
    n->type = NODE_SEQUENCE;
    n->file = "";
    n->count = list->count;
    for (uint64_t i = 0; i < list->count; i++) {
        n->items[i] = scalar_value(row, (const char *)list->items + i * type_size(base_type(row)), arena);
        if (n->items[i] == NULL)
            return NULL;
    }
    return n;
}

/* ---- the table itself --------------------------------------------------------------- */

static bool is_name(const char *s) {
    if (*s < 'a' || *s > 'z')
        return false;
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

static int verify_row(const struct params *p, const struct rein_param *row, struct error *err) {
    static const char *const reserved[] = {"use", "name", "weight", "data", NULL};
    const uint32_t known = REIN_PARAM_REQUIRED | REIN_PARAM_ADVANCED | REIN_PARAM_DEPRECATED | REIN_PARAM_LM;
    const uint32_t type = base_type(row);
    const size_t size = type_size(row->type), align = size < 8 ? size : 8;
    size_t end;

    if (!is_name(row->name) || is_reserved(reserved, row->name))
        return error_input(err, "option '%.64s': the name is reserved or not [a-z][a-z0-9_]*", row->name);
    if (type < REIN_PARAM_BOOL || type > REIN_PARAM_COLUMN)
        return error_input(err, "option '%s' has the unknown type %u", row->name, (unsigned)row->type);
    if (row->flags & ~known)
        return error_input(err, "option '%s' has unknown flags", row->name);
    if ((row->flags & REIN_PARAM_LM) && type != REIN_PARAM_MODEL)
        return error_input(err, "option '%s' has a flag of models and names none", row->name);
    if (row->doc == NULL || *row->doc == '\0')
        return error_input(err, "option '%s' has no sentence that explains it", row->name);
    if (type == REIN_PARAM_CHOICE && (row->choices == NULL || row->choices[0] == NULL))
        return error_input(err, "option '%s' has no choices", row->name);
    if (!size_add(row->offset, size, &end) || end > p->config_size)
        return error_input(err, "option '%s' lies outside the option block", row->name);
    if (row->offset % align != 0)
        return error_input(err, "option '%s' is not aligned in the option block", row->name);
    if ((row->flags & REIN_PARAM_REQUIRED) && row->dflt != NULL)
        return error_input(err, "option '%s' is required and has a default", row->name);
    if (!(row->flags & REIN_PARAM_REQUIRED) && row->dflt == NULL && row->type < REIN_PARAM_STRING &&
        row->type != REIN_PARAM_BOOL && !in_range(row, 0))
        return error_input(err, "option '%s' has no default and 0 is out of its range", row->name);
    return 0;
}

int params_verify(const struct params *p, struct error *err) {
    struct arena arena = {0};
    const struct rein_param *row;
    int rc = 0;
    char *block;

    if (p->rows == NULL)
        return 0;
    if (p->stride < sizeof(struct rein_param) || p->stride % _Alignof(struct rein_param) != 0)
        return error_input(err, "rows of options are %u bytes apart, at least %zu are needed", (unsigned)p->stride,
                           sizeof(struct rein_param));
    block = arena_alloc(&arena, p->config_size ? p->config_size : 1);
    if (block == NULL)
        return error_nomem(err, p->owner);
    for (size_t i = 0; rc == 0 && (row = params_row(p, i)) != NULL; i++) {
        if (i >= MOST_ROWS)
            rc = error_input(err, "more than %d options, or no end of the table", MOST_ROWS);
        else
            rc = verify_row(p, row, err);
        for (size_t k = 0; rc == 0 && k < i; k++) {
            const struct rein_param *other = params_row(p, k);
            if (strcmp(other->name, row->name) == 0)
                rc = error_input(err, "option '%s' is declared twice", row->name);
            else if (row->offset < other->offset + type_size(other->type) &&
                     other->offset < row->offset + type_size(row->type))
                rc = error_input(err, "options '%s' and '%s' overlap", other->name, row->name);
        }
        if (rc == 0)
            rc = store_default(p, row, block, &arena, err);
    }
    arena_free(&arena);
    return rc;
}
