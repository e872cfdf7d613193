/* SPDX-License-Identifier: MIT */
#include "base/rng.h"

#include <math.h>
#include <rein/perturb.h>

void rng_block(uint64_t seed, uint32_t purpose, uint32_t step, uint32_t row, uint32_t position, uint32_t out[4]) {
    rein_philox(seed, position, row, step, purpose, out);
}

uint64_t rng_key(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t row) {
    uint32_t r[4];

    rng_block(seed, purpose, step, (uint32_t)(row >> 32), (uint32_t)row, r);
    return (uint64_t)r[1] << 32 | r[0];
}

static double unit(uint32_t high, uint32_t low) {
    return (double)((uint64_t)high << 21 | low >> 11) * 0x1p-53;
}

double rng_uniform(uint64_t seed, uint32_t purpose, uint32_t step, uint32_t row, uint32_t position) {
    uint32_t r[4];

    rng_block(seed, purpose, step, row, position, r);
    return unit(r[0], r[1]);
}

void rng_normal(uint64_t seed, uint32_t purpose, uint32_t step, double deviation, float *out, size_t count) {
    for (size_t i = 0; i < count; i += 2) {
        uint32_t r[4];

        rng_block(seed, purpose, step, (uint32_t)(i >> 32), (uint32_t)i, r);
        /* 1 - u lies in (0, 1], so the logarithm is finite */
        const double radius = deviation * sqrt(-2.0 * log(1.0 - unit(r[0], r[1])));
        const double angle = 2.0 * 3.14159265358979323846 * unit(r[2], r[3]);
        out[i] = (float)(radius * cos(angle));
        if (i + 1 < count)
            out[i + 1] = (float)(radius * sin(angle));
    }
}

void rng_shuffle(uint64_t seed, uint32_t step, uint32_t *order, size_t count) {
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    for (size_t i = count; i > 1; i--) {
        const double u = rng_uniform(seed, RNG_SHUFFLE, step, (uint32_t)(i >> 32), (uint32_t)i);
        const size_t j = (size_t)(u * (double)i);
        const uint32_t t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}
