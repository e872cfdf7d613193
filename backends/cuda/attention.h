/* SPDX-License-Identifier: MIT
 * What attention forward and backward share: blocks of 8 x 16 threads over tiles of queries and keys in shared memory.
 * A row of a tile of queries is a pair (query, head) of the heads that share a kv head.
 */
#ifndef CUDA_ATTENTION_H
#define CUDA_ATTENTION_H

#include "device.h"
#include "reduce.h"

/* Thread t works on rows t / 16 + 8 i and columns (or keys) t % 16 + 16 j of each tile. */
enum { TY = 8, TX = 16, THREADS = TX * TY, MOST_HEAD_DIM = 512 };

/* Queries q0 .. q1-1 of one segment with heads h0 .. h0+heads-1, over keys first .. end-1 (numbered prefix first). */
struct tile {
    struct rein_segment segment;
    int32_t q0, q1, h0, heads, first, end;
    int32_t slot; /* of the partial result, or -1: these are all the keys */
};

/* How many rows or columns of n a thread has when `each` share them. */
static constexpr __host__ __device__ int share_of(int n, int each) {
    return (n + each - 1) / each;
}

/* The row of k and v where key p of a segment lies. */
static __host__ __device__ __forceinline__ int64_t key_row(const struct rein_segment &s, int64_t p) {
    return p < s.prefix_rows ? s.prefix_begin + p : s.kv_begin + p - s.prefix_rows;
}

/* Query i sees keys first .. end-1. */
static __host__ __device__ __forceinline__ int64_t key_end(const struct rein_segment &s, int64_t i) {
    return (int64_t)s.prefix_rows + s.kv_rows - s.q_rows + i + 1;
}
static __host__ __device__ __forceinline__ int64_t key_first(int64_t end, int64_t window) {
    return window > 0 && end > window ? end - window : 0;
}

/* to[ROWS][D + 1] = the d elements at row(r), zeros where there is no row and beyond d. */
template <int ROWS, int D, class F>
static __device__ __forceinline__ void load_tile(SHARED_PTR(float) to, int64_t d, F row) {
    for (int t = (int)threadIdx.x; t < ROWS * D; t += THREADS) {
        const int r = t / D, c = t % D;
        const float *from = c < d ? row(r) : NULL;
        to[r * (D + 1) + c] = from ? from[c] : 0.0f;
    }
}

/* Over the 16 threads that share rows. */
static __device__ __forceinline__ float row_sum(float x) {
    for (int lane = TX / 2; lane > 0; lane /= 2)
        x += __shfl_xor_sync(FULL_WARP, x, lane);
    return x;
}
static __device__ __forceinline__ float row_max(float x) {
    for (int lane = TX / 2; lane > 0; lane /= 2)
        x = fmaxf(x, __shfl_xor_sync(FULL_WARP, x, lane));
    return x;
}

static inline rein_status attention_shapes(int64_t heads, int64_t kv_heads, int64_t head_dim,
                                           const struct rein_segment *s, uint32_t n) {
    if (kv_heads <= 0 || heads % kv_heads != 0)
        return REIN_ERR_ARG;
    if (head_dim > MOST_HEAD_DIM)
        return REIN_ERR_UNSUPPORTED;
    for (uint32_t i = 0; i < n; i++)
        if (s[i].kv_rows < s[i].q_rows)
            return REIN_ERR_ARG;
    return REIN_OK;
}

#endif
