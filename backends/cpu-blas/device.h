/* backends/cpu-blas/device.h - an instance: threads, scratch memory, the chosen kernels.
 * SPDX-License-Identifier: MIT
 */
#ifndef CPU_DEVICE_H
#define CPU_DEVICE_H

#include "kernels.h"

#include <rein/host.h>
#include <stddef.h>

enum { WORK_A, WORK_B, WORK_C, WORK_COUNT };

/* Cosines and sines of the last positions seen: every layer asks for the same ones. */
struct rope_table {
    int64_t n, head_dim;
    float scale;
    int32_t *positions;
    float *frequencies, *values;
    size_t bytes;
    void *memory;
};

struct device {
    const struct rein_host *host;
    const struct cpu_kernels *k;
    int threads;
    bool blas;              /* large products go to the BLAS library */
    int blas_threads;       /* what the library was set to before open */
    char *scratch;          /* threads x scratch_bytes */
    size_t scratch_bytes;
    struct {
        void *memory;
        size_t bytes;
    } work[WORK_COUNT];
    struct rope_table rope;
    char text[160];
};

/* Memory for the current call, kept for later ones; 64-byte aligned. NULL, and the failure noted, without. */
void *device_work(struct device *d, int slot, int64_t count, size_t size);
static inline void *device_scratch(const struct device *d, int thread) {
    return d->scratch + (size_t)thread * d->scratch_bytes;
}
rein_status device_nomem(struct device *d);

/* Calls run(ctx, i, thread) for i in 0 .. count, on all threads, each i once; the order is open. */
void parallel_for(const struct device *d, int64_t count, void (*run)(void *ctx, int64_t i, int thread), void *ctx);
/* The same over pieces of 0 .. count of about `grain`, which only depend on these numbers. */
void parallel_ranges(const struct device *d, int64_t count, int64_t grain,
                     void (*run)(void *ctx, int64_t begin, int64_t end), void *ctx);
int parallel_default_threads(void);

/* c (+)= a b on all threads, or (gemm_part) on the calling one. */
void gemm_run(const struct device *d, const struct gemm *g);
/* A lies in blocks of k_block columns, a_step elements apart; b is not transposed, without bias. */
void gemm_run_blocks(const struct device *d, const struct gemm *g, int64_t k_block, int64_t a_step);
void gemm_part(const struct device *d, const struct gemm *g, int thread);

static inline bool dtype_known(uint32_t dtype) {
    return dtype == REIN_F32 || dtype == REIN_F16 || dtype == REIN_BF16;
}
static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

rein_status cpu_linear(void *dev, const struct rein_linear *a);
rein_status cpu_linear_dx(void *dev, const struct rein_linear_dx *a);
rein_status cpu_linear_dw(void *dev, const struct rein_linear_dw *a);
rein_status cpu_embedding(void *dev, const struct rein_embedding *a);
rein_status cpu_embedding_dw(void *dev, const struct rein_embedding_dw *a);
rein_status cpu_norm(void *dev, const struct rein_norm *a);
rein_status cpu_norm_dx(void *dev, const struct rein_norm_dx *a);
rein_status cpu_rope(void *dev, const struct rein_rope *a);
rein_status cpu_activation(void *dev, const struct rein_activation *a);
rein_status cpu_activation_dx(void *dev, const struct rein_activation_dx *a);
rein_status cpu_attention(void *dev, const struct rein_attention *a);
rein_status cpu_attention_dx(void *dev, const struct rein_attention_dx *a);
rein_status cpu_head(void *dev, const struct rein_head *a);
rein_status cpu_head_dx(void *dev, const struct rein_head_dx *a);
rein_status cpu_sample(void *dev, const struct rein_sample *a);
rein_status cpu_adamw(void *dev, const struct rein_adamw *a);
rein_status cpu_sum_squares(void *dev, const struct rein_sum_squares *a);
rein_status cpu_axpy(void *dev, const struct rein_axpy *a);
rein_status cpu_gather(void *dev, const struct rein_gather *a);
rein_status cpu_cast(void *dev, const struct rein_cast *a);
rein_status cpu_perturb(void *dev, const struct rein_perturb *a);

#endif
