/* SPDX-License-Identifier: MIT */
#include "model/config.h"

#include <rein/backend.h>
#include <stdio.h>
#include <string.h>

static const struct tensor_names llama_names = {
    .prefix = "model.",
    .layer = "layers.",
    .part = {[TENSOR_EMBEDDING] = "embed_tokens",
             [TENSOR_NORM] = "norm",
             [TENSOR_NORM1] = "input_layernorm",
             [TENSOR_Q] = "self_attn.q_proj",
             [TENSOR_K] = "self_attn.k_proj",
             [TENSOR_V] = "self_attn.v_proj",
             [TENSOR_O] = "self_attn.o_proj",
             [TENSOR_Q_NORM] = "self_attn.q_norm",
             [TENSOR_K_NORM] = "self_attn.k_norm",
             [TENSOR_NORM2] = "post_attention_layernorm",
             [TENSOR_GATE] = "mlp.gate_proj",
             [TENSOR_UP] = "mlp.up_proj",
             [TENSOR_DOWN] = "mlp.down_proj"},
    .ignored = {".rotary_emb.inv_freq"}, /* old files hold rope's frequencies */
};
static const struct tensor_names gpt2_names = {
    .prefix = "transformer.",
    .layer = "h.",
    .part = {[TENSOR_EMBEDDING] = "wte",
             [TENSOR_POSITIONS] = "wpe",
             [TENSOR_NORM] = "ln_f",
             [TENSOR_NORM1] = "ln_1",
             [TENSOR_Q] = "attn.c_attn",
             [TENSOR_K] = "attn.c_attn",
             [TENSOR_V] = "attn.c_attn",
             [TENSOR_O] = "attn.c_proj",
             [TENSOR_NORM2] = "ln_2",
             [TENSOR_UP] = "mlp.c_fc",
             [TENSOR_DOWN] = "mlp.c_proj"},
    .ignored = {".attn.bias", ".attn.masked_bias"}, /* old files hold the causal mask */
};

static const struct config_keys llama_keys = {
    .hidden = "hidden_size",
    .layers = "num_hidden_layers",
    .heads = "num_attention_heads",
    .kv_heads = "num_key_value_heads",
    .head_dim = "head_dim",
    .intermediate = "intermediate_size",
    .positions = "max_position_embeddings",
    .norm_eps = "rms_norm_eps",
    .activation = "hidden_act",
};
static const struct config_keys gpt2_keys = {
    .hidden = "n_embd",
    .layers = "n_layer",
    .heads = "n_head",
    .intermediate = "n_inner",
    .positions = "n_positions",
    .norm_eps = "layer_norm_epsilon",
    .activation = "activation_function",
};

/* One row per config.json model_type: what the numbers there leave unsaid. SmolLM's checkpoints say "llama". */
static const struct model_family families[] = {
    {
        .name = "llama",
        .causal = "LlamaForCausalLM",
        .classification = "LlamaForSequenceClassification",
        .gguf = "llama",
        .names = &llama_names,
        .keys = &llama_keys,
        .norm = REIN_NORM_RMS,
        .norm_eps = 1e-6,
        .activation = REIN_ACT_SILU,
        .gated = true,
        .gguf_permuted = true,
        .attention_bias_key = true,
        .mlp_bias_key = true,
    },
    {
        .name = "mistral",
        .causal = "MistralForCausalLM",
        .classification = "MistralForSequenceClassification",
        .names = &llama_names,
        .keys = &llama_keys,
        .norm = REIN_NORM_RMS,
        .norm_eps = 1e-6,
        .activation = REIN_ACT_SILU,
        .gated = true,
        .window = true,
        .window_size = 4096,
    },
    {
        .name = "qwen2",
        .causal = "Qwen2ForCausalLM",
        .classification = "Qwen2ForSequenceClassification",
        .gguf = "qwen2",
        .names = &llama_names,
        .keys = &llama_keys,
        .norm = REIN_NORM_RMS,
        .norm_eps = 1e-6,
        .activation = REIN_ACT_SILU,
        .gated = true,
        .qkv_bias = true,
        .window = true,
        .window_keys = true,
    },
    {
        .name = "qwen3",
        .causal = "Qwen3ForCausalLM",
        .classification = "Qwen3ForSequenceClassification",
        .gguf = "qwen3",
        .names = &llama_names,
        .keys = &llama_keys,
        .norm = REIN_NORM_RMS,
        .norm_eps = 1e-6,
        .activation = REIN_ACT_SILU,
        .gated = true,
        .qk_norm = true,
        .window = true,
        .window_keys = true,
        .attention_bias_key = true,
        .head_dim = 128,
    },
    {
        .name = "gemma",
        .causal = "GemmaForCausalLM",
        .classification = "GemmaForSequenceClassification",
        .names = &llama_names,
        .keys = &llama_keys,
        .norm = REIN_NORM_RMS,
        .norm_eps = 1e-6,
        .activation = REIN_ACT_GELU_TANH,
        .gated = true,
        .norm_offset = 1.0f,
        .scale_embedding = true,
        .gelu_is_tanh = true,
        .attention_bias_key = true,
        .tied = true,
        .head_dim = 256,
    },
    {
        .name = "gpt2",
        .causal = "GPT2LMHeadModel",
        .classification = "GPT2ForSequenceClassification",
        .names = &gpt2_names,
        .keys = &gpt2_keys,
        .fixed = {{"scale_attn_weights", true},
                  {"scale_attn_by_inverse_layer_idx", false},
                  {"add_cross_attention", false}},
        .norm = REIN_NORM_LAYER,
        .norm_eps = 1e-5,
        .activation = REIN_ACT_GELU_TANH,
        .learned_positions = true,
        .qkv_bias = true,
        .out_bias = true,
        .mlp_bias = true,
        .transposed = true,
        .fused_qkv = true,
        .tied = true,
        .widening = 4,
    },
};

const struct model_family *family_list(size_t index) {
    return index < sizeof(families) / sizeof(families[0]) ? &families[index] : NULL;
}

const struct model_family *family_find(const char *model_type) {
    for (size_t i = 0; family_list(i) != NULL; i++)
        if (strcmp(families[i].name, model_type) == 0)
            return &families[i];
    return NULL;
}

const struct model_family *family_find_gguf(const char *architecture) {
    for (size_t i = 0; family_list(i) != NULL; i++)
        if (families[i].gguf != NULL && strcmp(families[i].gguf, architecture) == 0)
            return &families[i];
    return NULL;
}

void family_tensor(const struct model_family *f, enum tensor_role role, long layer, const char *leaf, char *out,
                   size_t size) {
    const struct tensor_names *n = f->names;

    if (role < TENSOR_NORM1)
        snprintf(out, size, "%s%s.%s", n->prefix, n->part[role], leaf);
    else
        snprintf(out, size, "%s%s%ld.%s.%s", n->prefix, n->layer, layer, n->part[role], leaf);
}
