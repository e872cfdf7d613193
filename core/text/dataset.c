/* SPDX-License-Identifier: MIT */
#include "text/dataset.h"

#include "base/log.h"
#include "text/columns.h"
#include "text/jsonl.h"
#include "text/rows.h"

#include <rein/algorithm.h>
#include <stdlib.h>
#include <string.h>

struct loader {
    const struct dataset_options *options;
    struct dataset *out;
    size_t unit_capacity, row_capacity;
    size_t long_prompts; /* dropped for want of room */
    uint64_t line, first_line;
    const char *text; /* the line */
    size_t length;
    struct row_ids row;
};

/* ---- keeping what was made ---------------------------------------------- */

static int keep_row(struct loader *l, uint32_t role, uint32_t rank, struct error *err) {
    struct dataset *d = l->out;
    const struct row_ids *r = &l->row;
    void *rows = d->rows;
    int32_t *ids = arena_alloc(&d->arena, r->ids.count * sizeof *ids);
    uint8_t *mask = r->masked ? arena_alloc(&d->arena, r->mask.length + 1) : NULL;

    if (ids == NULL || (r->masked && mask == NULL) ||
        mem_grow(&rows, &l->row_capacity, d->nrows + 1, sizeof *d->rows) != 0)
        return error_nomem(err, "a data set");
    d->rows = rows;
    memcpy(ids, r->ids.data, r->ids.count * sizeof *ids);
    if (mask != NULL)
        memcpy(mask, r->mask.data, r->mask.length);
    d->rows[d->nrows++] = (struct data_row){.ids = ids,
                                            .length = (uint32_t)r->ids.count,
                                            .prompt_length = (uint32_t)r->prompt,
                                            .mask = mask,
                                            .role = role,
                                            .rank = rank};
    return 0;
}

static int keep_unit(struct loader *l, const struct columns *c, size_t first, size_t rows, bool label,
                     struct error *err) {
    struct dataset *d = l->out;
    void *units = d->units;
    json_t *messages = rows_messages(l->options, c);
    char *text = messages == NULL ? NULL : json_dumps(messages, JSON_COMPACT);
    struct data_unit unit = {.first = (uint32_t)first,
                             .rows = (uint32_t)rows,
                             .margin = c->margin,
                             .has_margin = c->has_margin,
                             .label = label,
                             .line = l->line};
    int rc = 0;

    unit.columns = arena_strndup(&d->arena, l->text, l->length);
    unit.messages = text == NULL ? NULL : arena_strdup(&d->arena, text);
    if (unit.columns == NULL || (messages != NULL && unit.messages == NULL) ||
        mem_grow(&units, &l->unit_capacity, d->nunits + 1, sizeof *d->units) != 0) {
        rc = error_nomem(err, "a data set");
    } else {
        d->units = units;
        d->units[d->nunits++] = unit;
        for (size_t i = first; i < first + rows; i++) {
            d->tokens += d->rows[i].length;
            if (d->rows[i].length > d->longest)
                d->longest = d->rows[i].length;
        }
    }
    free(text);
    json_decref(messages);
    return rc;
}

/* ---- one line ----------------------------------------------------------- */

/* 1: keep it, 0: too long, drop the unit, -1: refused */
static int fits(struct loader *l, const struct columns *c, struct error *err) {
    const struct dataset_options *o = l->options;
    const size_t n = l->row.ids.count;

    if (c->tokens && o->context > 0 && n > o->context)
        return error_input(err, "the row has %zu tokens: the model has %u positions", n, o->context);
    if (n >= UINT32_MAX)
        return error_input(err, "the row has too many tokens");
    if (c->kind == REIN_DATA_PROMPTS && o->prompt_room > 0 && n > o->prompt_room) {
        if (o->strict_prompts)
            return error_input(err, "the prompt has %zu tokens: there is room for %u", n, o->prompt_room);
        l->long_prompts++;
        return 0;
    }
    return o->max_length == 0 || n <= o->max_length;
}

/* Where labels are wanted, a pair is a good completion and a bad one. */
static bool takes_apart(const struct loader *l) {
    return (l->options->kinds & (REIN_DATA_LABELLED | REIN_DATA_PAIRS)) == REIN_DATA_LABELLED;
}

static int make_rows(struct loader *l, const struct columns *c, bool *fit, struct error *err) {
    const bool prompts = c->kind == REIN_DATA_PROMPTS, pairs = c->kind == REIN_DATA_PAIRS && !takes_apart(l);
    const size_t count = prompts ? 1 : json_array_size(c->answers);

    *fit = true;
    for (size_t i = 0; i < count; i++) {
        int rc;
        row_ids_clear(&l->row);
        rc = prompts ? rows_prompt(l->options, c, &l->row, err) : rows_answer(l->options, c, i, &l->row, err);
        if (rc != 0)
            return -1;
        rc = fits(l, c, err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            *fit = false;
        else if (*fit && keep_row(l, pairs ? (i ? REIN_ROLE_REJECTED : REIN_ROLE_CHOSEN) : REIN_ROLE_PLAIN, (uint32_t)i,
                                  err) != 0)
            return -1;
    }
    return 0;
}

static int make_unit(struct loader *l, const struct columns *c, struct error *err) {
    struct dataset *d = l->out;
    const size_t first = d->nrows;
    const bool apart = c->kind == REIN_DATA_PAIRS && takes_apart(l);
    const uint32_t kind = apart ? REIN_DATA_LABELLED : c->kind;
    bool fit;

    if (d->kind == 0) {
        d->kind = kind;
        l->first_line = l->line;
    } else if (d->kind != kind) {
        return error_input(err, "this line has %s, while line %llu has %s", columns_name(kind),
                           (unsigned long long)l->first_line, columns_name(d->kind));
    }
    if (make_rows(l, c, &fit, err) != 0)
        return -1;
    if (!fit) {
        d->nrows = first;
        d->dropped++;
        return 0;
    }
    if (d->nrows > UINT32_MAX)
        return error_input(err, "there are too many rows");
    if (!apart)
        return keep_unit(l, c, first, d->nrows - first, c->label, err);
    return keep_unit(l, c, first, 1, true, err) != 0 ? -1 : keep_unit(l, c, first + 1, 1, false, err);
}

static int one_line(struct loader *l, const char *path, struct error *err) {
    struct columns c = {0};
    json_error_t why;
    json_t *row = json_loadb(l->text, l->length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    int rc;

    if (row == NULL)
        return error_at(err, path, l->line, (size_t)(why.column > 0 ? why.column : 0), "not valid JSON: %s", why.text);
    rc = columns_read(row, l->options->kinds | (takes_apart(l) ? REIN_DATA_PAIRS : 0), &c, err);
    if (rc == 0)
        rc = make_unit(l, &c, err);
    columns_free(&c);
    json_decref(row);
    return rc == 0 ? 0 : error_prefix(err, "%s:%llu", path, (unsigned long long)l->line);
}

/* ---- the file ----------------------------------------------------------- */

static int read_lines(struct loader *l, struct jsonl *file, const char *path, struct error *err) {
    const size_t limit = l->options->limit;
    int rc = 1;

    while ((limit == 0 || l->out->nunits < limit) && (rc = jsonl_next(file, &l->text, &l->length, &l->line, err)) == 1)
        if (one_line(l, path, err) != 0)
            return -1;
    return rc < 0 ? -1 : 0;
}

static int finish(const struct loader *l, const char *path, struct error *err) {
    const struct dataset *d = l->out;

    if (d->nunits == 0 && d->dropped > 0)
        return error_input(err, "%s: every one of its %zu rows is too long", path, d->dropped);
    if (d->nunits == 0)
        return error_input(err, "%s: the data set is empty", path);
    if (l->long_prompts > 0)
        log_warn("%s: %zu prompts with more than %u tokens are left out", path, l->long_prompts,
                 l->options->prompt_room);
    return 0;
}

int dataset_load(const char *path, const struct dataset_options *options, struct dataset *out, struct error *err) {
    struct loader l = {.options = options, .out = out};
    struct jsonl *file;
    int rc;

    *out = (struct dataset){0};
    if (jsonl_open(path, &file, err) != 0)
        return -1;
    out->path = mem_strdup(path);
    rc = out->path == NULL ? error_nomem(err, path) : read_lines(&l, file, path, err);
    if (rc == 0)
        rc = finish(&l, path, err);
    jsonl_close(file);
    row_ids_free(&l.row);
    if (rc != 0)
        dataset_free(out);
    return rc;
}

void dataset_free(struct dataset *d) {
    free(d->units);
    free(d->rows);
    free(d->path);
    arena_free(&d->arena);
    *d = (struct dataset){0};
}
