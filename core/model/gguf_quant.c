/* SPDX-License-Identifier: MIT */
#include "model/gguf_quant.h"

#include <rein/backend.h>
#include <rein/half.h>
#include <string.h>

static float half_at(const unsigned char *p) {
    return rein_from_f16((uint16_t)(p[0] | p[1] << 8));
}

/* f16 scale; 16 bytes: low nibbles are elements 0-15, high ones 16-31, less 8 */
static void block_q4_0(const unsigned char *p, float *to) {
    const float d = half_at(p);

    for (int i = 0; i < 16; i++) {
        to[i] = (float)((p[2 + i] & 15) - 8) * d;
        to[i + 16] = (float)((p[2 + i] >> 4) - 8) * d;
    }
}

/* f16 scale, f16 minimum, nibbles as above */
static void block_q4_1(const unsigned char *p, float *to) {
    const float d = half_at(p), m = half_at(p + 2);

    for (int i = 0; i < 16; i++) {
        to[i] = (float)(p[4 + i] & 15) * d + m;
        to[i + 16] = (float)(p[4 + i] >> 4) * d + m;
    }
}

/* f16 scale, 32 signed bytes */
static void block_q8_0(const unsigned char *p, float *to) {
    const float d = half_at(p);

    for (int i = 0; i < 32; i++)
        to[i] = (float)(int8_t)p[2 + i] * d;
}

static const struct gguf_quant quants[] = {
    {"F32", 0, 1, 4, REIN_F32, NULL},   {"F16", 1, 1, 2, REIN_F16, NULL},   {"BF16", 30, 1, 2, REIN_BF16, NULL},
    {"Q4_0", 2, 32, 18, 0, block_q4_0}, {"Q4_1", 3, 32, 20, 0, block_q4_1}, {"Q8_0", 8, 32, 34, 0, block_q8_0},
    {"Q5_0", 6, 32, 22, 0, NULL},       {"Q5_1", 7, 32, 24, 0, NULL},       {"Q8_1", 9, 32, 36, 0, NULL},
    {"Q2_K", 10, 256, 84, 0, NULL},     {"Q3_K", 11, 256, 110, 0, NULL},    {"Q4_K", 12, 256, 144, 0, NULL},
    {"Q5_K", 13, 256, 176, 0, NULL},    {"Q6_K", 14, 256, 210, 0, NULL},    {"Q8_K", 15, 256, 292, 0, NULL},
    {"IQ2_XXS", 16, 256, 66, 0, NULL},  {"IQ2_XS", 17, 256, 74, 0, NULL},   {"IQ3_XXS", 18, 256, 98, 0, NULL},
    {"IQ1_S", 19, 256, 50, 0, NULL},    {"IQ4_NL", 20, 32, 18, 0, NULL},    {"IQ3_S", 21, 256, 110, 0, NULL},
    {"IQ2_S", 22, 256, 82, 0, NULL},    {"IQ4_XS", 23, 256, 136, 0, NULL},  {"I8", 24, 1, 1, 0, NULL},
    {"I16", 25, 1, 2, 0, NULL},         {"I32", 26, 1, 4, 0, NULL},         {"I64", 27, 1, 8, 0, NULL},
    {"F64", 28, 1, 8, 0, NULL},         {"IQ1_M", 29, 256, 56, 0, NULL},    {"TQ1_0", 34, 256, 54, 0, NULL},
    {"TQ2_0", 35, 256, 66, 0, NULL},    {"MXFP4", 39, 32, 17, 0, NULL},
};

const struct gguf_quant *gguf_quant_find(uint32_t type) {
    for (size_t i = 0; i < sizeof(quants) / sizeof(quants[0]); i++)
        if (quants[i].type == type)
            return &quants[i];
    return NULL;
}

void gguf_quant_read(const struct gguf_quant *q, const unsigned char *data, uint64_t first, uint64_t count,
                     float *out) {
    float block[GGUF_BLOCK_LIMIT];

    while (count > 0) {
        const uint64_t within = first % q->elements, room = q->elements - within;
        const uint64_t step = count < room ? count : room;
        const unsigned char *from = data + first / q->elements * q->bytes;
        if (step == q->elements) {
            q->block(from, out);
        } else {
            q->block(from, block);
            memcpy(out, block + within, (size_t)step * sizeof(float));
        }
        first += step;
        count -= step;
        out += step;
    }
}
