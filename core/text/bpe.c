/* SPDX-License-Identifier: MIT */
#include "text/bpe.h"

#include "base/utf8.h"
#include "text/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHORT_CODES = 0x800 }; /* code points of at most two bytes: looked up in a table */

/* Merging tokens a and b (key a << 32 | b) gives `id`; lower ranks first. */
struct merge {
    uint64_t key;
    uint32_t rank;
    int32_t id;
};
static const uint64_t NO_KEY = UINT64_MAX;

struct bpe {
    struct vocab vocab;
    struct merge *merges; /* open addressing */
    size_t merge_mask;
    char *prefix, *suffix; /* continuing_subword_prefix, end_of_word_suffix; "" when there are none */
    int32_t unk;           /* -1: none */
    bool fuse_unk, byte_fallback, ignore_merges;
    int32_t byte_ids[256]; /* <0x00> .. <0xFF>; -1: not in the vocabulary */
    int32_t short_ids[SHORT_CODES];
};

/* A doubly linked list over an array; `next` of the last and `previous` of the first are -1. */
struct bpe_symbol {
    int32_t id; /* -1: merged into the one before */
    int32_t previous, next;
};

struct bpe_candidate {
    uint32_t rank;
    int32_t at;  /* left symbol */
    int32_t id;  /* what the merge gives */
};

static struct merge *merge_slot(const struct bpe *b, uint64_t key) {
    uint64_t h = key * 0x9e3779b97f4a7c15u;

    h ^= h >> 29;
    for (size_t i = (size_t)h & b->merge_mask;; i = (i + 1) & b->merge_mask)
        if (b->merges[i].key == key || b->merges[i].key == NO_KEY)
            return &b->merges[i];
}

static const struct merge *find_merge(const struct bpe *b, int32_t left, int32_t right) {
    const struct merge *m = merge_slot(b, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);

    return m->key == NO_KEY ? NULL : m;
}

/* ---- parsing ------------------------------------------------------------ */

static int parse_vocab(const json_t *json, struct arena *strings, struct bpe *b, struct error *err) {
    json_t *vocab = json_object_get(json, "vocab");
    const size_t count = json_object_size(vocab);
    const char *text;
    json_t *id;

    if (!json_is_object(vocab))
        return error_input(err, "'vocab' must be an object, not %s", field_kind(vocab));
    if (count == 0)
        return error_input(err, "'vocab' is empty");
    if (vocab_init(&b->vocab, count, err) != 0)
        return -1;
    json_object_foreach(vocab, text, id) {
        const size_t length = strlen(text);
        const char *copy;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > VOCAB_LARGEST_ID)
            return error_input(err, "the id of the token '%.40s' must be a whole number from 0 to %d", text,
                               VOCAB_LARGEST_ID);
        copy = arena_strndup(strings, text, length);
        if (copy == NULL)
            return error_nomem(err, "a vocabulary");
        if (vocab_put(&b->vocab, copy, length, (int32_t)json_integer_value(id), err) < 0)
            return -1;
    }
    return 0;
}

/* "a b" or ["a", "b"] */
static int split_merge(const json_t *json, const char **left, size_t *nleft, const char **right, size_t *nright,
                       size_t index, struct error *err) {
    if (json_is_string(json)) {
        const char *text = json_string_value(json), *space = strchr(text, ' ');
        if (space == NULL || space == text || space[1] == '\0' || strchr(space + 1, ' ') != NULL)
            return error_input(err, "merge %zu must be two tokens with a space between, not '%.40s'", index, text);
        *left = text;
        *nleft = (size_t)(space - text);
        *right = space + 1;
    } else {
        *left = json_string_value(json_array_get(json, 0));
        *right = json_string_value(json_array_get(json, 1));
        if (json_array_size(json) != 2 || *left == NULL || *right == NULL || **left == '\0' || **right == '\0')
            return error_input(err, "merge %zu must be a list of two tokens", index);
        *nleft = strlen(*left);
    }
    *nright = strlen(*right);
    return 0;
}

static int parse_merge(const json_t *json, size_t index, struct bpe *b, struct buffer *joined, struct error *err) {
    const size_t prefix = strlen(b->prefix);
    const char *left = "", *right = "";
    size_t nleft = 0, nright = 0;
    struct merge *m;
    int32_t l, r, id;

    if (split_merge(json, &left, &nleft, &right, &nright, index, err) != 0)
        return -1;
    l = vocab_get(&b->vocab, left, nleft);
    r = vocab_get(&b->vocab, right, nright);
    if (l < 0 || r < 0)
        return error_input(err, "merge %zu: the token '%.*s' is not in the vocabulary", index,
                           (int)(l >= 0 || nleft > 40 ? 40 : nleft), l < 0 ? left : right);
    if (nright < prefix)
        return error_input(err, "merge %zu: '%.40s' is shorter than continuing_subword_prefix", index, right);
    buffer_clear(joined);
    buffer_add(joined, left, nleft);
    buffer_add(joined, right + prefix, nright - prefix);
    if (joined->failed)
        return error_nomem(err, "merges");
    id = vocab_get(&b->vocab, joined->data, joined->length);
    if (id < 0)
        return error_input(err, "merge %zu gives '%.40s', which is not in the vocabulary", index, joined->data);
    m = merge_slot(b, (uint64_t)(uint32_t)l << 32 | (uint32_t)r);
    *m = (struct merge){(uint64_t)(uint32_t)l << 32 | (uint32_t)r, (uint32_t)index, id}; /* the last of two wins */
    return 0;
}

static int parse_merges(const json_t *json, struct bpe *b, struct error *err) {
    const json_t *merges = json_object_get(json, "merges");
    const size_t count = json_array_size(merges);
    struct buffer joined = {0};
    size_t slots = 64;
    int rc = 0;

    if (!json_is_array(merges))
        return error_input(err, "'merges' must be a list, not %s", field_kind(merges));
    if (count > VOCAB_LARGEST_ID)
        return error_input(err, "more than %d merges", VOCAB_LARGEST_ID);
    while (slots / 2 <= count)
        slots *= 2;
    b->merges = mem_array(slots, sizeof *b->merges);
    if (b->merges == NULL)
        return error_nomem(err, "merges");
    b->merge_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        b->merges[i].key = NO_KEY;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = parse_merge(json_array_get(merges, i), i, b, &joined, err);
    buffer_free(&joined);
    return rc;
}

static int parse_options(const json_t *json, struct bpe *b, struct error *err) {
    const json_t *dropout = json_object_get(json, "dropout");
    const char *prefix, *suffix, *unk;

    if (field_string(json, "continuing_subword_prefix", "", &prefix, err) != 0 ||
        field_string(json, "end_of_word_suffix", "", &suffix, err) != 0 ||
        field_string(json, "unk_token", NULL, &unk, err) != 0 ||
        field_bool(json, "fuse_unk", false, &b->fuse_unk, err) != 0 ||
        field_bool(json, "byte_fallback", false, &b->byte_fallback, err) != 0 ||
        field_bool(json, "ignore_merges", false, &b->ignore_merges, err) != 0)
        return -1;
    if (dropout != NULL && !json_is_null(dropout) && json_number_value(dropout) != 0.0)
        return error_input(err, "'dropout' would make the ids random: set it to null");
    if (json_is_string(dropout) || json_is_object(dropout) || json_is_array(dropout) || json_is_boolean(dropout))
        return error_input(err, "'dropout' must be a number or null, not %s", field_kind(dropout));
    b->prefix = mem_strdup(prefix);
    b->suffix = mem_strdup(suffix);
    if (b->prefix == NULL || b->suffix == NULL)
        return error_nomem(err, "a tokenizer");
    if (b->byte_fallback && (*prefix != '\0' || *suffix != '\0'))
        return error_input(err, "'byte_fallback' together with a subword prefix or suffix is not supported");
    if (unk != NULL) {
        b->unk = vocab_get(&b->vocab, unk, strlen(unk));
        if (b->unk < 0 && *unk != '\0')
            return error_input(err, "the unk_token '%.40s' is not in the vocabulary", unk);
    }
    return 0;
}

static void fill_tables(struct bpe *b) {
    char text[16];

    for (int i = 0; i < 256; i++) {
        const int n = snprintf(text, sizeof text, "<0x%02X>", i);
        b->byte_ids[i] = vocab_get(&b->vocab, text, (size_t)n);
    }
    for (uint32_t c = 0; c < SHORT_CODES; c++)
        b->short_ids[c] = c == 0 ? -1 : vocab_get(&b->vocab, text, utf8_encode(c, text));
}

int bpe_parse(const json_t *json, struct arena *strings, struct bpe **out, struct error *err) {
    const char *type = NULL;
    struct bpe *b;

    *out = NULL;
    if (!json_is_object(json))
        return error_input(err, "'model' must be an object, not %s", field_kind(json));
    if (field_string(json, "type", "BPE", &type, err) != 0) /* files older than 2020 leave it out */
        return -1;
    if (strcmp(type, "BPE") != 0)
        return error_input(err, "the tokenizer model '%s' is not supported (only BPE is)", type);
    b = mem_zeros(1, sizeof *b);
    if (b == NULL)
        return error_nomem(err, "a tokenizer");
    b->unk = -1;
    if (parse_vocab(json, strings, b, err) != 0 || parse_options(json, b, err) != 0 || parse_merges(json, b, err) != 0) {
        bpe_free(b);
        return -1;
    }
    fill_tables(b);
    *out = b;
    return 0;
}

void bpe_free(struct bpe *b) {
    if (b == NULL)
        return;
    vocab_free(&b->vocab);
    free(b->merges);
    free(b->prefix);
    free(b->suffix);
    free(b);
}

const struct vocab *bpe_vocab(const struct bpe *b) {
    return &b->vocab;
}

void bpe_scratch_free(struct bpe_scratch *s) {
    free(s->symbols);
    free(s->heap);
    *s = (struct bpe_scratch){0};
}

/* ---- encoding ----------------------------------------------------------- */

/* A binary heap: the lowest rank on top, of equal ones the leftmost. */
static bool before(const struct bpe_candidate *a, const struct bpe_candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct bpe_candidate *heap, size_t *count, struct bpe_candidate c) {
    size_t i = (*count)++;

    while (i > 0 && before(&c, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = c;
}

static struct bpe_candidate heap_pop(struct bpe_candidate *heap, size_t *count) {
    const struct bpe_candidate top = heap[0], last = heap[--*count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= *count)
            break;
        if (child + 1 < *count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

static void offer(const struct bpe *b, struct bpe_scratch *s, size_t *heap, int32_t left, int32_t right) {
    const struct merge *m = find_merge(b, s->symbols[left].id, s->symbols[right].id);

    if (m != NULL)
        heap_push(s->heap, heap, (struct bpe_candidate){m->rank, left, m->id});
}

/* Each of the n - 1 merges offers at most two new pairs, so 3n entries suffice. */
static void merge_all(const struct bpe *b, struct bpe_scratch *s, size_t count) {
    size_t heap = 0;

    for (size_t i = 0; i + 1 < count; i++)
        offer(b, s, &heap, (int32_t)i, (int32_t)i + 1);
    while (heap > 0) {
        const struct bpe_candidate c = heap_pop(s->heap, &heap);
        struct bpe_symbol *left = &s->symbols[c.at], *right;
        const struct merge *m;
        if (left->id < 0 || left->next < 0)
            continue;
        right = &s->symbols[left->next];
        m = find_merge(b, left->id, right->id);
        if (m == NULL || m->id != c.id)
            continue; /* one side has changed since */
        left->id = c.id;
        right->id = -1;
        left->next = right->next;
        if (left->next >= 0)
            s->symbols[left->next].previous = c.at;
        if (left->previous >= 0)
            offer(b, s, &heap, left->previous, c.at);
        if (left->next >= 0)
            offer(b, s, &heap, c.at, left->next);
    }
}

static int32_t lookup_character(const struct bpe *b, const char *text, size_t n, uint32_t code, bool first, bool last,
                                struct buffer *work) {
    const char *prefix = first ? "" : b->prefix, *suffix = last ? b->suffix : "";

    if (*prefix == '\0' && *suffix == '\0')
        return code < SHORT_CODES && code != 0 ? b->short_ids[code] : vocab_get(&b->vocab, text, n);
    buffer_clear(work);
    buffer_text(work, prefix);
    buffer_add(work, text, n);
    buffer_text(work, suffix);
    return work->failed ? -1 : vocab_get(&b->vocab, work->data, work->length);
}

/* The ids of the bytes of a character, when the vocabulary has them all. */
static bool fall_back(const struct bpe *b, const char *text, size_t n, struct bpe_symbol *symbols, size_t *count) {
    for (size_t i = 0; i < n; i++)
        if (b->byte_ids[(unsigned char)text[i]] < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        symbols[(*count)++].id = b->byte_ids[(unsigned char)text[i]];
    return true;
}

/* Characters to symbols; s->symbols has room for length + 1. As in Hugging Face's merge_word, an unknown
 * token waits until a known character or the end, even past characters that fall back to bytes. */
static int split_characters(const struct bpe *b, struct bpe_scratch *s, const char *text, size_t length, size_t *count,
                            struct error *err) {
    struct buffer work = {0};
    bool unknown = false;
    size_t n = 0, step;

    for (size_t i = 0; i < length; i += step) {
        uint32_t code = 0;
        int32_t id;
        step = utf8_decode(text + i, length - i, &code);
        step = step ? step : 1;
        id = lookup_character(b, text + i, step, code, i == 0, i + step == length, &work);
        if (id >= 0) {
            if (unknown)
                s->symbols[n++].id = b->unk;
            unknown = false;
            s->symbols[n++].id = id;
            continue;
        }
        if (b->byte_fallback && fall_back(b, text + i, step, s->symbols, &n))
            continue;
        if (b->unk >= 0) {
            if (unknown && !b->fuse_unk)
                s->symbols[n++].id = b->unk;
            unknown = true;
        }
    }
    if (unknown)
        s->symbols[n++].id = b->unk;
    *count = n;
    n = work.failed;
    buffer_free(&work);
    return n ? error_nomem(err, "a text") : 0;
}

static int reserve(struct bpe_scratch *s, size_t length, struct error *err) {
    void *symbols = s->symbols, *heap = s->heap;
    int rc;

    if (length >= INT32_MAX / 4)
        return error_input(err, "a text of %zu bytes is too long to tokenize", length);
    rc = mem_grow(&symbols, &s->symbol_capacity, length + 1, sizeof *s->symbols);
    s->symbols = symbols;
    if (rc == 0)
        rc = mem_grow(&heap, &s->heap_capacity, 3 * (length + 1), sizeof *s->heap);
    s->heap = heap;
    return rc == 0 ? 0 : error_nomem(err, "a text");
}

int bpe_encode(const struct bpe *b, struct bpe_scratch *scratch, const char *text, size_t length, struct ids *out,
               struct error *err) {
    size_t count;

    if (b->ignore_merges) {
        const int32_t whole = vocab_get(&b->vocab, text, length);
        if (whole >= 0)
            return ids_add(out, whole, err);
    }
    if (reserve(scratch, length, err) != 0 || split_characters(b, scratch, text, length, &count, err) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        scratch->symbols[i].previous = (int32_t)i - 1;
        scratch->symbols[i].next = i + 1 < count ? (int32_t)i + 1 : -1;
    }
    merge_all(b, scratch, count);
    for (size_t i = 0; i < count; i++)
        if (scratch->symbols[i].id >= 0 && ids_add(out, scratch->symbols[i].id, err) != 0)
            return -1;
    return 0;
}
