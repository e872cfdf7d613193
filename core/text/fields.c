/* SPDX-License-Identifier: MIT */
#include "text/fields.h"

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
