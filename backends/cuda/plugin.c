/* SPDX-License-Identifier: MIT
 *
 * The backend for NVIDIA GPUs: cuBLAS for the products, own kernels for everything else. The module links the CUDA
 * runtime and never the driver, so that it loads on any machine; cuBLAS is loaded when the backend is opened.
 */
#include "plugin.h"

#include <rein/plugin.h>

static const char *const narrow_choices[] = {"expand", "split", "round", NULL};

static const struct rein_param params[] = {
    {.name = "tf32",
     .type = REIN_PARAM_BOOL,
     .offset = offsetof(struct config, tf32),
     .dflt = "false",
     .min = 1,
     .max = 0,
     .doc = "Rounds the factors of float32 products to 10 bits of mantissa (TF32), for the speed of tensor cores."},
    {.name = "narrow",
     .type = REIN_PARAM_CHOICE,
     .offset = offsetof(struct config, narrow),
     .dflt = "expand",
     .choices = narrow_choices,
     .min = 1,
     .max = 0,
     .doc = "How products with bf16 and f16 weights are computed: the weights expanded to float32 (exact); the "
            "activations split into three bf16 parts, whose products tensor cores add up in float32 (as exact but for "
            "rounding, bf16 weights only); or the activations rounded to the weights' type (fastest, 8 or 11 bits)."},
    {.name = "workspace",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, workspace),
     .dflt = "256",
     .min = 1,
     .max = 65536,
     .unit = "MiB",
     .flags = REIN_PARAM_ADVANCED,
     .doc = "Device memory that one chunk of logits, or one expanded piece of a weight, may take."},
    {.name = NULL},
};

static const struct rein_kernels kernels = {
    .size = sizeof(kernels),
    .linear = cuda_linear,
    .linear_dx = cuda_linear_dx,
    .linear_dw = cuda_linear_dw,
    .embedding = cuda_embedding,
    .embedding_dw = cuda_embedding_dw,
    .norm = cuda_norm,
    .norm_dx = cuda_norm_dx,
    .rope = cuda_rope,
    .activation = cuda_activation,
    .activation_dx = cuda_activation_dx,
    .attention = cuda_attention,
    .attention_dx = cuda_attention_dx,
    .head = cuda_head,
    .head_dx = cuda_head_dx,
    .sample = cuda_sample,
    .adamw = cuda_adamw,
    .sum_squares = cuda_sum_squares,
    .axpy = cuda_axpy,
    .gather = cuda_gather,
    .cast = cuda_cast,
    .perturb = cuda_perturb,
};

static const struct rein_backend_ops ops = {
    .size = sizeof(ops),
    .probe = cuda_probe,
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .free = cuda_release,
    .copy = cuda_copy,
    .fill = cuda_fill,
    .sync = cuda_sync,
    .kernels = &kernels,
    .describe = cuda_describe,
};

static const struct rein_plugin plugin = {
    .size = sizeof(plugin),
    .abi = REIN_ABI_VERSION,
    .kind = REIN_KIND_BACKEND,
    .name = "cuda",
    .version = "0.1.0",
    .license = "MIT",
#ifdef REIN_CUDA_EMU
    .summary = "The kernels for NVIDIA GPUs, emulated on the CPU for tests.",
#else
    .summary = "NVIDIA GPUs, with cuBLAS. Checked under emulation only: no GPU has run it yet (conf/doc/cuda.md).",
#endif
    .param_stride = sizeof(struct rein_param),
    .params = params,
    .config_size = sizeof(struct config),
    .ops = &ops,
};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
