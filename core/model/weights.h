/* core/model/weights.h - the parameters of a trunk: which there are, and filling them.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_WEIGHTS_H
#define REIN_CORE_WEIGHTS_H

#include "model/tensors.h"
#include "model/trunk.h"

/* Names and shapes of all parameters from t->config, no memory for values yet. lm_head: with a language-model head. */
int weights_plan(struct trunk *t, bool lm_head, struct error *err);
/* Holds the file against the plan: missing, wrongly shaped and unknown tensors are errors. Sets dtypes. Nothing is
 * allocated before the file is known to be as large as the plan says. */
int weights_check(struct trunk *t, const struct tensors *file, struct error *err);
/* Allocates and reads, or draws normal(0, initializer_range) by `seed` with norms 1 and biases 0. */
int weights_read(struct trunk *t, const struct tensors *file, struct error *err);
int weights_init(struct trunk *t, uint64_t seed, struct error *err);
/* What lies in the mapped file of this layer (-1: of none) no longer counts as this process's memory until it is read again. */
void weights_forget(const struct trunk *t, int32_t layer);
/* Gives every parameter of `to` (planned from the same config) the values that `from` has now. */
int weights_copy(struct trunk *to, const struct trunk *from, struct error *err);

/* A head by itself: shape and dtype, as weights_check. */
int weights_check_one(struct model_param *p, const struct tensors *file, bool trainable, uint32_t dtype,
                      struct error *err);

#endif
