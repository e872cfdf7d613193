/* SPDX-License-Identifier: MIT */
#include "isa/level.h"

#if defined(ISA_AMX) /* the kernels of v4 but for gemm */
#define LEVEL_NAME "AMX and AVX-512"
#elif ISA_LEVEL == 4
#define LEVEL_NAME "AVX-512"
#elif ISA_LEVEL == 3
#define LEVEL_NAME "AVX2"
#else
#define LEVEL_NAME "baseline"
#endif

#if defined(ISA_AMX)
const struct cpu_kernels cpu_kernels_amx = {
    .tiles = true,
    .gemm = gemm_amx,
#else
const struct cpu_kernels LEVEL(cpu_kernels) = {
    .gemm = LEVEL(gemm),
#endif
    .name = LEVEL_NAME,
    .norm = LEVEL(norm),
    .norm_dx = LEVEL(norm_dx),
    .norm_dweight = LEVEL(norm_dweight),
    .rope = LEVEL(rope),
    .activation = LEVEL(activation),
    .activation_dx = LEVEL(activation_dx),
    .attention = LEVEL(attention),
    .attention_dx = LEVEL(attention_dx),
    .head_part = LEVEL(head_part),
    .head_dz = LEVEL(head_dz),
    .scale_row = LEVEL(scale_row),
    .most_row = LEVEL(most_row),
    .exp_row = LEVEL(exp_row),
    .embedding = LEVEL(embedding),
    .embedding_dw = LEVEL(embedding_dw),
    .column_sums = LEVEL(column_sums),
    .adamw = LEVEL(adamw),
    .sum_squares = LEVEL(sum_squares),
    .axpy = LEVEL(axpy),
    .cast = LEVEL(cast),
    .perturb = LEVEL(perturb),
};
