/* SPDX-License-Identifier: MIT
 * What kernels share: sums and maxima over a warp and a block in a fixed order, elements of every dtype, and packs of
 * elements that are loaded at once.
 */
#ifndef CUDA_REDUCE_H
#define CUDA_REDUCE_H

#include "launch.h"

#include <cmath>
#include <rein/backend.h>
#include <rein/half.h>

/* The same bits in every lane: a butterfly's sums are commutative. */
template <class T> static __device__ __forceinline__ T warp_sum(T x) {
    for (int lane = WARP / 2; lane > 0; lane /= 2)
        x += __shfl_xor_sync(FULL_WARP, x, lane);
    return x;
}

static __device__ __forceinline__ float warp_max(float x) {
    for (int lane = WARP / 2; lane > 0; lane /= 2)
        x = fmaxf(x, __shfl_xor_sync(FULL_WARP, x, lane));
    return x;
}

/* Sum over the block, for every thread; part has room for a value a warp. */
template <class T> static __device__ T block_sum(T x, SHARED_PTR(T) part) {
    const int warps = (int)blockDim.x / WARP;
    T sum = 0;

    x = warp_sum(x);
    __syncthreads(); /* part may still be read */
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    for (int w = 0; w < warps; w++)
        sum += part[w];
    return sum;
}

/* NaN is passed over, as fmaxf does. */
static __device__ inline float block_max(float x, SHARED_PTR(float) part) {
    const int warps = (int)blockDim.x / WARP;

    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = x;
    __syncthreads();
    x = part[0];
    for (int w = 1; w < warps; w++)
        x = fmaxf(x, part[w]);
    return x;
}

/* Element i of an array of dtype T: float, or the bits of a narrow type. */
struct bf16 {
    uint16_t bits;
};
struct f16 {
    uint16_t bits;
};

static __device__ __forceinline__ float widen(float x) {
    return x;
}
static __device__ __forceinline__ float widen(bf16 x) {
    return rein_from_bf16(x.bits);
}
static __device__ __forceinline__ float widen(f16 x) {
    return rein_from_f16(x.bits);
}

template <class T> static __device__ __forceinline__ T narrow(float x);
template <> __device__ __forceinline__ float narrow<float>(float x) {
    return x;
}
template <> __device__ __forceinline__ bf16 narrow<bf16>(float x) {
    return bf16{rein_to_bf16(x)};
}
template <> __device__ __forceinline__ f16 narrow<f16>(float x) {
    return f16{rein_to_f16(x)};
}

/* N elements that lie together; loaded with one instruction where N * sizeof(T) is a power of two up to 16. */
template <class T, int N> struct alignas(sizeof(T) * N) pack { T v[N]; };

template <class T, int N> static __device__ __forceinline__ pack<T, N> load(const T *p) {
    return *reinterpret_cast<const pack<T, N> *>(p);
}
template <class T, int N> static __device__ __forceinline__ void store(T *p, const pack<T, N> &x) {
    *reinterpret_cast<pack<T, N> *>(p) = x;
}

#endif
