/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/dtype.h"
#include "model/lora.h"
#include "model/param.h"
#include "model/peft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int save_text(const char *folder, const char *name, const char *text, size_t length, struct error *err) {
    char *path = file_join(folder, name);
    int rc = path ? file_write(path, text, length, err) : error_nomem(err, name);

    free(path);
    return rc;
}

/* Copies <source>/<name> when it is there; *done says whether it was. */
static int copy_file(const char *source, const char *folder, const char *name, bool *done, struct error *err) {
    char *from = file_join(source, name), *to = file_join(folder, name);
    int rc = from && to ? 0 : error_nomem(err, name);

    *done = rc == 0 && file_exists(from);
    if (*done)
        rc = file_copy(from, to, err);
    free(from);
    free(to);
    return rc;
}

static int save_tokenizer(const struct trunk *t, const char *folder, struct error *err) {
    static const char *const beside[] = {"special_tokens_map.json", "chat_template.jinja"};
    const char *text;
    size_t length;
    bool done;

    if (!t->tokenizer)
        return 0;
    text = tokenizer_json(t->tokenizer, &length);
    if (save_text(folder, "tokenizer.json", text, length, err))
        return -1;
    text = tokenizer_config_json(t->tokenizer, &length);
    if (text && save_text(folder, "tokenizer_config.json", text, length, err))
        return -1;
    for (size_t i = 0; !t->from_gguf && i < sizeof(beside) / sizeof(beside[0]); i++)
        if (copy_file(t->path, folder, beside[i], &done, err))
            return -1;
    return 0;
}

static int save_generation_config(const struct trunk *t, const char *folder, struct error *err) {
    const struct model_config *c = &t->config;
    json_t *root, *eos;
    char *text = NULL;
    bool done = false;
    int rc;

    if (!t->from_gguf && copy_file(t->path, folder, "generation_config.json", &done, err))
        return -1;
    if (done)
        return 0;
    root = json_object();
    eos = json_array();
    for (uint32_t i = 0; i < c->neos; i++)
        json_array_append_new(eos, json_integer(c->eos[i]));
    if (c->bos >= 0)
        json_object_set_new(root, "bos_token_id", json_integer(c->bos));
    if (c->neos)
        json_object_set(root, "eos_token_id", eos);
    if (c->pad >= 0)
        json_object_set_new(root, "pad_token_id", json_integer(c->pad));
    text = json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(eos);
    json_decref(root);
    rc = text ? save_text(folder, "generation_config.json", text, strlen(text), err)
              : error_nomem(err, "generation_config.json");
    free(text);
    return rc;
}

/* transformers reads the score at the last token that is not pad_token_id: one that no data holds. */
static int32_t choose_pad(const struct model_config *c, const uint8_t *avoid) {
    if (c->pad >= 0 && (!avoid || !(avoid[c->pad / 8] >> (c->pad % 8) & 1)))
        return c->pad;
    if (!avoid)
        return (int32_t)c->vocabulary - 1;
    for (int64_t id = c->vocabulary - 1; id >= 0; id--)
        if (!(avoid[id / 8] >> (id % 8) & 1))
            return (int32_t)id;
    log_warn("every token of the vocabulary occurs in the data: transformers will read scores of some rows too early");
    return (int32_t)c->vocabulary - 1;
}

/* So that an adapter and its base may move together. */
static char *way_to_base(const struct lora *l, const char *folder) {
    char *from = realpath(folder, NULL), *to = realpath(l->base, NULL), *way = from && to ? file_way(from, to) : NULL;

    free(from);
    free(to);
    return way;
}

static int save_config(const struct model *m, bool whole, const char *folder, const uint8_t *avoid, struct error *err) {
    char *base = whole ? NULL : way_to_base(m->lora, folder);
    struct model_config c;
    int rc;

    if (config_copy(&m->trunk->config, &c, err)) {
        free(base);
        return -1;
    }
    c.base = base;
    c.standard = m->standard;
    if (m->head != MODEL_LM) {
        c.labels = model_heads(m);
        c.pad = choose_pad(&c, avoid);
    } else {
        c.labels = 0;
    }
    rc = config_save(&c, m->head != MODEL_LM, folder, err);
    config_free(&c);
    free(base);
    return rc;
}

/* The parameters that belong in the file: a classifier has no language model head. `whole`: not an adapter's file. */
static size_t saved_params(const struct model *m, bool whole, const struct model_param **list) {
    const struct trunk *t = m->trunk;
    size_t n = 0;

    for (size_t i = 0; !whole && i < m->lora->nparams; i++)
        list[n++] = m->lora->params[i];
    for (size_t i = 0; whole && i < t->nparams; i++)
        if (m->head == MODEL_LM || t->params[i] != t->lm_head || t->lm_head == t->embedding)
            list[n++] = t->params[i];
    if (m->head_param)
        list[n++] = m->head_param;
    return n;
}

static void describe(const struct model_param *p, const char *head, struct tensor_out *out) {
    out->name = head ? head : p->place.tensor;
    out->dtype = p->file_dtype;
    out->rank = p->decay ? 2 : 1;
    out->shape[0] = p->place.transposed ? p->w.cols : p->place.rows;
    out->shape[1] = p->place.transposed ? p->place.rows : p->w.cols;
}

/* How many parameters from list[0] on are parts of one tensor. */
static size_t parts_of(const struct model_param *const *list, size_t n) {
    size_t k = 1;

    while (k < n && strcmp(list[k]->place.tensor, list[0]->place.tensor) == 0)
        k++;
    return k;
}

/* What is written: of what trains the float32 weights, of what does not what the file has that it was read from. */
struct origin {
    const struct model *model;
    const struct trunk *trunk;
    struct tensors_writer *writer;
    const struct model_param *param; /* of the pieces in work */
    uint32_t dtype;
    bool whole;
};

/* What a merged model holds must be numbers: nobody trains it and would notice. */
static bool merges(const struct origin *o) {
    return o->whole && o->model->lora;
}

static int base_not_finite(const struct origin *o, const struct model_param *p, struct error *err) {
    return error_input(err, "%s: tensor %s holds a number that is not finite: nothing is merged with it", o->trunk->path,
                       p->place.tensor);
}

static int take_piece(void *ctx, const void *host, size_t count, struct error *err) {
    const struct origin *o = ctx;

    if (merges(o) && !dtype_finite(host, o->dtype, count))
        return base_not_finite(o, o->param, err);
    return tensors_put(o->writer, host, count, o->dtype, err);
}

/* A head may come from another file than the trunk. */
static bool lies_in_file(const struct origin *o, const struct model_param *p) {
    return o->whole && o->trunk->file && !p->grad && p != o->model->head_param;
}

/* A whole tensor as it is in the file, in the dtype that is written. */
static int put_file(struct origin *o, const struct model_param *p, uint64_t count, struct error *err) {
    enum { PIECE = 1 << 16 };
    const struct tensor_info *info = tensors_find(o->trunk->file, param_file_name(p));
    const size_t size = dtype_width(p->file_dtype);
    void *piece = mem_array(PIECE, size);
    int rc = piece ? 0 : error_nomem(err, p->name);

    for (uint64_t at = 0; rc == 0 && at < count; at += PIECE) {
        const uint64_t n = count - at < PIECE ? count - at : PIECE;

        rc = tensors_read(o->trunk->file, info, at, n, p->file_dtype, piece, err) || take_piece(o, piece, n, err);
    }
    free(piece);
    tensors_forget(o->trunk->file, info);
    return rc ? -1 : 0;
}

static int put_whole(struct origin *o, const struct model_param *p, struct error *err) {
    const bool file = lies_in_file(o, p);

    o->param = p;
    o->dtype = file ? p->file_dtype : p->master ? REIN_F32 : p->w.dtype;
    if (file)
        return put_file(o, p, param_count(p), err);
    return backend_each_piece(o->trunk->backend, p->master ? (void *)p->master : p->w.data, (size_t)param_count(p),
                              dtype_width(o->dtype), take_piece, o, err);
}

/* A part among the elements of its tensor, as float32. */
struct part {
    const struct model_param *param;
    float *all;
    uint64_t at; /* elements done */
    uint32_t dtype;
};

static int place_piece(void *ctx, const void *host, size_t count, struct error *err) {
    struct part *x = ctx;
    const size_t size = dtype_width(x->dtype);

    (void)err;
    for (size_t i = 0; i < count; i++)
        dtype_convert((const unsigned char *)host + i * size, x->dtype, &x->all[param_file_index(x->param, x->at + i)],
                      REIN_F32, 1);
    x->at += count;
    return 0;
}

/* The trunk's parameter whose adapter is to be added, or -1. */
static int64_t adapted(const struct origin *o, const struct model_param *p) {
    const struct lora *l = o->whole ? o->model->lora : NULL;

    for (size_t i = 0; l && i < l->npairs; i++)
        if (o->trunk->params[i] == p)
            return l->pairs[i].a ? (int64_t)i : -1;
    return -1;
}

static int add_adapter(const struct origin *o, const struct model_param *p, float *all, struct error *err) {
    const int64_t index = adapted(o, p);
    float *delta;
    int rc;

    for (uint64_t i = 0; merges(o) && i < param_count(p); i++)
        if (!isfinite(all[param_file_index(p, i)]))
            return base_not_finite(o, p, err);
    if (index < 0)
        return 0;
    delta = mem_zeros((size_t)param_count(p), sizeof(*delta));
    rc = delta ? lora_merge(o->model->lora, (size_t)index, delta, err) : error_nomem(err, p->name);
    for (uint64_t i = 0; rc == 0 && i < param_count(p); i++)
        all[param_file_index(p, i)] += delta[i];
    free(delta);
    return rc;
}

/* The sums may be too large for the file's numbers. */
static int put_floats(const struct origin *o, const struct model_param *p, const float *all, uint64_t count,
                      struct error *err) {
    enum { PIECE = 1 << 12 };
    float rounded[PIECE];

    for (uint64_t at = 0; merges(o) && at < count; at += PIECE) {
        const size_t n = count - at < PIECE ? (size_t)(count - at) : PIECE;

        dtype_convert(all + at, REIN_F32, rounded, p->file_dtype, n);
        if (!dtype_finite(rounded, p->file_dtype, n))
            return error_input(err, "%s: tensor %s with the adapter added holds a number that is too large for %s",
                               o->trunk->path, p->place.tensor, dtype_name(p->file_dtype));
    }
    return tensors_put(o->writer, all, count, REIN_F32, err);
}

/* One tensor from its parts, in the file's order of elements. */
static int put_parts(struct origin *o, const struct model_param *const *list, size_t parts, struct error *err) {
    uint64_t total = 0;
    bool some = false;
    float *all;
    int rc = 0;

    for (size_t k = 0; k < parts; k++) {
        total += param_count(list[k]);
        some = some || lies_in_file(o, list[k]);
    }
    all = mem_array(total, sizeof(*all));
    if (!all)
        return error_nomem(err, list[0]->place.tensor);
    /* some parts may be frozen and others not: the file first, what trains over it */
    if (some)
        rc = tensors_read(o->trunk->file, tensors_find(o->trunk->file, param_file_name(list[0])), 0, total, REIN_F32, all,
                          err);
    for (size_t k = 0; rc == 0 && k < parts; k++) {
        const struct model_param *p = list[k];
        struct part x = {.param = p, .all = all, .dtype = p->master ? REIN_F32 : p->w.dtype};

        if (!lies_in_file(o, p))
            rc = backend_each_piece(o->trunk->backend, p->master ? (void *)p->master : p->w.data,
                                    (size_t)param_count(p), dtype_width(x.dtype), place_piece, &x, err);
        if (rc == 0)
            rc = add_adapter(o, p, all, err);
    }
    if (rc == 0)
        rc = put_floats(o, list[0], all, total, err);
    free(all);
    return rc;
}

/* Of the adapter and its head, before anything is written. */
static int check_adapter(const struct model *m, struct error *err) {
    const struct lora *l = m->lora;

    for (size_t i = 0; i < l->nparams + (m->head_param != NULL); i++) {
        const struct model_param *p = i < l->nparams ? l->params[i] : m->head_param;
        void *x = param_values(l->backend, p, err);
        const bool finite = x && dtype_finite(x, p->w.dtype, (size_t)param_count(p));

        free(x);
        if (!x)
            return -1;
        if (!finite)
            return error_input(err, "tensor %s of the adapter holds a number that is not finite: it is not merged",
                               p->place.tensor);
    }
    return 0;
}

static int save_weights(const struct model *m, bool whole, const char *path, struct error *err) {
    const char *score = whole ? "score.weight" : PEFT_PREFIX "score.weight";
    const struct model_param **list = mem_array(model_params(m), sizeof(*list));
    struct tensor_out *out = mem_zeros(model_params(m), sizeof(*out));
    struct origin o = {.model = m, .trunk = m->trunk, .whole = whole};
    size_t n, tensors = 0;
    int rc = -1;

    if (!list || !out) {
        error_nomem(err, "model to be written");
        goto done;
    }
    n = saved_params(m, whole, list);
    for (size_t i = 0; i < n; i += parts_of(list + i, n - i))
        describe(list[i], list[i] == m->head_param ? score : NULL, &out[tensors++]);
    if (tensors_create(path, out, tensors, &o.writer, err))
        goto done;
    for (size_t i = 0, parts; i < n; i += parts) {
        parts = parts_of(list + i, n - i);
        if (param_is_whole(list[i]) && adapted(&o, list[i]) < 0 ? put_whole(&o, list[i], err) : put_parts(&o, list + i, parts, err)) {
            tensors_abandon(o.writer);
            goto done;
        }
    }
    rc = tensors_finish(o.writer, NULL, err);
done:
    free(list);
    free(out);
    return rc;
}

static int save(const struct model *m, bool whole, const char *folder, const uint8_t *avoid, struct error *err) {
    char *path = file_join(folder, whole ? "model.safetensors" : "adapter_model.safetensors");
    int rc;

    if (!path)
        return error_nomem(err, folder);
    rc = (whole && m->lora && check_adapter(m, err)) || file_make_folder(folder, err);
    if (rc == 0 && (rc = save_weights(m, whole, path, err)) != 0)
        rmdir(folder); /* a refusal leaves nothing */
    rc = rc || save_config(m, whole, folder, avoid, err) || save_tokenizer(m->trunk, folder, err) ||
         (m->head == MODEL_LM && save_generation_config(m->trunk, folder, err)) ||
         (!whole && peft_save_config(m->lora, m->head != MODEL_LM, folder, err));
    free(path);
    return rc ? -1 : 0;
}

int model_save(const struct model *m, const char *folder, const uint8_t *avoid, struct error *err) {
    return save(m, m->lora == NULL, folder, avoid, err);
}

int model_save_merged(const struct model *m, const char *folder, const uint8_t *avoid, struct error *err) {
    return save(m, true, folder, avoid, err);
}
