/* SPDX-License-Identifier: MIT */
#include "model/model.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/adapted.h"
#include "model/dtype.h"
#include "model/param.h"
#include "model/transformer.h"
#include "model/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_NUMBER = 1000000 }; /* the head's tensor number for RNG_INIT, past every trunk's */

/* Frozen trunks that lie in files, so that models of the same files share one. Models are opened and closed by the main
 * thread alone. */
static struct trunk *frozen_trunks;

static void leave_list(const struct trunk *t) {
    struct trunk **at = &frozen_trunks;

    while (*at && *at != t)
        at = &(*at)->next;
    if (*at)
        *at = t->next;
}

/* One that `source`, whose weights are in `file`, can be a view of; or NULL. */
static struct trunk *find_frozen(const struct backend *b, const struct model_source *source,
                                 const struct tensors *file) {
    struct trunk *t = frozen_trunks;

    while (t && (t->backend != b || t->dtype != source->dtype || (source->head == MODEL_LM && !t->lm_head) ||
                 !tensors_same(t->file, file)))
        t = t->next;
    return t;
}

void trunk_release(struct trunk *t) {
    if (!t || --t->references > 0)
        return;
    leave_list(t);
    for (size_t i = 0; i < t->nparams; i++)
        param_free(t->backend, t->params[i]);
    free(t->params);
    free(t->layers);
    free(t->frequencies);
    free(t->path);
    if (t->tokenizer && --*t->tokenizer_users == 0) {
        tokenizer_free(t->tokenizer);
        free(t->tokenizer_users);
    }
    config_free(&t->config);
    tensors_close(t->file);
    free(t);
}

static struct trunk *trunk_create(struct backend *b, const struct model_source *source, struct error *err) {
    struct trunk *t = mem_zeros(1, sizeof(*t));

    if (!t || (t->path = mem_strdup(source->path)) == NULL) {
        free(t);
        error_nomem(err, "model");
        return NULL;
    }
    t->references = 1;
    t->backend = b;
    t->trainable = source->trainable;
    t->dtype = source->dtype;
    return t;
}

/* What the forward pass derives from the config. */
static int trunk_constants(struct trunk *t, struct error *err) {
    const struct model_config *c = &t->config;

    t->frequencies = mem_zeros((size_t)c->head_dim / 2 + 1, sizeof(float));
    if (!t->frequencies)
        return error_nomem(err, "rope");
    config_rope(c, t->frequencies, &t->rope_scale);
    t->embedding_scale = c->family->scale_embedding ? sqrtf((float)c->hidden) : 1.0f;
    return 0;
}

int trunk_padding(const struct trunk *t, uint8_t **out, struct error *err) {
    const size_t vocabulary = (size_t)t->config.vocabulary, tokens = t->tokenizer ? tokenizer_size(t->tokenizer) : 0;

    *out = NULL;
    if (tokens == 0 || tokens >= vocabulary)
        return 0;
    *out = mem_zeros(vocabulary, 1);
    if (!*out)
        return error_nomem(err, "padding of the vocabulary");
    memset(*out + tokens, 1, vocabulary - tokens);
    return 0;
}

static int own_tokenizer(struct trunk *t, struct tokenizer *tokenizer, struct error *err) {
    t->tokenizer_users = mem_zeros(1, sizeof(*t->tokenizer_users));
    if (!t->tokenizer_users) {
        tokenizer_free(tokenizer);
        return error_nomem(err, "tokenizer");
    }
    *t->tokenizer_users = 1;
    t->tokenizer = tokenizer;
    if (tokenizer_size(tokenizer) > (size_t)t->config.vocabulary)
        return error_input(err, "%s: the tokenizer has %zu tokens, the model's vocabulary only %lld", t->path,
                           tokenizer_size(tokenizer), (long long)t->config.vocabulary);
    return 0;
}

static int folder_tokenizer(struct trunk *t, struct error *err) {
    char *file = file_join(t->path, "tokenizer.json");
    struct tokenizer *tokenizer;
    int there;

    if (!file)
        return error_nomem(err, t->path);
    there = file_exists(file);
    free(file);
    if (!there)
        return 0;
    if (tokenizer_load(t->path, &tokenizer, err))
        return -1;
    return own_tokenizer(t, tokenizer, err);
}

static int gguf_tokenizer(struct trunk *t, const struct tensors *file, struct error *err) {
    struct tokenizer *tokenizer = NULL;
    char *json = NULL, *config = NULL;
    int rc;

    if (tensors_tokenizer(file, &json, &config, err))
        return -1;
    rc = tokenizer_parse(json, strlen(json), config, config ? strlen(config) : 0, t->path, &tokenizer, err);
    free(json);
    free(config);
    return rc ? -1 : own_tokenizer(t, tokenizer, err);
}

/* All that can be known, and found wrong, without reading a weight. `file` is NULL for random weights. */
static int trunk_describe(struct trunk *t, const struct model_source *source, struct tensors *file, struct error *err) {
    size_t pattern;

    t->from_gguf = file && tensors_is_gguf(file);
    if (t->from_gguf ? tensors_config(file, &t->config, err) : config_load(source->path, &t->config, err))
        return -1;
    if (trunk_constants(t, err) || weights_plan(t, source->head == MODEL_LM, err) ||
        trunk_freeze(t, source, &pattern, err))
        return -1;
    for (size_t i = 0; i < t->nparams; i++)
        t->params[i]->lodges = t->trainable && source->lodges;
    if (file && weights_check(t, file, err))
        return -1;
    return t->from_gguf ? gguf_tokenizer(t, file, err) : folder_tokenizer(t, err);
}

/* Everything but the head of a view. */
static int trunk_fill(struct trunk *t, const struct model_source *source, struct tensors *file, struct error *err) {
    if (trunk_describe(t, source, file, err))
        return -1;
    if (!file)
        return weights_init(t, source->seed, err);
    for (size_t i = 0; i < t->nparams && !t->file; i++)
        if (!t->trainable || t->params[i]->frozen)
            t->file = file;
    if (weights_read(t, file, err))
        return -1;
    if (!t->trainable) {
        t->next = frozen_trunks;
        frozen_trunks = t;
    }
    return 0;
}

uint32_t model_source_heads(const struct model_source *source, const struct model_config *c) {
    const uint32_t there = !source->random && c->labels > 0 ? (uint32_t)c->labels : 0;

    if (source->head != MODEL_SCORE)
        return 1;
    return there ? there : source->heads ? source->heads : 1;
}

/* The score or value head of m: from the file, else random or zero as model.h says. `from` NULL: in no file. */
static int head_fill(struct model *m, const struct model_source *source, const struct head_source *from,
                     bool trainable, struct error *err) {
    struct trunk *t = m->trunk;
    const char *name = from ? from->name : NULL;
    double deviation = m->head == MODEL_SCORE ? 1.0 / sqrt((double)t->config.hidden + 1) : 0.0;
    const int64_t heads = source && from && m->head == MODEL_SCORE ? model_source_heads(source, &from->config) : 1;
    struct model_param *p;

    if (name && source && source->heads && m->head == MODEL_SCORE && source->heads != heads)
        return error_input(err, "%s: has %lld score heads, not %u", source->path, (long long)heads, source->heads);
    if (name && m->head == MODEL_VALUE && from->config.labels > 1)
        return error_input(err, "%s: has %lld score heads; a critic begins with one", source->path,
                           (long long)from->config.labels);
    p = m->head_param = param_create(name ? name : "score.weight", heads, t->config.hidden, true, err);
    if (!p)
        return -1;
    p->frozen = trainable && source && freeze_names_head(source);
    if (m->head == MODEL_SCORE && name)
        m->standard = from->config.standard;
    if (!name) {
        p->file_dtype = t->params[0]->file_dtype;
        if (param_allocate(t->backend, p, trainable, err))
            return -1;
        return param_random(t->backend, p, source ? source->head_seed : 0, HEAD_NUMBER, deviation, err);
    }
    if (weights_check_one(p, from->file, trainable, 0, err) || param_allocate(t->backend, p, trainable, err))
        return -1;
    return param_read(t->backend, p, from->file, err) || backend_sync(t->backend, err) ? -1 : 0;
}

static int head_open(struct model *m, const struct model_source *source, const struct sources *files,
                     const struct model_config *c, struct error *err) {
    struct head_source from;
    int rc;

    if (m->head == MODEL_LM)
        return 0;
    if (head_source_open(files, c, m->head, &from, err))
        return -1;
    rc = head_fill(m, source, &from, source->trainable, err);
    config_free(&from.config);
    return rc;
}

/* The adapter's and the head's shapes. `config`: the base's, that gets what is the head's. */
static int check_adapted(const struct trunk *t, const struct model_source *source, const struct sources *files,
                         struct model_config *config, struct error *err) {
    struct head_source from;
    struct lora *l;

    if (adapter_plan(t, source, files, &l, err))
        return -1;
    lora_release(l);
    if (!files->peft)
        return 0;
    if (head_source_open(files, &t->config, source->head, &from, err))
        return -1;
    config->labels = from.config.labels;
    config->standard = from.config.standard;
    config_free(&from.config);
    return 0;
}

int model_check(const struct model_source *source, struct model_config *config, struct tokenizer **tokenizer,
                struct error *err) {
    struct sources files;
    struct trunk *t;
    int rc = -1;

    *tokenizer = NULL;
    if (sources_open_model(source, &files, err))
        return -1;
    t = trunk_create(NULL, &files.trunk, err);
    if (t)
        rc = trunk_describe(t, &files.trunk, files.file, err);
    if (rc == 0 && (rc = config_copy(&t->config, config, err)) == 0 &&
        (rc = check_adapted(t, source, &files, config, err)) != 0)
        config_free(config);
    if (rc == 0 && t->tokenizer) { /* the only user hands it over */
        *tokenizer = t->tokenizer;
        free(t->tokenizer_users);
        t->tokenizer = NULL;
    }
    sources_close(&files);
    trunk_release(t);
    return rc;
}

/* The trunk of a model: one that is there, or a new one. It keeps `file` open when it has to. */
static struct trunk *open_trunk(struct backend *b, const struct model_source *source, struct tensors *file,
                                struct error *err) {
    struct trunk *t = file && !source->trainable ? find_frozen(b, source, file) : NULL;

    if (t) {
        t->references++;
        return t;
    }
    t = trunk_create(b, source, err);
    if (t && trunk_fill(t, source, file, err)) {
        t->file = NULL; /* the caller's still */
        trunk_release(t);
        t = NULL;
    }
    return t;
}

int model_open(struct backend *b, const struct model_source *source, struct model **out, struct error *err) {
    struct sources files;
    struct model *m;
    int rc = -1;

    *out = NULL;
    if (sources_open_model(source, &files, err))
        return -1;
    m = mem_zeros(1, sizeof(*m));
    if (!m)
        error_nomem(err, "model");
    else if (files.trunk.trainable && source->dtype == REIN_F16)
        error_input(err, "%s: nothing trains in float16: its range is too small for weights and gradients",
                    source->path);
    else if ((m->trunk = open_trunk(b, &files.trunk, files.file, err)) != NULL) {
        m->head = source->head;
        m->random = source->random;
        rc = adapter_open(m->trunk, source, &files, &m->lora, err) ||
             head_open(m, source, &files, &m->trunk->config, err);
        if (m->trunk->file == files.file)
            files.file = NULL; /* it keeps it */
    }
    sources_close(&files);
    if (rc)
        model_close(m);
    else
        *out = m;
    return rc ? -1 : 0;
}

/* A head on the trunk of m, from the file that `source` names, if it names one. */
static int share_head(struct model *m, const struct model_source *source, struct error *err) {
    const bool trainable = source ? source->trainable : model_trunk_trains(m);
    struct model_config config;
    struct sources files;
    int rc;

    if (!source || !source->path || source->random)
        return head_fill(m, source, NULL, trainable, err);
    if (sources_open(source, &files, err))
        return -1;
    rc = tensors_is_gguf(files.file) ? tensors_config(files.file, &config, err)
                                     : config_load(files.trunk.path, &config, err);
    if (rc == 0) {
        rc = head_open(m, source, &files, &config, err);
        config_free(&config);
    }
    sources_close(&files);
    return rc ? -1 : 0;
}

int model_share(struct model *with, enum model_head head, const struct model_source *source, struct model **out,
                struct error *err) {
    struct trunk *t = with->trunk;
    struct model *m;

    *out = NULL;
    if (head == MODEL_LM && !t->lm_head)
        return error_input(err, "%s: was opened without its language model head, which is to be shared", t->path);
    m = mem_zeros(1, sizeof(*m));
    if (!m)
        return error_nomem(err, "model");
    m->trunk = t;
    t->references++;
    m->lora = with->lora;
    if (m->lora)
        m->lora->references++;
    m->head = head;
    if (head != MODEL_LM && share_head(m, source, err)) {
        model_close(m);
        return -1;
    }
    *out = m;
    return 0;
}

static int trunk_clone(const struct trunk *from, struct trunk *to, struct error *err) {
    if (config_copy(&from->config, &to->config, err))
        return -1;
    to->from_gguf = from->from_gguf;
    if (from->tokenizer) {
        to->tokenizer = from->tokenizer;
        to->tokenizer_users = from->tokenizer_users;
        ++*to->tokenizer_users;
    }
    return trunk_constants(to, err) || weights_plan(to, from->lm_head != NULL, err) || weights_copy(to, from, err) ? -1
                                                                                                                   : 0;
}

int model_clone_frozen(const struct model *m, struct model **out, struct error *err) {
    const struct trunk *from = m->trunk;
    const struct model_source source = {.path = from->path, .dtype = from->dtype};
    struct model *copy = mem_zeros(1, sizeof(*copy));
    struct model_param *p;

    *out = NULL;
    if (m->lora) {
        free(copy);
        return error_run(err, "%s: its adapter is not copied with it", from->path);
    }
    if (!copy)
        return error_nomem(err, "model");
    copy->head = m->head;
    copy->trunk = trunk_create(from->backend, &source, err);
    if (!copy->trunk || trunk_clone(from, copy->trunk, err))
        goto fail;
    if (m->head_param) {
        p = copy->head_param = param_create(m->head_param->name, m->head_param->w.rows, from->config.hidden, true, err);
        copy->standard = m->standard;
        if (!p || param_copy(from->backend, p, m->head_param, false, err) || backend_sync(from->backend, err))
            goto fail;
    }
    *out = copy;
    return 0;
fail:
    model_close(copy);
    return -1;
}

void model_close(struct model *m) {
    if (!m)
        return;
    if (m->trunk) {
        param_free(m->trunk->backend, m->head_param);
        lora_leave(m->lora, m->trunk);
    }
    trunk_release(m->trunk);
    free(m);
}

const struct model_config *model_config(const struct model *m) {
    return &m->trunk->config;
}

const struct tokenizer *model_tokenizer(const struct model *m) {
    return m->trunk->tokenizer;
}

enum model_head model_head(const struct model *m) {
    return m->head;
}

uint32_t model_heads(const struct model *m) {
    return m->head_param ? (uint32_t)m->head_param->w.rows : 1;
}

const struct model_standard *model_standard(const struct model *m) {
    return &m->standard;
}

void model_set_standard(struct model *m, const struct model_standard *s) {
    m->standard = *s;
}

struct backend *model_backend(const struct model *m) {
    return m->trunk->backend;
}

bool model_same_trunk(const struct model *a, const struct model *b) {
    return a->trunk == b->trunk;
}

bool model_same_adapter(const struct model *a, const struct model *b) {
    return a->lora == b->lora;
}

void model_stay(struct model *m) {
    m->trunk->stays = true;
}

bool model_trunk_trains(const struct model *m) {
    return m->trunk->trainable || (m->lora && m->lora->trainable);
}

static size_t adapter_params(const struct model *m) {
    return m->lora ? m->lora->nparams : 0;
}

size_t model_params(const struct model *m) {
    return m->trunk->nparams + adapter_params(m) + (m->head_param ? 1 : 0);
}

struct model_param *model_param(const struct model *m, size_t index) {
    const size_t trunk = m->trunk->nparams;

    if (index < trunk)
        return m->trunk->params[index];
    return index < trunk + adapter_params(m) ? m->lora->params[index - trunk] : m->head_param;
}

void model_touch(struct model *m) {
    for (size_t i = 0; i < model_params(m); i++)
        if (model_param(m, i)->grad) /* nothing else changes */
            model_param(m, i)->w.generation++;
}
