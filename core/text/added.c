/* SPDX-License-Identifier: MIT */
#include "text/added.h"

#include "base/utf8.h"
#include "text/fields.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* What is sought: a token's text or its normal form. Sorted by bytes, so that a search narrows
 * a range of the table byte by byte, as a trie would. */
struct needle {
    const char *text;
    size_t length;
    const struct added_token *token;
};

struct needles {
    struct needle *items;
    size_t count;
    bool begins[256]; /* with which bytes */
};

struct added {
    struct added_token *tokens;
    size_t count;
    struct needles plain, normalized;
};

static int parse_token(const json_t *json, size_t index, const struct vocab *vocab, struct arena *strings,
                       struct added_token *t, struct error *err) {
    const json_t *id = json_object_get(json, "id");
    const char *text;
    int32_t known;

    if (!json_is_object(json))
        return error_input(err, "added token %zu must be an object, not %s", index, field_kind(json));
    if (field_string(json, "content", NULL, &text, err) != 0 ||
        field_bool(json, "single_word", false, &t->single_word, err) != 0 ||
        field_bool(json, "lstrip", false, &t->lstrip, err) != 0 ||
        field_bool(json, "rstrip", false, &t->rstrip, err) != 0 ||
        field_bool(json, "special", false, &t->special, err) != 0 ||
        field_bool(json, "normalized", !t->special, &t->normalized, err) != 0)
        return error_prefix(err, "added token %zu", index);
    if (text == NULL || *text == '\0')
        return error_input(err, "added token %zu has no 'content'", index);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > VOCAB_LARGEST_ID)
        return error_input(err, "the id of the added token '%.40s' must be a whole number from 0 to %d", text,
                           VOCAB_LARGEST_ID);
    t->id = (int32_t)json_integer_value(id);
    known = vocab_get(vocab, text, strlen(text));
    if (known >= 0 && known != t->id)
        return error_input(err, "the added token '%.40s' has the id %d here and %d in the vocabulary", text, t->id,
                           known);
    t->length = strlen(text);
    t->text = arena_strndup(strings, text, t->length);
    return t->text == NULL ? error_nomem(err, "added tokens") : 0;
}

static int compare(const void *a, const void *b) {
    const struct needle *x = a, *y = b;
    const size_t n = x->length < y->length ? x->length : y->length;
    const int c = memcmp(x->text, y->text, n);

    if (c != 0)
        return c;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

static int add_needle(struct needles *n, const struct added_token *t, const struct normalizer *normalizer,
                      struct arena *strings, struct error *err) {
    struct needle *d = &n->items[n->count];
    struct buffer form = {0};

    *d = (struct needle){t->text, t->length, t};
    if (t->normalized && normalizer != NULL) {
        if (normalizer_run(normalizer, t->text, t->length, &form, err) != 0) {
            buffer_free(&form);
            return -1;
        }
        d->length = form.length;
        d->text = arena_strndup(strings, form.data == NULL ? "" : form.data, form.length);
        buffer_free(&form);
        if (d->text == NULL)
            return error_nomem(err, "added tokens");
    }
    if (d->length > 0)
        n->count++;
    return 0;
}

static void sort_needles(struct needles *n) {
    qsort(n->items, n->count, sizeof *n->items, compare);
    for (size_t i = 0; i < n->count; i++)
        n->begins[(unsigned char)n->items[i].text[0]] = true;
}

int added_parse(const json_t *json, const struct vocab *vocab, const struct normalizer *normalizer,
                struct arena *strings, struct added **out, struct error *err) {
    const size_t count = json_array_size(json);
    struct added *a;

    *out = NULL;
    if (json != NULL && !json_is_null(json) && !json_is_array(json))
        return error_input(err, "'added_tokens' must be a list, not %s", field_kind(json));
    a = mem_zeros(1, sizeof *a);
    if (a == NULL)
        return error_nomem(err, "added tokens");
    a->tokens = mem_zeros(count, sizeof *a->tokens);
    a->plain.items = mem_zeros(count, sizeof *a->plain.items);
    a->normalized.items = mem_zeros(count, sizeof *a->normalized.items);
    if (a->tokens == NULL || a->plain.items == NULL || a->normalized.items == NULL) {
        added_free(a);
        return error_nomem(err, "added tokens");
    }
    for (size_t i = 0; i < count; i++) {
        struct added_token *t = &a->tokens[i];
        if (parse_token(json_array_get(json, i), i, vocab, strings, t, err) != 0 ||
            add_needle(t->normalized ? &a->normalized : &a->plain, t, normalizer, strings, err) != 0) {
            added_free(a);
            return -1;
        }
        a->count++;
    }
    sort_needles(&a->plain);
    sort_needles(&a->normalized);
    *out = a;
    return 0;
}

void added_free(struct added *a) {
    if (a == NULL)
        return;
    free(a->plain.items);
    free(a->normalized.items);
    free(a->tokens);
    free(a);
}

const struct added_token *added_list(const struct added *a, size_t *count) {
    *count = a->count;
    return a->tokens;
}

/* The first index in [low, high) whose byte `depth` is at least `byte`; all there share the bytes before it. */
static size_t lower_bound(const struct needles *n, size_t low, size_t high, size_t depth, unsigned byte) {
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct needle *d = &n->items[middle];
        if (d->length <= depth || (unsigned char)d->text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest needle that `text` begins with, or NULL. */
static const struct needle *longest(const struct needles *n, const char *text, size_t length) {
    const struct needle *best = NULL;
    size_t low = 0, high = n->count;

    for (size_t depth = 0; depth < length && low < high; depth++) {
        const unsigned byte = (unsigned char)text[depth];
        low = lower_bound(n, low, high, depth, byte);
        high = lower_bound(n, low, high, depth, byte + 1);
        if (low < high && n->items[low].length == depth + 1)
            best = &n->items[low];
    }
    return best;
}

static size_t code_before(const char *text, size_t at, uint32_t *code) {
    size_t start = at;

    while (start > 0 && ((unsigned char)text[--start] & 0xc0) == 0x80)
        ;
    return utf8_decode(text + start, at - start, code);
}

/* \w of Rust's regular expressions, to the precision of general categories. */
static bool is_word(uint32_t code) {
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return code == 0x200c || code == 0x200d;
    }
}

static bool is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool stands_alone(const char *text, size_t length, size_t start, size_t end) {
    uint32_t code;

    if (start > 0 && code_before(text, start, &code) > 0 && is_word(code))
        return false;
    return !(end < length && utf8_decode(text + end, length - end, &code) > 0 && is_word(code));
}

/* Takes in the spaces beside a token that asks for them, as far as the token before it. */
static void widen(const struct added_token *t, const char *text, size_t length, size_t done, size_t *start,
                  size_t *end) {
    uint32_t code;
    size_t n;

    if (t->lstrip)
        while (*start > done && (n = code_before(text, *start, &code)) > 0 && is_space(code))
            *start -= n;
    if (t->rstrip)
        while (*end < length && (n = utf8_decode(text + *end, length - *end, &code)) > 0 && is_space(code))
            *end += n;
}

bool added_ordinary(const struct added_rules *rules, size_t start, size_t end) {
    size_t low = 0, high = rules->count;

    /* the first range that ends behind `start` */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (rules->ordinary[middle].end <= start)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rules->count && rules->ordinary[low].start < end;
}

int added_split(const struct added *a, bool normalized, const struct added_rules *rules, const char *text,
                size_t length, bool first, struct pieces *out, struct error *err) {
    const struct needles *needles = normalized ? &a->normalized : &a->plain;
    size_t done = 0;

    for (size_t at = 0; at < length;) {
        const struct needle *n =
            needles->begins[(unsigned char)text[at]] ? longest(needles, text + at, length - at) : NULL;
        size_t start = at, end;
        if (n == NULL) {
            at++;
            continue;
        }
        end = start + n->length;
        if (n->token->special && added_ordinary(rules, rules->origin + start, rules->origin + end)) {
            at++;
            continue;
        }
        at = end;
        if ((n->token->special && !rules->special) ||
            (n->token->single_word && !stands_alone(text, length, start, end)))
            continue;
        widen(n->token, text, length, done, &start, &end);
        if (start > done && pieces_copy(out, text + done, start - done, -1, first && done == 0, err) != 0)
            return -1;
        if (pieces_copy(out, text + start, end > start ? end - start : 0, n->token->id, false, err) != 0)
            return -1;
        done = end > done ? end : done;
        at = at > done ? at : done;
    }
    if (done < length)
        return pieces_copy(out, text + done, length - done, -1, first && done == 0, err);
    return 0;
}
