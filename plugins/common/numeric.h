/* plugins/common/numeric.h - functions that stay finite where the textbook form does not.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_NUMERIC_H
#define REIN_COMMON_NUMERIC_H

#include <math.h>
#include <stdint.h>

/* exp() of a log-ratio never sees more than this: e^20 is 4.9e8, far outside any
 * trust region, while e^89 would already overflow the f32 derivatives. */
#define LOG_RATIO_MAX 20.0

static inline double clampd(double x, double lo, double hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

/* log(1 / (1 + e^-x)); exact to rounding from -1e308 to 1e308 */
static inline double log_sigmoid(double x) {
    return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x));
}

/* 1 / (1 + e^-x) */
static inline double sigmoid(double x) {
    if (x >= 0)
        return 1 / (1 + exp(-x));
    return exp(x) / (1 + exp(x));
}

/* 1/n for a normaliser that is 0 when a whole step is masked or empty */
static inline double inverse_or_zero(double n) {
    return n > 0 ? 1 / n : 0;
}

/* Does token i count? `mask` is NULL when all do. */
static inline int counts(const uint8_t *mask, uint32_t i) {
    return !mask || mask[i];
}

#endif
