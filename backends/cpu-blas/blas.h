/* backends/cpu-blas/blas.h - the CBLAS library: what it is, whether it can be trusted, and one product.
 * SPDX-License-Identifier: MIT
 */
#ifndef CPU_BLAS_H
#define CPU_BLAS_H

#include "kernels.h"

#include <stddef.h>

/* "OpenBLAS 0.3.21, SkylakeX kernels", or that another library is in use. */
void blas_describe(char *text, size_t size);
/* Has the library no kernels newer than SSE3 for this processor, because it does not know it? */
bool blas_is_old(void);
/* One thread a call, since we cut the work ourselves. Returns the former number, for blas_restore. */
int blas_single(void);
void blas_restore(int threads);
/* Products of odd shapes against plain loops. NULL, or what went wrong. */
const char *blas_self_test(void);
/* g with float32 operands, on the calling thread. */
void blas_gemm(const struct gemm *g);

#endif
