/* SPDX-License-Identifier: MIT */
#include "text/normalize.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "text/fields.h"
#include "text/pattern.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MOST_STEPS = 64 };

enum step_kind { STEP_UNICODE, STEP_LOWERCASE, STEP_STRIP, STEP_STRIP_ACCENTS, STEP_PREPEND, STEP_REPLACE };

/* Nested sequences are flattened: they run one after the other either way. */
struct step {
    enum step_kind kind;
    int options;             /* STEP_UNICODE: utf8proc's */
    bool left, right;        /* STEP_STRIP */
    char *text;              /* STEP_PREPEND, STEP_REPLACE */
    struct pattern *pattern; /* STEP_REPLACE */
};

struct normalizer {
    struct step steps[MOST_STEPS];
    size_t count;
};

static int parse_step(const json_t *json, const char *type, struct step *s, struct error *err) {
    static const struct {
        const char *name;
        enum step_kind kind;
        int options;
    } plain[] = {
        {"NFC", STEP_UNICODE, UTF8PROC_COMPOSE},
        {"NFD", STEP_UNICODE, UTF8PROC_DECOMPOSE},
        {"NFKC", STEP_UNICODE, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
        {"NFKD", STEP_UNICODE, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
        {"Lowercase", STEP_LOWERCASE, 0},
        {"StripAccents", STEP_STRIP_ACCENTS, 0},
    };
    const char *text;

    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(type, plain[i].name) == 0) {
            s->kind = plain[i].kind;
            s->options = plain[i].options;
            return 0;
        }
    if (strcmp(type, "Strip") == 0) {
        s->kind = STEP_STRIP;
        if (field_bool(json, "strip_left", true, &s->left, err) != 0)
            return -1;
        return field_bool(json, "strip_right", true, &s->right, err);
    }
    if (strcmp(type, "Prepend") == 0) {
        s->kind = STEP_PREPEND;
        if (field_string(json, "prepend", NULL, &text, err) != 0)
            return -1;
    } else if (strcmp(type, "Replace") == 0) {
        s->kind = STEP_REPLACE;
        if (field_string(json, "content", NULL, &text, err) != 0 ||
            pattern_parse(json_object_get(json, "pattern"), &s->pattern, err) != 0)
            return -1;
    } else {
        return error_input(err, "the normalizer '%s' is not supported", type);
    }
    if (text == NULL)
        return error_input(err, "the normalizer '%s' lacks its text", type);
    s->text = mem_strdup(text);
    return s->text == NULL ? error_nomem(err, "a normalizer") : 0;
}

static int add(void *ctx, const json_t *json, const char *type, struct error *err) {
    struct normalizer *n = ctx;

    if (n->count == MOST_STEPS)
        return error_input(err, "more than %d normalizers", MOST_STEPS);
    return parse_step(json, type, &n->steps[n->count++], err);
}

int normalizer_parse(const json_t *json, struct normalizer **out, struct error *err) {
    struct normalizer *n;

    *out = NULL;
    if (json == NULL || json_is_null(json))
        return 0;
    n = mem_zeros(1, sizeof *n);
    if (n == NULL)
        return error_nomem(err, "a normalizer");
    if (field_components(json, "normalizer", "normalizers", add, n, err) != 0) {
        normalizer_free(n);
        return -1;
    }
    *out = n;
    return 0;
}

void normalizer_free(struct normalizer *n) {
    if (n == NULL)
        return;
    for (size_t i = 0; i < n->count; i++) {
        free(n->steps[i].text);
        pattern_free(n->steps[i].pattern);
    }
    free(n);
}

static bool is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static int run_unicode(int options, const char *text, size_t length, struct buffer *out, struct error *err) {
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t n;

    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= 0x80) {
            n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &mapped,
                             (utf8proc_option_t)(UTF8PROC_STABLE | options));
            if (n < 0)
                return error_nomem(err, "Unicode normalisation");
            buffer_add(out, mapped, (size_t)n);
            free(mapped);
            return 0;
        }
    buffer_add(out, text, length); /* ASCII is its own normal form */
    return 0;
}

static void run_lowercase(const char *text, size_t length, struct buffer *out) {
    for (size_t i = 0; i < length;) {
        uint32_t c;
        char bytes[4];
        i += utf8_decode(text + i, length - i, &c);
        if (c == 0x130) { /* the one code point whose lower case is two */
            buffer_text(out, "i\xcc\x87");
            continue;
        }
        buffer_add(out, bytes, utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)c), bytes));
    }
}

static void run_strip(const struct step *s, const char *text, size_t length, struct buffer *out) {
    size_t start = length, end = 0;

    for (size_t i = 0; i < length;) {
        uint32_t c;
        const size_t n = utf8_decode(text + i, length - i, &c);
        if (!is_space(c)) {
            start = i < start ? i : start;
            end = i + n;
        }
        i += n;
    }
    if (start >= end)
        return; /* nothing but spaces: each side alone removes them all */
    start = s->left ? start : 0;
    end = s->right ? end : length;
    buffer_add(out, text + start, end - start);
}

static void run_strip_accents(const char *text, size_t length, struct buffer *out) {
    for (size_t i = 0; i < length;) {
        uint32_t c;
        const size_t n = utf8_decode(text + i, length - i, &c);
        const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
        if (category != UTF8PROC_CATEGORY_MN && category != UTF8PROC_CATEGORY_MC && category != UTF8PROC_CATEGORY_ME)
            buffer_add(out, text + i, n);
        i += n;
    }
}

static int run_replace(const struct step *s, const char *text, size_t length, struct buffer *out, struct error *err) {
    struct spans spans = {0};
    int rc = pattern_find(s->pattern, text, length, &spans, err);

    for (size_t i = 0; rc == 0 && i < spans.count; i++) {
        const struct span *m = &spans.items[i];
        if (m->match)
            buffer_text(out, s->text);
        else
            buffer_add(out, text + m->start, m->end - m->start);
    }
    spans_free(&spans);
    return rc;
}

static int run_step(const struct step *s, const char *text, size_t length, struct buffer *out, struct error *err) {
    switch (s->kind) {
    case STEP_UNICODE:
        return run_unicode(s->options, text, length, out, err);
    case STEP_LOWERCASE:
        run_lowercase(text, length, out);
        return 0;
    case STEP_STRIP:
        if (s->left || s->right)
            run_strip(s, text, length, out);
        else
            buffer_add(out, text, length);
        return 0;
    case STEP_STRIP_ACCENTS:
        run_strip_accents(text, length, out);
        return 0;
    case STEP_PREPEND:
        if (length != 0)
            buffer_text(out, s->text);
        buffer_add(out, text, length);
        return 0;
    default:
        return run_replace(s, text, length, out, err);
    }
}

int normalizer_run(const struct normalizer *n, const char *text, size_t length, struct buffer *out, struct error *err) {
    struct buffer work[2] = {{0}, {0}};
    const char *from = text;
    size_t size = length;
    int rc = 0;

    for (size_t i = 0; rc == 0 && n != NULL && i < n->count; i++) {
        struct buffer *to = &work[i & 1];
        buffer_clear(to);
        rc = run_step(&n->steps[i], from, size, to, err);
        if (rc == 0 && to->failed)
            rc = error_nomem(err, "a normalised text");
        from = to->data == NULL ? "" : to->data;
        size = to->length;
    }
    if (rc == 0) {
        buffer_add(out, from, size);
        if (out->failed)
            rc = error_nomem(err, "a normalised text");
    }
    buffer_free(&work[0]);
    buffer_free(&work[1]);
    return rc;
}
