/* SPDX-License-Identifier: MIT */
#include "model/dtype.h"

#include <rein/half.h>
#include <string.h>

uint32_t dtype_width(uint32_t dtype) {
    return dtype == REIN_F32 ? 4 : dtype == REIN_F16 || dtype == REIN_BF16 ? 2 : 0;
}

const char *dtype_name(uint32_t dtype) {
    return dtype == REIN_F32 ? "F32" : dtype == REIN_F16 ? "F16" : dtype == REIN_BF16 ? "BF16" : NULL;
}

void dtype_convert(const void *from, uint32_t source, void *to, uint32_t target, size_t count) {
    const unsigned char *in = from;
    unsigned char *out = to;
    uint16_t half;
    float x;

    if (source == target) {
        memcpy(to, from, count * dtype_width(source));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (source == REIN_F32) {
            memcpy(&x, in + 4 * i, 4);
        } else {
            memcpy(&half, in + 2 * i, 2);
            x = source == REIN_F16 ? rein_from_f16(half) : rein_from_bf16(half);
        }
        if (target == REIN_F32) {
            memcpy(out + 4 * i, &x, 4);
        } else {
            half = target == REIN_F16 ? rein_to_f16(x) : rein_to_bf16(x);
            memcpy(out + 2 * i, &half, 2);
        }
    }
}

bool dtype_finite(const void *x, uint32_t dtype, size_t count) {
    const uint32_t exponent = dtype == REIN_F32 ? 0x7f800000u : dtype == REIN_F16 ? 0x7c00u : 0x7f80u;
    const unsigned char *in = x;
    uint32_t most = 0;
    uint16_t half;

    for (size_t i = 0; i < count; i++) {
        uint32_t bits;

        if (dtype == REIN_F32) {
            memcpy(&bits, in + 4 * i, 4);
        } else {
            memcpy(&half, in + 2 * i, 2);
            bits = half;
        }
        most = (bits & exponent) > most ? bits & exponent : most;
    }
    return most < exponent;
}
