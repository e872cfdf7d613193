/* SPDX-License-Identifier: MIT */
#include "report/progress.h"

#include "base/buffer.h"
#include "base/log.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct progress {
    bool terminal, shown;         /* shown: a bar stands on the current line */
    char stage[64];
    uint64_t total, first, done;  /* steps; first: where this process began */
    double began, drawn, logged;  /* seconds */
    uint64_t logged_step;
    char values[160];             /* "loss 1.23  kl 0.4" */
    char work[64];                /* "sampling 40%" */
    struct report_cost cost;      /* zero while the stage is not done */
};

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *progress_clock(double seconds, char out[32]) {
    unsigned long s;

    if (!(seconds >= 0) || seconds > 1e8) {
        snprintf(out, 32, "-:--");
        return out;
    }
    s = (unsigned long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, 32, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 32, "%lu:%02lu", s / 60, s % 60);
    return out;
}

static void clear(void *ctx) {
    struct progress *p = ctx;

    if (p->shown)
        fputs("\r\x1b[K", stderr);
    p->shown = false;
}

static int columns(void) {
    struct winsize w;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

/* "12.3 step/s" or, when slow, "3.2 s/step". */
static void rate_text(const struct progress *p, char *rate, size_t size, char *eta) {
    const double spent = now() - p->began, steps = (double)(p->done - p->first);
    const double each = steps > 0 ? spent / steps : NAN;

    if (isnan(each))
        snprintf(rate, size, "-");
    else if (each < 1)
        snprintf(rate, size, "%.1f step/s", 1 / each);
    else
        snprintf(rate, size, "%.1f s/step", each);
    progress_clock(each * (double)(p->total > p->done ? p->total - p->done : 0), eta);
}

static void draw(struct progress *p) {
    enum { WIDTH = 20 };
    const uint64_t total = p->total ? p->total : 1;
    const size_t full = (size_t)(WIDTH * (p->done < total ? p->done : total) / total);
    char rate[32], eta[32], bar[WIDTH + 1];
    struct buffer line = {0};
    const size_t width = (size_t)columns() - 1;

    for (size_t i = 0; i < WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = '\0';
    rate_text(p, rate, sizeof(rate), eta);
    buffer_printf(&line, "%s [%s] %llu/%llu  %s  ETA %s", p->stage, bar, (unsigned long long)p->done,
                  (unsigned long long)p->total, rate, eta);
    buffer_printf(&line, "%s%s%s%s", p->values[0] ? "  " : "", p->values, p->work[0] ? "  " : "", p->work);
    if (line.failed) {
        buffer_free(&line);
        return;
    }
    fprintf(stderr, "\r%.*s\x1b[K", (int)(line.length < width ? line.length : width), line.data);
    fflush(stderr);
    buffer_free(&line);
    p->shown = true;
    p->drawn = now();
}

static void log_line(struct progress *p) {
    char rate[32], eta[32];

    rate_text(p, rate, sizeof(rate), eta);
    log_info("%s: step %llu of %llu  %s  %s  ETA %s", p->stage, (unsigned long long)p->done,
             (unsigned long long)p->total, p->values, rate, eta);
    p->logged = now();
    p->logged_step = p->done;
}

static int begin(void *ctx, const char *stage, const char *folder, uint64_t total_steps, int append, uint64_t step,
                 struct error *err) {
    struct progress *p = ctx;

    (void)folder;
    (void)append;
    (void)err;
    clear(p);
    snprintf(p->stage, sizeof(p->stage), "%s", stage);
    p->total = total_steps;
    p->first = p->done = p->logged_step = step;
    p->began = p->logged = now();
    p->drawn = 0;
    p->values[0] = p->work[0] = '\0';
    p->cost = (struct report_cost){0};
    if (p->terminal)
        draw(p);
    return 0;
}

/* The loss, and what tells most about the stage. */
static void choose(struct progress *p, const struct report_value *values, size_t count) {
    static const char *const wanted[] = {"loss",   "objective/scores",    "reward",   "objective/kl",
                                         "kl",     "rewards/accuracies",  "accuracy", "mean_token_accuracy"};
    size_t length = 0, taken = 0;

    p->values[0] = '\0';
    for (size_t w = 0; w < sizeof(wanted) / sizeof(*wanted) && taken < 3; w++)
        for (size_t i = 0; i < count; i++) {
            const char *slash = strrchr(values[i].name, '/');

            if (strcmp(values[i].name, wanted[w]) != 0)
                continue;
            length += (size_t)snprintf(p->values + length, sizeof(p->values) - length, "%s%s %.4g", taken ? "  " : "",
                                       slash ? slash + 1 : values[i].name, values[i].value);
            taken++;
            if (length >= sizeof(p->values))
                return;
        }
}

static void say_evaluation(const struct progress *p, uint64_t step, const struct report_value *values, size_t count) {
    struct buffer line = {0};

    for (size_t i = 0; i < count; i++)
        if (strcmp(values[i].name, "eval_time") != 0)
            buffer_printf(&line, "  %s %.4g", values[i].name, values[i].value);
    if (!line.failed && line.length)
        log_info("%s: evaluation after step %llu:%s", p->stage, (unsigned long long)step, line.data);
    buffer_free(&line);
}

static int step(void *ctx, uint64_t number, int eval, const struct report_value *values, size_t count,
                struct error *err) {
    struct progress *p = ctx;

    (void)err;
    if (eval) {
        say_evaluation(p, number, values, count);
        return 0;
    }
    p->done = number;
    p->work[0] = '\0';
    choose(p, values, count);
    if (p->terminal) {
        if (now() - p->drawn > 0.1 || number == p->total)
            draw(p);
    } else if (number == p->total || now() - p->logged > 30 || number - p->logged_step >= p->total / 20 + 1)
        log_line(p);
    return 0;
}

static void progress(void *ctx, const char *what, uint64_t done, uint64_t total) {
    struct progress *p = ctx;

    if (!p->terminal || now() - p->drawn < 0.1)
        return;
    snprintf(p->work, sizeof(p->work), "%s %llu%%", what, (unsigned long long)(total ? 100 * done / total : 0));
    draw(p);
}

static int cost(void *ctx, uint64_t number, const struct report_cost *c, struct error *err) {
    struct progress *p = ctx;

    (void)number;
    (void)err;
    p->cost = *c;
    return 0;
}

static int end(void *ctx, struct error *err) {
    struct progress *p = ctx;
    const double seconds = p->cost.seconds > 0 ? p->cost.seconds : now() - p->began;
    struct buffer line = {0};
    char clock[32];

    (void)err;
    clear(p);
    buffer_printf(&line, "%s: %llu of %llu steps in %s", p->stage, (unsigned long long)p->done,
                  (unsigned long long)p->total, progress_clock(seconds, clock));
    if (p->cost.peak_memory > 0) {
        buffer_text(&line, p->cost.of_process ? ", peak memory of the process " : ", peak memory ");
        buffer_bytes(&line, p->cost.peak_memory);
    }
    if (!line.failed)
        log_info("%s%s%s", line.data, p->values[0] ? "  " : "", p->values);
    buffer_free(&line);
    return 0;
}

int progress_open(struct report_sink *sink, bool terminal, struct error *err) {
    struct progress *p = mem_zeros(1, sizeof(*p));

    if (p == NULL)
        return error_nomem(err, "progress bar");
    p->terminal = terminal;
    log_set_hook(clear, p);
    *sink = (struct report_sink){.ctx = p, .begin = begin, .step = step, .progress = progress,
                                 .cost = cost, .end = end};
    return 0;
}

void progress_close(struct report_sink *sink) {
    if (sink->ctx == NULL)
        return;
    clear(sink->ctx);
    log_set_hook(NULL, NULL);
    free(sink->ctx);
    *sink = (struct report_sink){0};
}
