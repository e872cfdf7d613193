/* rein/half.h - float16 and bfloat16 by the bits; inline, nothing here is linked.
 * SPDX-License-Identifier: MIT
 *
 * Narrowing rounds to nearest, ties to even; overflow goes to infinity; a NaN stays
 * a (quiet) NaN; subnormals are kept.
 */
#ifndef REIN_HALF_H
#define REIN_HALF_H

#include "abi.h"

#include <stdint.h>
#include <string.h>

REIN_INLINE uint32_t rein_float_bits(float x) {
    uint32_t u;

    memcpy(&u, &x, sizeof(u));
    return u;
}

REIN_INLINE float rein_bits_float(uint32_t u) {
    float x;

    memcpy(&x, &u, sizeof(x));
    return x;
}

REIN_INLINE float rein_from_bf16(uint16_t h) {
    return rein_bits_float((uint32_t)h << 16);
}

REIN_INLINE uint16_t rein_to_bf16(float x) {
    uint32_t u = rein_float_bits(x);

    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

REIN_INLINE float rein_from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 0x1fu, mantissa = h & 0x3ffu;

    if (exponent == 0x1fu)
        return rein_bits_float(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0u));
    if (exponent == 0) { /* mantissa * 2^-24, exact in float32 */
        float x = (float)mantissa * 0x1p-24f;
        return sign ? -x : x;
    }
    return rein_bits_float(sign | (exponent + 112u) << 23 | mantissa << 13);
}

REIN_INLINE uint16_t rein_to_f16(float x) {
    uint32_t u = rein_float_bits(x), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;

    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the mantissa */
        float t = rein_bits_float(a) + 0.5f;
        return (uint16_t)(sign | (rein_float_bits(t) - 0x3f000000u));
    }
    return (uint16_t)(sign | (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13);
}

#endif
