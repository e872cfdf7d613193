/* SPDX-License-Identifier: MIT */
#include "model/weights.h"

#include "base/mem.h"
#include "model/param.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The plan: one line a parameter. */

static struct model_param *add_named(struct trunk *t, const char *name, int64_t rows, int64_t cols, struct error *err) {
    struct model_param *p;

    if (mem_grow((void **)&t->params, &t->capacity, t->nparams + 1, sizeof(struct model_param *))) {
        error_nomem(err, name);
        return NULL;
    }
    p = param_create(name, rows ? rows : 1, cols, rows != 0, err);
    if (p)
        t->params[t->nparams++] = p;
    return p;
}

/* rows 0: a vector of `cols`, a norm's or a bias */
static struct model_param *add(struct trunk *t, enum tensor_role role, int layer, const char *leaf, int64_t rows,
                               int64_t cols, struct error *err) {
    const struct model_family *f = t->config.family;
    struct model_param *p;
    char name[128];

    family_tensor(f, role, layer, leaf, name, sizeof(name));
    p = add_named(t, name, rows, cols, err);
    if (p && role >= TENSOR_NORM1) {
        p->layer = layer;
        p->place.transposed = f->transposed && rows;
    }
    return p;
}

#define ADD(field, ...)                                                                                                \
    if (((field) = add(t, __VA_ARGS__, err)) == NULL)                                                                  \
    return -1

/* q, k and v that were just added (the last three) become parts of one tensor. */
static int fuse(struct trunk *t, const char *leaf, struct error *err) {
    static const char *const letters[] = {"q", "k", "v"};
    struct model_param **part = &t->params[t->nparams - 3];
    int64_t first = 0;

    for (int i = 0; i < 3; i++) {
        struct model_param *p = part[i];
        size_t stem = strlen(p->name) - strlen(leaf);
        char name[128];

        snprintf(name, sizeof(name), "%.*s%s.%s", (int)stem, p->name, letters[i], leaf);
        free(p->name);
        p->name = mem_strdup(name);
        if (!p->name)
            return error_nomem(err, name);
        p->place.first = first;
        first += p->place.rows;
    }
    for (int i = 0; i < 3; i++)
        part[i]->place.rows = first;
    return 0;
}

static int plan_attention(struct trunk *t, struct layer *l, int i, struct error *err) {
    const struct model_config *c = &t->config;
    int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;

    ADD(l->q, TENSOR_Q, i, "weight", q, c->hidden);
    ADD(l->k, TENSOR_K, i, "weight", kv, c->hidden);
    ADD(l->v, TENSOR_V, i, "weight", kv, c->hidden);
    if (c->family->fused_qkv && fuse(t, "weight", err))
        return -1;
    ADD(l->o, TENSOR_O, i, "weight", c->hidden, q);
    if (c->qkv_bias) {
        ADD(l->q_bias, TENSOR_Q, i, "bias", 0, q);
        ADD(l->k_bias, TENSOR_K, i, "bias", 0, kv);
        ADD(l->v_bias, TENSOR_V, i, "bias", 0, kv);
        if (c->family->fused_qkv && fuse(t, "bias", err))
            return -1;
    }
    if (c->out_bias)
        ADD(l->o_bias, TENSOR_O, i, "bias", 0, c->hidden);
    if (c->family->qk_norm) {
        ADD(l->q_norm, TENSOR_Q_NORM, i, "weight", 0, c->head_dim);
        ADD(l->k_norm, TENSOR_K_NORM, i, "weight", 0, c->head_dim);
    }
    return 0;
}

static int plan_mlp(struct trunk *t, struct layer *l, int i, struct error *err) {
    const struct model_config *c = &t->config;

    if (c->family->gated)
        ADD(l->gate, TENSOR_GATE, i, "weight", c->intermediate, c->hidden);
    ADD(l->up, TENSOR_UP, i, "weight", c->intermediate, c->hidden);
    ADD(l->down, TENSOR_DOWN, i, "weight", c->hidden, c->intermediate);
    if (c->mlp_bias) {
        if (c->family->gated)
            ADD(l->gate_bias, TENSOR_GATE, i, "bias", 0, c->intermediate);
        ADD(l->up_bias, TENSOR_UP, i, "bias", 0, c->intermediate);
        ADD(l->down_bias, TENSOR_DOWN, i, "bias", 0, c->hidden);
    }
    return 0;
}

static int plan_layer(struct trunk *t, struct layer *l, int i, struct error *err) {
    const struct model_config *c = &t->config;
    bool norm_bias = c->family->norm == REIN_NORM_LAYER;

    ADD(l->norm1, TENSOR_NORM1, i, "weight", 0, c->hidden);
    if (norm_bias)
        ADD(l->norm1_bias, TENSOR_NORM1, i, "bias", 0, c->hidden);
    if (plan_attention(t, l, i, err))
        return -1;
    ADD(l->norm2, TENSOR_NORM2, i, "weight", 0, c->hidden);
    if (norm_bias)
        ADD(l->norm2_bias, TENSOR_NORM2, i, "bias", 0, c->hidden);
    return plan_mlp(t, l, i, err);
}

int weights_plan(struct trunk *t, bool lm_head, struct error *err) {
    const struct model_config *c = &t->config;

    t->layers = mem_zeros((size_t)c->layers, sizeof(*t->layers));
    if (!t->layers)
        return error_nomem(err, "layers");
    t->nlayers = (size_t)c->layers;
    ADD(t->embedding, TENSOR_EMBEDDING, 0, "weight", c->vocabulary, c->hidden);
    if (c->family->learned_positions)
        ADD(t->positions, TENSOR_POSITIONS, 0, "weight", c->positions, c->hidden);
    for (int i = 0; i < (int)c->layers; i++)
        if (plan_layer(t, &t->layers[i], i, err))
            return -1;
    ADD(t->norm, TENSOR_NORM, 0, "weight", 0, c->hidden);
    if (c->family->norm == REIN_NORM_LAYER)
        ADD(t->norm_bias, TENSOR_NORM, 0, "bias", 0, c->hidden);
    if (lm_head && c->tied)
        t->lm_head = t->embedding;
    else if (lm_head && (t->lm_head = add_named(t, "lm_head.weight", c->vocabulary, c->hidden, err)) == NULL)
        return -1;
    return 0;
}

/* The file against the plan. */

static void shape_text(const struct tensor_info *info, char *out, size_t size) {
    size_t used = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < info->rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? ", " : "", (long long)info->shape[i]);
}

/* The shape of the file's tensor: its rank. */
static uint32_t file_shape(const struct model_param *p, int64_t shape[2]) {
    shape[0] = p->decay && p->place.transposed ? p->w.cols : p->place.rows;
    shape[1] = p->decay && p->place.transposed ? p->place.rows : p->w.cols;
    return p->decay ? 2 : 1;
}

static int check_shape(const struct model_param *p, const struct tensor_info *info, const char *path,
                       struct error *err) {
    int64_t want[2];
    const uint32_t rank = file_shape(p, want);
    char have[160];

    if (info->rank == rank && info->shape[0] == want[0] && (rank == 1 || info->shape[1] == want[1]))
        return 0;
    shape_text(info, have, sizeof(have));
    if (rank == 1)
        return error_input(err, "%s: tensor %s has shape [%s], config.json asks for [%lld]", path, info->name, have,
                           (long long)want[0]);
    return error_input(err, "%s: tensor %s has shape [%s], config.json asks for [%lld, %lld]", path, info->name, have,
                       (long long)want[0], (long long)want[1]);
}

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);

    return a >= b && strcmp(text + a - b, end) == 0;
}

/* Heads may be there without being wanted. */
static bool known_extra(const struct tensor_names *names, const char *name) {
    for (size_t i = 0; i < sizeof(names->ignored) / sizeof(names->ignored[0]); i++)
        if (names->ignored[i] && ends_with(name, names->ignored[i]))
            return true;
    return strcmp(name, "lm_head.weight") == 0 || strcmp(name, "score.weight") == 0 ||
           strcmp(name, "value.weight") == 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(param_file_name(*(struct model_param *const *)a), param_file_name(*(struct model_param *const *)b));
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
        struct model_param key = {.place.tensor = (char *)(uintptr_t)info->name}, *k = &key;
        char have[160];

        if (bsearch(&k, sorted, t->nparams, sizeof(*sorted), by_name) ||
            known_extra(t->config.family->names, info->name))
            continue;
        shape_text(info, have, sizeof(have));
        rc = error_input(err, "%s: tensor %s [%s] has no place in a %s model with this config.json", tensors_path(file),
                         info->name, have, t->config.family->name);
    }
    free(sorted);
    return rc;
}

int weights_check_one(struct model_param *p, const struct tensors *file, bool trainable, uint32_t dtype,
                      struct error *err) {
    const struct tensor_info *info = tensors_find(file, param_file_name(p));
    int64_t want[2];

    if (!info && file_shape(p, want) == 2)
        return error_input(err, "%s: tensor %s [%lld, %lld] is missing", tensors_path(file), param_file_name(p),
                           (long long)want[0], (long long)want[1]);
    if (!info)
        return error_input(err, "%s: tensor %s [%lld] is missing", tensors_path(file), param_file_name(p),
                           (long long)want[0]);
    if (check_shape(p, info, tensors_path(file), err))
        return -1;
    p->file_dtype = tensors_is_gguf(file) ? REIN_F32 : info->dtype;
    p->w.dtype = param_dtype(p, info->dtype, trainable, dtype);
    return 0;
}

/* A bare trunk (…Model, not …ForCausalLM) is written without the prefix. */
static void find_prefix(struct trunk *t, const struct tensors *file) {
    const char *prefix = t->config.family->names->prefix;
    const char *embedding = t->embedding->place.tensor;
    const size_t n = strlen(prefix);

    if (tensors_find(file, embedding) || !tensors_find(file, embedding + n))
        return;
    for (size_t i = 0; i < t->nparams; i++)
        if (strncmp(t->params[i]->place.tensor, prefix, n) == 0)
            t->params[i]->place.skip = n;
}

int weights_check(struct trunk *t, const struct tensors *file, struct error *err) {
    find_prefix(t, file);
    for (size_t i = 0; i < t->nparams; i++) {
        struct model_param *p = t->params[i];

        if (p == t->lm_head && !tensors_find(file, param_file_name(p)) && tensors_find(file, "score.weight"))
            return error_input(err, "%s: this is a reward model: it has score.weight, but no lm_head.weight",
                               tensors_path(file));
        if (weights_check_one(p, file, t->trainable, t->dtype, err))
            return -1;
    }
    return check_unexpected(t, file, err);
}

/* Values. */

int weights_read(struct trunk *t, const struct tensors *file, struct error *err) {
    for (size_t i = 0; i < t->nparams; i++)
        if (param_fill(t->backend, t->params[i], t->trainable, file, err))
            return -1;
    return backend_sync(t->backend, err);
}

void weights_forget(const struct trunk *t, int32_t layer) {
    for (size_t i = 0; i < t->nparams; i++)
        if (t->params[i]->mapped && t->params[i]->layer == layer)
            tensors_forget(t->file, tensors_find(t->file, param_file_name(t->params[i])));
}

int weights_init(struct trunk *t, uint64_t seed, struct error *err) {
    float one = 1.0f - t->config.family->norm_offset; /* so that the norm multiplies by 1 */

    for (size_t i = 0; i < t->nparams; i++) {
        struct model_param *p = t->params[i];

        p->file_dtype = t->config.dtype ? t->config.dtype : REIN_F32;
        p->w.dtype = param_dtype(p, REIN_F32, t->trainable, t->dtype);
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
