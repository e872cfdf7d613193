/* core/train/data.h - the data sets of a stage.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_DATA_H
#define REIN_CORE_DATA_H

#include "train/samples.h"
#include "train/stage.h"

/* What a data set must be like for one of the stage's algorithms. */
struct data_request {
    const struct stage *stage;
    const struct rein_needs *needs;
    const struct model_config *config;
    const struct tokenizer *tokenizer;  /* may be NULL: pre-tokenised data only */
    bool strict;                        /* checking: a prompt that is too long is refused, not dropped */
};

/* A rollout's max_tokens and temperature, after the algorithm's defaults. */
uint32_t data_max_tokens(const struct stage *s, const struct rein_needs *needs);
double data_temperature(const struct stage *s, const struct rein_needs *needs);
/* The path of an algorithm's training data. */
const char *data_path(const struct stage *s, const struct stage_algorithm *a);

int data_load(const struct data_request *r, const char *path, struct dataset *out, struct error *err);
/* Data sets of a mixed loss are shuffled apart: the seed of the next one. */
#define DATA_SEED_STEP 0x9E3779B97F4A7C15ull
uint32_t data_epochs(const struct stage *s, const struct rein_needs *needs);
/* Units computed at once: all of a step, unless told otherwise. */
uint32_t data_micro(const struct stage *s);
/* Loads and drops every data set of the stage: all refusals, nothing kept. */
int data_check(const struct stage *s, const struct model_config *c, const struct tokenizer *t, uint64_t seed,
               struct stage_extent *extent, struct error *err);

#endif
