/* SPDX-License-Identifier: MIT */
#include "ref/ref.h"
#include "ref/kernels.h"

#include <stdio.h>

static const struct rein_kernels kernels = {
    .size = sizeof(kernels),
    .linear = ref_linear,
    .linear_dx = ref_linear_dx,
    .linear_dw = ref_linear_dw,
    .embedding = ref_embedding,
    .embedding_dw = ref_embedding_dw,
    .norm = ref_norm,
    .norm_dx = ref_norm_dx,
    .rope = ref_rope,
    .activation = ref_activation,
    .activation_dx = ref_activation_dx,
    .attention = ref_attention,
    .attention_dx = ref_attention_dx,
    .head = ref_head,
    .head_dx = ref_head_dx,
    .sample = ref_sample,
    .adamw = ref_adamw,
    .sum_squares = ref_sum_squares,
    .axpy = ref_axpy,
    .gather = ref_gather,
    .cast = ref_cast,
    .perturb = ref_perturb,
};

static rein_status probe(struct rein_probe *out) {
    out->score = 1;
    out->devices = 1;
    snprintf(out->reason, sizeof(out->reason), "plain C on one core, for checking");
    return REIN_OK;
}

/* An instance is nothing but the host it was opened by. */
static rein_status ref_open(const struct rein_host *host, const void *config, const struct rein_open *how,
                            void **dev) {
    (void)config;
    if (how->device != 0)
        return host->fail(host->ctx, REIN_ERR_ARG, "ref: there is only device 0");
    *dev = (void *)(uintptr_t)host;
    return REIN_OK;
}

static void ref_close(void *dev) {
    (void)dev;
}

static rein_status ref_alloc(void *dev, size_t bytes, void **ptr) {
    const struct rein_host *host = dev;

    *ptr = host->alloc(host->ctx, bytes ? bytes : 1);
    return *ptr ? REIN_OK : host->fail(host->ctx, REIN_ERR_NOMEM, "ref: out of memory");
}

static void ref_free(void *dev, void *ptr) {
    const struct rein_host *host = dev;

    if (ptr)
        host->free(host->ctx, ptr);
}

static rein_status ref_copy(void *dev, void *dst, const void *src, size_t bytes, uint32_t direction) {
    (void)dev;
    (void)direction;
    if (bytes)
        memmove(dst, src, bytes);
    return REIN_OK;
}

static rein_status ref_fill(void *dev, void *ptr, uint8_t byte, size_t bytes) {
    (void)dev;
    if (bytes)
        memset(ptr, byte, bytes);
    return REIN_OK;
}

static rein_status ref_sync(void *dev) {
    (void)dev;
    return REIN_OK;
}

static const char *ref_describe(void *dev) {
    (void)dev;
    return "plain C, 1 thread";
}

static const struct rein_backend_ops ops = {
    .size = sizeof(ops),
    .flags = REIN_MEMORY_HOST,
    .probe = probe,
    .open = ref_open,
    .close = ref_close,
    .alloc = ref_alloc,
    .free = ref_free,
    .copy = ref_copy,
    .fill = ref_fill,
    .sync = ref_sync,
    .kernels = &kernels,
    .describe = ref_describe,
};

const struct rein_plugin ref_plugin = {
    .size = sizeof(ref_plugin),
    .abi = REIN_ABI_VERSION,
    .kind = REIN_KIND_BACKEND,
    .name = "ref",
    .version = "0.1.0",
    .license = "MIT",
    .summary = "The reference kernels: plain C in double precision, the oracle for every other backend.",
    .param_stride = sizeof(struct rein_param),
    .ops = &ops,
};
