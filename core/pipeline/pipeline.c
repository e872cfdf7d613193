/* SPDX-License-Identifier: MIT */
#include "pipeline/pipeline.h"

#include "base/file.h"
#include "model/peft.h"
#include "pipeline/build.h"
#include "pipeline/models.h"
#include "pipeline/stage_read.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIPELINE_VERSION = 1, MOST_STAGES = 64 };

struct top {
    int64_t rein, seed;
    const char *backend, *output;
};
static const struct rein_param rows[] = {
    {.name = "rein", .type = REIN_PARAM_INT, .flags = REIN_PARAM_REQUIRED, .offset = offsetof(struct top, rein), .min = 1,
     .doc = "The version of this format: 1."},
    {.name = "backend", .type = REIN_PARAM_STRING, .offset = offsetof(struct top, backend), .dflt = "auto", .min = 1,
     .doc = "What computes; auto leaves it to the machine."},
    {.name = "seed", .type = REIN_PARAM_INT, .offset = offsetof(struct top, seed), .max = 9e18,
     .doc = "All random numbers follow from it."},
    {.name = "output", .type = REIN_PARAM_STRING, .flags = REIN_PARAM_REQUIRED, .offset = offsetof(struct top, output),
     .min = 1, .doc = "The run folder."},
    {.name = NULL},
};
const struct params pipeline_params = {"pipeline", rows, sizeof(*rows), sizeof(struct top)};
static const char *const sections[] = {"models", "stages", NULL};

const char *build_path(struct build *b, const char *written) {
    char *joined = file_join(b->p->folder, written);
    const char *kept = joined ? arena_strdup(b->arena, joined) : NULL;

    free(joined);
    return kept;
}

int build_fail(struct build *b, const struct stage *s, const struct node *at, const char *fmt, ...) {
    char text[sizeof(b->err->text)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return node_error(at, b->err, "stage '%s': %s", s->name, text);
}

static int read_top(struct build *b) {
    const struct node *root = b->p->document.root, *version = node_get(root, "rein");
    const struct top *top;
    const char *slash;
    int64_t number;

    if (version != NULL && node_read_int(version, &number) == NULL && number != PIPELINE_VERSION)
        return node_error(version, b->err, "this rein reads pipelines of version %d, got '%s'", PIPELINE_VERSION,
                          version->text);
    top = params_bind(&pipeline_params, root, sections, b->arena, b->err);
    if (top == NULL)
        return -1;
    slash = strrchr(b->p->path, '/');
    b->p->folder = slash ? arena_strndup(b->arena, b->p->path, slash == b->p->path ? 1 : (size_t)(slash - b->p->path))
                         : ".";
    if (b->p->folder == NULL)
        return error_nomem(b->err, "pipeline");
    if (*top->output == '\0')
        return node_error(node_get(root, "output"), b->err, "pipeline.output: expected a folder, got nothing");
    b->p->seed = (uint64_t)top->seed;
    b->p->output = build_path(b, top->output);
    return b->p->output ? 0 : error_nomem(b->err, "pipeline");
}

static bool is_top_key(const char *name) {
    for (const struct rein_param *row = rows; row->name; row++)
        if (strcmp(row->name, name) == 0)
            return true;
    return strcmp(name, "models") == 0 || strcmp(name, "stages") == 0;
}

/* The name becomes a folder and the first word of --set. */
static int check_stage_name(struct build *b, const struct node *at, const char *name, size_t index) {
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

    if (*name == '\0' || *name == '-' || strlen(name) > 64 || name[strspn(name, word)] != '\0')
        return node_error(at, b->err, "a stage's name is made of letters, digits, '-' and '_', got '%.60s'", name);
    if (is_top_key(name))
        return node_error(at, b->err, "a stage cannot be called '%s': it is a key of the pipeline", name);
    for (size_t i = 0; i < index; i++)
        if (strcmp(b->p->stages[i].name, name) == 0)
            return node_error(at, b->err, "two stages are called '%s'", name);
    for (size_t i = 0; i < b->p->nmodels; i++)
        if (strcmp(b->p->models[i].name, name) == 0)
            return node_error(at, b->err, "a stage and a model are both called '%s'", name);
    return 0;
}

/* Names first, so that `from:` can tell a later stage from a wrong word. */
static int name_stages(struct build *b, const struct node *list) {
    b->p->stages = arena_alloc(b->arena, list->count * sizeof(*b->p->stages));
    if (b->p->stages == NULL)
        return error_nomem(b->err, "stages");
    for (size_t i = 0; i < list->count; i++) {
        const struct node *n = list->items[i], *name = node_get(n, "name");
        struct stage *s = &b->p->stages[i];
        struct buffer output = {0};

        if (n->type != NODE_MAPPING)
            return node_error(n, b->err, "a stage: expected a mapping (key: value)");
        if (name == NULL)
            return node_error(n, b->err, "a stage needs a 'name'");
        if (node_string(name, &s->name, b->err) != 0 || check_stage_name(b, name, s->name, i) != 0)
            return -1;
        buffer_printf(&output, "%s/%s", b->p->output, s->name);
        s->output = output.failed ? NULL : arena_strdup(b->arena, output.data);
        buffer_free(&output);
        if (s->output == NULL)
            return error_nomem(b->err, "stages");
        s->node = n;
    }
    b->p->nstages = list->count;
    return 0;
}

static int read_stages(struct build *b) {
    const struct node *root = b->p->document.root, *list = node_get(root, "stages");

    if (list == NULL)
        return node_error(root, b->err, "pipeline needs 'stages'");
    if (list->type != NODE_SEQUENCE || list->count == 0)
        return node_error(list, b->err, "stages: expected a list of at least one stage");
    if (list->count > MOST_STAGES)
        return node_error(list, b->err, "more than %d stages", MOST_STAGES);
    if (name_stages(b, list) != 0)
        return -1;
    for (size_t i = 0; i < b->p->nstages; i++)
        if (stage_read(b, &b->p->stages[i]) != 0)
            return -1;
    return 0;
}

int pipeline_load(const char *path, const char *const *sets, size_t nsets, struct registry *registry,
                  struct pipeline *out, struct error *err) {
    struct build b = {.p = out, .registry = registry, .err = err};
    int rc;

    memset(out, 0, sizeof(*out));
    if (yaml_load(path, &out->document, err) != 0)
        return -1;
    b.arena = &out->document.arena;
    out->path = out->document.file;
    rc = 0;
    for (size_t i = 0; rc == 0 && i < nsets; i++)
        rc = yaml_set(&out->document, sets[i], err);
    if (rc == 0)
        rc = read_top(&b) || models_read(&b, node_get(out->document.root, "models")) || read_stages(&b) ? -1 : 0;
    if (rc != 0)
        pipeline_free(out);
    return rc;
}

void pipeline_free(struct pipeline *p) {
    yaml_free(&p->document);
    memset(p, 0, sizeof(*p));
}

const struct stage *pipeline_stage(const struct pipeline *p, const char *name) {
    for (size_t i = 0; i < p->nstages; i++)
        if (strcmp(p->stages[i].name, name) == 0 || models_names_average(&p->stages[i], name))
            return &p->stages[i];
    return NULL;
}

const struct stage *pipeline_writer(const struct pipeline *p, const struct model_use *use) {
    const struct stage *s = use->share ? NULL : pipeline_stage(p, use->from);
    const size_t length = s ? strlen(s->output) : 0;

    return s && strncmp(use->source.path, s->output, length) == 0 &&
                   (strcmp(use->source.path + length, "/model") == 0 || strcmp(use->source.path + length, "/ema") == 0)
               ? s : NULL;
}

static bool has_config(const char *folder) {
    char *path = file_join(folder, "config.json");
    const bool there = path && file_exists(path);

    free(path);
    return there;
}

static void heads_of_files(const struct model_source *source, uint32_t *heads, bool *standard) {
    struct model_config c;

    *heads = 0;
    *standard = false;
    if (source->random || !file_is_folder(source->path))
        return;
    if (peft_is_adapter(source->path) && !has_config(source->path)) { /* PEFT's own: at most one head */
        bool score;

        *heads = model_has_score(source->path, source->base, &score, NULL) == 0 && score;
        return;
    }
    if (config_load(source->path, &c, NULL) != 0) { /* what is wrong with it is said elsewhere */
        *heads = 1;
        *standard = true;
        return;
    }
    *heads = (uint32_t)c.labels;
    *standard = c.standard.known;
    config_free(&c);
}

void pipeline_heads(const struct pipeline *p, const struct model_use *use, uint32_t *heads, bool *standard) {
    const struct stage *s = pipeline_writer(p, use);

    if (s == NULL) {
        heads_of_files(&use->source, heads, standard);
        return;
    }
    *heads = 0;
    *standard = s->model.source.head == MODEL_SCORE;
    if (*standard) {
        bool unused;

        pipeline_heads(p, &s->model, heads, &unused);
        if (*heads == 0)
            *heads = s->model.source.heads ? s->model.source.heads : 1;
    }
}
