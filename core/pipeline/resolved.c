/* SPDX-License-Identifier: MIT */
#include "pipeline/resolved.h"

#include "base/file.h"
#include "pipeline/lora_read.h"

#include <rein/abi.h>
#include <stdlib.h>
#include <string.h>

struct writer {
    struct pipeline *p;
    struct arena *arena;
    struct error *err;
};

static struct node *text_node(struct writer *w, const char *text) {
    struct node *n = arena_alloc(w->arena, sizeof(*n));

    if (n == NULL || (n->text = arena_strdup(w->arena, text)) == NULL) {
        error_nomem(w->err, "pipeline");
        return NULL;
    }
    n->type = NODE_SCALAR;
    n->file = "";
    n->plain = true;
    n->plain = !node_is_null(n); /* a file called "null" */
    return n;
}

static struct node *path_node(struct writer *w, const char *path) {
    char *real = realpath(path, NULL), *cwd = NULL, *joined = NULL;
    struct node *n;

    if (real == NULL && path[0] != '/') { /* the run folder is not there yet */
        cwd = realpath(".", NULL);
        joined = cwd ? file_join(cwd, path) : NULL;
    }
    n = text_node(w, real ? real : joined ? joined : path);
    free(real);
    free(cwd);
    free(joined);
    return n;
}

static int put_path(struct writer *w, struct node *map, const char *key, const char *path) {
    struct node *n = path_node(w, path);

    return n ? yaml_put(w->arena, map, "", key, n, w->err) : -1;
}

static struct node *stage_section(struct writer *w, struct stage *s, const char *name) {
    struct node *n = node_get(s->node, name);

    if (n != NULL)
        return n;
    n = arena_alloc(w->arena, sizeof(*n));
    if (n == NULL) {
        error_nomem(w->err, "pipeline");
        return NULL;
    }
    n->type = NODE_MAPPING;
    n->file = "";
    return yaml_put(w->arena, (struct node *)(uintptr_t)s->node, "", name, n, w->err) == 0 ? n : NULL;
}

/* Adds the rows that the file leaves out; with `replace` also those that it gives. Advanced ones stay out. */
static int put_rows(struct writer *w, struct node *map, const struct params *table, const void *block, bool replace,
                    const char *skip) {
    const struct rein_param *row;

    for (size_t i = 0; (row = params_row(table, i)) != NULL; i++) {
        const bool given = params_given(map, row->name);
        struct node *n;

        if (strcmp(row->name, skip) == 0 || (given && !replace) || (!given && row->flags))
            continue;
        n = params_value(row, block, w->arena);
        if (n != NULL && yaml_put(w->arena, map, "", row->name, n, w->err) != 0)
            return -1;
    }
    return 0;
}

/* Is it a folder or file, and no name of the pipeline? */
static bool is_path(const struct writer *w, const char *from) {
    if (pipeline_stage(w->p, from))
        return false;
    for (size_t i = 0; i < w->p->nmodels; i++)
        if (strcmp(w->p->models[i].name, from) == 0)
            return false;
    return true;
}

static int put_use(struct writer *w, const struct model_use *use) {
    struct node *lora = node_get(use->node, "lora");

    if (!use->present || use->node == NULL)
        return 0;
    if (lora && use->source.lora && put_rows(w, lora, &lora_params, use->source.lora, true, "") != 0)
        return -1;
    if (node_get(use->node, "from") == NULL || !is_path(w, use->from))
        return 0;
    return put_path(w, (struct node *)(uintptr_t)use->node, "from", use->source.path);
}

struct scored_paths {
    struct writer *w;
    const struct stage *stage;
    struct node *mapping;
};

/* A model that a reward names by its path: the scalar, or an item of the list. */
static int put_scored(void *ctx, const struct rein_param *row, const char *value) {
    const struct scored_paths *x = ctx;
    struct node *n = node_get(x->mapping, row->name);
    const char *path = NULL;

    for (size_t i = 0; path == NULL && i < x->stage->nscored; i++)
        if (strcmp(x->stage->scored[i].name, value) == 0)
            path = x->stage->scored[i].use.source.path;
    if (n == NULL || path == NULL || !is_path(x->w, value))
        return 0;
    if (n->type != NODE_SEQUENCE)
        return put_path(x->w, x->mapping, row->name, path);
    for (size_t i = 0; i < n->count; i++)
        if (n->items[i]->text && strcmp(n->items[i]->text, value) == 0 &&
            (n->items[i] = path_node(x->w, path)) == NULL)
            return -1;
    return 0;
}

static int put_reward(struct writer *w, const struct stage *s, const struct stage_reward *r) {
    struct scored_paths x = {w, s, (struct node *)(uintptr_t)r->marks.mapping};

    return put_rows(w, x.mapping, r->marks.table, r->config, false, "") != 0
               ? -1
               : params_visit(r->marks.table, r->config, REIN_PARAM_MODEL, put_scored, &x);
}

/* A critic of its own has a rate, which may be the policy's. */
static int put_critic(struct writer *w, const struct model_use *critic) {
    static const struct rein_param rows[] = {
        {.name = "warmup_steps", .type = REIN_PARAM_INT, .offset = offsetof(struct model_use, warmup_steps)},
        {.name = "lr", .type = REIN_PARAM_REAL, .offset = offsetof(struct model_use, lr)},
        {.name = NULL},
    };
    const struct params table = {"critic", rows, sizeof(rows[0]), sizeof(*critic)};

    if (!critic->present)
        return 0;
    return put_use(w, critic) || put_rows(w, (struct node *)(uintptr_t)critic->node, &table, critic, true,
                                          critic->share ? "lr" : "") ? -1 : 0;
}

static int put_stage(struct writer *w, struct stage *s) {
    struct node *data = node_get(s->node, "data"), *section;

    for (size_t i = 0; i < s->nalgorithms; i++) {
        struct node *n = (struct node *)(uintptr_t)s->algorithms[i].marks.mapping;
        if (put_rows(w, n, s->algorithms[i].marks.table, s->algorithms[i].config, false, "") ||
            (s->algorithms[i].data && put_path(w, n, "data", s->algorithms[i].data)))
            return -1;
    }
    for (size_t i = 0; i < s->nrewards; i++)
        if (put_reward(w, s, &s->rewards[i]) != 0)
            return -1;
    if (put_use(w, &s->model) || put_use(w, &s->reference) || put_critic(w, &s->critic) ||
        put_rows(w, data, &data_params, &s->data, true, "") ||
        put_path(w, data, "train", s->train_path) || (s->eval_path && put_path(w, data, "eval", s->eval_path)))
        return -1;
    section = stage_section(w, s, "train");
    if (section == NULL || put_rows(w, section, &train_params, &s->train, true, s->on_policy ? "batch" : "minibatch"))
        return -1;
    section = stage_section(w, s, "checkpoint");
    if (section == NULL || put_rows(w, section, &checkpoint_params, &s->checkpoint, true, ""))
        return -1;
    return s->on_policy ? put_rows(w, node_get(s->node, "rollout"), &rollout_params, &s->rollout, true, "") : 0;
}

int resolved_write(struct pipeline *p, struct buffer *out, struct error *err) {
    struct writer w = {p, &p->document.arena, err};
    struct node *root = p->document.root;

    if (put_path(&w, root, "output", p->output) != 0)
        return -1;
    for (size_t i = 0; i < p->nmodels; i++)
        if (put_path(&w, (struct node *)(uintptr_t)p->models[i].node, p->models[i].source.random ? "config" : "from",
                     p->models[i].source.path) != 0 ||
            (p->models[i].source.base &&
             put_path(&w, (struct node *)(uintptr_t)p->models[i].node, "base", p->models[i].source.base) != 0))
            return -1;
    for (size_t i = 0; i < p->nstages; i++)
        if (put_stage(&w, &p->stages[i]) != 0)
            return -1;
    buffer_printf(out, "# %s, as it was run\n", p->path);
    node_write(root, out);
    return out->failed ? error_nomem(err, "pipeline") : 0;
}
