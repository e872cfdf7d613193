/* SPDX-License-Identifier: MIT */
#include "model/weights.h"

#include "base/buffer.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/dtype.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 20 }; /* elements converted at a time on the way to a device */

struct model_param *param_create(const char *name, int64_t rows, int64_t cols, bool decay, struct error *err) {
    struct model_param *p = mem_zeros(1, sizeof(*p));

    if (!p || (p->name = mem_strdup(name)) == NULL) {
        free(p);
        error_nomem(err, name);
        return NULL;
    }
    p->w.size = sizeof(p->w);
    p->w.dtype = REIN_F32;
    p->w.rows = rows;
    p->w.cols = p->w.ld = cols;
    p->decay = decay;
    p->file_dtype = REIN_F32;
    return p;
}

void param_free(struct backend *b, struct model_param *p) {
    if (!p)
        return;
    if (p->w.backend_cache && b->ops->weight_release)
        b->ops->weight_release(b->dev, &p->w);
    backend_free(b, p->w.data);
    backend_free(b, p->grad);
    free(p->name);
    free(p);
}

/* The plan: one line a tensor of a Hugging Face file. */

static struct model_param *add(struct trunk *t, int64_t rows, int64_t cols, struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* rows 0: a vector of `cols`, a norm's or a bias */
static struct model_param *add(struct trunk *t, int64_t rows, int64_t cols, struct error *err, const char *fmt, ...) {
    struct model_param *p;
    char name[128];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    if (mem_grow((void **)&t->params, &t->capacity, t->nparams + 1, sizeof(struct model_param *))) {
        error_nomem(err, name);
        return NULL;
    }
    p = param_create(name, rows ? rows : 1, cols, rows != 0, err);
    if (p)
        t->params[t->nparams++] = p;
    return p;
}

#define ADD(field, rows, cols, ...)                                                                                    \
    if (((field) = add(t, (rows), (cols), err, __VA_ARGS__)) == NULL)                                                  \
    return -1

static int plan_attention(struct trunk *t, struct layer *l, int i, struct error *err) {
    const struct model_config *c = &t->config;
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;

    ADD(l->q, q, c->hidden, "model.layers.%d.self_attn.q_proj.weight", i);
    ADD(l->k, kv, c->hidden, "model.layers.%d.self_attn.k_proj.weight", i);
    ADD(l->v, kv, c->hidden, "model.layers.%d.self_attn.v_proj.weight", i);
    ADD(l->o, c->hidden, q, "model.layers.%d.self_attn.o_proj.weight", i);
    if (c->qkv_bias) {
        ADD(l->q_bias, 0, q, "model.layers.%d.self_attn.q_proj.bias", i);
        ADD(l->k_bias, 0, kv, "model.layers.%d.self_attn.k_proj.bias", i);
        ADD(l->v_bias, 0, kv, "model.layers.%d.self_attn.v_proj.bias", i);
    }
    if (c->out_bias)
        ADD(l->o_bias, 0, c->hidden, "model.layers.%d.self_attn.o_proj.bias", i);
    if (c->family->qk_norm) {
        ADD(l->q_norm, 0, c->head_dim, "model.layers.%d.self_attn.q_norm.weight", i);
        ADD(l->k_norm, 0, c->head_dim, "model.layers.%d.self_attn.k_norm.weight", i);
    }
    return 0;
}

static int plan_mlp(struct trunk *t, struct layer *l, int i, struct error *err) {
    const struct model_config *c = &t->config;

    if (c->family->gated)
        ADD(l->gate, c->intermediate, c->hidden, "model.layers.%d.mlp.gate_proj.weight", i);
    ADD(l->up, c->intermediate, c->hidden, "model.layers.%d.mlp.up_proj.weight", i);
    ADD(l->down, c->hidden, c->intermediate, "model.layers.%d.mlp.down_proj.weight", i);
    if (c->mlp_bias) {
        if (c->family->gated)
            ADD(l->gate_bias, 0, c->intermediate, "model.layers.%d.mlp.gate_proj.bias", i);
        ADD(l->up_bias, 0, c->intermediate, "model.layers.%d.mlp.up_proj.bias", i);
        ADD(l->down_bias, 0, c->hidden, "model.layers.%d.mlp.down_proj.bias", i);
    }
    return 0;
}

static int plan_layer(struct trunk *t, struct layer *l, int i, struct error *err) {
    const struct model_config *c = &t->config;
    bool norm_bias = c->family->norm == REIN_NORM_LAYER;

    ADD(l->norm1, 0, c->hidden, "model.layers.%d.input_layernorm.weight", i);
    if (norm_bias)
        ADD(l->norm1_bias, 0, c->hidden, "model.layers.%d.input_layernorm.bias", i);
    if (plan_attention(t, l, i, err))
        return -1;
    ADD(l->norm2, 0, c->hidden, "model.layers.%d.post_attention_layernorm.weight", i);
    if (norm_bias)
        ADD(l->norm2_bias, 0, c->hidden, "model.layers.%d.post_attention_layernorm.bias", i);
    return plan_mlp(t, l, i, err);
}

int weights_plan(struct trunk *t, bool lm_head, struct error *err) {
    const struct model_config *c = &t->config;

    t->layers = mem_zeros((size_t)c->layers, sizeof(*t->layers));
    if (!t->layers)
        return error_nomem(err, "layers");
    t->nlayers = (size_t)c->layers;
    ADD(t->embedding, c->vocabulary, c->hidden, "model.embed_tokens.weight");
    for (int i = 0; i < (int)c->layers; i++)
        if (plan_layer(t, &t->layers[i], i, err))
            return -1;
    ADD(t->norm, 0, c->hidden, "model.norm.weight");
    if (c->family->norm == REIN_NORM_LAYER)
        ADD(t->norm_bias, 0, c->hidden, "model.norm.bias");
    if (lm_head && c->tied)
        t->lm_head = t->embedding;
    else if (lm_head)
        ADD(t->lm_head, c->vocabulary, c->hidden, "lm_head.weight");
    return 0;
}

/* The file against the plan. */

static void shape_text(const struct tensor_info *info, char *out, size_t size) {
    size_t used = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < info->rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? ", " : "", (long long)info->shape[i]);
}

static int check_shape(const struct model_param *p, const struct tensor_info *info, const char *path,
                       struct error *err) {
    bool vector = !p->decay;
    char have[160];

    if (vector ? info->rank == 1 && info->shape[0] == p->w.cols
               : info->rank == 2 && info->shape[0] == p->w.rows && info->shape[1] == p->w.cols)
        return 0;
    shape_text(info, have, sizeof(have));
    if (vector)
        return error_input(err, "%s: tensor %s has shape [%s], config.json asks for [%lld]", path, p->name, have,
                           (long long)p->w.cols);
    return error_input(err, "%s: tensor %s has shape [%s], config.json asks for [%lld, %lld]", path, p->name, have,
                       (long long)p->w.rows, (long long)p->w.cols);
}

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);

    return a >= b && strcmp(text + a - b, end) == 0;
}

/* Heads may be there without being wanted, and old Llama files hold the rope's frequencies. */
static bool known_extra(const char *name) {
    return strcmp(name, "lm_head.weight") == 0 || strcmp(name, "score.weight") == 0 ||
           strcmp(name, "value.weight") == 0 || ends_with(name, ".rotary_emb.inv_freq");
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(struct model_param *const *)a)->name, (*(struct model_param *const *)b)->name);
}

static int check_unexpected(const struct trunk *t, const struct tensors *file, struct error *err) {
    struct model_param **sorted = mem_array(t->nparams, sizeof(*sorted));
    int rc = 0;

    if (!sorted)
        return error_nomem(err, "names of parameters");
    memcpy(sorted, t->params, t->nparams * sizeof(*sorted));
    qsort(sorted, t->nparams, sizeof(*sorted), by_name);
    for (size_t i = 0; rc == 0 && i < tensors_count(file); i++) {
        const struct tensor_info *info = tensors_at(file, i);
        struct model_param key = {.name = (char *)(uintptr_t)info->name}, *k = &key;
        char have[160];

        if (bsearch(&k, sorted, t->nparams, sizeof(*sorted), by_name) || known_extra(info->name))
            continue;
        shape_text(info, have, sizeof(have));
        rc = error_input(err, "%s: tensor %s [%s] has no place in a %s model with this config.json", tensors_path(file),
                         info->name, have, t->config.family->name);
    }
    free(sorted);
    return rc;
}

int weights_check_one(struct model_param *p, const struct tensors *file, bool trainable, struct error *err) {
    const struct tensor_info *info = tensors_find(file, p->name);

    if (!info && p->decay)
        return error_input(err, "%s: tensor %s [%lld, %lld] is missing", tensors_path(file), p->name,
                           (long long)p->w.rows, (long long)p->w.cols);
    if (!info)
        return error_input(err, "%s: tensor %s [%lld] is missing", tensors_path(file), p->name, (long long)p->w.cols);
    if (check_shape(p, info, tensors_path(file), err))
        return -1;
    p->file_dtype = tensors_is_gguf(file) ? REIN_F32 : info->dtype;
    p->w.dtype = trainable || !p->decay ? REIN_F32 : info->dtype;
    return 0;
}

int weights_check(struct trunk *t, const struct tensors *file, struct error *err) {
    for (size_t i = 0; i < t->nparams; i++) {
        struct model_param *p = t->params[i];

        if (p == t->lm_head && !tensors_find(file, p->name) && tensors_find(file, "score.weight"))
            return error_input(err, "%s: this is a reward model: it has score.weight, but no lm_head.weight",
                               tensors_path(file));
        if (weights_check_one(p, file, t->trainable, err))
            return -1;
    }
    return check_unexpected(t, file, err);
}

/* Values. */

int param_allocate(struct backend *b, struct model_param *p, bool trainable, struct error *err) {
    size_t count, bytes;

    if (!size_mul((size_t)p->w.rows, (size_t)p->w.cols, &count) || !size_mul(count, 4, &bytes))
        return error_nomem(err, p->name);
    p->w.data = backend_alloc(b, count, dtype_width(p->w.dtype), err);
    if (!p->w.data)
        return error_prefix(err, "%s", p->name);
    if (!trainable)
        return 0;
    p->grad = backend_alloc(b, count, sizeof(float), err);
    if (!p->grad)
        return error_prefix(err, "gradient of %s", p->name);
    return backend_zero(b, p->grad, bytes, err);
}

int param_read(struct backend *b, struct model_param *p, const struct tensors *file, struct error *err) {
    const struct tensor_info *info = tensors_find(file, p->name);
    uint64_t count = (uint64_t)p->w.rows * (uint64_t)p->w.cols;
    size_t size = dtype_width(p->w.dtype);
    void *staging;
    int rc = 0;

    if (b->host_memory)
        return tensors_read(file, info, 0, count, p->w.dtype, p->w.data, err);
    staging = mem_array(CHUNK, size);
    if (!staging)
        return error_nomem(err, p->name);
    for (uint64_t at = 0; rc == 0 && at < count; at += CHUNK) {
        uint64_t n = count - at < CHUNK ? count - at : CHUNK;

        rc = tensors_read(file, info, at, n, p->w.dtype, staging, err) ||
             backend_upload(b, (char *)p->w.data + at * size, staging, n * size, err) || backend_sync(b, err);
    }
    free(staging);
    return rc ? -1 : 0;
}

static int put_floats(struct backend *b, struct model_param *p, const float *x, struct error *err) {
    size_t bytes = (size_t)p->w.rows * (size_t)p->w.cols * sizeof(float);

    return backend_upload(b, p->w.data, x, bytes, err) || backend_sync(b, err) ? -1 : 0;
}

int param_random(struct backend *b, struct model_param *p, uint64_t seed, uint32_t number, double deviation,
                 struct error *err) {
    size_t count = (size_t)p->w.rows * (size_t)p->w.cols;
    float *x = mem_zeros(count, sizeof(float));
    int rc;

    if (!x)
        return error_nomem(err, p->name);
    if (deviation > 0)
        rng_normal(seed, RNG_INIT, number, deviation, x, count);
    rc = put_floats(b, p, x, err);
    free(x);
    return rc;
}

static int param_constant(struct backend *b, struct model_param *p, float value, struct error *err) {
    float *x = mem_array((size_t)p->w.cols, sizeof(float));
    int rc;

    if (!x)
        return error_nomem(err, p->name);
    for (int64_t i = 0; i < p->w.cols; i++)
        x[i] = value;
    rc = put_floats(b, p, x, err);
    free(x);
    return rc;
}

int param_copy(struct backend *b, struct model_param *to, const struct model_param *from, bool trainable,
               struct error *err) {
    to->w.dtype = from->w.dtype;
    to->file_dtype = from->file_dtype;
    if (param_allocate(b, to, trainable, err))
        return -1;
    return backend_copy(b, to->w.data, from->w.data,
                        (size_t)from->w.rows * (size_t)from->w.cols * dtype_width(from->w.dtype), err);
}

int weights_read(struct trunk *t, const struct tensors *file, struct error *err) {
    for (size_t i = 0; i < t->nparams; i++)
        if (param_allocate(t->backend, t->params[i], t->trainable, err) ||
            param_read(t->backend, t->params[i], file, err))
            return -1;
    return backend_sync(t->backend, err);
}

int weights_init(struct trunk *t, uint64_t seed, struct error *err) {
    float one = 1.0f - t->config.family->norm_offset; /* so that the norm multiplies by 1 */

    for (size_t i = 0; i < t->nparams; i++) {
        struct model_param *p = t->params[i];

        p->file_dtype = t->config.dtype ? t->config.dtype : REIN_F32;
        if (param_allocate(t->backend, p, t->trainable, err))
            return -1;
        if (p->decay ? param_random(t->backend, p, seed, (uint32_t)i, t->config.initializer_range, err)
                     : param_constant(t->backend, p, ends_with(p->name, ".bias") ? 0.0f : one, err))
            return -1;
    }
    return 0;
}

int weights_copy(struct trunk *to, const struct trunk *from, struct error *err) {
    for (size_t i = 0; i < to->nparams; i++)
        if (param_copy(to->backend, to->params[i], from->params[i], to->trainable, err))
            return -1;
    return backend_sync(to->backend, err);
}

void *param_values(struct backend *b, const struct model_param *p, struct error *err) {
    size_t count = (size_t)p->w.rows * (size_t)p->w.cols;
    void *x = mem_array(count, dtype_width(p->w.dtype));

    if (!x) {
        error_nomem(err, p->name);
        return NULL;
    }
    if (backend_download(b, x, p->w.data, count * dtype_width(p->w.dtype), err)) {
        free(x);
        return NULL;
    }
    return x;
}
