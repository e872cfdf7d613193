/* SPDX-License-Identifier: MIT */
#include "report/record.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct record {
    int metrics, samples; /* -1: not open */
    char *samples_path;   /* made with the first sample: stages without any leave no file */
    struct buffer line;
};

static const char *const times[] = {"step_time", "tokens_per_second", "eps", "rollout_time", "eval_time",
                                    RECORD_STAGE_TIME, RECORD_PEAK, RECORD_PROCESS_PEAK};

const char *record_time_name(size_t index) {
    return index < sizeof(times) / sizeof(*times) ? times[index] : NULL;
}

bool record_is_time(const char *name) {
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++)
        if (strcmp(name, times[i]) == 0)
            return true;
    return false;
}

/* The step of a line of ours, or UINT64_MAX. */
static uint64_t line_step(const char *line, size_t length) {
    static const char head[] = "{\"step\":";
    char *end;
    unsigned long long step;

    if (length < sizeof(head) || memcmp(line, head, sizeof(head) - 1) != 0)
        return UINT64_MAX;
    errno = 0;
    step = strtoull(line + sizeof(head) - 1, &end, 10);
    return errno != 0 || end == line + sizeof(head) - 1 ? UINT64_MAX : step;
}

int record_cut(const char *path, uint64_t step, struct error *err) {
    struct buffer kept = {0};
    size_t length;
    char *text;
    int rc = 0;

    if (!file_exists(path))
        return 0;
    text = file_read(path, (size_t)1 << 32, &length, err);
    if (text == NULL)
        return -1;
    for (size_t at = 0; at < length;) {
        const char *newline = memchr(text + at, '\n', length - at);
        const size_t n = newline ? (size_t)(newline - (text + at)) + 1 : length - at;

        if (newline && line_step(text + at, n) <= step)
            buffer_add(&kept, text + at, n);
        at += n;
    }
    if (kept.failed)
        rc = error_nomem(err, path);
    else if (kept.length != length)
        rc = file_write(path, kept.data ? kept.data : "", kept.length, err);
    buffer_free(&kept);
    free(text);
    return rc;
}

static void close_files(struct record *j) {
    if (j->metrics >= 0)
        close(j->metrics);
    if (j->samples >= 0)
        close(j->samples);
    j->metrics = j->samples = -1;
    free(j->samples_path);
    j->samples_path = NULL;
}

static int open_one(const char *path, int *fd, struct error *err) {
    *fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0666);
    return *fd < 0 ? error_errno_run(err, path, "cannot create") : 0;
}

/* What an earlier run left: the lines up to `step` stay when it goes on, nothing when it begins. */
static int take_over(const char *path, int append, uint64_t step, struct error *err) {
    if (append)
        return record_cut(path, step, err);
    return unlink(path) == 0 || errno == ENOENT ? 0 : error_errno_run(err, path, "cannot remove");
}

static int begin(void *ctx, const char *stage, const char *folder, uint64_t total_steps, int append, uint64_t step,
                 struct error *err) {
    struct record *j = ctx;
    char *metrics = file_join(folder, "metrics.jsonl");
    int rc = -1;

    (void)stage;
    (void)total_steps;
    close_files(j);
    j->samples_path = file_join(folder, "samples.jsonl");
    if (metrics == NULL || j->samples_path == NULL)
        error_nomem(err, "metrics");
    else if (take_over(metrics, append, step, err) == 0 &&
             take_over(j->samples_path, append, append & REPORT_SAMPLED ? step + 1 : step, err) == 0)
        rc = open_one(metrics, &j->metrics, err);
    free(metrics);
    return rc;
}

static void add_number(struct buffer *b, double x) {
    if (!isfinite(x))
        buffer_text(b, "null");
    else if (x == floor(x) && fabs(x) < 1e15)
        buffer_printf(b, "%.0f", x);
    else
        buffer_printf(b, "%.9g", x);
}

static int flush(struct record *j, int fd, const char *name, struct error *err) {
    buffer_byte(&j->line, '\n');
    if (j->line.failed)
        return error_nomem(err, name);
    if (file_write_all(fd, j->line.data, j->line.length) != 0)
        return error_errno_run(err, name, "cannot write");
    return 0;
}

static int write_step(void *ctx, uint64_t step, int eval, const struct report_value *values, size_t count,
                      struct error *err) {
    struct record *j = ctx;

    (void)eval;
    buffer_clear(&j->line);
    buffer_printf(&j->line, "{\"step\":%llu", (unsigned long long)step);
    for (size_t i = 0; i < count; i++) {
        buffer_byte(&j->line, ',');
        buffer_json_string(&j->line, values[i].name, strlen(values[i].name));
        buffer_byte(&j->line, ':');
        add_number(&j->line, values[i].value);
    }
    buffer_byte(&j->line, '}');
    return flush(j, j->metrics, "metrics.jsonl", err);
}

static int write_sample(void *ctx, const struct report_sample *s, struct error *err) {
    struct record *j = ctx;

    if (j->samples < 0 && open_one(j->samples_path, &j->samples, err) != 0)
        return -1;
    buffer_clear(&j->line);
    buffer_printf(&j->line, "{\"step\":%llu,\"prompt\":", (unsigned long long)s->step);
    buffer_json_string(&j->line, s->prompt, strlen(s->prompt));
    buffer_text(&j->line, ",\"completion\":");
    buffer_json_string(&j->line, s->completion, strlen(s->completion));
    buffer_text(&j->line, ",\"reward\":");
    add_number(&j->line, s->reward);
    buffer_text(&j->line, ",\"kl\":");
    add_number(&j->line, s->kl);
    buffer_byte(&j->line, '}');
    return flush(j, j->samples, "samples.jsonl", err);
}

static int write_cost(void *ctx, uint64_t step, const struct report_cost *c, struct error *err) {
    const struct report_value values[] = {{RECORD_STAGE_TIME, c->seconds},
                                          {c->of_process ? RECORD_PROCESS_PEAK : RECORD_PEAK, (double)c->peak_memory}};

    return write_step(ctx, step, 0, values, 2, err);
}

static int end(void *ctx, struct error *err) {
    struct record *j = ctx;
    const bool bad = (j->metrics >= 0 && fsync(j->metrics) != 0) || (j->samples >= 0 && fsync(j->samples) != 0);
    const int rc = bad ? error_errno_run(err, "metrics.jsonl", "cannot sync") : 0;

    close_files(j);
    return rc;
}

int record_open(struct report_sink *sink, struct error *err) {
    struct record *j = mem_zeros(1, sizeof(*j));

    if (j == NULL)
        return error_nomem(err, "metrics");
    j->metrics = j->samples = -1;
    *sink = (struct report_sink){.ctx = j, .begin = begin, .step = write_step, .sample = write_sample, .cost = write_cost,
                                 .end = end};
    return 0;
}

void record_close(struct report_sink *sink) {
    struct record *j = sink->ctx;

    if (j == NULL)
        return;
    close_files(j);
    buffer_free(&j->line);
    free(j);
    *sink = (struct report_sink){0};
}
