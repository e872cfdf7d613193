/* SPDX-License-Identifier: MIT */
#include "pipeline/columns.h"

#include "text/jsonl.h"

#include <jansson.h>
#include <stdio.h>

/* One row, and what one plugin wants of it. Without a row: does it want anything? */
struct look {
    const struct params_marks *marks;
    const json_t *row;
    const char *path;
    uint64_t line;
    struct error *err;
};

static int look(void *ctx, const struct rein_param *option, const char *column) {
    const struct look *l = ctx;
    char text[512];

    if (!params_given(l->marks->mapping, option->name) || json_object_get(l->row, column) != NULL)
        return 0;
    if (l->row == NULL)
        return 1;
    snprintf(text, sizeof(text), "%.300s:%llu has no column '%.100s'", l->path, (unsigned long long)l->line, column);
    return params_fail(l->marks, option->name, text, l->err);
}

static int check(struct look *l, const struct params_marks *marks, const void *config) {
    l->marks = marks;
    return params_visit(marks->table, config, REIN_PARAM_COLUMN, look, l);
}

static int check_all(const struct stage *s, struct look *l) {
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < s->nalgorithms; i++)
        if (s->algorithms[i].data == NULL)
            rc = check(l, &s->algorithms[i].marks, s->algorithms[i].config);
    for (size_t i = 0; rc == 0 && i < s->nrewards; i++)
        rc = check(l, &s->rewards[i].marks, s->rewards[i].config);
    return rc;
}

/* What is no JSON object is passed over: the data's own check has the words for that. */
static int check_file(const struct stage *s, const char *path, struct error *err) {
    struct look l = {.path = path, .err = err};
    const uint64_t most = s->data.limit > 0 ? (uint64_t)s->data.limit : UINT64_MAX;
    struct jsonl *file;
    const char *text;
    size_t length;
    int rc = 0;

    if (jsonl_open(path, &file, NULL) != 0)
        return 0;
    for (uint64_t n = 0; rc == 0 && n < most && jsonl_next(file, &text, &length, &l.line, NULL) == 1; n++) {
        json_t *row = json_loadb(text, length, JSON_ALLOW_NUL, NULL);

        l.row = json_is_object(row) ? row : NULL;
        if (l.row != NULL)
            rc = check_all(s, &l);
        json_decref(row);
    }
    jsonl_close(file);
    return rc;
}

int columns_check(const struct stage *s, struct error *err) {
    struct look wants = {0};

    if (check_all(s, &wants) == 0)
        return 0;
    if (check_file(s, s->train_path, err) != 0)
        return -1;
    return s->eval_path != NULL ? check_file(s, s->eval_path, err) : 0;
}
