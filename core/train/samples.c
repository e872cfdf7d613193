/* SPDX-License-Identifier: MIT */
#include "train/samples.h"

#include "base/mem.h"
#include "train/mismatch.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

float *samples_array(uint64_t count, struct error *err) {
    float *x = mem_zeros(count, sizeof(*x));

    if (x == NULL)
        error_nomem(err, "per-token numbers");
    return x;
}

static int allocate(struct samples *s, uint32_t rows, uint32_t units, struct error *err) {
    *s = (struct samples){.rows = rows, .units = units};
    s->ids = mem_zeros(rows, sizeof(*s->ids));
    s->length = mem_zeros(rows, sizeof(*s->length));
    s->first = mem_zeros(rows, sizeof(*s->first));
    s->offset = mem_zeros((size_t)rows + 1, sizeof(*s->offset));
    s->unit = mem_zeros((size_t)units + 1, sizeof(*s->unit));
    if (s->ids && s->length && s->first && s->offset && s->unit)
        return 0;
    samples_free(s);
    return error_nomem(err, "rows of the data");
}

void samples_free(struct samples *s) {
    void *const all[] = {s->ids,      s->length,    s->first,     s->offset,  s->unit,   s->own,    s->mask,
                         s->logp_old, s->logp_ref,  s->value_old, s->return_, s->reward, s->family, s->margin,
                         s->rank,     s->advantage, s->role,      s->label,   s->ended};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]);
    *s = (struct samples){0};
}

uint32_t samples_row_tokens(const struct samples *s, uint32_t row) {
    return (uint32_t)(s->offset[row + 1] - s->offset[row]);
}

uint64_t samples_unmasked(const struct samples *s, uint32_t row) {
    uint64_t n = 0;

    if (s->mask == NULL)
        return samples_row_tokens(s, row);
    for (uint64_t i = s->offset[row]; i < s->offset[row + 1]; i++)
        n += s->mask[i];
    return n;
}

static int place(struct samples *s, uint32_t row, uint32_t length, uint32_t prompt, struct error *err) {
    const uint32_t first = prompt > 0 ? prompt : 1;

    if (length == 0 || prompt > length)
        return error_input(err, "a row of the data has no tokens");
    s->length[row] = length;
    s->first[row] = first;
    s->offset[row + 1] = s->offset[row] + (length - first);
    return 0;
}

/* mask[] of a data row covers what follows its prompt; ours covers the predicted tokens. With the whole text
 * wanted, the tokens of a prompt count too. */
static void fill_mask(const struct data_row *row, uint32_t first, uint8_t *mask) {
    for (uint32_t t = first; t < row->length; t++)
        mask[t - first] = t < row->prompt_length || row->mask == NULL || row->mask[t - row->prompt_length] != 0;
}

static int fill_masks(const struct data_row *rows, struct samples *s, struct error *err) {
    bool any = false;

    for (uint32_t r = 0; r < s->rows; r++)
        any = any || rows[r].mask != NULL;
    if (!any)
        return 0;
    s->mask = mem_zeros(s->tokens, 1);
    if (s->mask == NULL)
        return error_nomem(err, "masks of the data");
    for (uint32_t r = 0; r < s->rows; r++)
        fill_mask(&rows[r], s->first[r], s->mask + s->offset[r]);
    return 0;
}

/* `each`: sample rows made of a row of the data. */
static int fill_rows(const struct dataset *d, const struct data_row *rows, uint32_t each, struct samples *s,
                     struct error *err) {
    const bool ranks = d->kind == REIN_DATA_LISTS, labels = d->kind == REIN_DATA_LABELLED;
    bool margins = false;

    for (size_t u = 0; u < d->nunits; u++)
        margins = margins || d->units[u].has_margin;
    s->role = mem_zeros(s->rows, 1);
    s->rank = ranks ? mem_zeros(s->rows, sizeof(*s->rank)) : NULL;
    s->label = labels ? mem_zeros(s->rows, 1) : NULL;
    s->margin = margins ? mem_zeros(s->rows, sizeof(*s->margin)) : NULL;
    if (!s->role || (ranks && !s->rank) || (labels && !s->label) || (margins && !s->margin))
        return error_nomem(err, "rows of the data");
    for (size_t u = 0; u < d->nunits; u++)
        for (uint32_t r = d->units[u].first * each; r < (d->units[u].first + d->units[u].rows) * each; r++) {
            s->role[r] = (uint8_t)rows[r].role;
            if (ranks)
                s->rank[r] = rows[r].rank;
            if (labels)
                s->label[r] = d->units[u].label;
            if (margins)
                s->margin[r] = d->units[u].margin;
        }
    return 0;
}

/* `rows`: the data set's own, or each followed by its mismatched one. */
static int from_rows(const struct dataset *d, const struct data_row *rows, uint32_t each, uint32_t needs,
                     struct samples *out, struct error *err) {
    if (d->nrows >= UINT32_MAX / each || d->nunits >= UINT32_MAX)
        return error_input(err, "%s: has too many rows", d->path);
    if (allocate(out, (uint32_t)d->nrows * each, (uint32_t)d->nunits, err) != 0)
        return -1;
    for (size_t u = 0; u < d->nunits; u++)
        out->unit[u + 1] = (d->units[u].first + d->units[u].rows) * each;
    for (uint32_t r = 0; r < out->rows; r++) {
        const uint32_t prompt = needs & REIN_NEED_WHOLE_TEXT ? 0 : rows[r].prompt_length;

        out->ids[r] = rows[r].ids;
        if (place(out, r, rows[r].length, prompt, err) != 0)
            return error_prefix(err, "%s", d->path);
    }
    out->tokens = out->offset[out->rows];
    return fill_masks(rows, out, err) != 0 || fill_rows(d, rows, each, out, err) != 0 ? -1 : 0;
}

int samples_from_dataset(const struct dataset *d, uint32_t needs, struct samples *out, struct error *err) {
    struct data_row *both = NULL;
    int32_t *own = NULL;
    int rc;

    *out = (struct samples){0};
    if (!(needs & REIN_NEED_KL_ROWS))
        rc = from_rows(d, d->rows, 1, needs, out, err);
    else if ((rc = mismatch_rows(d, &both, &own, err)) == 0)
        rc = from_rows(d, both, 2, needs, out, err);
    free(both);
    out->own = own;
    if (rc != 0)
        samples_free(out);
    return rc;
}

int samples_create(uint32_t rows, const uint32_t *lengths, const uint32_t *prompts, struct samples *out,
                   struct error *err) {
    uint64_t total = 0;

    if (allocate(out, rows, rows, err) != 0)
        return -1;
    for (uint32_t r = 0; r < rows; r++) {
        out->unit[r + 1] = r + 1;
        total += lengths[r];
        if (place(out, r, lengths[r], prompts[r], err) != 0)
            goto fail;
    }
    out->tokens = out->offset[rows];
    out->own = mem_zeros(total, sizeof(*out->own));
    if (out->own == NULL) {
        error_nomem(err, "tokens of a rollout");
        goto fail;
    }
    total = 0;
    for (uint32_t r = 0; r < rows; r++) {
        out->ids[r] = out->own + total;
        total += lengths[r];
    }
    return 0;
fail:
    samples_free(out);
    return -1;
}

void samples_mark(const struct samples *s, uint8_t *bitmap, size_t vocabulary) {
    for (uint32_t r = 0; r < s->rows; r++)
        for (uint32_t t = 0; t < s->length[r]; t++)
            if (s->ids[r][t] >= 0 && (size_t)s->ids[r][t] < vocabulary)
                bitmap[s->ids[r][t] / 8] |= (uint8_t)(1u << s->ids[r][t] % 8);
}

static uLong add_crc(uLong crc, const void *data, size_t count, size_t element) {
    return data ? crc32_z(crc, data, count * element) : crc;
}

uint32_t samples_crc(const struct samples *s) {
    uLong crc = crc32(0L, Z_NULL, 0);

    crc = crc32_z(crc, (const void *)s->length, s->rows * sizeof(*s->length));
    crc = crc32_z(crc, (const void *)s->first, s->rows * sizeof(*s->first));
    crc = crc32_z(crc, (const void *)s->unit, ((size_t)s->units + 1) * sizeof(*s->unit));
    for (uint32_t r = 0; r < s->rows; r++)
        crc = crc32_z(crc, (const void *)s->ids[r], s->length[r] * sizeof(**s->ids));
    crc = add_crc(crc, s->mask, s->tokens, sizeof(*s->mask));
    crc = add_crc(crc, s->margin, s->rows, sizeof(*s->margin));
    crc = add_crc(crc, s->rank, s->rows, sizeof(*s->rank));
    crc = add_crc(crc, s->label, s->rows, sizeof(*s->label));
    return (uint32_t)crc;
}

/* ---- as bytes ----------------------------------------------------------- */

/* The optional arrays, in the order of the file. */
struct field {
    size_t offset, element;
    bool per_token, per_member;
};
static const struct field fields[] = {
    {offsetof(struct samples, mask), 1, true, false},
    {offsetof(struct samples, logp_old), sizeof(float), true, false},
    {offsetof(struct samples, logp_ref), sizeof(float), true, false},
    {offsetof(struct samples, value_old), sizeof(float), true, false},
    {offsetof(struct samples, advantage), sizeof(float), true, false},
    {offsetof(struct samples, return_), sizeof(float), true, false},
    {offsetof(struct samples, reward), sizeof(float), false, false},
    {offsetof(struct samples, family), sizeof(float), false, true},
    {offsetof(struct samples, ended), 1, false, false},
};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

struct header {
    uint32_t rows, members;
    uint64_t ids, present; /* bit i: fields[i] is there */
};

static bool field_bytes(const struct samples *s, const struct field *f, size_t *out) {
    const size_t n = f->per_token ? s->tokens : s->rows;

    return size_mul(n, f->per_member ? s->members : 1, out) && size_mul(*out, f->element, out);
}

static void **field_at(struct samples *s, const struct field *f) {
    return (void **)((char *)s + f->offset);
}

int samples_write(const struct samples *s, struct buffer *out, struct error *err) {
    struct samples view = *s; /* so that one accessor serves reading and writing */
    struct header h = {.rows = s->rows, .members = s->members};
    size_t bytes;

    for (uint32_t r = 0; r < s->rows; r++)
        h.ids += s->length[r];
    for (size_t i = 0; i < FIELDS; i++)
        if (*field_at(&view, &fields[i]) != NULL)
            h.present |= 1ull << i;
    buffer_add(out, &h, sizeof(h));
    buffer_add(out, s->length, s->rows * sizeof(*s->length));
    buffer_add(out, s->first, s->rows * sizeof(*s->first));
    for (uint32_t r = 0; r < s->rows; r++)
        buffer_add(out, s->ids[r], s->length[r] * sizeof(**s->ids));
    for (size_t i = 0; i < FIELDS; i++)
        if (h.present >> i & 1 && field_bytes(s, &fields[i], &bytes))
            buffer_add(out, *field_at(&view, &fields[i]), bytes);
    return out->failed ? error_nomem(err, "saving a rollout") : 0;
}

static bool take(const char **data, size_t *left, void *out, size_t bytes) {
    if (*left < bytes)
        return false;
    if (bytes)
        memcpy(out, *data, bytes);
    *data += bytes;
    *left -= bytes;
    return true;
}

static int read_fields(const char *data, size_t left, const struct header *h, struct samples *s, struct error *err) {
    size_t bytes;

    if (!take(&data, &left, s->own, h->ids * sizeof(*s->own)))
        return error_run(err, "a saved rollout is cut short");
    for (size_t i = 0; i < FIELDS; i++) {
        if (!(h->present >> i & 1))
            continue;
        if (!field_bytes(s, &fields[i], &bytes) || bytes > left)
            return error_run(err, "a saved rollout is cut short");
        *field_at(s, &fields[i]) = mem_zeros(bytes, 1);
        if (*field_at(s, &fields[i]) == NULL)
            return error_nomem(err, "a saved rollout");
        take(&data, &left, *field_at(s, &fields[i]), bytes);
    }
    return left == 0 ? 0 : error_run(err, "a saved rollout has more bytes than it says");
}

int samples_read(const char *data, size_t length, struct samples *out, struct error *err) {
    struct header h;
    uint32_t *lengths = NULL, *firsts = NULL;
    uint64_t total = 0;
    int rc = -1;

    *out = (struct samples){0};
    if (!take(&data, &length, &h, sizeof(h)) || h.rows > length / (2 * sizeof(uint32_t)))
        return error_run(err, "a saved rollout is cut short");
    lengths = mem_array(h.rows, sizeof(*lengths));
    firsts = mem_array(h.rows, sizeof(*firsts));
    if (lengths == NULL || firsts == NULL) {
        error_nomem(err, "a saved rollout");
        goto out;
    }
    take(&data, &length, lengths, h.rows * sizeof(*lengths));
    take(&data, &length, firsts, h.rows * sizeof(*firsts));
    for (uint32_t r = 0; r < h.rows; r++)
        total += lengths[r];
    if (total != h.ids || total > length / sizeof(int32_t)) {
        error_run(err, "a saved rollout is cut short");
        goto out;
    }
    if (samples_create(h.rows, lengths, firsts, out, err) != 0)
        goto out;
    out->members = h.members;
    rc = read_fields(data, length, &h, out, err);
    if (rc != 0)
        samples_free(out);
out:
    free(lengths);
    free(firsts);
    return rc;
}
