/* core/train/order.h - which units come in which step: a pure function of (seed, step).
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_ORDER_H
#define REIN_CORE_ORDER_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct order {
    uint64_t seed;
    uint32_t units, batch;
    bool shuffle;
    uint64_t epoch;           /* whose permutation is held */
    uint32_t *permutation;    /* [units] */
};

int order_open(uint64_t seed, uint32_t units, uint32_t batch, bool shuffle, struct order *out, struct error *err);
void order_close(struct order *o);
/* Steps of one epoch; the last may be short, as in transformers. */
uint64_t order_steps(const struct order *o);
/* Units of `step`, counting from 0; steps past the first epoch go on with the next one's permutation. */
const uint32_t *order_at(struct order *o, uint64_t step, uint32_t *count);

#endif
