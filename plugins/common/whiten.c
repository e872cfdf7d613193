/* SPDX-License-Identifier: MIT */
#include "common/whiten.h"
#include "common/moments.h"
#include "common/numeric.h"

static void rescale(double *x, const uint8_t *mask, uint32_t n, double mean, double variance, double shift) {
    double scale = 1 / sqrt(variance);

    for (uint32_t i = 0; i < n; i++)
        if (counts(mask, i))
            x[i] = (x[i] - mean) * scale + shift;
}

void whiten(double *x, const uint8_t *mask, uint32_t n, int shift_mean) {
    struct moments m = moments_of(x, mask, 0, n);

    rescale(x, mask, n, m.mean, m.squares * inverse_or_zero(m.n - 1) + 1e-8, shift_mean ? 0 : m.mean);
}

void whiten_population(double *x, const uint8_t *mask, uint32_t n) {
    struct moments m = moments_of(x, mask, 0, n);

    rescale(x, mask, n, m.mean, fmax(m.squares * inverse_or_zero(m.n), 1e-8), 0);
}
