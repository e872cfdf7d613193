/* SPDX-License-Identifier: MIT
 * What plugin.c, which is C, needs of the rest: every function of the two tables. Shapes and formulas: rein/backend.h.
 */
#ifndef CUDA_PLUGIN_H
#define CUDA_PLUGIN_H

#include <rein/backend.h>

/* How products with bf16 and f16 weights are computed. */
enum { NARROW_EXPAND, NARROW_SPLIT, NARROW_ROUND };

struct config {
    int64_t narrow, workspace; /* workspace: MiB */
    uint8_t tf32;
};

#ifdef __cplusplus
extern "C" {
#endif

rein_status cuda_probe(struct rein_probe *out);
rein_status cuda_open(const struct rein_host *host, const void *config, const struct rein_open *how, void **dev);
void cuda_close(void *dev);
rein_status cuda_alloc(void *dev, size_t bytes, void **ptr);
void cuda_release(void *dev, void *ptr);
rein_status cuda_copy(void *dev, void *dst, const void *src, size_t bytes, uint32_t direction);
rein_status cuda_fill(void *dev, void *ptr, uint8_t byte, size_t bytes);
rein_status cuda_sync(void *dev);
const char *cuda_describe(void *dev);

rein_status cuda_linear(void *dev, const struct rein_linear *a);
rein_status cuda_linear_dx(void *dev, const struct rein_linear_dx *a);
rein_status cuda_linear_dw(void *dev, const struct rein_linear_dw *a);
rein_status cuda_embedding(void *dev, const struct rein_embedding *a);
rein_status cuda_embedding_dw(void *dev, const struct rein_embedding_dw *a);
rein_status cuda_norm(void *dev, const struct rein_norm *a);
rein_status cuda_norm_dx(void *dev, const struct rein_norm_dx *a);
rein_status cuda_rope(void *dev, const struct rein_rope *a);
rein_status cuda_activation(void *dev, const struct rein_activation *a);
rein_status cuda_activation_dx(void *dev, const struct rein_activation_dx *a);
rein_status cuda_attention(void *dev, const struct rein_attention *a);
rein_status cuda_attention_dx(void *dev, const struct rein_attention_dx *a);
rein_status cuda_head(void *dev, const struct rein_head *a);
rein_status cuda_head_dx(void *dev, const struct rein_head_dx *a);
rein_status cuda_sample(void *dev, const struct rein_sample *a);
rein_status cuda_adamw(void *dev, const struct rein_adamw *a);
rein_status cuda_sum_squares(void *dev, const struct rein_sum_squares *a);
rein_status cuda_axpy(void *dev, const struct rein_axpy *a);
rein_status cuda_gather(void *dev, const struct rein_gather *a);
rein_status cuda_cast(void *dev, const struct rein_cast *a);
rein_status cuda_perturb(void *dev, const struct rein_perturb *a);

#ifdef __cplusplus
}
#endif

#endif
