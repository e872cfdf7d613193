/* SPDX-License-Identifier: MIT */
#include "text/decode.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "text/fields.h"
#include "text/pattern.h"
#include "text/pretokenize.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 64, MOST_STRIPPED = 1 << 20 };
enum step_kind { STEP_BYTE_LEVEL, STEP_BYTE_FALLBACK, STEP_FUSE, STEP_REPLACE, STEP_STRIP, STEP_METASPACE };

static const char REPLACEMENT[] = "\xef\xbf\xbd"; /* U+FFFD */

struct step {
    enum step_kind kind;
    struct pattern *pattern; /* STEP_REPLACE */
    char *text;              /* STEP_REPLACE: the content; STEP_STRIP and STEP_METASPACE: one character */
    size_t start, stop;      /* STEP_STRIP: at most so many from either end */
    bool drop_first;         /* STEP_METASPACE: the first token's marks vanish */
};

struct decoder {
    struct step steps[MOST_STEPS];
    size_t count;
};

/* ---- parsing ------------------------------------------------------------ */

static int parse_metaspace(const json_t *json, struct step *s, const char **mark, struct error *err) {
    const char *scheme;
    bool prefix;

    s->kind = STEP_METASPACE;
    if (field_string(json, "replacement", "\xe2\x96\x81", mark, err) != 0 ||
        field_string(json, "prepend_scheme", NULL, &scheme, err) != 0 ||
        field_bool(json, "add_prefix_space", true, &prefix, err) != 0)
        return -1;
    s->drop_first = scheme == NULL ? prefix : strcmp(scheme, "never") != 0;
    return 0;
}

static int parse_step(const json_t *json, const char *type, struct step *s, struct error *err) {
    const char *text = NULL;
    uint32_t code;

    if (strcmp(type, "ByteLevel") == 0) {
        s->kind = STEP_BYTE_LEVEL;
        return 0;
    }
    if (strcmp(type, "ByteFallback") == 0) {
        s->kind = STEP_BYTE_FALLBACK;
        return 0;
    }
    if (strcmp(type, "Fuse") == 0) {
        s->kind = STEP_FUSE;
        return 0;
    }
    if (strcmp(type, "Replace") == 0) {
        s->kind = STEP_REPLACE;
        if (field_string(json, "content", NULL, &text, err) != 0 ||
            pattern_parse(json_object_get(json, "pattern"), &s->pattern, err) != 0)
            return -1;
    } else if (strcmp(type, "Strip") == 0) {
        s->kind = STEP_STRIP;
        if (field_string(json, "content", NULL, &text, err) != 0 ||
            field_count(json, "start", MOST_STRIPPED, 0, &s->start, err) != 0 ||
            field_count(json, "stop", MOST_STRIPPED, 0, &s->stop, err) != 0)
            return -1;
    } else if (strcmp(type, "Metaspace") == 0) {
        if (parse_metaspace(json, s, &text, err) != 0)
            return -1;
    } else {
        return error_input(err, "the decoder '%s' is not supported", type);
    }
    if (text == NULL)
        return error_input(err, "the decoder '%s' lacks its 'content'", type);
    if (s->kind != STEP_REPLACE && (*text == '\0' || utf8_decode(text, strlen(text), &code) != strlen(text)))
        return error_input(err, "the decoder '%s' needs one character, not '%.20s'", type, text);
    s->text = mem_strdup(text);
    return s->text == NULL ? error_nomem(err, "a decoder") : 0;
}

static int add(void *ctx, const json_t *json, const char *type, struct error *err) {
    struct decoder *d = ctx;

    if (d->count == MOST_STEPS)
        return error_input(err, "more than %d decoders", MOST_STEPS);
    return parse_step(json, type, &d->steps[d->count++], err);
}

int decoder_parse(const json_t *json, struct decoder **out, struct error *err) {
    struct decoder *d;

    *out = NULL;
    if (json == NULL || json_is_null(json))
        return 0;
    d = mem_zeros(1, sizeof *d);
    if (d == NULL)
        return error_nomem(err, "a decoder");
    if (field_components(json, "decoder", "decoders", add, d, err) != 0) {
        decoder_free(d);
        return -1;
    }
    *out = d;
    return 0;
}

void decoder_free(struct decoder *d) {
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->count; i++) {
        pattern_free(d->steps[i].pattern);
        free(d->steps[i].text);
    }
    free(d);
}

/* ---- running ------------------------------------------------------------ */

/* The length of the longest beginning that some well-formed character has; at least 1. */
static size_t subpart(const unsigned char *s, size_t length) {
    size_t want, n = 1;
    unsigned char low = 0x80, high = 0xbf;

    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        want = 2;
    else if (s[0] >= 0xe0 && s[0] <= 0xef)
        want = 3;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        want = 4;
    else
        return 1;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    while (n < want && n < length && s[n] >= low && s[n] <= high) {
        low = 0x80;
        high = 0xbf;
        n++;
    }
    return n;
}

void text_repair(const char *bytes, size_t length, struct buffer *out) {
    size_t at = 0;

    while (at < length) {
        const size_t good = utf8_valid_prefix(bytes + at, length - at);
        buffer_add(out, bytes + at, good);
        at += good;
        if (at < length) {
            buffer_text(out, REPLACEMENT);
            at += subpart((const unsigned char *)bytes + at, length - at);
        }
    }
}

/* The bytes that a token of GPT-2's alphabet stands for; any other token stands for itself. */
static void spell_bytes(const char *token, size_t length, struct buffer *out) {
    const size_t start = out->length;

    for (size_t i = 0; i < length;) {
        uint32_t code = 0;
        const size_t n = utf8_decode(token + i, length - i, &code);
        const int byte = n == 0 ? -1 : byte_from_code(code);
        if (byte < 0) {
            if (out->data != NULL)
                out->length = start;
            buffer_add(out, token, length);
            return;
        }
        buffer_byte(out, (unsigned char)byte);
        i += n;
    }
}

/* The byte of "<0x0A>", or -1. */
static int fallback_byte(const char *token, size_t length) {
    char digits[3];

    if (length != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>' || !isxdigit((unsigned char)token[4]))
        return -1;
    if (token[3] == '+') /* Rust's from_str_radix takes a sign */
        return (int)strtol((digits[0] = token[4], digits[1] = '\0', digits), NULL, 16);
    if (!isxdigit((unsigned char)token[3]))
        return -1;
    digits[0] = token[3];
    digits[1] = token[4];
    digits[2] = '\0';
    return (int)strtol(digits, NULL, 16);
}

static int run_byte_level(struct pieces *in, struct pieces *out, struct error *err) {
    struct buffer bytes = {0};
    int rc;

    for (size_t i = 0; i < in->count; i++)
        spell_bytes(piece_text(in, &in->items[i]), in->items[i].length, &bytes);
    text_repair(bytes.data, bytes.length, &out->text);
    rc = bytes.failed || out->text.failed ? error_nomem(err, "a decoded text")
                                          : pieces_add(out, 0, out->text.length, -1, true, err);
    buffer_free(&bytes);
    return rc;
}

/* Bytes in a row are one text when they are well-formed together, otherwise one U+FFFD each. */
static int flush_bytes(struct buffer *bytes, struct pieces *out, struct error *err) {
    int rc = 0;

    if (bytes->failed)
        return error_nomem(err, "a decoded text");
    if (bytes->length == 0)
        return 0;
    if (utf8_valid_prefix(bytes->data, bytes->length) == bytes->length)
        rc = pieces_copy(out, bytes->data, bytes->length, -1, false, err);
    else
        for (size_t i = 0; rc == 0 && i < bytes->length; i++)
            rc = pieces_copy(out, REPLACEMENT, 3, -1, false, err);
    buffer_clear(bytes);
    return rc;
}

static int run_byte_fallback(struct pieces *in, struct pieces *out, struct error *err) {
    struct buffer bytes = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < in->count; i++) {
        const char *token = piece_text(in, &in->items[i]);
        const int byte = fallback_byte(token, in->items[i].length);
        if (byte >= 0) {
            buffer_byte(&bytes, (unsigned char)byte);
            continue;
        }
        rc = flush_bytes(&bytes, out, err);
        if (rc == 0)
            rc = pieces_copy(out, token, in->items[i].length, -1, false, err);
    }
    if (rc == 0)
        rc = flush_bytes(&bytes, out, err);
    buffer_free(&bytes);
    return rc;
}

static int replace(const struct step *s, const char *text, size_t length, struct buffer *out, struct error *err) {
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

static void metaspace(const struct step *s, const char *text, size_t length, bool drop, struct buffer *out) {
    const size_t mark = strlen(s->text);

    for (size_t i = 0; i < length;) {
        if (length - i >= mark && memcmp(text + i, s->text, mark) == 0) {
            if (!drop)
                buffer_byte(out, ' ');
            i += mark;
        } else {
            buffer_byte(out, (unsigned char)text[i++]);
        }
    }
}

static void strip(const struct step *s, const char *text, size_t length, struct buffer *out) {
    const size_t n = strlen(s->text);

    for (size_t i = 0; i < s->start && length >= n && memcmp(text, s->text, n) == 0; i++) {
        text += n;
        length -= n;
    }
    for (size_t i = 0; i < s->stop && length >= n && memcmp(text + length - n, s->text, n) == 0; i++)
        length -= n;
    buffer_add(out, text, length);
}

/* Steps that take one token to one token. */
static int run_each(const struct step *s, struct pieces *in, struct pieces *out, struct error *err) {
    for (size_t i = 0; i < in->count; i++) {
        const char *text = piece_text(in, &in->items[i]);
        const size_t length = in->items[i].length, start = out->text.length;
        if (s->kind == STEP_REPLACE && replace(s, text, length, &out->text, err) != 0)
            return -1;
        if (s->kind == STEP_METASPACE)
            metaspace(s, text, length, s->drop_first && i == 0, &out->text);
        else if (s->kind == STEP_STRIP)
            strip(s, text, length, &out->text);
        if (out->text.failed)
            return error_nomem(err, "a decoded text");
        if (pieces_add(out, start, out->text.length - start, -1, false, err) != 0)
            return -1;
    }
    return 0;
}

static int run_step(const struct step *s, struct pieces *in, struct pieces *out, struct error *err) {
    switch (s->kind) {
    case STEP_BYTE_LEVEL:
        return run_byte_level(in, out, err);
    case STEP_BYTE_FALLBACK:
        return run_byte_fallback(in, out, err);
    case STEP_FUSE:
        for (size_t i = 0; i < in->count; i++)
            buffer_add(&out->text, piece_text(in, &in->items[i]), in->items[i].length);
        return out->text.failed ? error_nomem(err, "a decoded text")
                                : pieces_add(out, 0, out->text.length, -1, true, err);
    default:
        return run_each(s, in, out, err);
    }
}

int decoder_run(const struct decoder *d, struct pieces *tokens, struct buffer *out, struct error *err) {
    struct pieces other = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && d != NULL && i < d->count; i++) {
        pieces_clear(&other);
        rc = run_step(&d->steps[i], tokens, &other, err);
        pieces_swap(tokens, &other);
    }
    for (size_t i = 0; rc == 0 && i < tokens->count; i++) {
        if (d == NULL && i > 0)
            buffer_byte(out, ' ');
        buffer_add(out, piece_text(tokens, &tokens->items[i]), tokens->items[i].length);
    }
    pieces_free(&other);
    if (rc == 0 && out->failed)
        rc = error_nomem(err, "a decoded text");
    return rc;
}

int decoder_token(const struct decoder *d, const char *token, size_t length, struct buffer *out, struct error *err) {
    struct buffer work[2] = {{0}, {0}};
    int now = 0, rc = 0;

    buffer_add(&work[0], token, length);
    for (size_t i = 0; rc == 0 && d != NULL && i < d->count && !work[now].failed; i++) {
        const struct step *s = &d->steps[i];
        const char *text = work[now].data == NULL ? "" : work[now].data;
        const size_t n = work[now].length;
        const int byte = s->kind == STEP_BYTE_FALLBACK ? fallback_byte(text, n) : -1;
        struct buffer *to = &work[!now];
        buffer_clear(to);
        if (byte >= 0)
            buffer_byte(to, (unsigned char)byte);
        else if (s->kind == STEP_BYTE_LEVEL)
            spell_bytes(text, n, to);
        else if (s->kind == STEP_REPLACE)
            rc = replace(s, text, n, to, err);
        else if (s->kind == STEP_METASPACE)
            metaspace(s, text, n, false, to);
        else
            continue;
        now = !now;
        if (byte >= 0 || s->kind == STEP_BYTE_LEVEL)
            break; /* bytes now, while what follows works on text */
    }
    buffer_add(out, work[now].data, work[now].length);
    if (rc == 0 && (out->failed || work[0].failed || work[1].failed))
        rc = error_nomem(err, "the bytes of a token");
    buffer_free(&work[0]);
    buffer_free(&work[1]);
    return rc;
}
