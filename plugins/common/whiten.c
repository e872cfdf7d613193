/* SPDX-License-Identifier: MIT */
#include "common/whiten.h"
#include "common/numeric.h"

void whiten(double *x, const uint8_t *mask, uint32_t n, int shift_mean) {
    double sum = 0, squares = 0, count = 0;

    for (uint32_t i = 0; i < n; i++)
        if (counts(mask, i)) {
            sum += x[i];
            count++;
        }
    double mean = sum * inverse_or_zero(count);
    for (uint32_t i = 0; i < n; i++)
        if (counts(mask, i))
            squares += (x[i] - mean) * (x[i] - mean);
    double scale = 1 / sqrt(squares * inverse_or_zero(count - 1) + 1e-8);
    for (uint32_t i = 0; i < n; i++)
        if (counts(mask, i))
            x[i] = (x[i] - mean) * scale + (shift_mean ? 0 : mean);
}
