/* backends/cpu-blas/isa/vec.h - vectors of one ISA level.
 * SPDX-License-Identifier: MIT
 *
 * Each source in this folder is compiled once a level, with ISA_LEVEL 1 (whatever the compiler's default
 * allows; any architecture), 3 (AVX2, FMA) or 4 (AVX-512 F, BW, DQ, VL). GCC's vector extensions stand in for three
 * sets of intrinsics. Everything here is inlined: no function of these objects may be shared between levels.
 */
#ifndef CPU_ISA_VEC_H
#define CPU_ISA_VEC_H

#include "kernels.h"

#include <rein/half.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* VW floats a vector; a register block of MR rows by NR = 2 VW columns in matrix products. */
#if ISA_LEVEL == 4
#define LEVEL(name) name##_v4
enum { VW = 16, MR = 8 };
#elif ISA_LEVEL == 3
#define LEVEL(name) name##_v3
enum { VW = 8, MR = 6 };
#else
#define LEVEL(name) name##_baseline
enum { VW = 4, MR = 4 };
#endif
enum { NR = 2 * VW };

typedef float vf __attribute__((vector_size(4 * VW)));
typedef float vf_any __attribute__((vector_size(4 * VW), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * VW)));
typedef uint32_t vu __attribute__((vector_size(4 * VW)));
typedef uint16_t vh __attribute__((vector_size(2 * VW)));
typedef uint16_t vh_any __attribute__((vector_size(2 * VW), aligned(2), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float *p) {
    return *(const vf_any *)p;
}
INLINE void store(float *p, vf v) {
    *(vf_any *)p = v;
}
INLINE vf splat(float x) {
    return x - (vf){0};
}
/* The first n < VW lanes; the others are 0 and left alone. */
INLINE vf load_part(const float *p, int64_t n) {
    vf v = {0};

    for (int64_t i = 0; i < n; i++)
        v[i] = p[i];
    return v;
}
INLINE void store_part(float *p, vf v, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        p[i] = v[i];
}
INLINE vf load_bf16(const uint16_t *p) {
    return (vf)(__builtin_convertvector(*(const vh_any *)p, vu) << 16);
}
INLINE vf load_f16(const uint16_t *p) {
    vu h = __builtin_convertvector(*(const vh_any *)p, vu), bits = (h & 0x7fffu) << 13;
    vf scaled = (vf)bits * 0x1p112f; /* puts the exponent right, subnormals included */
    vu finite = (vu)(vi)(bits < 0x0f800000u);
    return (vf)(((finite & (vu)scaled) | (~finite & (bits | 0x7f800000u))) | (h & 0x8000u) << 16);
}
/* VW elements of an array of `dtype`, starting at element i. */
INLINE vf load_as(const void *p, uint32_t dtype, int64_t i) {
    if (dtype == REIN_F32)
        return load((const float *)p + i);
    return dtype == REIN_BF16 ? load_bf16((const uint16_t *)p + i) : load_f16((const uint16_t *)p + i);
}
INLINE float load_one(const void *p, uint32_t dtype, int64_t i) {
    if (dtype == REIN_F32)
        return ((const float *)p)[i];
    return dtype == REIN_BF16 ? rein_from_bf16(((const uint16_t *)p)[i]) : rein_from_f16(((const uint16_t *)p)[i]);
}

INLINE vf select_v(vi mask, vf yes, vf no) {
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}
INLINE vf max_v(vf a, vf b) {
    return select_v(a > b, a, b);
}
/* The numbers of the lanes, and shuffles of two vectors with a literal d (a power of two): KEEP takes lanes with bit d
 * from the second vector, CROSS the other ones' partners at distance d. */
#if ISA_LEVEL == 4
#define LANE_NUMBERS                                                                                                   \
    (vi) {                                                                                                             \
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15                                                           \
    }
#elif ISA_LEVEL == 3
#define LANE_NUMBERS                                                                                                   \
    (vi) {                                                                                                             \
        0, 1, 2, 3, 4, 5, 6, 7                                                                                         \
    }
#else
#define LANE_NUMBERS                                                                                                   \
    (vi) {                                                                                                             \
        0, 1, 2, 3                                                                                                     \
    }
#endif
#define KEEP(d)           (LANE_NUMBERS + (LANE_NUMBERS & (d)) * (VW / (d)))
#define CROSS(d)          ((LANE_NUMBERS ^ (d)) + (LANE_NUMBERS & (d)) * (VW / (d)))
#define FOLD(v, d)        ((v) + __builtin_shuffle((v), LANE_NUMBERS ^ (d)))
#define FOLD_TWO(a, b, d) (__builtin_shuffle((a), (b), KEEP(d)) + __builtin_shuffle((a), (b), CROSS(d)))

INLINE float sum_v(vf v) {
#if ISA_LEVEL == 4
    v = FOLD(v, 8);
#endif
#if ISA_LEVEL >= 3
    v = FOLD(v, 4);
#endif
    v = FOLD(v, 2);
    v = FOLD(v, 1);
    return v[0];
}
/* Lane l of the result is the sum of v[l]. */
INLINE vf sums_v(vf v[VW]) {
#pragma GCC unroll 16
    for (int i = 0; i < VW; i += 2)
        v[i] = FOLD_TWO(v[i], v[i + 1], 1);
#pragma GCC unroll 16
    for (int i = 0; i < VW; i += 4)
        v[i] = FOLD_TWO(v[i], v[i + 2], 2);
#if ISA_LEVEL >= 3
#pragma GCC unroll 16
    for (int i = 0; i < VW; i += 8)
        v[i] = FOLD_TWO(v[i], v[i + 4], 4);
#endif
#if ISA_LEVEL == 4
    v[0] = FOLD_TWO(v[0], v[8], 8);
#endif
    return v[0];
}
INLINE float most_v(vf v) {
    float most = v[0];

    for (int i = 1; i < VW; i++)
        most = v[i] > most ? v[i] : most;
    return most;
}

/* e^x within 2 ulp: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial of degree 6 for e^r (Cephes expf), and n added to
 * the exponent. Below -87.3 it is 0, above 88.3 it stays at e^88.3; a NaN stays one. */
INLINE vf exp_v(vf x) {
    const float magic = 0x1.8p23f; /* adding it leaves the nearest integer in the low bits */
    vf lo = splat(-87.3f), hi = splat(88.3f);
    vf c = select_v(x > hi, hi, select_v(x < lo, lo, x));
    vf t = c * 1.44269504f + magic, n = t - magic;
    vf r = c - n * 0.693359375f - n * -2.12194440e-4f;
    vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    p = (vf)((vi)p + ((vi)t << 23));
    p = (vf)(~(x < lo) & (vi)p);
    return select_v(x == x, p, x);
}
/* 1 / (1 + e^-x) */
INLINE vf sigmoid_v(vf x) {
    return 1.0f / (1.0f + exp_v(-x));
}

#endif
