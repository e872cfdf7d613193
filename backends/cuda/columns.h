/* SPDX-License-Identifier: MIT
 * Sums over the rows of a matrix for each column, in an order fixed by the number of rows: first of each chunk of rows,
 * a warp to 32 columns, then of the chunks.
 */
#ifndef CUDA_COLUMNS_H
#define CUDA_COLUMNS_H

#include "reduce.h"

enum { COLUMN_BLOCK = 256, COLUMN_CHUNKS = 128, COLUMN_LEAST = 64 };

/* How many rows a chunk has. */
static inline int64_t column_chunk(int64_t n) {
    const int64_t even = (n + COLUMN_CHUNKS - 1) / COLUMN_CHUNKS;
    return even > COLUMN_LEAST ? even : (int64_t)COLUMN_LEAST;
}

/* out[c] += the sums of the chunks */
static __global__ void add_chunks(const float *chunks, int nchunks, int64_t cols, float *out) {
    for (int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; c < cols; c += (int64_t)gridDim.x * blockDim.x) {
        float sum = 0;
        for (int i = 0; i < nchunks; i++)
            sum += chunks[i * cols + c];
        out[c] += sum;
    }
}

/* The sum of the warps' values of a lane, in warp 0; part has room for a value a thread. */
static __device__ inline float across_warps(float x, SHARED_PTR(float) part) {
    float sum = 0;

    __syncthreads();
    part[threadIdx.x] = x;
    __syncthreads();
    if (threadIdx.x < WARP)
        for (unsigned w = 0; w < blockDim.x / WARP; w++)
            sum += part[w * WARP + threadIdx.x];
    return sum;
}

#endif
