/* core/model/pass_state.h - what a pass holds, for pass.c and trace.c alone.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_PASS_STATE_H
#define REIN_CORE_PASS_STATE_H

#include "model/packing.h"
#include "model/pass.h"
#include "model/transformer.h"

/* Device arrays for n gathered rows, in one allocation. */
struct rows {
    void *slab;
    size_t capacity, heads;
    uint64_t bytes;
    float *x, *dx;        /* [n][hidden] */
    float *out, *d_out;   /* [n][heads] */
    float *lse, *entropy; /* [n] */
    float *d_entropy;     /* [n] */
    int32_t *best;        /* [n] */
};

struct pass {
    struct trunk *trunk;
    struct lora *lora;    /* the adapter of the views that it runs, or NULL */
    struct work work;     /* of the last forward pass; what is not kept lies in the backend's scratch */
    struct acts *layers;
    void *kept;
    size_t kept_bytes;
    bool lodges, over; /* the trunk's gradients lie with this pass; in kept, over the activations */
    void *gradients;   /* where they lie otherwise */
    uint64_t
        planned; /* rows that pass_reserve made it for; what grows beyond is another run's to repeat, and not counted */
    bool forward;         /* there was one, and no backward pass since */
    bool reached;         /* by a gradient since then */
    uint64_t weights;     /* those that it went through: see pass_holds */
    bool recompute;       /* keep layers' inputs only */
    bool leaving;         /* pass_leave */
    bool entropy;         /* the last pass_logprobs computed it */
    uint32_t targets;     /* how many it had */
    struct flow flow;
    struct packing packing;
    uint32_t least;       /* ids that sequences must begin with alike to be computed together */
    int32_t *read;        /* computed rows that the head in work reads */
    size_t read_capacity;
    struct pass_perturb perturb; /* kind REIN_PERTURB_NONE: off. keys: per computed row, made for each use */
    uint64_t *sequence_keys, *keys, *head_keys;
    int32_t *head_positions;
    size_t sequence_capacity, keys_capacity, head_capacity, head_positions_capacity;
    struct rows head, score; /* apart, since lse and entropy wait for the backward pass */
};

/* What a forward pass keeps that shall, or shall not, keep what a backward pass reads. */
enum keep pass_kept_by(const struct pass *p, bool keep);
/* Memory for n rows; what was kept is lost when it grows. */
int pass_reserve_kept(struct pass *p, uint64_t n, enum keep keep, struct error *err);
int pass_rows_reserve(struct pass *p, struct rows *r, size_t n, size_t heads, struct error *err);
void pass_rows_free(struct rows *r, struct backend *b);
/* Rows that pass_reserve made room for when all of their activations are kept; 0 where they are not to be. */
uint64_t pass_planned(const struct pass *p);
/* What p->flow is from now on: these sequences. */
int pass_take_batch(struct pass *p, const struct packed *batch, struct error *err);
/* Arrays for the rows of p->flow, in scratch that this pass now holds. */
int pass_lay_out(struct pass *p, enum keep keep, struct error *err);
/* All of p->flow has gone through the trunk: the heads can be read. */
int pass_ready(struct pass *p, struct error *err);

#endif
