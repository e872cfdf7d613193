/* SPDX-License-Identifier: MIT */
#include "model/spm_merges.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    TOKEN_BYTES = 512, /* longer pieces do not take part: splitting them all would be quadratic */
};
#define MERGE_LIMIT ((size_t)1 << 26)

static int compare_text(const char *a, size_t alen, const char *b, size_t blen) {
    const int order = memcmp(a, b, alen < blen ? alen : blen);

    return order != 0 ? order : alen < blen ? -1 : alen > blen;
}

static int compare_tokens(const void *a, const void *b) {
    const struct spm_token *x = *(const struct spm_token *const *)a, *y = *(const struct spm_token *const *)b;

    return compare_text(x->text, x->length, y->text, y->length);
}

int spm_index_make(struct spm_index *x, const struct spm_token *tokens, size_t count, struct error *err) {
    x->tokens = tokens;
    x->count = count;
    x->sorted = mem_array(count, sizeof(*x->sorted));
    if (x->sorted == NULL)
        return error_nomem(err, "vocabulary");
    for (size_t i = 0; i < count; i++)
        x->sorted[i] = &tokens[i];
    if (count > 1)
        qsort((void *)x->sorted, count, sizeof(*x->sorted), compare_tokens);
    for (size_t i = 1; i < count; i++)
        if (compare_tokens(&x->sorted[i - 1], &x->sorted[i]) == 0)
            return error_input(err, "tokens %td and %td are the same", x->sorted[i - 1] - tokens,
                               x->sorted[i] - tokens);
    return 0;
}

int64_t spm_index_find(const struct spm_index *x, const char *text, size_t length) {
    size_t low = 0, high = x->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare_text(text, length, x->sorted[middle]->text, x->sorted[middle]->length);
        if (order == 0)
            return x->sorted[middle] - x->tokens;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

void spm_index_free(struct spm_index *x) {
    free((void *)x->sorted);
    x->sorted = NULL;
}

struct candidate {
    int64_t left, right;
    float score;
    uint64_t order; /* ties keep the order of generation */
};

static int compare(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_ids(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;

    if (x->left != y->left)
        return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

static bool starts_point(char c) {
    return ((unsigned char)c & 0xc0) != 0x80;
}

struct candidates {
    struct candidate *list;
    size_t count, capacity;
};

/* All splits of token `id` into two known tokens, in the order of the two ids. */
static int add_splits(const struct spm_index *x, size_t id, struct candidates *c, struct error *err) {
    const struct spm_token *t = &x->tokens[id];
    const size_t first = c->count;

    if (!t->mergeable || t->length > TOKEN_BYTES)
        return 0;
    for (size_t cut = 1; cut < t->length; cut++) {
        int64_t l, r;
        if (!starts_point(t->text[cut]))
            continue;
        l = spm_index_find(x, t->text, cut);
        r = spm_index_find(x, t->text + cut, t->length - cut);
        if (l >= 0 && r >= 0 && x->tokens[l].mergeable && x->tokens[r].mergeable) {
            if (c->count >= MERGE_LIMIT)
                return error_input(err, "the vocabulary has more than %zu merges", MERGE_LIMIT);
            if (mem_grow((void **)&c->list, &c->capacity, c->count + 1, sizeof(*c->list)) != 0)
                return error_nomem(err, "merges");
            c->list[c->count++] = (struct candidate){l, r, t->score, 0};
        }
    }
    if (c->count - first > 1)
        qsort(c->list + first, c->count - first, sizeof(*c->list), by_ids);
    for (size_t i = first; i < c->count; i++)
        c->list[i].order = i;
    return 0;
}

int spm_merges(const struct spm_index *x, struct spm_merge **out, size_t *merges, struct error *err) {
    struct candidates c = {0};
    int rc = -1;

    *out = NULL;
    for (size_t i = 0; i < x->count; i++)
        if (add_splits(x, i, &c, err) != 0)
            goto out;
    if (c.count > 1)
        qsort(c.list, c.count, sizeof(*c.list), compare);
    *out = mem_array(c.count, sizeof(**out));
    if (*out == NULL) {
        error_nomem(err, "merges");
        goto out;
    }
    for (size_t i = 0; i < c.count; i++)
        (*out)[i] = (struct spm_merge){c.list[i].left, c.list[i].right};
    *merges = c.count;
    rc = 0;
out:
    free(c.list);
    return rc;
}
