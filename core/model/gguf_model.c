/* SPDX-License-Identifier: MIT */
#include "model/gguf_model.h"

#include "base/buffer.h"
#include "model/gguf_quant.h"

#include <rein/backend.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* gguf-py/gguf/tensor_mapping.py; the head's name is the same in all families */
static const struct {
    const char *gguf;
    enum tensor_role role;
} top_names[] =
    {
        {"token_embd.", TENSOR_EMBEDDING},
        {"output_norm.", TENSOR_NORM},
},
  layer_names[] = {
      {"attn_norm.", TENSOR_NORM1},    {"attn_q.", TENSOR_Q},       {"attn_k.", TENSOR_K},
      {"attn_v.", TENSOR_V},           {"attn_output.", TENSOR_O},  {"attn_q_norm.", TENSOR_Q_NORM},
      {"attn_k_norm.", TENSOR_K_NORM}, {"ffn_norm.", TENSOR_NORM2}, {"ffn_gate.", TENSOR_GATE},
      {"ffn_up.", TENSOR_UP},          {"ffn_down.", TENSOR_DOWN},
};
static const char head_name[] = "output.";

/* "blk.12.attn_q.weight": the part after the layer's number, which must be written as we would write it. */
static const char *layer_part(const char *name, long *layer) {
    char *end;

    if (strncmp(name, "blk.", 4) != 0 || name[4] < '0' || name[4] > '9' || (name[4] == '0' && name[5] != '.'))
        return NULL;
    *layer = strtol(name + 4, &end, 10);
    return *end == '.' && end - name <= 10 ? end + 1 : NULL;
}

static bool is_leaf(const char *text) {
    return strcmp(text, "weight") == 0 || strcmp(text, "bias") == 0;
}

/* The family's name for it in `out`, or false when the name is not one of ours. */
static bool translate(const struct model_family *f, const char *name, char *out, size_t size) {
    const bool head = strncmp(name, head_name, sizeof(head_name) - 1) == 0;
    const size_t count = sizeof(layer_names) / sizeof(layer_names[0]), tops = sizeof(top_names) / sizeof(top_names[0]);
    long layer = 0;
    const char *part = layer_part(name, &layer);

    if (part == NULL && head && is_leaf(name + sizeof(head_name) - 1)) {
        snprintf(out, size, "lm_head.%s", name + sizeof(head_name) - 1);
        return true;
    }
    for (size_t i = 0; i < (part ? count : tops); i++) {
        const char *own = part ? layer_names[i].gguf : top_names[i].gguf, *from = part ? part : name;
        const enum tensor_role role = part ? layer_names[i].role : top_names[i].role;
        const size_t n = strlen(own);
        if (strncmp(from, own, n) == 0 && is_leaf(from + n) && f->names->part[role] != NULL) {
            family_tensor(f, role, layer, from + n, out, size);
            return true;
        }
    }
    return false;
}

/* "llama.block_count" for "block_count" */
static const char *arch_key(char *out, size_t size, const char *architecture, const char *key) {
    snprintf(out, size, "%s.%s", architecture, key);
    return out;
}

static int mark_permuted(struct tensor_entry *e, int64_t heads, const char *path, struct error *err) {
    const int64_t rows = e->info.shape[0];

    if (heads < 1 || rows % heads != 0 || rows / heads % 2 != 0)
        return error_input(err, "%s: tensor '%s': %" PRId64 " rows cannot be shared by %" PRId64 " heads", path,
                           e->info.name, rows, heads);
    e->permuted_heads = heads;
    return 0;
}

static int read_heads(const struct gguf *g, const char *architecture, int64_t *heads, int64_t *kv_heads,
                      struct error *err) {
    char key[160];

    if (gguf_integer(g, arch_key(key, sizeof(key), architecture, "attention.head_count"), 1, 1 << 12, heads, err) < 0)
        return -1;
    *kv_heads = *heads;
    return gguf_integer(g, arch_key(key, sizeof(key), architecture, "attention.head_count_kv"), 1, 1 << 12, kv_heads,
                        err) < 0
               ? -1
               : 0;
}

static int read_architecture(struct gguf *g, const char **out, struct error *err) {
    *out = "";
    if (gguf_text(g, "general.architecture", out, err) < 0)
        return -1;
    return strlen(*out) <= 64 ? 0 : error_input(err, "%s: general.architecture is too long", g->path);
}

int gguf_translate(struct gguf *g, struct tensor_table *table, struct error *err) {
    const struct model_family *family;
    const char *architecture;
    int64_t heads = 0, kv_heads = 0;
    char name[TENSOR_NAME_LIMIT + 64];

    if (read_architecture(g, &architecture, err) != 0)
        return -1;
    family = family_find_gguf(architecture);
    if (family != NULL && family->gguf_permuted && read_heads(g, architecture, &heads, &kv_heads, err) != 0)
        return -1;
    for (size_t i = 0; i < table->count; i++) {
        struct tensor_entry *e = &table->entries[i];
        const char *own = e->info.name;
        long layer;
        const char *part = layer_part(own, &layer);
        if (family == NULL || !translate(family, own, name, sizeof(name)))
            continue;
        e->info.name = arena_strdup(&table->names, name);
        if (e->info.name == NULL)
            return error_nomem(err, g->path);
        if (!family->gguf_permuted || part == NULL)
            continue;
        if (strncmp(part, "attn_q.", 7) == 0 && mark_permuted(e, heads, g->path, err) != 0)
            return -1;
        if (strncmp(part, "attn_k.", 7) == 0 && mark_permuted(e, kv_heads, g->path, err) != 0)
            return -1;
    }
    return 0;
}

/* ---- config ----------------------------------------------------------------------------------------------------- */

struct sizes {
    const char *key;
    int64_t low, high, *out;
};

static int read_sizes(struct gguf *g, const char *architecture, struct model_config *c, struct error *err) {
    const struct sizes wanted[] = {
        {"embedding_length", 1, 1 << 18, &c->hidden},          {"block_count", 1, 1 << 12, &c->layers},
        {"feed_forward_length", 1, 1 << 20, &c->intermediate}, {"context_length", 1, 1 << 28, &c->positions},
        {"attention.head_count", 1, 1 << 12, &c->heads},
    };
    char key[160];
    int64_t n = 0;
    int rc;

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        arch_key(key, sizeof(key), architecture, wanted[i].key);
        rc = gguf_integer(g, key, wanted[i].low, wanted[i].high, wanted[i].out, err);
        if (rc != 0)
            return rc < 0 ? -1 : error_input(err, "%s: key '%s' is missing", g->path, key);
    }
    if (read_heads(g, architecture, &c->heads, &c->kv_heads, err) != 0)
        return -1;
    if (gguf_integer(g, arch_key(key, sizeof(key), architecture, "expert_count"), 0, INT32_MAX, &n, err) < 0)
        return -1;
    if (n > 0)
        return error_input(err, "%s: mixtures of experts are not supported", g->path);
    c->head_dim = c->hidden / c->heads;
    rc = gguf_integer(g, arch_key(key, sizeof(key), architecture, "attention.key_length"), 2, 1 << 12, &c->head_dim,
                      err);
    if (rc < 0)
        return -1;
    if (rc > 0 && c->hidden % c->heads != 0)
        return error_input(err, "%s: embedding_length %" PRId64 " is not a multiple of head_count %" PRId64, g->path,
                           c->hidden, c->heads);
    n = c->head_dim;
    if (gguf_integer(g, arch_key(key, sizeof(key), architecture, "attention.value_length"), 1, 1 << 20, &n, err) < 0)
        return -1;
    if (n != c->head_dim)
        return error_input(err, "%s: keys of %" PRId64 " and values of %" PRId64 " are not supported", g->path,
                           c->head_dim, n);
    if (gguf_integer(g, arch_key(key, sizeof(key), architecture, "rope.dimension_count"), 1, 1 << 20, &n, err) < 0)
        return -1;
    if (n != c->head_dim)
        return error_input(err, "%s: rope on %" PRId64 " of a head's %" PRId64 " dimensions is not supported", g->path,
                           n, c->head_dim);
    if (c->head_dim % 2 != 0 || c->heads % c->kv_heads != 0 || c->heads * c->head_dim > 1 << 18)
        return error_input(err, "%s: %" PRId64 " heads of %" PRId64 " with %" PRId64 " key heads are not possible",
                           g->path, c->heads, c->head_dim, c->kv_heads);
    return 0;
}

/* llama.cpp's converter does not name Llama 3's rope scaling; it writes the divisors of the frequencies. They are the
 * published ones (low 1, high 4, 8192 positions) with a factor that is their largest, or we do not know them. */
static int recognise_factors(const struct gguf *g, const struct tensor_table *table, struct model_config *c,
                             struct error *err) {
    const struct tensor_entry *e = table_find(table, "rope_freqs.weight");
    struct model_config plain = *c;
    float *factors, *with, *without, scale;
    bool same = true;

    if (e == NULL)
        return 0;
    if (e->info.elements != (uint64_t)c->head_dim / 2 || strcmp(e->info.type, "F32") != 0)
        return error_input(err, "%s: rope_freqs.weight has another shape or type than F32 [%" PRId64 "]", g->path,
                           c->head_dim / 2);
    factors = mem_array(3 * (size_t)e->info.elements, sizeof(*factors));
    if (factors == NULL)
        return error_nomem(err, g->path);
    with = factors + e->info.elements;
    without = with + e->info.elements;
    memcpy(factors, e->data, (size_t)e->info.elements * sizeof(*factors));
    config_rope(&plain, without, &scale);
    c->rope = ROPE_LLAMA3;
    c->rope_low = 1.0f;
    c->rope_high = 4.0f;
    c->rope_original = 8192;
    c->rope_factor = factors[e->info.elements - 1];
    if (c->rope_factor == 1.0f)
        c->rope = ROPE_DEFAULT;
    if (!(c->rope_factor >= 1.0f && c->rope_factor <= 1e6f))
        same = false;
    if (same)
        config_rope(c, with, &scale);
    for (uint64_t i = 0; same && i < e->info.elements; i++)
        same = fabsf(with[i] * factors[i] - without[i]) <= 1e-5f * without[i];
    free(factors);
    return same ? 0 : error_input(err, "%s: the rope scaling in rope_freqs.weight is not a known one", g->path);
}

static int read_rope(struct gguf *g, const struct tensor_table *table, const char *architecture, struct model_config *c,
                     struct error *err) {
    char key[160];
    const char *type = "none";
    double x = 10000.0, factor = 0.0;

    if (gguf_real(g, arch_key(key, sizeof(key), architecture, "rope.freq_base"), 1.0, 1e12, &x, err) < 0)
        return -1;
    c->rope_theta = (float)x;
    if (gguf_text(g, arch_key(key, sizeof(key), architecture, "rope.scaling.type"), &type, err) < 0)
        return -1;
    if (strcmp(type, "none") != 0 && strcmp(type, "linear") != 0)
        return error_input(err, "%s: rope scaling '%s' is not supported; none and linear are", g->path, type);
    if (strcmp(type, "linear") == 0) {
        const int rc =
            gguf_real(g, arch_key(key, sizeof(key), architecture, "rope.scaling.factor"), 1e-3, 1e6, &factor, err);
        if (rc != 0)
            return rc < 0 ? -1 : error_input(err, "%s: key '%s' is missing", g->path, key);
        c->rope = ROPE_LINEAR;
        c->rope_factor = (float)factor;
        return 0;
    }
    return recognise_factors(g, table, c, err);
}

/* Of the first layer. */
static const struct tensor_entry *find_role(const struct tensor_table *table, const struct model_family *f,
                                            enum tensor_role role, const char *leaf) {
    char name[128];

    family_tensor(f, role, 0, leaf, name, sizeof(name));
    return table_find(table, name);
}

static int read_biases(const struct gguf *g, const struct tensor_table *table, struct model_config *c,
                       struct error *err) {
    const struct model_family *f = c->family;

    c->qkv_bias = find_role(table, f, TENSOR_Q, "bias") != NULL;
    c->out_bias = find_role(table, f, TENSOR_O, "bias") != NULL;
    c->mlp_bias = find_role(table, f, TENSOR_UP, "bias") != NULL;
    c->tied = table_find(table, "lm_head.weight") == NULL;
    /* what the family's config.json could not say again would be lost by saving */
    if (f->attention_bias_key ? c->qkv_bias != c->out_bias : c->qkv_bias != f->qkv_bias || c->out_bias != f->out_bias)
        return error_input(err, "%s: biases that a model of type '%s' does not have", g->path, f->name);
    if (c->mlp_bias && !f->mlp_bias_key)
        return error_input(err, "%s: MLP biases, which a model of type '%s' does not have", g->path, f->name);
    return 0;
}

static int read_tokens(const struct gguf *g, const struct tensor_table *table, struct model_config *c,
                       struct error *err) {
    const struct gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    const struct tensor_entry *embedding = find_role(table, c->family, TENSOR_EMBEDDING, "weight");
    int64_t bos = -1, pad = -1, eos = -1, turn = -1;

    if (tokens == NULL || !tokens->array || tokens->type != GGUF_STRING || tokens->count < 1 || tokens->count > 1 << 24)
        return error_input(err, "%s: key 'tokenizer.ggml.tokens' must be a list of tokens", g->path);
    c->vocabulary = (int64_t)tokens->count;
    if (embedding == NULL || embedding->info.rank != 2 || embedding->info.shape[0] != c->vocabulary)
        return error_input(err, "%s: token_embd.weight %s the %" PRId64 " tokens", g->path,
                           embedding ? "does not have a row for each of" : "is missing for", c->vocabulary);
    if (gguf_integer(g, "tokenizer.ggml.bos_token_id", 0, c->vocabulary - 1, &bos, err) < 0 ||
        gguf_integer(g, "tokenizer.ggml.eos_token_id", 0, c->vocabulary - 1, &eos, err) < 0 ||
        gguf_integer(g, "tokenizer.ggml.eot_token_id", 0, c->vocabulary - 1, &turn, err) < 0 ||
        gguf_integer(g, "tokenizer.ggml.padding_token_id", 0, c->vocabulary - 1, &pad, err) < 0)
        return -1;
    c->bos = (int32_t)bos;
    c->pad = (int32_t)pad;
    if (eos >= 0)
        c->eos[c->neos++] = (int32_t)eos;
    if (turn >= 0 && turn != eos)
        c->eos[c->neos++] = (int32_t)turn;
    return 0;
}

int gguf_config(struct gguf *g, const struct tensor_table *table, struct model_config *out, struct error *err) {
    const char *architecture;
    struct buffer list = {0};
    char key[160];
    double epsilon;
    int rc;

    memset(out, 0, sizeof(*out));
    if (read_architecture(g, &architecture, err) != 0)
        return -1;
    out->family = family_find_gguf(architecture);
    if (out->family == NULL) {
        for (size_t i = 0; family_list(i) != NULL; i++)
            if (family_list(i)->gguf != NULL)
                buffer_printf(&list, "%s%s", list.length ? ", " : "", family_list(i)->gguf);
        error_input(err, "%s: architecture '%s' is not supported; supported are %s", g->path, architecture,
                    list.data ? list.data : "");
        buffer_free(&list);
        return -1;
    }
    out->activation = out->family->activation;
    out->initializer_range = 0.02;
    out->dtype = REIN_F32; /* whatever the blocks were, what we write is float32 */
    if (read_sizes(g, architecture, out, err) != 0 || read_tokens(g, table, out, err) != 0 ||
        read_rope(g, table, architecture, out, err) != 0 || read_biases(g, table, out, err) != 0)
        return -1;
    rc = gguf_real(g, arch_key(key, sizeof(key), architecture, "attention.layer_norm_rms_epsilon"), 0.0, 1.0, &epsilon,
                   err);
    if (rc != 0)
        return rc < 0 ? -1 : error_input(err, "%s: key '%s' is missing", g->path, key);
    out->norm_eps = (float)epsilon;
    return 0;
}
