/* SPDX-License-Identifier: MIT */
#include "pipeline/runner.h"

#include "base/file.h"
#include "base/log.h"
#include "model/peft.h"
#include "pipeline/resolved.h"
#include "report/report.h"
#include "train/signals.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define MARKER     "pipeline.yaml" /* its being there makes a folder a run's */
#define UNFINISHED MARKER ".tmp-"

enum { LARGEST_PIPELINE = 8 << 20 };

static bool is_unfinished(const char *name) {
    return strncmp(name, UNFINISHED, sizeof(UNFINISHED) - 1) == 0;
}

/* Is nothing there, or only what a run leaves that was killed while it wrote its marker? */
static bool folder_is_free(const char *path) {
    struct dirent *entry;
    DIR *dir = opendir(path);
    bool empty = true;

    if (dir == NULL)
        return errno == ENOENT;
    while (empty && (entry = readdir(dir)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || is_unfinished(entry->d_name);
    closedir(dir);
    return empty;
}

/* Removes unfinished markers or, with `all`, everything but the marker: a kill on the way leaves a folder that is
 * still a run's. */
static int clear_folder(const char *path, bool all, struct error *err) {
    struct dirent *entry;
    DIR *dir = opendir(path);
    int rc = 0;

    if (dir == NULL)
        return error_errno_run(err, path, "cannot open folder");
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        char *child;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, MARKER) == 0 ||
            !(all || is_unfinished(name)))
            continue;
        child = file_join(path, name);
        rc = child ? file_remove_tree(child, err) : error_nomem(err, path);
        free(child);
    }
    closedir(dir);
    return rc;
}

static const struct node *output_node(const struct pipeline *p) {
    return node_get(p->document.root, "output");
}

/* Is `path` the run folder or inside it? Both are there. */
static bool inside(const char *folder, const char *path) {
    char *real = realpath(path, NULL);
    const size_t length = strlen(folder);
    const bool is = real && strncmp(real, folder, length) == 0 && (real[length] == '/' || real[length] == '\0');

    free(real);
    return is;
}

/* A model's files: an adapter's base belongs to them, wherever it lies. */
static bool model_inside(const char *folder, const struct model_source *source) {
    struct error none = {0};
    bool is = inside(folder, source->path);
    char *base = NULL;

    if (!is && !source->random && peft_base(source->path, source->base, &base, &none) == 0)
        is = inside(folder, base);
    free(base);
    return is;
}

static const char *input_inside(const struct pipeline *p, const char *folder) {
    for (size_t i = 0; i < p->nmodels; i++)
        if (model_inside(folder, &p->models[i].source))
            return p->models[i].source.path;
    for (size_t i = 0; i < p->nstages; i++) {
        const struct stage *s = &p->stages[i];
        const struct model_use *uses[] = {&s->model, &s->reference, &s->critic};

        if (inside(folder, s->train_path) || (s->eval_path && inside(folder, s->eval_path)))
            return inside(folder, s->train_path) ? s->train_path : s->eval_path;
        for (size_t k = 0; k < s->nalgorithms; k++)
            if (s->algorithms[k].data && inside(folder, s->algorithms[k].data))
                return s->algorithms[k].data;
        for (size_t k = 0; k < 3; k++)
            if (uses[k]->present && uses[k]->source.path && !pipeline_stage(p, uses[k]->from) &&
                model_inside(folder, &uses[k]->source))
                return uses[k]->source.path;
        for (size_t k = 0; k < s->nscored; k++)
            if (!pipeline_stage(p, s->scored[k].use.from) && model_inside(folder, &s->scored[k].use.source))
                return s->scored[k].use.source.path;
    }
    return inside(folder, p->path) ? p->path : NULL;
}

static int check_earlier_run(const struct pipeline *p, const struct runner_options *o, struct error *err) {
    char *marker = file_join(p->output, MARKER), *folder = realpath(p->output, NULL);
    const char *input;
    int rc = 0;

    if (marker == NULL || folder == NULL)
        rc = error_nomem(err, "run folder");
    else if (!file_exists(marker)) /* not ours to remove or to add to */
        rc = node_error(output_node(p), err, "%s is not the folder of an earlier run: it holds other files", p->output);
    else if (o->overwrite && (input = input_inside(p, folder)) != NULL)
        rc = node_error(output_node(p), err, "--overwrite would remove %s, which this run reads", input);
    free(marker);
    free(folder);
    return rc;
}

int runner_check(const struct pipeline *p, const struct runner_options *o, struct error *err) {
    if (file_exists(p->output) && !file_is_folder(p->output))
        return node_error(output_node(p), err, "%s is not a folder", p->output);
    if (folder_is_free(p->output))
        return 0;
    if (!o->resume && !o->overwrite)
        return node_error(output_node(p), err, "%s is not empty: --resume goes on with it, --overwrite removes it",
                          p->output);
    return check_earlier_run(p, o, err);
}

/* Two runs must not write into one folder; the lock goes with the process, however it ends. */
static int lock_folder(const char *path, struct error *err) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return error_errno_run(err, path, "cannot open");
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (errno == EWOULDBLOCK)
        error_input(err, "%s: another rein is running in this folder", path);
    else
        error_errno_run(err, path, "cannot lock");
    close(fd);
    return -1;
}

/* pipeline.yaml says what was run. When a run goes on with a changed pipeline, it is written only once a stage has
 * taken that up, and what it said before is kept beside it: the stages before may have been run by it. */
struct record {
    char *path, *before; /* before: its text when it has to be kept, else NULL */
    struct buffer text;
};

static void record_free(struct record *r) {
    free(r->path);
    free(r->before);
    buffer_free(&r->text);
}

static int record_make(struct pipeline *p, bool resume, struct record *r, struct error *err) {
    r->path = file_join(p->output, MARKER);
    if (r->path == NULL)
        return error_nomem(err, "pipeline");
    if (resolved_write(p, &r->text, err) != 0)
        return -1;
    if (!resume || !file_exists(r->path))
        return file_write(r->path, r->text.data, r->text.length, err);
    r->before = file_read(r->path, LARGEST_PIPELINE, NULL, err);
    if (r->before == NULL)
        return -1;
    /* the first line says which file it was made from */
    if (strcmp(r->before + strcspn(r->before, "\n"), r->text.data + strcspn(r->text.data, "\n")) != 0) {
        log_warn("the pipeline is not the same as when the run began (%s)", r->path);
        return 0;
    }
    free(r->before);
    r->before = NULL;
    return 0;
}

/* pipeline-1.yaml, or the first number that is free. */
static int keep_before(const struct record *r, struct error *err) {
    const size_t stem = strlen(r->path) - strlen(".yaml");
    int rc = -1;

    for (int n = 1; n < 10000; n++) {
        struct buffer name = {0};

        buffer_printf(&name, "%.*s-%d.yaml", (int)stem, r->path, n);
        if (name.failed) {
            buffer_free(&name);
            return error_nomem(err, "pipeline");
        }
        if (!file_exists(name.data)) {
            rc = file_write(name.data, r->before, strlen(r->before), err);
            buffer_free(&name);
            return rc;
        }
        buffer_free(&name);
    }
    return error_run(err, "%s: was changed too often", r->path);
}

static int record_accept(void *ctx, struct error *err) {
    struct record *r = ctx;

    if (r->before == NULL)
        return 0;
    if (keep_before(r, err) != 0 || file_write(r->path, r->text.data, r->text.length, err) != 0)
        return -1;
    free(r->before);
    r->before = NULL;
    return 0;
}

static int run_stages(struct pipeline *p, const struct runner_options *o, struct backend *backend,
                      const struct report_sink *sink, struct record *record, struct error *err) {
    for (size_t i = 0; i < p->nstages; i++) {
        struct stage *s = &p->stages[i];
        const struct stage_env env = {.backend = backend,
                                      .seed = s->train.seed < 0 ? p->seed : (uint64_t)s->train.seed,
                                      .resume = o->resume,
                                      .sink = sink,
                                      .accepted = record_accept,
                                      .accepted_ctx = record};

        if (o->resume && stage_done(s)) {
            log_info("stage %s was finished before", s->name);
            continue;
        }
        if (file_make_folder(s->output, err) != 0 || stage_run(s, &env, err) != 0) {
            if (err && err->kind == ERROR_RUN)
                error_prefix(err, "stage '%s'", s->name);
            return -1;
        }
    }
    return 0;
}

int runner_run(struct pipeline *p, const struct runner_options *o, struct backend *backend, struct error *err) {
    struct report *report = NULL;
    struct record record = {0};
    int lock, rc;

    signals_install(); /* from here on there is something to leave in order */
    if (file_make_folder(p->output, err) != 0 || (lock = lock_folder(p->output, err)) < 0)
        return -1;
    rc = clear_folder(p->output, o->overwrite, err);
    if (rc == 0)
        rc = record_make(p, o->resume, &record, err);
    if (rc == 0)
        rc = report_create(p->output, isatty(STDERR_FILENO), &report, err);
    if (rc == 0)
        rc = run_stages(p, o, backend, report_sink(report), &record, err);
    report_free(report);
    record_free(&record);
    close(lock);
    return rc;
}
