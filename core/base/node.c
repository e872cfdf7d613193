/* SPDX-License-Identifier: MIT */
#include "base/node.h"

#include "base/buffer.h"
#include "base/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node *node_get(const struct node *mapping, const char *key) {
    if (mapping == NULL || mapping->type != NODE_MAPPING)
        return NULL;
    for (size_t i = 0; i < mapping->count; i++)
        if (strcmp(mapping->keys[i]->text, key) == 0)
            return mapping->items[i];
    return NULL;
}

int node_error(const struct node *n, struct error *err, const char *fmt, ...) {
    char text[sizeof(err->text)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return error_at(err, n->file, n->line, n->column, "%s", text);
}

int node_place(const struct node *n, struct error *err) {
    const size_t length = strlen(n->file);
    struct error said;

    if (err == NULL || err->kind != ERROR_INPUT || (strncmp(err->text, n->file, length) == 0 && err->text[length] == ':'))
        return -1;
    said = *err;
    return node_error(n, err, "%s", said.text);
}

bool node_is_null(const struct node *n) {
    return n->type == NODE_SCALAR && n->plain && (!*n->text || !strcmp(n->text, "~") || !strcmp(n->text, "null"));
}

const char *node_got(const struct node *n, char *out, size_t size) {
    if (n->type != NODE_SCALAR)
        snprintf(out, size, n->type == NODE_SEQUENCE ? "a list" : "a mapping");
    else if (node_is_null(n))
        snprintf(out, size, "nothing");
    else if (n->plain)
        snprintf(out, size, "'%.60s'", n->text);
    else
        snprintf(out, size, "the quoted string '%.60s'", n->text);
    return out;
}

/* ---- typed readings ---------------------------------------------------------------- */

const char *node_read_string(const struct node *n, const char **out) {
    if (n->type != NODE_SCALAR || node_is_null(n))
        return "a string";
    *out = n->text;
    return NULL;
}

static const char *skip_digits(const char *s) {
    while (*s >= '0' && *s <= '9')
        s++;
    return s;
}

/* Decimal only: 010 would be eight to some readers and ten to others. */
const char *node_read_int(const struct node *n, int64_t *out) {
    const char *s, *end;
    long long value;

    if (n->type != NODE_SCALAR || !n->plain)
        return "an integer";
    s = n->text + (*n->text == '-' || *n->text == '+');
    end = skip_digits(s);
    if (end == s || *end != '\0' || (*s == '0' && end - s > 1))
        return "an integer";
    errno = 0;
    value = strtoll(n->text, NULL, 10);
    if (errno != 0)
        return "an integer of at most 64 bits";
    *out = value;
    return NULL;
}

/* 1, -2.5, .5, 1e-5, 2.0E+3: no hexadecimal, no infinity, no NaN. The locale is always C. */
const char *node_read_real(const struct node *n, double *out) {
    const char *s, *after, *mantissa;
    size_t digits;
    double value;

    if (n->type != NODE_SCALAR || !n->plain)
        return "a number";
    mantissa = s = n->text + (*n->text == '-' || *n->text == '+');
    s = skip_digits(s);
    digits = (size_t)(s - mantissa);
    if (*s == '.') {
        after = skip_digits(s + 1);
        digits += (size_t)(after - s - 1);
        s = after;
    }
    if (digits > 0 && (*s == 'e' || *s == 'E')) {
        s += 1 + (s[1] == '-' || s[1] == '+');
        after = skip_digits(s);
        if (after == s)
            return "a number";
        s = after;
    }
    if (digits == 0 || *s != '\0')
        return "a finite number";
    value = strtod(n->text, NULL);
    if (!isfinite(value))
        return "a finite number";
    *out = value;
    return NULL;
}

const char *node_read_bool(const struct node *n, bool *out) {
    if (n->type != NODE_SCALAR || !n->plain || (strcmp(n->text, "true") != 0 && strcmp(n->text, "false") != 0))
        return "true or false";
    *out = n->text[0] == 't';
    return NULL;
}

static int wrong(const struct node *n, const char *expected, struct error *err) {
    char got[128];

    return node_error(n, err, "expected %s, got %s", expected, node_got(n, got, sizeof(got)));
}

int node_string(const struct node *n, const char **out, struct error *err) {
    const char *expected = node_read_string(n, out);
    return expected ? wrong(n, expected, err) : 0;
}

int node_int(const struct node *n, int64_t *out, struct error *err) {
    const char *expected = node_read_int(n, out);
    return expected ? wrong(n, expected, err) : 0;
}

int node_real(const struct node *n, double *out, struct error *err) {
    const char *expected = node_read_real(n, out);
    return expected ? wrong(n, expected, err) : 0;
}

int node_bool(const struct node *n, bool *out, struct error *err) {
    const char *expected = node_read_bool(n, out);
    return expected ? wrong(n, expected, err) : 0;
}

/* ---- writing ------------------------------------------------------------------------ */

/* Text that reads back as the same plain scalar in any context: words, paths, numbers. */
static bool safe_plain(const char *s) {
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const char *first = s + strspn(s, "-+./");

    if (*first == '\0' || strchr(word, *first) == NULL || strncmp(s, "--", 2) == 0)
        return false;
    for (; *first; first++)
        if (strchr(word, *first) == NULL && strchr("-+./", *first) == NULL)
            return false;
    return true;
}

static void write_quoted(const char *text, struct buffer *out) {
    size_t left = strlen(text);

    buffer_byte(out, '"');
    while (left > 0) {
        uint32_t code = 0;
        size_t n = utf8_decode(text, left, &code);

        if (n == 0) { /* the reader lets no such bytes in */
            code = 0xfffd;
            n = 1;
        }
        if (code == '"' || code == '\\')
            buffer_printf(out, "\\%c", (int)code);
        else if (code == '\n')
            buffer_text(out, "\\n");
        else if (code < 0x20 || (code >= 0x7f && code < 0xa0))
            buffer_printf(out, "\\x%02x", (unsigned)code);
        else if (code == 0x2028 || code == 0x2029 || code == 0xfeff || code == 0xfffe || code == 0xffff)
            buffer_printf(out, "\\u%04x", (unsigned)code);
        else
            buffer_add(out, text, n);
        text += n;
        left -= n;
    }
    buffer_byte(out, '"');
}

static void write_scalar(const struct node *n, struct buffer *out) {
    if (node_is_null(n))
        buffer_byte(out, '~');
    else if (n->plain && safe_plain(n->text))
        buffer_text(out, n->text);
    else
        write_quoted(n->text, out);
}

static void write_key(const char *text, struct buffer *out) {
    if (safe_plain(text) && strcmp(text, "null") != 0)
        buffer_text(out, text);
    else
        write_quoted(text, out);
}

static void write_items(const struct node *n, int indent, bool inline_first, struct buffer *out);

static bool is_leaf_list(const struct node *n) {
    for (size_t i = 0; i < n->count; i++)
        if (n->items[i]->type != NODE_SCALAR)
            return false;
    return true;
}

/* What follows "key:" or "-". */
static void write_value(const struct node *n, int indent, bool in_list, struct buffer *out) {
    if (n->type == NODE_SCALAR) {
        buffer_byte(out, ' ');
        write_scalar(n, out);
        buffer_byte(out, '\n');
    } else if (n->count == 0) {
        buffer_text(out, n->type == NODE_MAPPING ? " {}\n" : " []\n");
    } else if (n->type == NODE_SEQUENCE && is_leaf_list(n)) {
        for (size_t i = 0; i < n->count; i++) {
            buffer_text(out, i ? ", " : " [");
            write_scalar(n->items[i], out);
        }
        buffer_text(out, "]\n");
    } else {
        buffer_text(out, in_list ? " " : "\n");
        write_items(n, indent + 2, in_list, out);
    }
}

/* inline_first: the first line continues one that began with "- ". */
static void write_items(const struct node *n, int indent, bool inline_first, struct buffer *out) {
    for (size_t i = 0; i < n->count; i++) {
        if (i > 0 || !inline_first)
            buffer_printf(out, "%*s", indent, "");
        if (n->type == NODE_MAPPING) {
            write_key(n->keys[i]->text, out);
            buffer_byte(out, ':');
        } else {
            buffer_byte(out, '-');
        }
        write_value(n->items[i], indent, n->type == NODE_SEQUENCE, out);
    }
}

void node_write(const struct node *n, struct buffer *out) {
    if (n->type == NODE_SCALAR || n->count == 0) {
        struct buffer line = {0};
        write_value(n, 0, false, &line);
        buffer_text(out, line.failed || !line.data ? "" : line.data + 1);
        out->failed |= line.failed;
        buffer_free(&line);
    } else {
        write_items(n, 0, false, out);
    }
}
