/* SPDX-License-Identifier: MIT */
#include "report/history.h"

#include "base/file.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SERIES = 512 };

const struct series *history_find(const struct history *h, const char *name) {
    for (size_t i = 0; i < h->count; i++)
        if (strcmp(h->series[i].name, name) == 0)
            return &h->series[i];
    return NULL;
}

static struct series *find_or_add(struct history *h, const char *name) {
    void *series = h->series;

    for (size_t i = 0; i < h->count; i++)
        if (strcmp(h->series[i].name, name) == 0)
            return &h->series[i];
    if (h->count == MAX_SERIES || mem_grow(&series, &h->capacity, h->count + 1, sizeof(*h->series)) != 0)
        return NULL;
    h->series = series;
    h->series[h->count] = (struct series){.name = arena_strdup(&h->arena, name)};
    return h->series[h->count].name ? &h->series[h->count++] : NULL;
}

static int add_point(struct series *s, double step, double value) {
    void *steps = s->step, *values = s->value;

    if (mem_grow(&steps, &s->step_capacity, s->count + 1, sizeof(double)) != 0)
        return -1;
    s->step = steps;
    if (mem_grow(&values, &s->value_capacity, s->count + 1, sizeof(double)) != 0)
        return -1;
    s->value = values;
    s->step[s->count] = step;
    s->value[s->count++] = value;
    return 0;
}

static int add_metrics(struct history *h, json_t *line) {
    const double step = json_number_value(json_object_get(line, "step"));
    const char *name;
    json_t *value;

    json_object_foreach(line, name, value) {
        struct series *s;

        if (!json_is_number(value) || strcmp(name, "step") == 0)
            continue;
        s = find_or_add(h, name);
        if (s != NULL && add_point(s, step, json_number_value(value)) != 0)
            return -1;
    }
    if (step > (double)h->last_step)
        h->last_step = (uint64_t)step;
    return 0;
}

static double number_or_nan(const json_t *x) {
    return json_is_number(x) ? json_number_value(x) : NAN;
}

static int add_sample(struct history *h, json_t *line) {
    const char *prompt = json_string_value(json_object_get(line, "prompt"));
    const char *completion = json_string_value(json_object_get(line, "completion"));
    struct history_sample s = {.step = (uint64_t)json_integer_value(json_object_get(line, "step")),
                               .reward = number_or_nan(json_object_get(line, "reward")),
                               .kl = number_or_nan(json_object_get(line, "kl"))};

    if (prompt == NULL || completion == NULL)
        return 0;
    if (h->nlast > 0 && h->last[0].step != s.step)
        h->nlast = 0;
    if (h->nlast == HISTORY_SAMPLES)
        return 0;
    s.prompt = arena_strdup(&h->arena, prompt);
    s.completion = arena_strdup(&h->arena, completion);
    if (s.prompt == NULL || s.completion == NULL)
        return -1;
    h->last[h->nlast++] = s;
    if (h->nfirst < HISTORY_SAMPLES && (h->nfirst == 0 || h->first[0].step == s.step))
        h->first[h->nfirst++] = s;
    return 0;
}

static int each_line(const char *folder, const char *name, struct history *h, int (*add)(struct history *, json_t *),
                     struct error *err) {
    char *path = file_join(folder, name), *text;
    size_t length;
    int rc = 0;

    if (path == NULL)
        return error_nomem(err, name);
    if (!file_exists(path)) {
        free(path);
        return 0;
    }
    text = file_read(path, (size_t)1 << 32, &length, err);
    free(path);
    if (text == NULL)
        return -1;
    for (size_t at = 0; at < length && rc == 0;) {
        const char *newline = memchr(text + at, '\n', length - at);
        const size_t n = newline ? (size_t)(newline - (text + at)) : length - at;
        json_t *line = json_loadb(text + at, n, 0, NULL);

        if (json_is_object(line) && add(h, line) != 0)
            rc = error_nomem(err, name);
        json_decref(line);
        at += n + 1;
    }
    free(text);
    return rc;
}

int history_load(const char *folder, struct history *out, struct error *err) {
    *out = (struct history){0};
    if (each_line(folder, "metrics.jsonl", out, add_metrics, err) == 0 &&
        each_line(folder, "samples.jsonl", out, add_sample, err) == 0)
        return 0;
    history_free(out);
    return -1;
}

void history_free(struct history *h) {
    for (size_t i = 0; i < h->count; i++) {
        free(h->series[i].step);
        free(h->series[i].value);
    }
    free(h->series);
    arena_free(&h->arena);
    *h = (struct history){0};
}
