/* SPDX-License-Identifier: MIT */
#include "pipeline/columns.h"

#include "text/jsonl.h"

#include <jansson.h>
#include <stdio.h>

struct look {
    const struct params_marks *marks;
    const json_t *row;
    const char *path;
    struct error *err;
};

static int look(void *ctx, const struct rein_param *option, const char *column) {
    const struct look *l = ctx;
    char text[512];

    if (!params_given(l->marks->mapping, option->name) || json_object_get(l->row, column) != NULL)
        return 0;
    snprintf(text, sizeof(text), "the first row of %.300s has no column '%.100s'", l->path, column);
    return params_fail(l->marks, option->name, text, l->err);
}

static int check(const struct params_marks *marks, const void *config, const json_t *row, const char *path,
                 struct error *err) {
    struct look l = {marks, row, path, err};

    return params_visit(marks->table, config, REIN_PARAM_COLUMN, look, &l) == 0 ? 0 : -1;
}

/* NULL when there is none, or none that is an object: the data's own check has the words for that. */
static json_t *first_row(const char *path) {
    struct jsonl *file;
    const char *text;
    size_t length;
    uint64_t line;
    json_t *row = NULL;

    if (jsonl_open(path, &file, NULL) != 0)
        return NULL;
    if (jsonl_next(file, &text, &length, &line, NULL) == 1)
        row = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    jsonl_close(file);
    if (row != NULL && !json_is_object(row)) {
        json_decref(row);
        row = NULL;
    }
    return row;
}

int columns_check(const struct stage *s, struct error *err) {
    json_t *row = first_row(s->train_path);
    int rc = 0;

    for (size_t i = 0; row && rc == 0 && i < s->nalgorithms; i++)
        if (s->algorithms[i].data == NULL)
            rc = check(&s->algorithms[i].marks, s->algorithms[i].config, row, s->train_path, err);
    for (size_t i = 0; row && rc == 0 && i < s->nrewards; i++)
        rc = check(&s->rewards[i].marks, s->rewards[i].config, row, s->train_path, err);
    json_decref(row);
    return rc;
}
