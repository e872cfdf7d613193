/* core/model/sampler.h - what generate.c works with: slots, the cache, and where all of it lies.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_SAMPLER_H
#define REIN_CORE_SAMPLER_H

#include "base/buffer.h"
#include "model/generate.h"
#include "model/packing.h"
#include "model/trace.h"

enum { PREFILL_TOKENS = 1024 }; /* of prompts that are computed together */

/* Where a prompt's keys and values lie while any of its completions runs. */
struct place {
    bool taken;
    uint32_t prompt, unfinished; /* completions of its group that have not ended */
};

struct slot {
    bool running;
    uint32_t completion, place, count; /* tokens drawn so far */
    struct buffer text;                /* since the completion's start, when there are stop strings */
};

struct sampler {
    struct trunk *trunk;
    struct lora *lora;
    struct backend *backend;
    const struct generate_request *request;
    struct work work;
    float *work_memory;  /* behind everything else in the backend's scratch */
    struct trace trace;
    struct kv_cache cache;
    /* rows of the cache: nplaces * prompt_rows, then nslots * slot_rows */
    uint32_t nplaces, nslots, prompt_rows, slot_rows;
    uint64_t prompt_tokens; /* of all prompts */
    struct place *places;
    struct slot *slots;
    uint32_t next; /* completion to be started */
    bool stopped;
    float *prompt_hidden; /* device [nplaces][hidden]: at each prompt's last token */
    float *first_hidden;  /* device [nslots][hidden] */
    uint8_t *banned;      /* [vocabulary] ids that no token has, or NULL */
    int32_t *drawn_ids;   /* device [nslots] */
    float *drawn_logp;    /* device [nslots] */
    float *drawn_value;   /* device [nslots] */
    /* host, one element a row of a batch */
    int32_t *ids, *positions, *targets, *out_ids, *rows;
    struct rein_segment *segments;
    struct cache_run *runs; /* two a row */
    double *u;
    float *out_logp, *out_value;
    size_t batch_capacity;
    uint32_t *starts;       /* [nplaces + 1] of prompts that are computed together */
    struct packing packing; /* of them */
    uint32_t *active; /* [nslots]: the slots that are the rows of the current batch */
    /* results, at limit offsets until they are packed */
    uint64_t *begin;  /* [count + 1] */
    uint32_t *length; /* [count] */
    int32_t *result_ids;
    float *result_logp;
    float *result_value; /* NULL when no values are wanted */
    uint8_t *ended;
};

static inline uint32_t prompt_length(const struct generate_request *r, uint32_t prompt) {
    return r->offset[prompt + 1] - r->offset[prompt];
}

/* Everything on the device is in the backend's scratch, which stays from one generation to the next. */
int sampler_open(struct sampler *d, uint32_t count, struct error *err);
void sampler_free(struct sampler *d);
/* Host arrays for a batch of n rows. */
int sampler_reserve(struct sampler *d, size_t n, struct error *err);
/* f through the trunk; d->work.hidden has its result. */
int sampler_run(struct sampler *d, const struct flow *f, struct error *err);

#endif
