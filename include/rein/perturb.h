/* rein/perturb.h - how dropout and noise are drawn, so that every backend draws the same.
 * SPDX-License-Identifier: MIT
 *
 * A number is a pure function of a key and a counter (Philox 4x32-10; Salmon et al., "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011): a mask is not stored, it is drawn again where it is needed again.
 */
#ifndef REIN_PERTURB_H
#define REIN_PERTURB_H

#include "abi.h"

#include <math.h>
#include <stdint.h>

#define REIN_PERTURB_NONE    0u
#define REIN_PERTURB_DROPOUT 1u /* rate: probability of dropping, in [0, 1) */
#define REIN_PERTURB_NOISE   2u /* rate: deviation of Gaussian noise relative to the target's rms */

/* Four random words for a 64-bit key and a 128-bit counter. */
REIN_INLINE void rein_philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t out[4]) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);

    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* An element whose word is below this is dropped; the others are multiplied by the scale. */
REIN_INLINE uint32_t rein_dropout_below(double rate) {
    return (uint32_t)(rate * 4294967296.0);
}
REIN_INLINE float rein_dropout_scale(double rate) {
    return (float)(1.0 / (1.0 - rate));
}

/* Four standard normal values from four words (Box-Muller). */
REIN_INLINE void rein_normals(const uint32_t word[4], double out[4]) {
    for (int i = 0; i < 4; i += 2) {
        const double radius = sqrt(-2.0 * log((word[i] + 1.0) * 0x1p-32)); /* (0, 1]: the logarithm is finite */
        const double angle = 6.28318530717958647693 * (word[i + 1] * 0x1p-32);

        out[i] = radius * cos(angle);
        out[i + 1] = radius * sin(angle);
    }
}

#endif
