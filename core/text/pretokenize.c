/* SPDX-License-Identifier: MIT */
#include "text/pretokenize.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "text/fields.h"
#include "text/pattern.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 64 };

/* https://github.com/openai/gpt-2/blob/master/src/encoder.py */
#define GPT2_EXPRESSION "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

enum behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };
enum scheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };
enum step_kind { STEP_SPLIT, STEP_SPACE, STEP_BYTES, STEP_METASPACE };

/* Every pre-tokenizer is one or more of these. */
struct step {
    enum step_kind kind;
    struct pattern *pattern; /* STEP_SPLIT */
    enum behavior behavior;
    bool invert;
    char *mark;              /* STEP_METASPACE: what stands for a space */
    enum scheme scheme;
};

struct pretokenizer {
    struct step steps[MOST_STEPS];
    size_t count;
};

uint32_t byte_to_code(unsigned char b) {
    if ((b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae)
        return b;
    if (b <= 0x20)
        return 0x100u + b;
    return b == 0xad ? 0x143u : 0x121u + (b - 0x7fu); /* 0x7f..0xa0 follow the 33 below 0x21 */
}

int byte_from_code(uint32_t code) {
    if ((code >= 0x21 && code <= 0x7e) || (code >= 0xa1 && code <= 0xac) || (code >= 0xae && code <= 0xff))
        return (int)code;
    if (code >= 0x100 && code <= 0x120)
        return (int)(code - 0x100);
    if (code >= 0x121 && code <= 0x142)
        return (int)(code - 0x121 + 0x7f);
    return code == 0x143 ? 0xad : -1;
}

static struct step *add_step(struct pretokenizer *p, enum step_kind kind, struct error *err) {
    if (p->count == MOST_STEPS) {
        error_input(err, "more than %d pre-tokenizers", MOST_STEPS);
        return NULL;
    }
    p->steps[p->count].kind = kind;
    return &p->steps[p->count++];
}

static int add_split(struct pretokenizer *p, const char *expression, enum behavior behavior, bool invert,
                     struct error *err) {
    struct step *s = add_step(p, STEP_SPLIT, err);

    if (s == NULL)
        return -1;
    s->behavior = behavior;
    s->invert = invert;
    return pattern_compile(expression, &s->pattern, err);
}

static int parse_behavior(const json_t *json, enum behavior fallback, enum behavior *out, struct error *err) {
    static const struct {
        const char *name;
        enum behavior value;
    } names[] = {
        {"Removed", REMOVED},
        {"Isolated", ISOLATED},
        {"MergedWithPrevious", MERGED_WITH_PREVIOUS},
        {"MergedWithNext", MERGED_WITH_NEXT},
        {"Contiguous", CONTIGUOUS},
    };
    const char *name;

    *out = fallback;
    if (field_string(json, "behavior", NULL, &name, err) != 0)
        return -1;
    if (name == NULL)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0) {
            *out = names[i].value;
            return 0;
        }
    return error_input(err, "the behavior '%s' of a pre-tokenizer is not known", name);
}

static int parse_split(const json_t *json, struct pretokenizer *p, struct error *err) {
    struct step *s = add_step(p, STEP_SPLIT, err);

    if (s == NULL || parse_behavior(json, ISOLATED, &s->behavior, err) != 0 ||
        field_bool(json, "invert", false, &s->invert, err) != 0)
        return -1;
    return pattern_parse(json_object_get(json, "pattern"), &s->pattern, err);
}

static int parse_byte_level(const json_t *json, struct pretokenizer *p, struct error *err) {
    bool prefix, expression;

    if (field_bool(json, "add_prefix_space", true, &prefix, err) != 0 ||
        field_bool(json, "use_regex", true, &expression, err) != 0)
        return -1;
    if (prefix && add_step(p, STEP_SPACE, err) == NULL)
        return -1;
    if (expression && add_split(p, GPT2_EXPRESSION, ISOLATED, false, err) != 0)
        return -1;
    return add_step(p, STEP_BYTES, err) == NULL ? -1 : 0;
}

static int parse_metaspace(const json_t *json, struct pretokenizer *p, struct error *err) {
    struct step *s = add_step(p, STEP_METASPACE, err);
    const char *mark, *scheme;
    bool prefix, split;
    uint32_t code;

    if (s == NULL || field_string(json, "replacement", "\xe2\x96\x81", &mark, err) != 0 ||
        field_string(json, "prepend_scheme", NULL, &scheme, err) != 0 ||
        field_bool(json, "add_prefix_space", true, &prefix, err) != 0 ||
        field_bool(json, "split", true, &split, err) != 0)
        return -1;
    if (utf8_decode(mark, strlen(mark), &code) != strlen(mark) || *mark == '\0')
        return error_input(err, "'replacement' of Metaspace must be one character");
    if (scheme == NULL)
        s->scheme = prefix ? PREPEND_ALWAYS : PREPEND_NEVER; /* as files older than prepend_scheme mean it */
    else if (strcmp(scheme, "always") == 0 || strcmp(scheme, "first") == 0)
        s->scheme = *scheme == 'a' ? PREPEND_ALWAYS : PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        s->scheme = PREPEND_NEVER;
    else
        return error_input(err, "'prepend_scheme' must be first, never or always, not '%s'", scheme);
    s->mark = mem_strdup(mark);
    if (s->mark == NULL)
        return error_nomem(err, "a pre-tokenizer");
    if (!split)
        return 0;
    s = add_step(p, STEP_SPLIT, err);
    if (s == NULL)
        return -1;
    s->behavior = MERGED_WITH_NEXT;
    return pattern_literal(mark, &s->pattern, err);
}

static int add(void *ctx, const json_t *json, const char *type, struct error *err) {
    struct pretokenizer *p = ctx;
    bool individual;
    enum behavior behavior;

    if (strcmp(type, "ByteLevel") == 0)
        return parse_byte_level(json, p, err);
    if (strcmp(type, "Split") == 0)
        return parse_split(json, p, err);
    if (strcmp(type, "Metaspace") == 0)
        return parse_metaspace(json, p, err);
    if (strcmp(type, "Digits") == 0) {
        if (field_bool(json, "individual_digits", false, &individual, err) != 0)
            return -1;
        return add_split(p, "\\p{N}", individual ? ISOLATED : CONTIGUOUS, false, err);
    }
    if (strcmp(type, "Punctuation") == 0) {
        if (parse_behavior(json, ISOLATED, &behavior, err) != 0)
            return -1;
        return add_split(p, "[!-/:-@\\[-`{-~\\p{P}]", behavior, false, err);
    }
    if (strcmp(type, "Whitespace") == 0)
        return add_split(p, "[" PATTERN_WORDS "]+|[^" PATTERN_WORDS "\\s]+", REMOVED, true, err);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return add_split(p, "\\s", REMOVED, false, err);
    return error_input(err, "the pre-tokenizer '%s' is not supported", type);
}

int pretokenizer_parse(const json_t *json, struct pretokenizer **out, struct error *err) {
    struct pretokenizer *p;

    *out = NULL;
    if (json == NULL || json_is_null(json))
        return 0;
    p = mem_zeros(1, sizeof *p);
    if (p == NULL)
        return error_nomem(err, "a pre-tokenizer");
    if (field_components(json, "pre-tokenizer", "pretokenizers", add, p, err) != 0) {
        pretokenizer_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

void pretokenizer_free(struct pretokenizer *p) {
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++) {
        pattern_free(p->steps[i].pattern);
        free(p->steps[i].mark);
    }
    free(p);
}

/* Joins matches with their neighbours in place, as the behavior says; leaves what is kept. */
static void join_spans(const struct step *s, struct spans *spans) {
    struct span *v = spans->items;
    size_t n = 0;
    bool previous = false;

    if (s->invert)
        for (size_t i = 0; i < spans->count; i++)
            v[i].match = !v[i].match;
    switch (s->behavior) {
    case ISOLATED:
        return;
    case REMOVED:
        for (size_t i = 0; i < spans->count; i++)
            if (!v[i].match)
                v[n++] = v[i];
        break;
    case CONTIGUOUS:
    case MERGED_WITH_PREVIOUS:
        for (size_t i = 0; i < spans->count; i++) {
            const bool match = v[i].match;
            const bool join = s->behavior == CONTIGUOUS ? match == previous : match && !previous;
            if (join && n > 0)
                v[n - 1].end = v[i].end;
            else
                v[n++] = v[i];
            previous = match;
        }
        break;
    default: /* the same from the end: kept spans gather at the end of the array */
        n = spans->count;
        for (size_t i = spans->count; i-- > 0;) {
            const bool match = v[i].match;
            if (match && !previous && n < spans->count)
                v[n].start = v[i].start;
            else
                v[--n] = v[i];
            previous = match;
        }
        memmove(v, v + n, (spans->count - n) * sizeof *v);
        n = spans->count - n;
        break;
    }
    spans->count = n;
}

/* Splits never change the text: the new pieces point into the old buffer. */
static int run_split(const struct step *s, struct pieces *p, struct pieces *to, struct spans *spans,
                     struct error *err) {
    for (size_t i = 0; i < p->count; i++) {
        const struct piece from = p->items[i];
        if (from.id >= 0) {
            if (pieces_add(to, from.start, from.length, from.id, from.first, err) != 0)
                return -1;
            continue;
        }
        if (pattern_find(s->pattern, piece_text(p, &from), from.length, spans, err) != 0)
            return -1;
        join_spans(s, spans);
        for (size_t k = 0; k < spans->count; k++) {
            const struct span *m = &spans->items[k];
            if (m->end > m->start && pieces_add(to, from.start + m->start, m->end - m->start, -1,
                                                from.first && m->start == 0, err) != 0)
                return -1;
        }
    }
    const struct buffer text = to->text;
    to->text = p->text;
    p->text = text;
    pieces_swap(p, to);
    return 0;
}

static void map_bytes(const char *text, size_t length, struct buffer *out) {
    for (size_t i = 0; i < length; i++) {
        char bytes[4];
        buffer_add(out, bytes, utf8_encode(byte_to_code((unsigned char)text[i]), bytes));
    }
}

static void map_metaspace(const struct step *s, const struct piece *from, const char *text, struct buffer *out) {
    const size_t mark = strlen(s->mark);
    const bool marked = from->length >= mark && memcmp(text, s->mark, mark) == 0;

    if ((s->scheme == PREPEND_ALWAYS || (s->scheme == PREPEND_FIRST && from->first)) && !marked && *text != ' ')
        buffer_text(out, s->mark);
    for (size_t i = 0; i < from->length; i++) {
        if (text[i] == ' ')
            buffer_text(out, s->mark);
        else
            buffer_byte(out, (unsigned char)text[i]);
    }
}

static int run_map(const struct step *s, struct pieces *p, struct pieces *to, struct error *err) {
    for (size_t i = 0; i < p->count; i++) {
        const struct piece *from = &p->items[i];
        const char *text = piece_text(p, from);
        const size_t start = to->text.length;
        if (from->id < 0 && s->kind == STEP_BYTES) {
            map_bytes(text, from->length, &to->text);
        } else if (from->id < 0 && s->kind == STEP_METASPACE) {
            map_metaspace(s, from, text, &to->text);
        } else {
            if (from->id < 0 && *text != ' ')
                buffer_byte(&to->text, ' ');
            buffer_add(&to->text, text, from->length);
        }
        if (to->text.failed)
            return error_nomem(err, "a text");
        if (pieces_add(to, start, to->text.length - start, from->id, from->first, err) != 0)
            return -1;
    }
    pieces_swap(p, to);
    return 0;
}

int pretokenizer_run(const struct pretokenizer *p, struct pieces *pieces, struct error *err) {
    struct pieces other = {0};
    struct spans spans = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && p != NULL && i < p->count; i++) {
        pieces_clear(&other);
        if (p->steps[i].kind == STEP_SPLIT)
            rc = run_split(&p->steps[i], pieces, &other, &spans, err);
        else
            rc = run_map(&p->steps[i], pieces, &other, err);
    }
    spans_free(&spans);
    pieces_free(&other);
    return rc;
}
