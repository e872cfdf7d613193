/* core/model/param.h - one parameter: memory, values, where they lie in a file.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_PARAM_H
#define REIN_CORE_PARAM_H

#include "model/tensors.h"
#include "model/trunk.h"

struct model_param *param_create(const char *name, int64_t rows, int64_t cols, bool decay, struct error *err);
void param_free(struct backend *b, struct model_param *p);

/* In memory it has: vectors float32; a matrix that is in a trained model float32, or `dtype`; a matrix of a frozen model
 * `dtype`, or what the file has when that is 0. */
uint32_t param_dtype(const struct model_param *p, uint32_t in_file, bool trainable, uint32_t dtype);
/* Memory for p->w.dtype, and what training takes: a gradient unless it lodges
 * with a pass, float32 masters beside weights of another dtype. */
int param_allocate(struct backend *b, struct model_param *p, bool trainable, struct error *err);
/* From the file into memory: allocated, or none when the values can stay where they lie in the mapped file. The file must
 * be kept open then: p->mapped. */
int param_fill(struct backend *b, struct model_param *p, bool trainable, const struct tensors *file, struct error *err);
int param_read(struct backend *b, struct model_param *p, const struct tensors *file, struct error *err);
/* normal(0, deviation); deviation 0: zeros */
int param_random(struct backend *b, struct model_param *p, uint64_t seed, uint32_t number, double deviation,
                 struct error *err);
int param_constant(struct backend *b, struct model_param *p, float value, struct error *err);
/* Allocates `to` with the dtype and values of `from`. */
int param_copy(struct backend *b, struct model_param *to, const struct model_param *from, bool trainable,
               struct error *err);

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
/* As the file that was opened calls the tensor. */
static inline const char *param_file_name(const struct model_param *p) {
    return p->place.tensor + p->place.skip;
}

/* Downloads all of p as p->w.dtype; free(). */
void *param_values(struct backend *b, const struct model_param *p, struct error *err);

#endif
