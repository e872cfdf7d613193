/* SPDX-License-Identifier: MIT */
#include "isa/level.h"

enum { LANES = 16 }; /* Philox blocks drawn at once: 64 elements */

/* rein_philox for blocks first .. first + LANES: word[w][l] is element 4 (first + l) + w. Loops over lanes for the
 * compiler to vectorise. */
static void draw(const struct rein_perturb *a, int64_t row, uint32_t first, uint32_t word[4][LANES]) {
    uint32_t *restrict c0 = word[0], *restrict c1 = word[1], *restrict c2 = word[2], *restrict c3 = word[3];
    uint32_t k0 = (uint32_t)a->keys[row], k1 = (uint32_t)(a->keys[row] >> 32);

    for (uint32_t l = 0; l < LANES; l++) {
        c0[l] = first + l;
        c1[l] = (uint32_t)a->positions[row];
        c2[l] = a->site;
        c3[l] = a->kind;
    }
    for (int round = 0; round < 10; round++) {
        for (int l = 0; l < LANES; l++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[l], p1 = (uint64_t)0xCD9E8D57u * c2[l];

            c0[l] = (uint32_t)(p1 >> 32) ^ c1[l] ^ k0;
            c2[l] = (uint32_t)(p0 >> 32) ^ c3[l] ^ k1;
            c1[l] = (uint32_t)p1;
            c3[l] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static void dropout(const struct rein_perturb *a, int64_t row) {
    const uint32_t below = rein_dropout_below(a->rate);
    const float *x = a->x + row * a->ldx, scale = rein_dropout_scale(a->rate);
    float *y = a->y + row * a->ldy;

    for (int64_t c = 0; c < a->cols; c += 4 * LANES) {
        uint32_t word[4][LANES];
        int64_t n = a->cols - c < 4 * LANES ? a->cols - c : 4 * LANES;

        draw(a, row, (uint32_t)(c / 4), word);
        for (int64_t j = 0; j < n; j++)
            y[c + j] = word[j % 4][j / 4] < below ? 0.0f : x[c + j] * scale;
    }
}

static void noise(const struct rein_perturb *a, int64_t row) {
    const float *x = a->x + row * a->ldx;
    float *y = a->y + row * a->ldy;
    double sum = 0, deviation;

    for (int64_t c = 0; c < a->cols; c++)
        sum += (double)x[c] * x[c];
    deviation = a->rate * sqrt(sum / (double)a->cols);
    for (int64_t c = 0; c < a->cols; c += 4) {
        uint32_t word[4];
        double z[4];

        rein_philox(a->keys[row], (uint32_t)(c / 4), (uint32_t)a->positions[row], a->site, a->kind, word);
        rein_normals(word, z);
        for (int64_t j = c; j < a->cols && j < c + 4; j++)
            y[j] = (float)(x[j] + deviation * z[j - c]);
    }
}

void LEVEL(perturb)(const struct rein_perturb *a, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
        if (a->kind == REIN_PERTURB_NOISE)
            noise(a, i);
        else
            dropout(a, i);
}
