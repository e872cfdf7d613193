/* core/train/rollout.h - prompts in, sampled completions out, as ids and as text.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_ROLLOUT_H
#define REIN_CORE_ROLLOUT_H

#include "model/model.h"
#include "report/sink.h"
#include "train/samples.h"
#include "train/stage.h"

struct rollout_request {
    struct model *actor;
    struct model *critic;         /* a value head on the actor's trunk, whose values are wanted too; or NULL */
    struct pass *trace;           /* the actor's, to go on from what it computes here (generate.h); or NULL */
    const struct stage *stage;
    const struct dataset *prompts;
    const uint32_t *units;        /* [count] of the data set */
    uint32_t count, group;
    uint32_t max_tokens;
    double temperature;
    uint64_t seed;
    uint32_t step;                /* number of the rollout: the draws' own coordinate */
    const struct report_sink *sink; /* progress; may be NULL */
};

/* Row r answers prompt r / group. */
struct rollout {
    struct samples samples;       /* with logp_old, ended, and value_old with a critic; every row a unit */
    uint32_t prompts, group;
    char **prompt, **completion;  /* [rows] text */
    char **messages;              /* [rows] JSON with the completion as last turn, or NULL elements */
    const char **columns;         /* [rows] borrowed from the data set */
};

/* -1 with ERROR_STOPPED when a signal came while sampling. */
int rollout_sample(const struct rollout_request *q, struct rollout *out, struct error *err);
void rollout_free(struct rollout *r);

#endif
