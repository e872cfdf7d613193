/* core/pipeline/plan.h - which model is loaded for which stage, and what that takes.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_PLAN_H
#define REIN_CORE_PLAN_H

#include "base/buffer.h"
#include "pipeline/pipeline.h"

struct plan_model {
    const char *role;           /* "model", "reference", "critic", "reward" */
    const struct model_use *use;
    bool reward;
    bool passing;               /* frozen, in its file, and given back layer by layer as a rollout has gone through it */
    bool early;                 /* a reference that is asked about the data before the first step, and then let go */
    const char *with;           /* the model whose trunk it is a head on; NULL: it has its own */
    uint32_t heads;             /* score heads: members of an ensemble */
    uint64_t parameters;
    uint64_t bytes;             /* weights (mapped ones too), gradients, optimiser's state */
    struct model_memory memory; /* zero when it is on another's trunk */
};
struct plan_stage {
    const struct stage *stage;
    struct plan_model *models;
    size_t nmodels;
    uint64_t bytes;             /* of the models: an early reference and the optimiser's state take turns, and so do those
                                   that pass */
    uint64_t work;              /* of the largest micro-batch in the order of the run, or of rollouts at their longest */
};
struct origin;
struct plan {
    struct arena arena;
    struct origin *origins;     /* the tokenizers that were read: while it is there, models that are opened take them over */
    struct plan_stage *stages;
    size_t nstages;
    const struct plan_stage *largest;
    uint64_t program;           /* the program, its plugins, tokenizers and data: what this process took to find out */
};

/* All that a stage takes. */
static inline uint64_t plan_bytes(const struct plan *plan, const struct plan_stage *s) {
    return plan->program + s->bytes + s->work;
}

/* Reads every configuration and tokenizer, checks the tensors' names and shapes and all the data, and adds up; no weight
 * is read. Refuses a stage whose models alone exceed `limit` bytes, warns when the work does. */
int plan_create(const struct pipeline *p, uint64_t limit, struct plan *out, struct error *err);
void plan_free(struct plan *plan);

void plan_print(const struct plan *plan, uint64_t limit, struct buffer *out);
void plan_json(const struct plan *plan, const struct pipeline *p, uint64_t limit, struct buffer *out);

#endif
