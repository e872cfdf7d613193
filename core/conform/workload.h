/* core/conform/workload.h - an optimiser step's worth of made-up data for an algorithm under test.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_WORKLOAD_H
#define REIN_CORE_WORKLOAD_H

#include <rein/algorithm.h>
#include <stdbool.h>

/* `b` is the whole step as one batch. Every array is a guarded block of its own (guard.h) and is sealed
 * unless a function below is at work. advantage and return_ are what prepare() wrote. */
struct workload {
    struct rein_batch b;
    struct rein_needs needs;
    struct workload
        *mismatched; /* the rows of REIN_ROLE_KL, one a unit, that measure() is given in b's place; or NULL */
};

/* Rows of 0 to 7 tokens for one REIN_DATA_* bit. `masks`: with masked tokens, and with a margin for pairs. */
void workload_make(struct workload *w, const struct rein_needs *needs, uint32_t data, uint64_t seed, bool masks);
void workload_free(struct workload *w);

/* The given units in the given order, as a workload of its own with w's normalisers. */
void workload_select(const struct workload *w, const uint32_t *units, uint32_t n, struct workload *out);

/* The same units, the rows of each in the opposite order: a group has no first completion. */
void workload_turn(const struct workload *w, struct workload *out);

/* NaN into every float of a masked token. */
void workload_poison(struct workload *w);
/* Differences of 200 nats between log-probabilities, and scores, rewards and values of 1000. */
void workload_stretch(struct workload *w);

/* "d_logp[17] (row 4, its token 2)" for element i of derivative k. */
const char *workload_where(const struct workload *w, int k, uint32_t i, char *out, size_t size);

/* What a step came to. */
#define OUTCOME_METRICS 64
enum { D_LOGP, D_VALUE, D_ENTROPY, D_SCORE, D_COUNT };
extern const char *const outcome_names[D_COUNT]; /* "d_logp" ... */
struct outcome {
    rein_status status;
    double loss;
    float *d[D_COUNT]; /* NULL where not asked for; per token, d_score per row */
    uint32_t length[D_COUNT];
    struct rein_metrics list;
    struct rein_metric items[OUTCOME_METRICS];
};
void outcome_make(struct outcome *o, const struct workload *w);
void outcome_free(struct outcome *o);
/* The same bits in loss and derivatives? */
bool outcome_same(const struct outcome *a, const struct outcome *b);
bool outcome_finite(const struct outcome *o);
/* Largest difference of a derivative, relative to the largest value of its array. */
double outcome_distance(const struct outcome *a, const struct outcome *b);
/* Notes for people: where the two differ most, or what of one is not finite. `a` and `b` say what they are: "alone". */
void outcome_explain(const struct workload *w, const struct outcome *x, const char *a, const struct outcome *y,
                     const char *b);
void outcome_explain_finite(const struct workload *w, const struct outcome *o);
/* All metrics well-formed? */
bool outcome_metrics_sane(const struct outcome *o);
/* As people see it; false when there is none. */
bool outcome_metric(const struct outcome *o, const char *name, double *value);

/* prepare() on the whole workload. Does nothing unless the algorithm is on-policy. */
rein_status workload_prepare(const struct rein_algorithm_ops *ops, void *self, struct workload *w, uint32_t rollout);
/* measure() on the whole workload, and loss() on it with those sums (REIN_MAX_SUMS of them). */
rein_status workload_measure(const struct rein_algorithm_ops *ops, void *self, const struct workload *w, double *sums);
void workload_loss(const struct rein_algorithm_ops *ops, void *self, struct workload *w, const double *sums,
                   struct outcome *o);
/* measure() and loss() on micro-batches of `size` units each (0: all in one, in w's own arrays). */
void workload_step(const struct rein_algorithm_ops *ops, void *self, struct workload *w, uint32_t size,
                   struct outcome *o);

#endif
