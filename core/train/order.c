/* SPDX-License-Identifier: MIT */
#include "train/order.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>

static void fill(struct order *o, uint64_t epoch) {
    o->epoch = epoch;
    if (o->shuffle)
        rng_shuffle(o->seed, (uint32_t)epoch, o->permutation, o->units);
    else
        for (uint32_t i = 0; i < o->units; i++)
            o->permutation[i] = i;
}

int order_open(uint64_t seed, uint32_t units, uint32_t batch, bool shuffle, struct order *out, struct error *err) {
    *out = (struct order){.seed = seed, .units = units, .batch = batch, .shuffle = shuffle};
    out->permutation = mem_array(units, sizeof(*out->permutation));
    if (out->permutation == NULL)
        return error_nomem(err, "order of the data");
    fill(out, 0);
    return 0;
}

void order_close(struct order *o) {
    free(o->permutation);
    *o = (struct order){0};
}

uint64_t order_steps(const struct order *o) {
    return ((uint64_t)o->units + o->batch - 1) / o->batch;
}

const uint32_t *order_at(struct order *o, uint64_t step, uint32_t *count) {
    const uint64_t per_epoch = order_steps(o), epoch = step / per_epoch, at = step % per_epoch * o->batch;

    if (epoch != o->epoch)
        fill(o, epoch);
    *count = o->units - at < o->batch ? (uint32_t)(o->units - at) : o->batch;
    return o->permutation + at;
}
