/* core/model/config.h - config.json: what a decoder is made of.
 * SPDX-License-Identifier: MIT
 *
 * Reads the styles of transformers 4 and 5, and GGUF metadata. Every size is checked against
 * limits and against the others, so that later products cannot overflow.
 */
#ifndef REIN_CORE_MODEL_CONFIG_H
#define REIN_CORE_MODEL_CONFIG_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONFIG_MAX_EOS = 8, CONFIG_MAX_HEADS = 64 };
enum rope_kind { ROPE_DEFAULT, ROPE_LINEAR, ROPE_LLAMA3 };

/* The weights of a decoder by what they do. */
enum tensor_role {
    TENSOR_EMBEDDING,
    TENSOR_POSITIONS,
    TENSOR_NORM,  /* the final one */
    TENSOR_NORM1, /* from here on: one in each layer */
    TENSOR_Q,
    TENSOR_K,
    TENSOR_V,
    TENSOR_O,
    TENSOR_Q_NORM,
    TENSOR_K_NORM,
    TENSOR_NORM2,
    TENSOR_GATE,
    TENSOR_UP,
    TENSOR_DOWN,
    TENSOR_ROLES
};

/* Names in Hugging Face's files: prefix, for a layer `layer` with its number, the role's part, ".weight" or ".bias". */
struct tensor_names {
    const char *prefix;           /* "model."; files of the bare trunk leave it out */
    const char *layer;            /* "layers." */
    const char *part[TENSOR_ROLES];
    const char *ignored[3];       /* ends of names of tensors that are no weights */
};

/* What config.json calls the sizes. */
struct config_keys {
    const char *hidden, *layers, *heads, *intermediate, *positions, *norm_eps, *activation;
    const char *kv_heads, *head_dim; /* NULL: as many as heads; hidden / heads */
};

/* A key of config.json that changes the mathematics, and the one value that is supported. */
struct config_fixed {
    const char *key;
    bool value; /* also when the key is missing */
};

/* What a family (a row of core/model/family.c) fixes beyond the numbers in config.json. */
struct model_family {
    const char *name;             /* "llama": config.json's model_type */
    const char *causal;           /* "LlamaForCausalLM" */
    const char *classification;   /* "LlamaForSequenceClassification" */
    const char *gguf;             /* general.architecture, or NULL */
    const struct tensor_names *names;
    const struct config_keys *keys;
    struct config_fixed fixed[4]; /* up to a NULL key */
    uint32_t norm;                /* REIN_NORM_* */
    uint32_t activation;          /* REIN_ACT_*, when config.json does not say */
    double norm_eps;              /* likewise */
    bool gated;                   /* MLP has gate and up */
    float norm_offset;            /* 1 for Gemma */
    bool scale_embedding;         /* times sqrt(hidden), Gemma */
    bool gelu_is_tanh;            /* "gelu" means the tanh form, and hidden_activation may say what hidden_act does */
    bool qk_norm;                 /* Qwen3 */
    bool learned_positions;       /* in place of rope */
    bool qkv_bias, out_bias, mlp_bias; /* defaults */
    bool transposed;              /* the layers' matrices are stored [in][out] */
    bool fused_qkv;               /* q, k and v are one tensor, one after the other along the outputs */
    bool window;                  /* sliding_window is honoured */
    bool gguf_permuted;           /* llama.cpp's converter permutes q and k rows: undo it */
    bool attention_bias_key;      /* attention_bias (q, k, v and o) in config.json is honoured */
    bool mlp_bias_key;            /* mlp_bias likewise */
    bool window_keys;             /* use_sliding_window, max_window_layers and layer_types are honoured (Qwen) */
    bool tied;                    /* tie_word_embeddings when config.json does not say */
    int64_t head_dim;             /* when config.json does not say; 0: hidden / heads */
    int64_t widening;             /* intermediate / hidden when config.json does not say; 0: it must */
    int64_t window_size;          /* sliding_window when config.json does not say; 0: none */
};

/* Where the scores of each head lie, so that heads trained apart can be compared: kept in config.json as
 * rein_score_mean and rein_score_deviation, which transformers passes over. */
struct model_standard {
    bool known;
    double mean[CONFIG_MAX_HEADS], deviation[CONFIG_MAX_HEADS]; /* deviations are above 0 */
};

#define CONFIG_BASE "rein_base" /* the key for `base` below */
struct model_config {
    const struct model_family *family;
    int64_t vocabulary, hidden, layers, heads, kv_heads, head_dim, intermediate, positions;
    float norm_eps, rope_theta;
    enum rope_kind rope;
    float rope_factor, rope_low, rope_high; /* scaling */
    int64_t rope_original;
    int64_t window;                 /* 0: none */
    uint32_t activation;            /* REIN_ACT_* */
    bool tied, qkv_bias, out_bias, mlp_bias;
    double initializer_range;
    int32_t bos, pad;               /* -1: none */
    int32_t eos[CONFIG_MAX_EOS];
    uint32_t neos;                  /* generation_config.json's list wins over config.json's */
    int64_t labels;                 /* score heads (…ForSequenceClassification; several only with our own key
                                       rein_heads, since labels mean something else), 0: language model */
    struct model_standard standard;
    uint32_t dtype;                 /* REIN_F32/F16/BF16: torch_dtype / dtype; what we write back */
    const char *base;               /* config_save beside an adapter: the way to its base from there; else NULL. Borrowed */
    json_t *json;                   /* the object as read, so that unknown keys survive saving; NULL for GGUF */
};

/* `folder` holds config.json (and maybe generation_config.json). */
int config_load(const char *folder, struct model_config *out, struct error *err);
int config_parse(const json_t *root, const char *name, struct model_config *out, struct error *err);
/* Writes config.json that transformers reads, with the architecture for a language model or a score head. */
int config_save(const struct model_config *c, bool score_head, const char *folder, struct error *err);
void config_free(struct model_config *c);
int config_copy(const struct model_config *from, struct model_config *to, struct error *err);

/* Parameters of the decoder, heads excluded but lm_head included when not tied. */
uint64_t config_parameters(const struct model_config *c);
/* Fills head_dim/2 radians per position; *scale multiplies cos and sin. */
void config_rope(const struct model_config *c, float *frequencies, float *scale);

const struct model_family *family_find(const char *model_type);
const struct model_family *family_find_gguf(const char *architecture);
/* NULL past the end. */
const struct model_family *family_list(size_t index);
/* A tensor's name, leaf "weight" or "bias": "model.layers.3.self_attn.q_proj.weight". Roles outside the layers take no
 * notice of `layer`. */
void family_tensor(const struct model_family *f, enum tensor_role role, long layer, const char *leaf, char *out,
                   size_t size);

#endif
