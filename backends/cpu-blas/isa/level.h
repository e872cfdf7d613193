/* backends/cpu-blas/isa/level.h - the kernels of one level among themselves. Meaning: kernels.h
 * SPDX-License-Identifier: MIT
 */
#ifndef CPU_ISA_LEVEL_H
#define CPU_ISA_LEVEL_H

#include "isa/vec.h"

void LEVEL(gemm)(const struct gemm *g, void *scratch);
void gemm_amx(const struct gemm *g, void *scratch); /* beside the other kernels of v4 */
/* Few rows and b_t, or false */
bool LEVEL(few)(const struct gemm *g, void *scratch);
bool LEVEL(dot)(const struct gemm *g, void *scratch);
void LEVEL(norm)(const struct rein_norm *a, int64_t begin, int64_t end);
void LEVEL(norm_dx)(const struct rein_norm_dx *a, int64_t begin, int64_t end);
void LEVEL(norm_dweight)(const struct rein_norm_dx *a, int64_t begin, int64_t end);
void LEVEL(rope)(const struct rein_rope *a, const float *table, int64_t begin, int64_t end);
void LEVEL(activation)(const struct rein_activation *a, int64_t begin, int64_t end);
void LEVEL(activation_dx)(const struct rein_activation_dx *a, int64_t begin, int64_t end);
void LEVEL(attention)(const struct rein_attention *a, const struct attention_part *p, void *scratch);
void LEVEL(attention_dx)(const struct rein_attention_dx *a, const struct attention_part *p, void *scratch);
void LEVEL(head_part)(const float *z, int64_t n, int64_t first, bool weighted, bool best, struct head_part *out);
void LEVEL(head_dz)(const struct head_row *r);
void LEVEL(scale_row)(const float *x, const float *bias, float scale, int64_t n, float *y);
float LEVEL(most_row)(const float *z, int64_t n);
double LEVEL(exp_row)(const float *z, float most, int64_t n, float *out);
void LEVEL(embedding)(const struct rein_embedding *a, int64_t begin, int64_t end);
void LEVEL(embedding_dw)(const struct rein_embedding_dw *a, int64_t column, int64_t columns);
void LEVEL(column_sums)(const float *x, int64_t rows, int64_t ld, int64_t column, int64_t columns, float *sums);
void LEVEL(adamw)(const struct rein_adamw *a, int64_t begin, int64_t end);
double LEVEL(sum_squares)(const float *x, int64_t n);
void LEVEL(axpy)(const struct rein_axpy *a, int64_t begin, int64_t end);
void LEVEL(cast)(const struct rein_cast *a, int64_t begin, int64_t end);
void LEVEL(perturb)(const struct rein_perturb *a, int64_t begin, int64_t end);

#endif
