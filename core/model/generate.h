/* core/model/generate.h - sampling with a KV cache; all prompts in one batch, finished rows refilled.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_GENERATE_H
#define REIN_CORE_GENERATE_H

#include "model/pass.h"

struct generate_request {
    uint32_t prompts;             /* how many */
    const uint32_t *offset;       /* [prompts + 1] into ids */
    const int32_t *ids;           /* each prompt has at least one token */
    uint32_t group;               /* completions of each prompt, >= 1; its prompt is computed once */
    uint32_t max_tokens;
    double temperature;           /* 0: greedy */
    double top_p;                 /* 1: all */
    int64_t top_k;                /* 0: all */
    const int32_t *eos;           /* [neos]; a completion ends with (and includes) any of them */
    uint32_t neos;
    bool ignore_eos;              /* go on to max_tokens */
    const char *const *stop;      /* [nstop] strings: end when one appears in the completion's text */
    uint32_t nstop;
    uint64_t seed;
    uint32_t step;                /* token t of completion c draws rng_uniform(seed, RNG_SAMPLE, step, c, t) */
    struct model *values;         /* NULL, or a view of m with one score or value head: its values are wanted too */
    struct pass *trace;  /* NULL, or a pass of m that then holds the prompts with their completions, in their order,
                          * as after pass_forward; pass_holds says whether it does (trace.h says when) */
    uint32_t slots;               /* rows decoded at once; 0: as many as there are (memory permitting) */
    /* called for each sampled token when not NULL (streaming); return nonzero to stop everything */
    int (*progress)(void *ctx, uint32_t completion, int32_t id, float logp);
    void *progress_ctx;
};

/* Completion c belongs to prompt c / group. */
struct generation {
    uint32_t count;               /* prompts * group */
    uint32_t *offset;             /* [count + 1] */
    int32_t *ids;                 /* EOS included when met */
    float *logp;                  /* full vocabulary, at the temperature (at 1 when greedy) */
    float *value;                 /* what the head of `values` says before each token is drawn; NULL without */
    uint8_t *ended;               /* 1: EOS or a stop string, not cut off by max_tokens */
};

int generate(struct model *m, const struct generate_request *r, struct generation *out, struct error *err);
/* Room for requests like r whose prompts have at most `longest` tokens; of r only prompts, group, max_tokens and slots
 * count. */
int generate_reserve(struct model *m, const struct generate_request *r, uint32_t longest, struct error *err);
/* How much of the backend's scratch that is; UINT64_MAX: beyond counting. */
uint64_t generate_bytes(const struct model_config *c, const struct generate_request *r, uint32_t longest);
void generation_free(struct generation *g);

#endif
