/* SPDX-License-Identifier: MIT
 * The language of kernels. A block's threads are fibres on one thread of the CPU; they change places at barriers, warp
 * operations and their end, in an order that REIN_EMU_SCHEDULE chooses.
 */
#ifndef EMU_LANGUAGE_H
#define EMU_LANGUAGE_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) {
    return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}

/* For one thread they do not change: const, although they do change from thread to thread (block.cpp). */
extern const uint3 threadIdx, blockIdx;
extern const dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emu {

enum warp_kind { SYNCWARP, SHUFFLE, SHUFFLE_XOR, SHUFFLE_DOWN, SHUFFLE_UP, BALLOT };

/* A place in the sources, for messages, and so that threads waiting at different places are told apart. */
struct place {
    const char *file;
    unsigned line;
};

void barrier(place at);
uint64_t warp(warp_kind kind, unsigned mask, uint64_t value, int lane, int width, place at);
void *shared_array(const char *name, size_t count, size_t size, const void *key);
void *shared_dynamic(const char *name, size_t size);
/* Around an atomic operation: checks it as such, and stops the hooks from seeing its load and store. */
void atomic_access(const volatile void *address, size_t size);

template <class T> T shuffle(warp_kind kind, unsigned mask, T value, int lane, int width, place at) {
    static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8), "32-bit and 64-bit values");
    uint64_t bits = 0;

    memcpy(&bits, &value, sizeof(value));
    bits = warp(kind, mask, bits, lane, width, at);
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* The threads of a block take turns: nothing comes between the load and the store. */
template <class T, class F> __attribute__((noinline, no_sanitize("thread"))) T atomic(T *address, F change) {
    atomic_access(address, sizeof(T));
    const T old = *address;

    *address = change(old);
    return old;
}

} // namespace emu

#define EMU_HERE emu::place at_ = {__builtin_FILE(), __builtin_LINE()}

inline void __syncthreads(EMU_HERE) {
    emu::barrier(at_);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, EMU_HERE) {
    emu::warp(emu::SYNCWARP, mask, 0, 0, 32, at_);
}
template <class T> T __shfl_sync(unsigned mask, T value, int lane, int width = 32, EMU_HERE) {
    return emu::shuffle(emu::SHUFFLE, mask, value, lane, width, at_);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, EMU_HERE) {
    return emu::shuffle(emu::SHUFFLE_XOR, mask, value, lanes, width, at_);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32, EMU_HERE) {
    return emu::shuffle(emu::SHUFFLE_DOWN, mask, value, (int)lanes, width, at_);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32, EMU_HERE) {
    return emu::shuffle(emu::SHUFFLE_UP, mask, value, (int)lanes, width, at_);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMU_HERE) {
    return (unsigned)emu::warp(emu::BALLOT, mask, predicate != 0, 0, 32, at_);
}

template <class T> T atomicAdd(T *address, T value) {
    return emu::atomic(address, [=](T old) { return (T)(old + value); });
}
template <class T> T atomicMax(T *address, T value) {
    return emu::atomic(address, [=](T old) { return old > value ? old : value; });
}
template <class T> T atomicCAS(T *address, T compare, T value) {
    return emu::atomic(address, [=](T old) { return old == compare ? value : old; });
}

/* SHARED_ARRAY: one array a block and place in the sources; the address of `key` tells instances of templates apart. */
#define SHARED_PTR(type) type *
#define SHARED(type, name) type *const name = static_cast<type *>(emu::shared_dynamic(#name, sizeof(type)))
#define SHARED_ARRAY(type, name, count)                                                                                \
    static const char name##_key = 0;                                                                                  \
    type *const name = static_cast<type *>(emu::shared_array(#name, count, sizeof(type), &name##_key))

/* Operations with a rounding of their own: nvcc never contracts them into a fused multiply and add. */
inline float __fmul_rn(float a, float b) {
    return a * b;
}
inline float __fadd_rn(float a, float b) {
    return a + b;
}
inline float __fsub_rn(float a, float b) {
    return a - b;
}
inline float __fdiv_rn(float a, float b) {
    return a / b;
}
inline float __fsqrt_rn(float a) {
    return sqrtf(a);
}
inline double __dmul_rn(double a, double b) {
    return a * b;
}
inline double __dadd_rn(double a, double b) {
    return a + b;
}
inline float rsqrtf(float a) {
    return 1.0f / sqrtf(a);
}
template <class T> T __ldg(const T *address) {
    return *address;
}
inline unsigned __float_as_uint(float value) {
    unsigned bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((uint64_t)a * b >> 32);
}
inline int __popc(unsigned bits) {
    return __builtin_popcount(bits);
}
inline int __ffs(int bits) {
    return __builtin_ffs(bits);
}
inline int __clz(int bits) {
    return bits ? __builtin_clz((unsigned)bits) : 32;
}
template <class A, class B> constexpr typename std::common_type<A, B>::type min(A a, B b) {
    return b < a ? b : a;
}
template <class A, class B> constexpr typename std::common_type<A, B>::type max(A a, B b) {
    return a < b ? b : a;
}
using std::isinf;
using std::isnan;

#endif
