/* core/ref/kernels.h - the reference kernels among themselves. Shapes and formulas: rein/backend.h.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_REF_KERNELS_H
#define REIN_CORE_REF_KERNELS_H

#include <rein/backend.h>
#include <rein/half.h>

#include <stdbool.h>

static inline bool ref_dtype_known(uint32_t dtype) {
    return dtype == REIN_F32 || dtype == REIN_F16 || dtype == REIN_BF16;
}

/* Element i of an array of `dtype`. */
static inline float ref_load(const void *data, uint32_t dtype, int64_t i) {
    if (dtype == REIN_F32)
        return ((const float *)data)[i];
    if (dtype == REIN_F16)
        return rein_from_f16(((const uint16_t *)data)[i]);
    return rein_from_bf16(((const uint16_t *)data)[i]);
}

static inline void ref_store(void *data, uint32_t dtype, int64_t i, float x) {
    if (dtype == REIN_F32)
        ((float *)data)[i] = x;
    else if (dtype == REIN_F16)
        ((uint16_t *)data)[i] = rein_to_f16(x);
    else
        ((uint16_t *)data)[i] = rein_to_bf16(x);
}

/* An array of doubles; also for a count of 0. NULL when there is no memory. */
double *ref_doubles(int64_t count);
/* Row r of W in double. */
void ref_weight_row(const struct rein_weight *w, int64_t r, double *out);
/* z[rows] of one row: inv_temperature * (W h + bias). */
void ref_logits(const struct rein_weight *w, const float *bias, const float *h, double inv_temperature, double *z);
/* log sum exp z */
double ref_lse(const double *z, int64_t n);

rein_status ref_linear(void *dev, const struct rein_linear *a);
rein_status ref_linear_dx(void *dev, const struct rein_linear_dx *a);
rein_status ref_linear_dw(void *dev, const struct rein_linear_dw *a);
rein_status ref_embedding(void *dev, const struct rein_embedding *a);
rein_status ref_embedding_dw(void *dev, const struct rein_embedding_dw *a);
rein_status ref_norm(void *dev, const struct rein_norm *a);
rein_status ref_norm_dx(void *dev, const struct rein_norm_dx *a);
rein_status ref_rope(void *dev, const struct rein_rope *a);
rein_status ref_activation(void *dev, const struct rein_activation *a);
rein_status ref_activation_dx(void *dev, const struct rein_activation_dx *a);
rein_status ref_attention(void *dev, const struct rein_attention *a);
rein_status ref_attention_dx(void *dev, const struct rein_attention_dx *a);
rein_status ref_head(void *dev, const struct rein_head *a);
rein_status ref_head_dx(void *dev, const struct rein_head_dx *a);
rein_status ref_sample(void *dev, const struct rein_sample *a);
rein_status ref_adamw(void *dev, const struct rein_adamw *a);
rein_status ref_sum_squares(void *dev, const struct rein_sum_squares *a);
rein_status ref_axpy(void *dev, const struct rein_axpy *a);
rein_status ref_gather(void *dev, const struct rein_gather *a);
rein_status ref_cast(void *dev, const struct rein_cast *a);
rein_status ref_perturb(void *dev, const struct rein_perturb *a);

#endif
