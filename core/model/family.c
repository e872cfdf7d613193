/* SPDX-License-Identifier: MIT */
#include "model/config.h"

#include <rein/backend.h>
#include <string.h>

/* One row per config.json model_type: what the numbers there leave unsaid. SmolLM's checkpoints say "llama". */
static const struct model_family families[] = {
    {
        .name = "llama",
        .causal = "LlamaForCausalLM",
        .classification = "LlamaForSequenceClassification",
        .gguf = "llama",
        .norm = REIN_NORM_RMS,
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
        .norm = REIN_NORM_RMS,
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
        .norm = REIN_NORM_RMS,
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
        .norm = REIN_NORM_RMS,
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
        .norm = REIN_NORM_RMS,
        .activation = REIN_ACT_GELU_TANH,
        .gated = true,
        .norm_offset = 1.0f,
        .scale_embedding = true,
        .attention_bias_key = true,
        .tied = true,
        .head_dim = 256,
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
