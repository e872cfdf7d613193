/* core/base/rng.h - counter-based random numbers (Philox 4x32-10).
 * SPDX-License-Identifier: MIT
 *
 * A number is a pure function of (seed, purpose, step, row, position): no state,
 * so no order of evaluation, number of threads or resumed run can change it.
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
#ifndef REIN_CORE_RNG_H
#define REIN_CORE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What the numbers are for. Append only: the values are part of reproducibility. */
enum rng_purpose {
    RNG_INIT = 1,    /* step: tensor number, row/position: element */
    RNG_SHUFFLE = 2, /* step: epoch */
    RNG_SAMPLE = 3,  /* step: rollout or call, row: completion, position: token */
    RNG_DROPOUT = 4, /* step: optimiser step, row: of the data; or step: sample, row: completion */
    RNG_NOISE = 5,   /* step: sample, row: completion */
    RNG_BOOTSTRAP = 6, /* step: head, row: unit of the data */
    RNG_ADAPTER = 7, /* step: tensor number, row/position: element */
};

void rng_block(uint64_t seed, uint32_t purpose, uint32_t step, uint32_t row, uint32_t position, uint32_t out[4]);
/* Two words of it, as the key of another sequence. */
uint64_t rng_key(uint64_t seed, uint32_t purpose, uint32_t step, uint64_t row);
/* Uniform in [0, 1) with 53 bits. */
double rng_uniform(uint64_t seed, uint32_t purpose, uint32_t step, uint32_t row, uint32_t position);
/* Standard normal values (Box-Muller): element i depends on (seed, purpose, step, i) alone. */
void rng_normal(uint64_t seed, uint32_t purpose, uint32_t step, double deviation, float *out, size_t count);
/* A permutation of 0..count-1 (Fisher-Yates) that depends on (seed, step) alone. */
void rng_shuffle(uint64_t seed, uint32_t step, uint32_t *order, size_t count);

#endif
