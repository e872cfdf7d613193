/* SPDX-License-Identifier: MIT */
#include "model/adapted.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

int sources_open(const struct model_source *source, struct sources *out, struct error *err) {
    *out = (struct sources){.trunk = *source};
    if (!source->random && peft_is_adapter(source->path)) {
        if (source->lora)
            return error_input(err, "%s: is an adapter already, which trains on without 'lora'; merge it (rein merge) to "
                               "begin another", source->path);
        if (peft_open(source->path, source->base, &out->peft, err))
            return -1;
        out->trunk.path = out->peft->base;
    }
    if (out->peft || source->lora) {
        if (source->nfreeze)
            return error_input(err, "%s: freeze: beside an adapter everything is frozen", source->path);
        out->trunk.trainable = false;
        out->trunk.lora = NULL;
    }
    if (source->random)
        return 0;
    if (tensors_open(out->trunk.path, &out->file, err) == 0)
        return 0;
    sources_close(out);
    return -1;
}

void sources_close(struct sources *s) {
    peft_close(s->peft);
    tensors_close(s->file);
    *s = (struct sources){0};
}

static const char *find_head(const struct tensors *file, enum model_head head) {
    if (file && head == MODEL_VALUE && tensors_find(file, "value.weight"))
        return "value.weight";
    return file && tensors_find(file, "score.weight") ? "score.weight" : NULL;
}

int sources_open_model(const struct model_source *source, struct sources *out, struct error *err) {
    bool scores;

    if (sources_open(source, out, err))
        return -1;
    scores = (out->peft && peft_score(out->peft)) ||
             (find_head(out->file, MODEL_SCORE) && !tensors_find(out->file, "lm_head.weight"));
    if (source->head != MODEL_LM || !scores)
        return 0;
    sources_close(out);
    return error_input(err, "%s: is a reward model or a critic: it has a score head and predicts no tokens", source->path);
}

/* What is kept of a score head with an adapter that we wrote; PEFT's own folders have no config.json. */
static int adapter_head(const struct peft *p, const char *name, struct model_config *c, struct error *err) {
    const struct tensor_info *info = tensors_find(p->tensors, name);
    char *file = file_join(p->path, "config.json");
    struct model_config own;
    int rc = 0;

    c->labels = info->rank == 2 ? info->shape[0] : 0;
    c->standard.known = false;
    if (!file)
        return error_nomem(err, p->path);
    if (file_exists(file)) {
        rc = config_load(p->path, &own, err);
        if (rc == 0 && own.labels != c->labels)
            rc = error_input(err, "%s: %s has %lld rows, config.json says %lld labels", p->path, name,
                             (long long)c->labels, (long long)own.labels);
        if (rc == 0) {
            c->standard = own.standard;
            c->pad = own.pad;
        }
        config_free(&own);
    } else if (c->labels != 1)
        rc = error_input(err, "%s: %s has %lld rows; a reward model has one", p->path, name, (long long)c->labels);
    free(file);
    return rc ? -1 : 0;
}

int head_source_open(const struct sources *s, const struct model_config *base, enum model_head head,
                     struct head_source *out, struct error *err) {
    const char *adapted = s->peft ? peft_score(s->peft) : NULL;

    *out = (struct head_source){.file = s->file, .name = find_head(s->file, head)};
    if (config_copy(base, &out->config, err))
        return -1;
    if (!adapted)
        return 0;
    out->file = s->peft->tensors;
    out->name = adapted;
    if (adapter_head(s->peft, adapted, &out->config, err) == 0)
        return 0;
    config_free(&out->config);
    return -1;
}

int model_has_score(const char *path, const char *base, bool *has, struct error *err) {
    const struct model_source source = {.path = path, .base = base};
    struct sources s;

    if (sources_open(&source, &s, err))
        return -1;
    *has = find_head(s.file, MODEL_SCORE) || (s.peft && peft_score(s.peft));
    sources_close(&s);
    return 0;
}

int adapter_plan(const struct trunk *t, const struct model_source *source, const struct sources *s, struct lora **out,
                 struct error *err) {
    *out = NULL;
    if (s->peft)
        return lora_plan_file(t, s->peft, out, err);
    return source->lora ? lora_plan(t, source->lora, out, err) : 0;
}

int adapter_open(const struct trunk *t, const struct model_source *source, const struct sources *s, struct lora **out,
                 struct error *err) {
    struct lora *l;
    int rc;

    if (adapter_plan(t, source, s, &l, err))
        return -1;
    *out = l;
    if (!l)
        return 0;
    rc = s->peft ? lora_read(l, t->backend, s->peft, source->trainable, err)
                 : lora_draw(l, t->backend, source->head_seed, err);
    if (rc == 0)
        return 0;
    lora_release(l);
    *out = NULL;
    return -1;
}
