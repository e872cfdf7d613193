/* core/model/packing.h - which rows of a batch go through the trunk.
 * SPDX-License-Identifier: MIT
 *
 * Sequences that begin with the same ids (the completions of a prompt, chosen and rejected) have the same hidden states
 * there: the first of them is computed whole, and the others, from where they part, attend to its rows. Which they are is
 * found by comparing ids. G completions of R tokens to a prompt of P cost P + G R rows instead of G (P + R).
 */
#ifndef REIN_CORE_PACKING_H
#define REIN_CORE_PACKING_H

#include "model/pass.h"

/* The packed rows are the batch's, the computed ones those that the trunk sees. Zero-initialise; free with packing_free. */
struct packing {
    uint32_t count;
    uint32_t *offset;             /* [count + 1] packed rows of the sequences */
    int32_t *where;               /* [packed rows] the computed row of each; increasing within a sequence */
    int64_t n;                    /* computed rows */
    int32_t *ids, *positions;     /* [n] */
    struct rein_segment *segments;
    uint32_t nsegments;
    uint32_t *shared;               /* [count] how many of its first rows each has from an earlier sequence */
    uint32_t *with, *alike, *start; /* scratch, [count] */
    size_t count_capacity, rows_capacity;
};

/* Shares beginnings of at least `least` ids (0: none). */
int packing_make(struct packing *p, const struct packed *batch, uint32_t least, struct error *err);
/* Was it made of a batch with the same sequences in the same order? */
bool packing_is_of(const struct packing *p, const struct packed *batch);
void packing_free(struct packing *p);

#endif
