/* SPDX-License-Identifier: MIT */
#include "text/pattern.h"

#include "base/buffer.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/fields.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONGEST_EXPRESSION = 1 << 16,
    DEEPEST_GROUPS = 64,
    MATCH_STEPS = 10 * 1000 * 1000, /* of one match: far above what a sane expression needs */
    MATCH_HEAP_KIB = 64 * 1024,
};

struct pattern {
    char *literal; /* or NULL */
    size_t literal_length;
    pcre2_code *code;
    pcre2_match_context *limits;
};

/* White_Space, where PCRE2's \s adds U+180E. */
#define SPACES "\\t-\\r\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
/* Oniguruma takes Latin-1's superscripts and fractions for parts of words. */
#define WORDS PATTERN_WORDS "\\xb2\\xb3\\xb9\\xbc-\\xbe"

struct translation {
    const char *at;
    bool in_class;
    struct buffer out;
};

static int refuse(struct error *err, const char *what) {
    return error_input(err, "the expression uses %s, which is not supported", what);
}

/* \p{Han}: the script to Oniguruma, to PCRE2 from 10.40 its extensions too. General categories mean the same. */
static void translate_property(struct translation *t) {
    const char *name = t->at + 2, *end = *name == '{' ? strchr(name, '}') : NULL;
    size_t n = end == NULL ? 0 : (size_t)(end - name);
    bool plain = n > 3; /* "{L" and "{Lu" are categories */

    for (size_t i = 1; i < n; i++)
        plain = plain && (isalpha((unsigned char)name[i]) || name[i] == '_');
#if PCRE2_MAJOR > 10 || (PCRE2_MAJOR == 10 && PCRE2_MINOR >= 40)
    if (plain && strncmp(name, "{Any}", 5) != 0) {
        buffer_printf(&t->out, "\\%c{sc:%.*s}", t->at[1], (int)(n - 1), name + 1);
        t->at = end + 1;
        return;
    }
#else
    (void)plain;
#endif
    buffer_add(&t->out, t->at, 2);
    t->at += 2;
}

static int translate_escape(struct translation *t, struct error *err) {
    const char c = t->at[1];

    switch (c) {
    case '\0':
        return error_input(err, "the expression ends in a backslash");
    case 's':
        buffer_text(&t->out, t->in_class ? SPACES : "[" SPACES "]");
        break;
    case 'S':
        buffer_text(&t->out, t->in_class ? "\\S" : "[^" SPACES "]");
        break;
    case 'w':
        buffer_text(&t->out, t->in_class ? WORDS : "[" WORDS "]");
        break;
    case 'W':
        if (t->in_class)
            return refuse(err, "\\W in a class");
        buffer_text(&t->out, "[^" WORDS "]");
        break;
    case 'p':
    case 'P':
        translate_property(t);
        return 0;
    case 'u':
        for (int i = 2; i < 6; i++)
            if (!isxdigit((unsigned char)t->at[i]))
                return error_input(err, "\\u in the expression needs four hexadecimal digits");
        buffer_printf(&t->out, "\\x{%.4s}", t->at + 2);
        t->at += 6;
        return 0;
    default:
        /* references, subroutine calls, \h (a hexadecimal digit to Oniguruma), \K, \G, \C, \R, \X ... */
        if (strchr("123456789ghHkKGCRXNOyYMQE", c) != NULL)
            return refuse(err, (const char[3]){'\\', c, '\0'});
        buffer_add(&t->out, t->at, 2);
        break;
    }
    t->at += 2;
    return 0;
}

static int translate_in_class(struct translation *t, struct error *err) {
    if (t->at[0] == '[' && t->at[1] == ':') {
        const char *end = strstr(t->at, ":]");
        if (end == NULL)
            return error_input(err, "[: in the expression is never closed");
        buffer_add(&t->out, t->at, (size_t)(end + 2 - t->at));
        t->at = end + 2;
        return 0;
    }
    if (t->at[0] == '[')
        return refuse(err, "a class inside a class");
    if (t->at[0] == '&' && t->at[1] == '&')
        return refuse(err, "&& in a class");
    if (t->at[0] == ']')
        t->in_class = false;
    buffer_byte(&t->out, (unsigned char)*t->at++);
    return 0;
}

/* Only groups that mean the same to both engines. */
static int check_group(const char *at, struct error *err) {
    if (at[1] == '*')
        return refuse(err, "a (*VERB)");
    if (at[1] != '?')
        return 0;
    at += 2;
    if (*at == ':' || *at == '=' || *at == '!' || *at == '>')
        return 0;
    if (*at == '<' && (at[1] == '=' || at[1] == '!'))
        return 0;
    while (*at == 'i' || *at == '-')
        at++;
    return *at == ':' || *at == ')' ? 0 : refuse(err, "a group of this kind (?...)");
}

static int translate(const char *expression, struct buffer *out, struct error *err) {
    struct translation t = {.at = expression};
    int rc = 0;

    while (rc == 0 && *t.at != '\0') {
        if (*t.at == '\\') {
            rc = translate_escape(&t, err);
        } else if (t.in_class) {
            rc = translate_in_class(&t, err);
        } else if (*t.at == '}' && t.at[1] == '+') {
            /* possessive to PCRE2, a repetition of the repetition to Oniguruma; \p{..}+ is neither */
            const char *open = t.at;
            while (open > expression && *open != '{')
                open--;
            if (isdigit((unsigned char)open[1]))
                rc = refuse(err, "{n,m}+");
            buffer_byte(&t.out, (unsigned char)*t.at++);
        } else {
            if (*t.at == '[') {
                t.in_class = true;
                buffer_byte(&t.out, (unsigned char)*t.at++);
                if (*t.at == '^')
                    buffer_byte(&t.out, (unsigned char)*t.at++);
                if (*t.at != ']') /* a ] that stands first is a character */
                    continue;
            } else if (*t.at == '(') {
                rc = check_group(t.at, err);
            }
            buffer_byte(&t.out, (unsigned char)*t.at++);
        }
    }
    *out = t.out;
    return rc;
}

static int compile(struct pattern *p, const char *text, size_t length, struct error *err) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int code = 0, rc = 0;
    PCRE2_SIZE where = 0;

    p->limits = pcre2_match_context_create(NULL);
    if (context == NULL || p->limits == NULL) {
        pcre2_compile_context_free(context);
        return error_nomem(err, "a regular expression");
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, DEEPEST_GROUPS);
    pcre2_set_match_limit(p->limits, MATCH_STEPS);
    pcre2_set_heap_limit(p->limits, MATCH_HEAP_KIB);
    /* ^ and $ are those of lines to Oniguruma */
    p->code = pcre2_compile((PCRE2_SPTR)text, length,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &where, context);
    if (p->code == NULL) {
        PCRE2_UCHAR why[128] = "";
        pcre2_get_error_message(code, why, sizeof why);
        rc = error_input(err, "the regular expression is not valid: %s", (const char *)why);
    } else {
        pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it the interpreter does the same */
    }
    pcre2_compile_context_free(context);
    return rc;
}

int pattern_compile(const char *expression, struct pattern **out, struct error *err) {
    struct pattern *p;
    struct buffer text = {0};
    int rc;

    *out = NULL;
    if (strlen(expression) > LONGEST_EXPRESSION)
        return error_input(err, "a regular expression is longer than %d bytes", LONGEST_EXPRESSION);
    p = mem_zeros(1, sizeof *p);
    if (p == NULL)
        return error_nomem(err, "a regular expression");
    rc = translate(expression, &text, err);
    buffer_text(&text, "");
    if (rc == 0 && text.failed)
        rc = error_nomem(err, "a regular expression");
    if (rc == 0)
        rc = compile(p, text.data, text.length, err);
    buffer_free(&text);
    if (rc != 0) {
        pattern_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

int pattern_literal(const char *text, struct pattern **out, struct error *err) {
    struct pattern *p = mem_zeros(1, sizeof *p);

    *out = NULL;
    if (p == NULL || (p->literal = mem_strdup(text)) == NULL) {
        pattern_free(p);
        return error_nomem(err, "a pattern");
    }
    p->literal_length = strlen(text);
    *out = p;
    return 0;
}

int pattern_parse(const json_t *json, struct pattern **out, struct error *err) {
    const char *text;

    *out = NULL;
    if (!json_is_object(json))
        return error_input(err, "'pattern' must be {\"String\": ...} or {\"Regex\": ...}, not %s", field_kind(json));
    text = json_string_value(json_object_get(json, "String"));
    if (text != NULL) {
        if (*text == '\0')
            return error_input(err, "'pattern' is empty");
        return pattern_literal(text, out, err);
    }
    text = json_string_value(json_object_get(json, "Regex"));
    if (text == NULL)
        return error_input(err, "'pattern' must be {\"String\": ...} or {\"Regex\": ...}");
    return pattern_compile(text, out, err);
}

void pattern_free(struct pattern *p) {
    if (p == NULL)
        return;
    pcre2_match_context_free(p->limits);
    pcre2_code_free(p->code);
    free(p->literal);
    free(p);
}

void spans_free(struct spans *s) {
    free(s->items);
    *s = (struct spans){0};
}

static int span_add(struct spans *s, size_t start, size_t end, bool match, struct error *err) {
    void *items = s->items;

    if (mem_grow(&items, &s->capacity, s->count + 1, sizeof *s->items) != 0)
        return error_nomem(err, "matches of a pattern");
    s->items = items;
    s->items[s->count++] = (struct span){start, end, match};
    return 0;
}

/* Where the literal next begins, or `length`. */
static size_t next_literal(const struct pattern *p, const char *text, size_t length, size_t at) {
    while (at < length) {
        const char *hit = memchr(text + at, p->literal[0], length - at);
        if (hit == NULL || (size_t)(text + length - hit) < p->literal_length)
            break;
        if (memcmp(hit, p->literal, p->literal_length) == 0)
            return (size_t)(hit - text);
        at = (size_t)(hit - text) + 1;
    }
    return length;
}

static int find_literal(const struct pattern *p, const char *text, size_t length, struct spans *out,
                        struct error *err) {
    size_t last = 0;

    for (;;) {
        const size_t start = next_literal(p, text, length, last);
        if (start > last && span_add(out, last, start, false, err) != 0)
            return -1;
        if (start == length)
            return 0;
        last = start + p->literal_length;
        if (span_add(out, start, last, true, err) != 0)
            return -1;
    }
}

/* 1: found, 0: none, -1: error */
static int match_once(const struct pattern *p, const char *text, size_t length, size_t at, pcre2_match_data *data,
                      struct error *err) {
    int n = pcre2_match(p->code, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK, data, p->limits);

    if (n == PCRE2_ERROR_JIT_STACKLIMIT)
        n = pcre2_match(p->code, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, p->limits);
    if (n == PCRE2_ERROR_NOMATCH)
        return 0;
    if (n == PCRE2_ERROR_NOMEMORY)
        return error_nomem(err, "a regular expression");
    if (n < 0)
        return error_input(err, "the tokenizer's regular expression needs too many steps on this text");
    return 1;
}

static int find_expression(const struct pattern *p, const char *text, size_t length, struct spans *out,
                           struct error *err) {
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    const PCRE2_SIZE *found;
    size_t at = 0, last = 0;
    bool any = false;
    int rc = 0;

    if (data == NULL)
        return error_nomem(err, "a regular expression");
    found = pcre2_get_ovector_pointer(data);
    while (at <= length && (rc = match_once(p, text, length, at, data, err)) == 1) {
        const size_t start = found[0], end = found[1];
        if (start >= end) {
            /* one code point on, so that no empty match repeats for ever */
            uint32_t code;
            const size_t step = start < length ? utf8_decode(text + start, length - start, &code) : 1;
            at = start + (step ? step : 1);
            if (start > end || (any && start == last))
                continue;
        } else {
            at = end;
        }
        rc = start > last ? span_add(out, last, start, false, err) : 0;
        if (rc == 0)
            rc = span_add(out, start, end, true, err);
        if (rc != 0)
            break;
        last = end;
        any = true;
    }
    pcre2_match_data_free(data);
    if (rc < 0)
        return -1;
    return last < length ? span_add(out, last, length, false, err) : 0;
}

int pattern_find(const struct pattern *p, const char *text, size_t length, struct spans *out, struct error *err) {
    out->count = 0;
    if (length == 0)
        return span_add(out, 0, 0, false, err);
    return p->literal != NULL ? find_literal(p, text, length, out, err) : find_expression(p, text, length, out, err);
}
