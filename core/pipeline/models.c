/* SPDX-License-Identifier: MIT */
#include "pipeline/models.h"

#include "base/file.h"
#include "base/suggest.h"
#include "model/peft.h"

#include <stddef.h>
#include <string.h>

struct model_options {
    const char *from, *config, *base;
    int64_t init, dtype;
};
const char *const models_dtypes[] = {"auto", "f32", "f16", "bf16", NULL};
static const char *const inits[] = {"files", "random", NULL};
enum { INIT_FILES, INIT_RANDOM };

static const struct rein_param rows[] = {
    {.name = "from", .type = REIN_PARAM_STRING, .offset = offsetof(struct model_options, from),
     .doc = "A Hugging Face folder or a .gguf file, beside the pipeline or absolute."},
    {.name = "base", .type = REIN_PARAM_STRING, .offset = offsetof(struct model_options, base),
     .doc = "Where `from` is the folder of an adapter: its base model, in place of the one that it names."},
    {.name = "config", .type = REIN_PARAM_STRING, .offset = offsetof(struct model_options, config),
     .doc = "A folder with config.json and tokenizer.json: a new model of that shape; needs `init: random`."},
    {.name = "init", .type = REIN_PARAM_CHOICE, .offset = offsetof(struct model_options, init), .choices = inits,
     .doc = "Weights from files, or drawn at random: normal(0, initializer_range) by the pipeline's seed."},
    MODELS_DTYPE(struct model_options, dtype,
                 "How its matrices are held in memory wherever it is used without a dtype of that place: auto is as the "
                 "file has them, and float32 when it trains."),
    {.name = NULL},
};
const struct params models_params = {"model", rows, sizeof(*rows), sizeof(struct model_options)};

bool models_is_gguf(const char *path) {
    const size_t n = strlen(path);

    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

/* Is there something a model can be read from? */
static bool is_model(const char *path) {
    return file_is_folder(path) || (models_is_gguf(path) && file_exists(path));
}

static bool is_word(const char *s) {
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    return *s && strchr(word, *s) && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] == '\0';
}

static int read_one(struct build *b, struct pipeline_model *m) {
    const struct model_options *o = params_bind(&models_params, m->node, NULL, b->arena, b->err);
    const char *written;

    if (o == NULL)
        return -1;
    written = o->from ? o->from : o->config;
    if (written == NULL || (o->from && o->config))
        return node_error(m->node, b->err, written ? "model '%s' has both 'from' and 'config'"
                          : "model '%s' needs 'from' or 'config'", m->name);
    if (o->config && o->init != INIT_RANDOM)
        return node_error(m->node, b->err, "model '%s': 'config' alone has no weights: add 'init: random', or use 'from'",
                          m->name);
    if (o->from && o->init == INIT_RANDOM)
        return node_error(node_get(m->node, "init"), b->err, "model '%s': weights from files or at random, not both: "
                          "use 'config' in place of 'from'", m->name);
    m->source.path = build_path(b, written);
    if (m->source.path == NULL)
        return error_nomem(b->err, "model");
    if (o->config ? !file_is_folder(m->source.path) : !is_model(m->source.path))
        return node_error(node_get(m->node, o->from ? "from" : "config"), b->err, "there is no %s %s",
                          o->config ? "folder" : "model folder or .gguf file", m->source.path);
    if (o->base && !peft_is_adapter(m->source.path))
        return node_error(node_get(m->node, "base"), b->err, "model '%s': only an adapter has a base, and %s is none",
                          m->name, m->source.path);
    if (o->base && ((m->source.base = build_path(b, o->base)) == NULL || !is_model(m->source.base)))
        return node_error(node_get(m->node, "base"), b->err, "there is no model folder or .gguf file %s",
                          m->source.base ? m->source.base : o->base);
    m->source.random = o->config != NULL;
    m->source.seed = b->p->seed;
    m->source.dtype = models_dtype(o->dtype);
    return 0;
}

int models_read(struct build *b, const struct node *section) {
    if (section == NULL)
        return 0;
    if (section->type != NODE_MAPPING)
        return node_error(section, b->err, "models: expected a mapping from names to models");
    b->p->models = arena_alloc(b->arena, (section->count ? section->count : 1) * sizeof(*b->p->models));
    if (b->p->models == NULL)
        return error_nomem(b->err, "models");
    for (size_t i = 0; i < section->count; i++) {
        struct pipeline_model *m = &b->p->models[i];

        m->name = section->keys[i]->text;
        m->node = section->items[i];
        if (!is_word(m->name))
            return node_error(section->keys[i], b->err, "a model's name is made of letters, digits, '.', '-' and '_', got '%.60s'",
                              m->name);
        if (read_one(b, m) != 0)
            return -1;
        b->p->nmodels = i + 1;
    }
    return 0;
}

static int unknown(struct build *b, const struct stage *s, const struct node *at, const char *name, const char *path) {
    struct suggestion near = {0};
    char hint[128];

    for (const struct stage *t = b->p->stages; t < s; t++)
        suggest_offer(&near, name, t->name);
    for (size_t i = 0; i < b->p->nmodels; i++)
        suggest_offer(&near, name, b->p->models[i].name);
    if (near.best == NULL && (strchr(name, '/') != NULL || models_is_gguf(name)))
        return build_fail(b, s, at, "there is no model folder or .gguf file %s", path);
    return build_fail(b, s, at, "'%.100s' is no earlier stage, no model, no folder and no .gguf file%s", name,
                      suggest_text(&near, hint, sizeof(hint)));
}

bool models_names_average(const struct stage *s, const char *name) {
    const size_t length = strlen(s->name);

    return strncmp(name, s->name, length) == 0 && strcmp(name + length, "/ema") == 0;
}

int models_resolve(struct build *b, const struct stage *s, const struct node *at, const char *name,
                   struct model_source *source, const struct stage **stage) {
    const char *path;
    struct buffer made = {0};

    *stage = NULL;
    for (const struct stage *t = b->p->stages; t < b->p->stages + b->p->nstages; t++) {
        const bool average = models_names_average(t, name);

        if (strcmp(t->name, name) != 0 && !average)
            continue;
        if (t == s)
            return build_fail(b, s, at, "it cannot start from itself");
        if (t > s)
            return build_fail(b, s, at, "stage '%s' runs later: only earlier stages can be named", t->name);
        if (average && t->train.ema <= 0)
            return build_fail(b, s, at, "stage '%s' keeps no average: it has no train.ema", t->name);
        buffer_printf(&made, "%s/%s", t->output, average ? "ema" : "model");
        source->path = made.failed ? NULL : arena_strdup(b->arena, made.data);
        buffer_free(&made);
        *stage = t;
        return source->path ? 0 : error_nomem(b->err, "model");
    }
    for (size_t i = 0; i < b->p->nmodels; i++)
        if (strcmp(b->p->models[i].name, name) == 0) {
            source->path = b->p->models[i].source.path;
            source->base = b->p->models[i].source.base;
            source->random = b->p->models[i].source.random;
            source->seed = b->p->models[i].source.seed;
            if (!source->dtype)
                source->dtype = b->p->models[i].source.dtype;
            return 0;
        }
    path = build_path(b, name);
    if (path == NULL)
        return error_nomem(b->err, "model");
    if (!is_model(path))
        return unknown(b, s, at, name, path);
    source->path = path;
    return 0;
}
