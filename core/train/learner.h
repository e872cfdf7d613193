/* core/train/learner.h - one opened algorithm of a stage.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_LEARNER_H
#define REIN_CORE_LEARNER_H

#include "base/buffer.h"
#include "plugin/host.h"
#include "train/batch.h"
#include "train/metrics.h"
#include "train/stage.h"

struct learner {
    const struct stage_algorithm *spec;
    const struct rein_algorithm_ops *ops;
    struct host_instance *host;
    void *self;
    struct rein_needs needs;
    char prefix[METRICS_NAME];     /* of its metrics: "" for the main algorithm, "sft/" for one mixed in, "sft-2/" ... */
};

/* `nth`: 0 for the main algorithm, else which of those of its name that are mixed in it is. */
int learner_open(const struct stage_algorithm *spec, unsigned nth, struct learner *out, struct error *err);
void learner_close(struct learner *l);
bool learner_needs(const struct learner *l, uint32_t need);
bool learner_samples(const struct learner *l); /* on-policy: it learns from the model's own completions */

int learner_prepare(struct learner *l, struct rein_experience *e, struct error *err);
int learner_measure(struct learner *l, const struct rein_batch *b, double *sums, struct error *err);
/* Zeroes the derivative arrays that the algorithm may write and lets it fill them. */
int learner_loss(struct learner *l, struct batch *b, struct rein_metrics *metrics, double *loss, struct error *err);
int learner_after(struct learner *l, const struct rein_step *s, uint32_t *stop, struct error *err);

/* The algorithm's own state as bytes (none when it is stateless), for a checkpoint. */
int learner_save(struct learner *l, struct buffer *out, uint32_t *version, struct error *err);
int learner_load(struct learner *l, const char *data, size_t length, uint32_t version, struct error *err);

#endif
