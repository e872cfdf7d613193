/* tests/train/compare.h - a training of ours beside one of TRL's (tests/golden/trainers).
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_TESTS_COMPARE_H
#define REIN_TESTS_COMPARE_H

#include "engine/engine.h"

/* tests/golden/trainers/<name>.json */
json_t *golden_open(const char *name);
double golden_number(const json_t *object, const char *name);
/* The tiny model with weights by the formula of `prefix` and the tensors' names, with the demo's tokenizer; `score`:
 * with a score head. engine_remove() it. */
char *golden_model(const json_t *golden, const char *prefix, bool score);

/* Keeps the worst of the errors that it lets pass, so that a test can say what is reached. */
struct worst {
    double metrics, values, changes, gradients;
};
/* |ours - theirs| <= tolerance * scale, or the test fails with `what`. */
void compare_number(double ours, double theirs, double scale, double tolerance, double *worst, const char *what, ...)
    __attribute__((format(printf, 6, 7)));

/* A tensor after training against its digest. Single values are held against the largest change of any of the tensor's
 * elements, the change's length and projection against its length. */
void compare_tensor(const char *name, const char *prefix, const json_t *digest, const float *x, size_t count,
                    double tolerance, struct worst *w);
/* A gradient times `scale` against [projection, length]; tolerance is of the largest length among all tensors. */
void compare_gradients(struct model *m, const char *prefix, const json_t *digests, double scale, double tolerance,
                       struct worst *w);
void compare_model(struct model *m, const char *prefix, const json_t *digests, double tolerance, struct worst *w);

#endif
