/* plugins/common/scored.h - reward sources that score by a reward model of the pipeline.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_COMMON_SCORED_H
#define REIN_COMMON_SCORED_H

#include <rein/reward.h>

/* The host's scorer; NULL, and the reason told, when it has none. For create(). */
const struct rein_scorer_1 *scored_open(const struct rein_host *host);
/* How many heads the model has. Refused when `standardise` (the option of that name) is asked for and it cannot be. */
rein_status scored_describe(const struct rein_host *host, const struct rein_scorer_1 *scorer, const char *model,
                            uint32_t standardise, uint32_t *heads);

/* K draws of one model's score: what rm-dropout and rm-perturb have in common. */
struct draw_options {
    const char *model;
    int64_t samples;
    double rate;
};
#define DRAW_ROWS(rate_default, rate_max, rate_doc)                                                                    \
    {.name = "model",                                                                                                  \
     .type = REIN_PARAM_MODEL,                                                                                         \
     .flags = REIN_PARAM_REQUIRED,                                                                                     \
     .offset = offsetof(struct config, draws.model),                                                                   \
     .doc = "The reward model: a stage that trained one, or a model with a score head."},                              \
        {.name = "samples",                                                                                            \
         .type = REIN_PARAM_INT,                                                                                       \
         .offset = offsetof(struct config, draws.samples),                                                             \
         .dflt = "8",                                                                                                  \
         .min = 1,                                                                                                     \
         .max = 1024,                                                                                                  \
         .doc = "Scores of each completion, the members of the family."},                                              \
    {                                                                                                                  \
        .name = "rate", .type = REIN_PARAM_REAL, .offset = offsetof(struct config, draws.rate), .dflt = rate_default,  \
        .min = 0, .max = rate_max, .doc = rate_doc                                                                     \
    }

rein_status draws_create(const struct rein_host *host, const struct draw_options *o, uint32_t perturb, uint32_t site,
                         void **self);
void draws_destroy(void *self);
rein_status draws_members(void *self, uint32_t *k);
rein_status draws_score(void *self, const struct rein_completions *c, float *family);

#endif
