/* SPDX-License-Identifier: MIT */
#include "common/moments.h"
#include "common/numeric.h"

struct moments moments_of(const double *x, const uint8_t *mask, uint32_t from, uint32_t to) {
    struct moments m = {0};
    double sum = 0;

    for (uint32_t i = from; i < to; i++)
        if (counts(mask, i) && !isnan(x[i])) {
            sum += x[i];
            m.n++;
        }
    m.mean = sum * inverse_or_zero(m.n);
    for (uint32_t i = from; i < to; i++)
        if (counts(mask, i) && !isnan(x[i]))
            m.squares += (x[i] - m.mean) * (x[i] - m.mean);
    return m;
}

double moments_deviation(const struct moments *m) {
    return sqrt(m->squares * inverse_or_zero(m->n - 1));
}
