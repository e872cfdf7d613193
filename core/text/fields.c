/* SPDX-License-Identifier: MIT */
#include "text/fields.h"

#include <stdio.h>
#include <string.h>

const char *field_kind(const json_t *value) {
    if (value == NULL)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    default:
        return "null";
    }
}

static const json_t *member(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);

    return json_is_null(value) ? NULL : value;
}

int field_bool(const json_t *object, const char *key, bool fallback, bool *out, struct error *err) {
    const json_t *value = member(object, key);

    *out = fallback;
    if (value == NULL)
        return 0;
    if (!json_is_boolean(value))
        return error_input(err, "'%s' must be true or false, not %s", key, field_kind(value));
    *out = json_is_true(value);
    return 0;
}

int field_string(const json_t *object, const char *key, const char *fallback, const char **out, struct error *err) {
    const json_t *value = member(object, key);

    *out = fallback;
    if (value == NULL)
        return 0;
    if (!json_is_string(value))
        return error_input(err, "'%s' must be a string, not %s", key, field_kind(value));
    *out = json_string_value(value);
    return 0;
}

int field_count(const json_t *object, const char *key, size_t limit, size_t fallback, size_t *out, struct error *err) {
    const json_t *value = member(object, key);

    *out = fallback;
    if (value == NULL)
        return 0;
    if (!json_is_integer(value))
        return error_input(err, "'%s' must be a whole number, not %s", key, field_kind(value));
    if (json_integer_value(value) < 0 || (unsigned long long)json_integer_value(value) > limit)
        return error_input(err, "'%s' must lie between 0 and %zu", key, limit);
    *out = (size_t)json_integer_value(value);
    return 0;
}

int field_type(const json_t *object, const char *what, const char **out, struct error *err) {
    if (!json_is_object(object))
        return error_input(err, "%s must be an object, not %s", what, field_kind(object));
    *out = json_string_value(json_object_get(object, "type"));
    if (*out == NULL)
        return error_input(err, "%s has no 'type'", what);
    return 0;
}

/* What a walk over the parts of a component carries. */
struct walk {
    const char *what, *list;
    int (*one)(void *ctx, const json_t *part, const char *type, struct error *err);
    void *ctx;
};

static int visit(const struct walk *w, const json_t *component, int depth, struct error *err) {
    enum { DEEPEST = 8 };
    const json_t *list = json_object_get(component, w->list);
    const char *type;
    char name[32];

    snprintf(name, sizeof(name), "a %s", w->what);
    if (field_type(component, name, &type, err) != 0)
        return -1;
    if (strcmp(type, "Sequence") != 0)
        return w->one(w->ctx, component, type, err);
    if (!json_is_array(list))
        return error_input(err, "the %s 'Sequence' needs a list '%s'", w->what, w->list);
    if (depth >= DEEPEST)
        return error_input(err, "%ss are nested more than %d deep", w->what, DEEPEST);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (visit(w, json_array_get(list, i), depth + 1, err) != 0)
            return -1;
    return 0;
}

int field_components(const json_t *component, const char *what, const char *list,
                     int (*one)(void *ctx, const json_t *part, const char *type, struct error *err), void *ctx,
                     struct error *err) {
    const struct walk w = {what, list, one, ctx};

    return visit(&w, component, 0, err);
}
