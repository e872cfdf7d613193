/* SPDX-License-Identifier: MIT */
#include "train/mismatch.h"

#include <rein/algorithm.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SHIFT = 64 };

static bool same_prompt(const struct data_row *a, const struct data_row *b) {
    return a->prompt_length == b->prompt_length &&
           (a->prompt_length == 0 || memcmp(a->ids, b->ids, a->prompt_length * sizeof(*a->ids)) == 0);
}

static size_t partner(const struct dataset *d, size_t row, size_t shift) {
    return row >= shift ? row - shift : row + d->nrows - shift;
}

/* Rows that would get a completion of their own prompt; counting ends at `enough`. */
static size_t collisions(const struct dataset *d, size_t shift, size_t enough) {
    size_t n = 0;

    for (size_t r = 0; r < d->nrows && n < enough; r++)
        n += same_prompt(&d->rows[r], &d->rows[partner(d, r, shift)]);
    return n;
}

static size_t best_shift(const struct dataset *d) {
    size_t best = 1, least = SIZE_MAX;

    for (size_t shift = 1; shift < d->nrows && shift <= MOST_SHIFT && least > 0; shift++) {
        const size_t n = collisions(d, shift, least);

        if (n < least) {
            least = n;
            best = shift;
        }
    }
    return best;
}

/* The prompt of `from`, then as much of the completion of `other` as there is room for. */
static struct data_row mismatched(const struct data_row *from, const struct data_row *other, uint32_t room,
                                  int32_t *ids) {
    const uint32_t prompt = from->prompt_length, whole = other->length - other->prompt_length;
    const uint32_t completion = whole < room - prompt ? whole : room - prompt;

    if (prompt > 0)
        memcpy(ids, from->ids, prompt * sizeof(*ids));
    if (completion > 0)
        memcpy(ids + prompt, other->ids + other->prompt_length, completion * sizeof(*ids));
    return (struct data_row){
        .ids = ids, .length = prompt + completion, .prompt_length = prompt, .mask = other->mask, .role = REIN_ROLE_KL};
}

int mismatch_rows(const struct dataset *d, struct data_row **rows, int32_t **ids, struct error *err) {
    const size_t shift = best_shift(d);
    size_t total = 0, count;

    if (d->nrows < 2)
        return error_input(err, "%s: has one row: the KL is estimated from completions of other prompts", d->path);
    for (size_t r = 0; r < d->nrows; r++)
        total += d->rows[r].length; /* prompts and completions change places: their sum does not, but for cuts */
    *rows = size_mul(d->nrows, 2, &count) ? mem_array(count, sizeof(**rows)) : NULL;
    *ids = mem_array(total, sizeof(**ids));
    if (*rows == NULL || *ids == NULL) {
        free(*rows);
        free(*ids);
        *rows = NULL;
        *ids = NULL;
        return error_nomem(err, "mismatched rows");
    }
    for (size_t r = 0, at = 0; r < d->nrows; r++) {
        (*rows)[2 * r] = d->rows[r];
        (*rows)[2 * r + 1] = mismatched(&d->rows[r], &d->rows[partner(d, r, shift)], d->longest, *ids + at);
        at += (*rows)[2 * r + 1].length;
    }
    return 0;
}
