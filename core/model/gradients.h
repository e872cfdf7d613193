/* core/model/gradients.h - gradients that lodge with a pass: where they lie.
 * SPDX-License-Identifier: MIT
 *
 * A backward pass goes down the layers. It needs the activations of those that wait, and makes the gradients of those
 * that it has reached, so that both fit in little more than the larger of the two: activations from the beginning of a
 * piece of memory on, gradients from its end towards them, in the order in which they are first added to. That is for
 * steps of one micro-batch: the forward pass of a second one would write over the gradients of the first.
 */
#ifndef REIN_CORE_GRADIENTS_H
#define REIN_CORE_GRADIENTS_H

#include "model/transformer.h"

/* Bytes of the gradients of a planned trunk by themselves. */
uint64_t gradients_bytes(const struct trunk *t);
/* Bytes of gradients and activations of n rows over each other; UINT64_MAX: beyond counting. */
uint64_t gradients_over(const struct trunk *t, uint64_t n, enum keep keep);
/* The gradients lie before `end` from now on, all of them stale. */
void gradients_place(const struct trunk *t, void *end);

#endif
