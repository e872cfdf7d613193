/* core/train/average.h - an exponential moving average of a policy's weights.
 * SPDX-License-Identifier: MIT
 *
 * After each update of the policy  average = decay * average + (1 - decay) * weights,  in float32, for every parameter that
 * trains, beginning with the weights at the start. It is nowhere used in training: it is saved beside the model.
 */
#ifndef REIN_CORE_AVERAGE_H
#define REIN_CORE_AVERAGE_H

#include "train/optimizer.h"

struct average;

/* Of the parameters of `o` that `owner` brought; takes their present values. */
int average_create(const struct optimizer *o, uint32_t owner, double decay, struct average **out, struct error *err);
void average_free(struct average *a);
int average_update(struct average *a, struct error *err);
/* Exchanges the averages and the weights, so that whatever writes or reads a model does so with the averages; a second
 * call puts things right. */
int average_swap(struct average *a, struct error *err);

#endif
