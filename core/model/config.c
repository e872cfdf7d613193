/* SPDX-License-Identifier: MIT */
#include "model/config.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "model/config_head.h"
#include "model/config_rope.h"
#include "model/json_read.h"

#include <rein/backend.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Wide enough for every known decoder, small enough that no product of three of them overflows. */
#define MAX_VOCABULARY ((int64_t)1 << 24)
#define MAX_WIDTH      ((int64_t)1 << 18)
#define MAX_LAYERS     ((int64_t)1 << 12)
#define MAX_HEADS      ((int64_t)1 << 12)
#define MAX_HEAD_DIM   ((int64_t)1 << 12)
#define MAX_POSITIONS  ((int64_t)1 << 28)

static const struct {
    const char *name;
    uint32_t kind;
} activations[] = {
    {"silu", REIN_ACT_SILU},          {"swish", REIN_ACT_SILU},          {"gelu", REIN_ACT_GELU},
    {"gelu_new", REIN_ACT_GELU_TANH}, {"gelu_fast", REIN_ACT_GELU_TANH}, {"gelu_pytorch_tanh", REIN_ACT_GELU_TANH},
};

static const struct {
    const char *name;
    uint32_t dtype;
} dtypes[] = {{"float32", REIN_F32}, {"float16", REIN_F16}, {"bfloat16", REIN_BF16}};

static int read_family(struct json_reader *r, struct model_config *out) {
    struct buffer list = {0};
    struct suggestion near = {0};
    char hint[64];
    const char *type = json_reader_string(r, "model_type", NULL);

    if (r->failed)
        return -1;
    if (type == NULL)
        return json_reader_fail(r, "key 'model_type' is missing");
    out->family = family_find(type);
    if (out->family != NULL)
        return 0;
    for (size_t i = 0; family_list(i) != NULL; i++) {
        buffer_printf(&list, "%s%s", i ? ", " : "", family_list(i)->name);
        suggest_offer(&near, type, family_list(i)->name);
    }
    json_reader_fail(r, "model_type '%s' is not supported%s; supported are %s", type,
                     suggest_text(&near, hint, sizeof(hint)), list.data ? list.data : "");
    buffer_free(&list);
    return -1;
}

static int read_sizes(struct json_reader *r, struct model_config *out) {
    const struct model_family *f = out->family;
    const struct config_keys *k = f->keys;

    out->vocabulary = json_reader_int(r, "vocab_size", 1, MAX_VOCABULARY, JSON_REQUIRED);
    out->hidden = json_reader_int(r, k->hidden, 1, MAX_WIDTH, JSON_REQUIRED);
    out->layers = json_reader_int(r, k->layers, 1, MAX_LAYERS, JSON_REQUIRED);
    out->heads = json_reader_int(r, k->heads, 1, MAX_HEADS, JSON_REQUIRED);
    out->kv_heads = k->kv_heads ? json_reader_int(r, k->kv_heads, 1, MAX_HEADS, out->heads) : out->heads;
    out->intermediate =
        json_reader_int(r, k->intermediate, 1, MAX_WIDTH * 4, f->widening ? f->widening * out->hidden : JSON_REQUIRED);
    out->positions = json_reader_int(r, k->positions, 1, MAX_POSITIONS, JSON_REQUIRED);
    out->head_dim = k->head_dim ? json_reader_int(r, k->head_dim, 2, MAX_HEAD_DIM, f->head_dim) : 0;
    if (r->failed)
        return -1;
    if (out->head_dim == 0) {
        if (out->hidden % out->heads != 0)
            return json_reader_fail(r, "%s %lld is not a multiple of %s %lld%s", k->hidden, (long long)out->hidden,
                                    k->heads, (long long)out->heads, k->head_dim ? ", and head_dim is not given" : "");
        out->head_dim = out->hidden / out->heads;
    }
    if (out->head_dim % 2 != 0 || out->head_dim > MAX_HEAD_DIM)
        return json_reader_fail(r, "head_dim %lld must be even and at most %lld", (long long)out->head_dim,
                                (long long)MAX_HEAD_DIM);
    if (out->heads % out->kv_heads != 0)
        return json_reader_fail(r, "num_attention_heads %lld is not a multiple of num_key_value_heads %lld",
                                (long long)out->heads, (long long)out->kv_heads);
    if (out->heads * out->head_dim > MAX_WIDTH)
        return json_reader_fail(r, "num_attention_heads x head_dim is %lld, more than %lld",
                                (long long)(out->heads * out->head_dim), (long long)MAX_WIDTH);
    return 0;
}

/* layer_types (transformers 5) must agree with one window for all layers. Returns 1 sliding, 0 full, -1 not said. */
static int layer_kind(struct json_reader *r, const struct model_config *out) {
    const json_t *types = json_object_get(r->object, "layer_types"), *type;
    int kind = -1;
    size_t i;

    if (types == NULL || json_is_null(types))
        return -1;
    if (!json_is_array(types) || json_array_size(types) != (size_t)out->layers)
        return json_reader_fail(r, "key 'layer_types' must be a list with one entry for each of the %lld layers",
                                (long long)out->layers);
    json_array_foreach(types, i, type) {
        const char *text = json_string_value(type);
        int this;
        if (text != NULL && strcmp(text, "full_attention") == 0)
            this = 0;
        else if (text != NULL && strcmp(text, "sliding_attention") == 0)
            this = 1;
        else
            return json_reader_fail(r,
                                    "layer_types[%zu]: '%s' is not supported; full_attention and sliding_attention are",
                                    i, text ? text : "(not a string)");
        if (kind >= 0 && this != kind)
            return json_reader_fail(r, "layers of different kinds (layer_types) are not supported");
        kind = this;
    }
    return kind;
}

static int read_window(struct json_reader *r, struct model_config *out) {
    const struct model_family *f = out->family;
    const json_t *value = json_object_get(r->object, "sliding_window");
    const int kind = layer_kind(r, out);
    int64_t first;

    out->window = 0;
    if (r->failed || !f->window) {
        if (!r->failed && kind == 1)
            return json_reader_fail(r, "sliding attention is not known for model_type '%s'", f->name);
        return r->failed ? -1 : 0;
    }
    if (value == NULL)
        out->window = f->window_size;
    else
        out->window = json_reader_int(r, "sliding_window", 1, INT32_MAX, 0);
    if (f->window_keys) {
        if (!json_reader_bool(r, "use_sliding_window", false))
            out->window = 0;
        first = json_reader_int(r, "max_window_layers", 0, INT32_MAX, 28);
        if (kind < 0 && out->window > 0 && first >= out->layers)
            out->window = 0;
        else if (kind < 0 && out->window > 0 && first > 0)
            return json_reader_fail(
                r, "a sliding window on some layers only (max_window_layers %lld of %lld) is not supported",
                (long long)first, (long long)out->layers);
    }
    if (kind == 0 && !f->window_keys && out->window > 0)
        return json_reader_fail(r, "layer_types asks for full attention, but sliding_window is %lld",
                                (long long)out->window);
    if (kind == 0)
        out->window = 0;
    if (kind == 1 && out->window == 0)
        return json_reader_fail(r, "layer_types asks for sliding attention, but sliding_window is not in force");
    return r->failed ? -1 : 0;
}

/* The kind of act by its name, or -1. */
static int activation_kind(const char *name) {
    for (size_t i = 0; i < sizeof(activations) / sizeof(activations[0]); i++)
        if (strcmp(name, activations[i].name) == 0)
            return (int)activations[i].kind;
    return -1;
}

/* Gemma's first files say "gelu" and mean the tanh form. transformers 4 goes by hidden_activation alone, 5 by
 * hidden_act alone: what they would not agree on is refused. */
static int read_tanh_gelu(struct json_reader *r, struct model_config *out) {
    const char *old = json_reader_string(r, "hidden_activation", "gelu_pytorch_tanh");
    const char *new = json_reader_string(r, out->family->keys->activation, "gelu");

    if (r->failed)
        return -1;
    if (strcmp(new, "gelu") == 0)
        new = "gelu_pytorch_tanh";
    if (activation_kind(old) < 0 || activation_kind(old) != activation_kind(new))
        return json_reader_fail(r,
                                "hidden_activation is '%s' and hidden_act '%s': versions of transformers differ on "
                                "which counts",
                                old, new);
    out->activation = (uint32_t)activation_kind(old);
    return 0;
}

static int read_activation(struct json_reader *r, struct model_config *out) {
    const char *key = out->family->keys->activation, *name = json_reader_string(r, key, NULL);

    out->activation = out->family->activation;
    if (r->failed || name == NULL)
        return r->failed ? -1 : 0;
    if (activation_kind(name) < 0)
        return json_reader_fail(r, "%s '%s' is not supported; silu, gelu, gelu_new and gelu_pytorch_tanh are", key,
                                name);
    out->activation = (uint32_t)activation_kind(name);
    return 0;
}

static int add_eos(struct json_reader *r, const json_t *value, struct model_config *out) {
    int64_t id;

    if (!json_is_integer(value))
        return json_reader_fail(r, "key 'eos_token_id' must be a token id or a list of them");
    id = json_integer_value(value);
    if (id < 0 || id >= out->vocabulary)
        return json_reader_fail(r, "eos_token_id %lld is outside the vocabulary of %lld", (long long)id,
                                (long long)out->vocabulary);
    for (uint32_t i = 0; i < out->neos; i++)
        if (out->eos[i] == id)
            return 0;
    if (out->neos == CONFIG_MAX_EOS)
        return json_reader_fail(r, "more than %d end-of-text ids in eos_token_id", CONFIG_MAX_EOS);
    out->eos[out->neos++] = (int32_t)id;
    return 0;
}

static int read_eos(struct json_reader *r, struct model_config *out) {
    const json_t *value = json_object_get(r->object, "eos_token_id"), *item;
    size_t i;

    if (value == NULL || json_is_null(value))
        return 0;
    out->neos = 0;
    if (!json_is_array(value))
        return add_eos(r, value, out);
    json_array_foreach(value, i, item) if (add_eos(r, item, out) != 0) return -1;
    return 0;
}

static int read_tokens(struct json_reader *r, struct model_config *out) {
    out->bos = (int32_t)json_reader_int(r, "bos_token_id", 0, out->vocabulary - 1, -1);
    /* -1 is written by some for "none" */
    out->pad = (int32_t)json_reader_int(r, "pad_token_id", -1, out->vocabulary - 1, -1);
    return r->failed ? -1 : read_eos(r, out);
}

static int read_dtype(struct json_reader *r, struct model_config *out) {
    const char *name = json_reader_string(r, "dtype", json_reader_string(r, "torch_dtype", "float32"));

    if (r->failed)
        return -1;
    if (strncmp(name, "torch.", 6) == 0)
        name += 6;
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            out->dtype = dtypes[i].dtype;
            return 0;
        }
    return json_reader_fail(r, "dtype '%s' is not supported; float32, float16 and bfloat16 are", name);
}

/* What would silently change the mathematics. */
static int read_refusals(struct json_reader *r, const struct model_family *f) {
    const json_t *quantised = json_object_get(r->object, "quantization_config");

    if (quantised != NULL && !json_is_null(quantised))
        return json_reader_fail(r, "the weights are quantised (quantization_config), which is not supported");
    if (json_reader_bool(r, "use_bidirectional_attention", false))
        return json_reader_fail(r, "use_bidirectional_attention is not supported");
    for (const struct config_fixed *x = f->fixed; x->key != NULL; x++)
        if (json_reader_bool(r, x->key, x->value) != x->value)
            return json_reader_fail(r, "%s: %s is not supported", x->key, x->value ? "false" : "true");
    return r->failed ? -1 : 0;
}

int config_parse(const json_t *root, const char *name, struct model_config *out, struct error *err) {
    struct json_reader r = {.object = root, .name = name, .err = err};
    const struct model_family *f;

    memset(out, 0, sizeof(*out));
    out->bos = out->pad = -1;
    if (!json_is_object(root))
        return error_input(err, "%s: must be a JSON object", name);
    if (read_family(&r, out) != 0 || read_refusals(&r, out->family) != 0 || read_sizes(&r, out) != 0)
        return -1;
    f = out->family;
    out->norm_eps = (float)json_reader_real(&r, f->keys->norm_eps, 0.0, 1.0, f->norm_eps);
    out->initializer_range = json_reader_real(&r, "initializer_range", 0.0, 100.0, 0.02);
    out->tied = json_reader_bool(&r, "tie_word_embeddings", f->tied);
    out->qkv_bias = f->qkv_bias;
    out->out_bias = f->out_bias;
    out->mlp_bias = f->mlp_bias;
    if (f->attention_bias_key)
        out->qkv_bias = out->out_bias = json_reader_bool(&r, "attention_bias", f->qkv_bias);
    if (f->mlp_bias_key)
        out->mlp_bias = json_reader_bool(&r, "mlp_bias", f->mlp_bias);
    if (r.failed || (!f->learned_positions && config_read_rope(&r, out) != 0) || read_window(&r, out) != 0 ||
        (f->gelu_is_tanh ? read_tanh_gelu(&r, out) : read_activation(&r, out)) != 0 || read_tokens(&r, out) != 0 ||
        config_read_head(&r, out) != 0 || read_dtype(&r, out) != 0)
        return -1;
    out->json = json_deep_copy(root);
    return out->json ? 0 : error_nomem(err, name);
}

static int load_generation(const char *folder, struct model_config *out, struct error *err) {
    char *path = file_join(folder, "generation_config.json");
    struct json_reader r = {.name = path, .err = err};
    json_t *root = NULL;
    int rc = -1;

    if (path == NULL)
        return error_nomem(err, folder);
    if (!file_exists(path)) {
        rc = 0;
    } else {
        root = json_read_file(path, err);
        r.object = root;
        if (root != NULL && !json_is_object(root))
            error_input(err, "%s: must be a JSON object", path);
        else if (root != NULL)
            rc = read_eos(&r, out);
    }
    json_decref(root);
    free(path);
    return rc;
}

int config_load(const char *folder, struct model_config *out, struct error *err) {
    char *path = file_join(folder, "config.json");
    json_t *root = NULL;
    int rc = -1;

    memset(out, 0, sizeof(*out));
    if (path == NULL)
        return error_nomem(err, folder);
    root = json_read_file(path, err);
    if (root != NULL)
        rc = config_parse(root, path, out, err);
    if (rc == 0)
        rc = load_generation(folder, out, err);
    json_decref(root);
    free(path);
    if (rc != 0)
        config_free(out);
    return rc;
}

void config_free(struct model_config *c) {
    json_decref(c->json);
    c->json = NULL;
}

int config_copy(const struct model_config *from, struct model_config *to, struct error *err) {
    *to = *from;
    if (from->json == NULL)
        return 0;
    to->json = json_deep_copy(from->json);
    return to->json ? 0 : error_nomem(err, "config");
}

uint64_t config_parameters(const struct model_config *c) {
    const struct model_family *f = c->family;
    const uint64_t h = (uint64_t)c->hidden, i = (uint64_t)c->intermediate, v = (uint64_t)c->vocabulary;
    const uint64_t q = (uint64_t)(c->heads * c->head_dim), kv = (uint64_t)(c->kv_heads * c->head_dim);
    const uint64_t norm = f->norm == REIN_NORM_LAYER ? 2 * h : h;
    uint64_t layer = 2 * norm + h * (q + 2 * kv) + q * h + (f->gated ? 3 : 2) * h * i;

    if (c->qkv_bias)
        layer += q + 2 * kv;
    if (c->out_bias)
        layer += h;
    if (c->mlp_bias)
        layer += (f->gated ? 2 : 1) * i + h;
    if (f->qk_norm)
        layer += 2 * (uint64_t)c->head_dim;
    return v * h + (c->tied || c->labels > 0 ? 0 : v * h) + (f->learned_positions ? (uint64_t)c->positions * h : 0) +
           (uint64_t)c->layers * layer + norm;
}

/* The float32 as the shortest decimal that reads back as it, so that 1e-05 is not written as 9.99999975e-06. */
static json_t *real_of(float x) {
    char text[32];

    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x)
            break;
    }
    return json_real(strtod(text, NULL));
}

static json_t *id_or_null(int32_t id) {
    return id < 0 ? json_null() : json_integer(id);
}

static json_t *eos_of(const struct model_config *c) {
    json_t *list;

    if (c->neos <= 1)
        return id_or_null(c->neos ? c->eos[0] : -1);
    list = json_array();
    for (uint32_t i = 0; i < c->neos; i++)
        json_array_append_new(list, json_integer(c->eos[i]));
    return list;
}

/* For a model that did not come with a config.json: everything, in the style of transformers 4, which 5 reads too. */
static json_t *fresh_json(const struct model_config *c) {
    const struct model_family *f = c->family;
    const struct config_keys *k = f->keys;
    const char *act = activations[0].name;
    json_t *o = json_object(), *rope = json_null();

    for (size_t i = 0; i < sizeof(activations) / sizeof(activations[0]); i++)
        if (activations[i].kind == c->activation)
            act = activations[i].name;
    if (c->activation == REIN_ACT_SILU)
        act = "silu";
    if (c->rope == ROPE_LINEAR)
        rope = json_pack("{s:s, s:o}", "rope_type", "linear", "factor", real_of(c->rope_factor));
    else if (c->rope == ROPE_LLAMA3)
        rope = json_pack("{s:s, s:o, s:o, s:o, s:I}", "rope_type", "llama3", "factor", real_of(c->rope_factor),
                         "low_freq_factor", real_of(c->rope_low), "high_freq_factor", real_of(c->rope_high),
                         "original_max_position_embeddings", (json_int_t)c->rope_original);
    json_object_set_new(o, k->activation, json_string(act));
    json_object_set_new(o, k->hidden, json_integer(c->hidden));
    json_object_set_new(o, k->layers, json_integer(c->layers));
    json_object_set_new(o, k->heads, json_integer(c->heads));
    if (k->kv_heads)
        json_object_set_new(o, k->kv_heads, json_integer(c->kv_heads));
    if (k->head_dim)
        json_object_set_new(o, k->head_dim, json_integer(c->head_dim));
    json_object_set_new(o, k->intermediate, json_integer(c->intermediate));
    json_object_set_new(o, k->positions, json_integer(c->positions));
    json_object_set_new(o, k->norm_eps, real_of(c->norm_eps));
    json_object_set_new(o, "rope_theta", real_of(c->rope_theta));
    json_object_set_new(o, "rope_scaling", rope);
    json_object_set_new(o, "initializer_range", json_real(c->initializer_range));
    json_object_set_new(o, "attention_dropout", json_real(0.0));
    json_object_set_new(o, "use_cache", json_true());
    if (f->attention_bias_key)
        json_object_set_new(o, "attention_bias", json_boolean(c->qkv_bias));
    if (f->mlp_bias_key)
        json_object_set_new(o, "mlp_bias", json_boolean(c->mlp_bias));
    if (f->window)
        json_object_set_new(o, "sliding_window", c->window ? json_integer(c->window) : json_null());
    if (f->window_keys)
        json_object_set_new(o, "use_sliding_window", json_boolean(c->window != 0));
    if (f->window_keys)
        json_object_set_new(o, "max_window_layers", json_integer(c->window ? 0 : c->layers));
    return o;
}

int config_save(const struct model_config *c, bool score_head, const char *folder, struct error *err) {
    json_t *o = c->json ? json_deep_copy(c->json) : fresh_json(c);
    char *path = file_join(folder, "config.json"), *text = NULL;
    const char *dtype = dtypes[0].name;
    int rc = 0;

    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
        if (dtypes[i].dtype == c->dtype)
            dtype = dtypes[i].name;
    /* One of the two keys, the one that was there: transformers 5 writes dtype, 4 reads only torch_dtype. */
    if (json_object_get(o, "dtype") != NULL)
        rc |= json_object_set_new(o, "dtype", json_string(dtype));
    if (json_object_get(o, "dtype") == NULL || json_object_get(o, "torch_dtype") != NULL)
        rc |= json_object_set_new(o, "torch_dtype", json_string(dtype));
    rc |= json_object_set_new(o, "model_type", json_string(c->family->name));
    rc |= json_object_set_new(o, "vocab_size", json_integer(c->vocabulary));
    rc |= json_object_set_new(o, "tie_word_embeddings", json_boolean(c->tied));
    rc |= json_object_set_new(o, "bos_token_id", id_or_null(c->bos));
    rc |= json_object_set_new(o, "eos_token_id", eos_of(c));
    rc |= json_object_set_new(o, "pad_token_id", id_or_null(c->pad));
    rc |= config_write_head(o, c, score_head);
    if (c->base)
        rc |= json_object_set_new(o, CONFIG_BASE, json_string(c->base));
    if (rc == 0)
        text = json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS);
    if (text == NULL || path == NULL)
        rc = error_nomem(err, "config.json");
    else
        rc = file_write(path, text, strlen(text), err);
    free(text);
    free(path);
    json_decref(o);
    return rc;
}
