/* SPDX-License-Identifier: MIT */
#include "model/json_read.h"

#include "base/file.h"
#include "base/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_FILE_LIMIT = 64 << 20 };

json_t *json_read_text(const char *text, size_t length, const char *name, struct error *err) {
    json_error_t why;
    json_t *root;

    /* jansson loses a NUL that follows a number */
    if (length > 0 && memchr(text, '\0', length) != NULL) {
        error_input(err, "%s: not valid JSON: a NUL byte", name);
        return NULL;
    }
    root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) {
        if (json_error_code(&why) == json_error_out_of_memory)
            error_nomem(err, name);
        else
            error_at(err, name, why.line > 0 ? (size_t)why.line : 0, why.column > 0 ? (size_t)why.column : 0,
                     "not valid JSON: %s", why.text);
    }
    return root;
}

json_t *json_read_file(const char *path, struct error *err) {
    size_t length;
    char *text = file_read(path, JSON_FILE_LIMIT, &length, err);
    json_t *root;

    if (text == NULL)
        return NULL;
    root = json_read_text(text, length, path, err);
    free(text);
    return root;
}

int json_reader_fail(struct json_reader *r, const char *fmt, ...) {
    va_list ap;

    if (r->failed)
        return -1;
    r->failed = true;
    va_start(ap, fmt);
    error_vset(r->err, ERROR_INPUT, fmt, ap);
    va_end(ap);
    return error_prefix(r->err, "%s", r->name);
}

/* The value, or NULL when it is absent or null (a mistake when required). */
static const json_t *lookup(struct json_reader *r, const char *key, bool required) {
    const json_t *value = json_object_get(r->object, key);
    struct suggestion near = {0};
    char hint[128];
    const char *other;
    json_t *ignored;

    if (r->failed)
        return NULL;
    if (value != NULL && !json_is_null(value))
        return value;
    if (required) {
        json_object_foreach((json_t *)(uintptr_t)r->object, other, ignored) suggest_offer(&near, key, other);
        json_reader_fail(r, "key '%s' is missing%s", key, suggest_text(&near, hint, sizeof(hint)));
    }
    return NULL;
}

int64_t json_reader_int(struct json_reader *r, const char *key, int64_t low, int64_t high, int64_t missing) {
    const json_t *value = lookup(r, key, missing == JSON_REQUIRED);
    int64_t n;

    if (value == NULL)
        return missing == JSON_REQUIRED ? low : missing;
    if (!json_is_integer(value)) {
        json_reader_fail(r, "key '%s' must be a whole number", key);
        return low;
    }
    n = json_integer_value(value);
    if (n < low || n > high) {
        json_reader_fail(r, "key '%s' is %lld, which is not between %lld and %lld", key, (long long)n, (long long)low,
                         (long long)high);
        return low;
    }
    return n;
}

double json_reader_real(struct json_reader *r, const char *key, double low, double high, double missing) {
    const json_t *value = lookup(r, key, false);
    double x;

    if (value == NULL)
        return missing;
    if (!json_is_number(value)) {
        json_reader_fail(r, "key '%s' must be a number", key);
        return missing;
    }
    x = json_number_value(value);
    if (!(x >= low && x <= high)) {
        json_reader_fail(r, "key '%s' is %g, which is not between %g and %g", key, x, low, high);
        return missing;
    }
    return x;
}

bool json_reader_bool(struct json_reader *r, const char *key, bool missing) {
    const json_t *value = lookup(r, key, false);

    if (value == NULL)
        return missing;
    if (!json_is_boolean(value))
        json_reader_fail(r, "key '%s' must be true or false", key);
    return json_is_true(value);
}

const char *json_reader_string(struct json_reader *r, const char *key, const char *missing) {
    const json_t *value = lookup(r, key, false);

    if (value == NULL)
        return missing;
    if (!json_is_string(value)) {
        json_reader_fail(r, "key '%s' must be a string", key);
        return missing;
    }
    return json_string_value(value);
}
