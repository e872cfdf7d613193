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
/* Gives every parameter of `to` (planned from the same config) the values that `from` has now. */
int weights_copy(struct trunk *to, const struct trunk *from, struct error *err);

/* One parameter by itself, for heads. */
struct model_param *param_create(const char *name, int64_t rows, int64_t cols, bool decay, struct error *err);
int param_allocate(struct backend *b, struct model_param *p, bool trainable, struct error *err);
int param_copy(struct backend *b, struct model_param *to, const struct model_param *from, bool trainable,
               struct error *err); /* allocates `to` with the dtype and values of `from` */
/* A head by itself: shape and dtype, as weights_check. */
int weights_check_one(struct model_param *p, const struct tensors *file, bool trainable, struct error *err);
int param_read(struct backend *b, struct model_param *p, const struct tensors *file, struct error *err);
/* deviation 0: zeros */
int param_random(struct backend *b, struct model_param *p, uint64_t seed, uint32_t number, double deviation,
                 struct error *err);
void param_free(struct backend *b, struct model_param *p);

/* Elements of p in memory and in the file's tensor. */
static inline uint64_t param_count(const struct model_param *p) {
    return (uint64_t)p->w.rows * (uint64_t)p->w.cols;
}
static inline bool param_is_whole(const struct model_param *p) {
    return !p->place.transposed && p->place.rows == (p->decay ? p->w.rows : p->w.cols);
}
/* The element of the file's tensor that element `i` of p is. */
static inline uint64_t param_file_index(const struct model_param *p, uint64_t i) {
    const uint64_t cols = (uint64_t)p->w.cols, first = (uint64_t)p->place.first;

    if (!p->decay)
        return first + i;
    return p->place.transposed ? i % cols * (uint64_t)p->place.rows + first + i / cols : first * cols + i;
}

/* Downloads all of p as p->w.dtype; free(). */
void *param_values(struct backend *b, const struct model_param *p, struct error *err);

#endif
