/* core/train/fingerprint.h - what must be the same for a run to go on as if it had never stopped.
 * SPDX-License-Identifier: MIT
 *
 * A JSON object of a run, kept in its checkpoints. A key that the user wrote is named by its place in the stage
 * ("train.ema", "model.dtype"), so that a refusal says where. Rates, schedules and what is only reported may change.
 */
#ifndef REIN_CORE_FINGERPRINT_H
#define REIN_CORE_FINGERPRINT_H

#include "train/run.h"

/* What the stage's models are: their files (model_sum), dtype, what is frozen and the adapter. Reads a little of the files;
 * once, before the first step. The caller owns *out. */
int fingerprint_models(const struct stage *s, json_t **out, struct error *err);
/* The whole, of a run that is open; NULL without memory. */
json_t *fingerprint(const struct run *r);
/* Refuses, at its place in the pipeline, what is not as it was in the checkpoint `path`. */
int fingerprint_check(const struct run *r, const json_t *was, const char *path, struct error *err);

#endif
