/* SPDX-License-Identifier: MIT */
#include "train/fingerprint.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ---- models ------------------------------------------------------------- */

/* Its parameters may be as many with other options. */
static json_t *put_adapter(const struct lora_options *o) {
    return json_pack("{s:I, s:f, s:f, s:b}", "rank", (json_int_t)o->rank, "alpha", o->alpha, "dropout", o->dropout,
                     "rslora", o->rslora != 0);
}

static json_t *put_freeze(const struct model_source *source) {
    json_t *list = json_array();

    for (size_t i = 0; i < source->nfreeze; i++)
        json_array_append_new(list, json_string(source->freeze[i]));
    return list;
}

struct summed {
    const struct model_source *source;
    uint32_t sum;
};
/* What is being made, and the files that were summed for it so far: several uses are often of one model. */
struct models {
    json_t *out;
    struct summed *summed;
    size_t count;
};

static bool same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static int sum_of(struct models *m, const struct model_source *source, uint32_t *sum, struct error *err) {
    for (size_t i = 0; i < m->count; i++) {
        const struct model_source *x = m->summed[i].source;

        if (strcmp(x->path, source->path) == 0 && x->random == source->random && same_text(x->base, source->base)) {
            *sum = m->summed[i].sum;
            return 0;
        }
    }
    if (model_sum(source, sum, err) != 0)
        return -1;
    m->summed[m->count++] = (struct summed){source, *sum};
    return 0;
}

static int put(json_t *out, const char *use, const char *key, json_t *value, struct error *err) {
    char name[192];

    snprintf(name, sizeof(name), "%s.%s", use, key);
    return json_object_set_new(out, name, value) == 0 ? 0 : error_nomem(err, "checkpoint");
}

/* A critic on the policy's trunk may have no files of its own. */
static int put_model(struct models *m, const char *use, const struct model_use *u, struct error *err) {
    const struct model_source *source = &u->source;
    uint32_t sum = 0;

    if (!u->present)
        return 0;
    if (source->path != NULL && sum_of(m, source, &sum, err) != 0)
        return -1;
    if (put(m->out, use, "from", json_integer(sum), err) != 0 ||
        put(m->out, use, "dtype", json_integer(source->dtype), err) != 0 ||
        put(m->out, use, "freeze", put_freeze(source), err) != 0)
        return -1;
    return source->lora != NULL ? put(m->out, use, "lora", put_adapter(source->lora), err) : 0;
}

int fingerprint_models(const struct stage *s, json_t **out, struct error *err) {
    struct models m = {.out = json_object(), .summed = mem_zeros(3 + s->nscored, sizeof(*m.summed))};
    int rc;

    *out = m.out;
    if (m.out == NULL || m.summed == NULL)
        rc = error_nomem(err, "checkpoint");
    else
        rc = put_model(&m, "model", &s->model, err) != 0 || put_model(&m, "critic", &s->critic, err) != 0 ||
             put_model(&m, "reference", &s->reference, err) != 0;
    for (size_t i = 0; rc == 0 && i < s->nscored; i++) {
        char use[160];

        snprintf(use, sizeof(use), "rewards.%.140s", s->scored[i].name);
        rc = put_model(&m, use, &s->scored[i].use, err) != 0;
    }
    free(m.summed);
    if (rc == 0)
        return 0;
    json_decref(m.out);
    *out = NULL;
    return -1;
}

/* ---- the rest ----------------------------------------------------------- */

/* Prompts, and the columns that reward sources read. */
static uint32_t prompts_crc(const struct dataset *d) {
    uLong crc = crc32(0L, Z_NULL, 0);

    for (size_t i = 0; i < d->nrows; i++)
        crc = crc32_z(crc, (const void *)d->rows[i].ids, d->rows[i].length * sizeof(*d->rows[i].ids));
    for (size_t i = 0; i < d->nunits; i++)
        if (d->units[i].columns != NULL)
            crc = crc32_z(crc, (const void *)d->units[i].columns, strlen(d->units[i].columns));
    return (uint32_t)crc;
}

/* How rows are cut into steps: a position in the middle of a rollout means nothing with another shape. */
static void put_shape(const struct run *r, json_t *out) {
    const struct stage *s = r->stage;
    struct buffer names = {0};
    char text[160];

    for (size_t i = 0; i < r->count; i++)
        buffer_printf(&names, "%s%s", i ? " " : "", r->learners[i].spec->plugin->name);
    json_object_set_new(out, "algorithms", json_string(names.data ? names.data : ""));
    buffer_free(&names);
    if (!s->on_policy || r->count > 1)
        json_object_set_new(out, "train.batch", json_integer(s->train.batch));
    if (!s->on_policy)
        return;
    snprintf(text, sizeof(text), "%lld x %lld at %a, %lld at once, %u times", (long long)s->rollout.prompts,
             (long long)s->rollout.group, r->temperature, (long long)s->train.minibatch, r->epochs);
    json_object_set_new(out, "rollout", json_string(text));
}

json_t *fingerprint(const struct run *r) {
    json_t *out = json_copy(r->models);

    if (out == NULL)
        return NULL;
    json_object_set_new(out, "stage", json_string(r->stage->name));
    json_object_set_new(out, "seed", json_integer((json_int_t)r->env->seed));
    json_object_set_new(out, "train.steps", json_integer((json_int_t)r->total));
    json_object_set_new(out, "parameters", json_integer((json_int_t)optimizer_elements(r->trainer.optimizer)));
    put_shape(r, out);
    json_object_set_new(out, "train.ema", json_real(r->stage->train.ema));
    for (size_t i = 0; i < r->count; i++) {
        char name[32];

        snprintf(name, sizeof(name), "data.%zu", i);
        if (r->stage->on_policy && i == r->main)
            json_object_set_new(out, name, json_integer(prompts_crc(&r->data[i])));
        else
            json_object_set_new(out, name, json_integer(samples_crc(&r->samples[i])));
    }
    return out;
}

/* ---- comparing ---------------------------------------------------------- */

/* Keys in a user's words, where their own do not say it. */
static const char *const words[][2] = {
    {"stage", "the stage"},
    {"seed", "the seed"},
    {"train.steps", "the number of steps"},
    {"parameters", "the model"},
    {"algorithms", "the algorithm"},
    {"rollout", "what shapes a rollout (prompts, group, temperature, minibatch, epochs)"},
    {"model.from", "the model that it started from"},
    {"critic.from", "the model that the critic started from"},
    {"reference.from", "the reference model"},
};

static void say(const char *key, char *out, size_t size) {
    const size_t length = strlen(key);

    snprintf(out, size, "%s", key);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(key, words[i][0]) == 0)
            snprintf(out, size, "%s", words[i][1]);
    if (strncmp(key, "data.", 5) == 0)
        snprintf(out, size, "the data");
    else if (strncmp(key, "rewards.", 8) == 0 && length > 13 && strcmp(key + length - 5, ".from") == 0)
        snprintf(out, size, "the reward model %.*s", (int)(length - 13), key + 8);
}

static bool is_placed(const struct node *n) {
    return n->file != NULL && n->file[0] != '\0';
}

/* The node of a key like "model.dtype", or of as much of it as is there; NULL: none has a place. */
static const struct node *place(const struct stage *s, const char *key) {
    const struct node *at = s->node, *best = at && is_placed(at) ? at : NULL;

    while (at != NULL && at->type == NODE_MAPPING && *key != '\0') {
        const size_t length = strcspn(key, ".");
        size_t i = 0;

        while (i < at->count && (strncmp(at->keys[i]->text, key, length) != 0 || at->keys[i]->text[length] != '\0'))
            i++;
        if (i == at->count)
            break;
        if (is_placed(at->items[i]) || is_placed(at->keys[i])) /* a default that was filled in has none */
            best = is_placed(at->items[i]) ? at->items[i] : at->keys[i];
        at = at->items[i];
        key += length + (key[length] == '.');
    }
    return best;
}

static int refuse(const struct run *r, const char *key, const char *path, struct error *err) {
    const struct node *at = place(r->stage, key);
    char what[256];

    say(key, what, sizeof(what));
    if (at == NULL)
        return error_input(err, "%s: cannot be resumed: %s changed since it was saved", path, what);
    return node_error(at, err, "stage '%s': %s cannot be resumed: %s changed since it was saved", r->stage->name, path,
                      what);
}

int fingerprint_check(const struct run *r, const json_t *was, const char *path, struct error *err) {
    json_t *now = fingerprint(r), *value;
    const char *key;
    int rc = 0;

    if (now == NULL)
        return error_nomem(err, "checkpoint");
    json_object_foreach(now, key, value) {
        if (rc == 0 && !json_equal(value, json_object_get(was, key)))
            rc = refuse(r, key, path, err);
    }
    json_object_foreach((json_t *)(uintptr_t)was, key, value) { /* and what is no more */
        if (rc == 0 && json_object_get(now, key) == NULL)
            rc = refuse(r, key, path, err);
    }
    json_decref(now);
    return rc;
}
