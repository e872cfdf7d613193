/* core/model/pass.h - running a trunk over packed sequences, forward and backward.
 * SPDX-License-Identifier: MIT
 *
 * Use:  pass_forward (keep) -> pass_logprobs / pass_scores, any of them, on views of the same trunk
 *       -> pass_logprobs_backward / pass_scores_backward (they add to the hidden gradient and head gradients)
 *       -> pass_backward (once).
 * A pass owns what it keeps for a backward pass, which grows to the largest batch seen, and takes the rest from its backend's
 * scratch: after a forward pass that keeps nothing, heads are read before anybody else's turn. What sequences of a batch begin with alike
 * is computed once (packing.h); rows are named by their place in the batch all the same.
 */
#ifndef REIN_CORE_PASS_H
#define REIN_CORE_PASS_H

#include "model/model.h"

#include <rein/reward.h>

/* Ragged: sequence s is ids[offset[s] .. offset[s+1]], at positions 0, 1, 2 ... */
struct packed {
    uint32_t count;
    const uint32_t *offset;   /* [count + 1] */
    const int32_t *ids;
};

struct pass;

#define PASS_SITE_ADAPTER 0x100u /* beside REIN_SITE_*: dropout of what an adapter reads (PEFT's lora_dropout) */

/* Dropout or noise. A sequence draws by its key and by the positions in it, whatever else is in the batch. */
struct pass_perturb {
    uint32_t kind, site;      /* REIN_PERTURB_*, REIN_SITE_* or PASS_SITE_ADAPTER */
    double rate;
    const uint64_t *keys;     /* a key a sequence */
};

int pass_create(struct model *m, struct pass **out, struct error *err); /* for the trunk and adapter of m */
void pass_free(struct pass *p);
bool pass_runs(const struct pass *p, const struct model *m); /* is it over m's trunk and adapter? */
uint64_t pass_bytes(const struct pass *p); /* of workspace of its own held now */

/* Makes room before the first batch. Rows of a batch whose activations are kept and of one whose are not, and how many a
 * language model head and other heads read at once. */
struct pass_size {
    uint64_t kept, passing;
    size_t targets, scores, heads;
    bool over; /* every step is one forward pass and one back: gradients that lodge may lie over activations */
};
/* The bytes that this takes: of the pass's own, and of its backend's scratch, which all passes share. trained: activations are
 * kept; recompute: as pass_recompute. UINT64_MAX: beyond counting. */
void pass_size_bytes(const struct model_config *c, const struct pass_size *size, bool trained, bool recompute,
                     uint64_t *own, uint64_t *scratch);
int pass_reserve(struct pass *p, const struct pass_size *size, struct error *err);

/* Memory for gradients that lodge with the pass (the first one over such a trunk) and have none yet. */
int pass_lodge(struct pass *p, struct error *err);

/* From now on, until it is called with NULL: pass_forward (REIN_SITE_ALL, REIN_SITE_EMBEDDING) and pass_scores (the head's
 * input in REIN_SITE_ALL and REIN_SITE_HEAD; noise on the head's weights) are perturbed. The keys are those of the `count`
 * sequences of the next, or of the last, pass_forward; they are copied. */
int pass_perturb(struct pass *p, const struct pass_perturb *how, uint32_t count, struct error *err);
/* Sequences that begin with at least so many ids alike share their computation; 0: none do. Rows of a perturbed trunk never
 * do, since each draws for itself. */
enum { PASS_SHARE_LEAST = 8 }; /* unless told otherwise */
void pass_share(struct pass *p, uint32_t least);
/* Gradient checkpointing: keep what enters each layer only, and compute its inside again in the backward pass. The same
 * kernels in the same order give the same bits. */
void pass_recompute(struct pass *p, bool on);
/* On: what is run from now on is the last that needs these weights for a while. Those that lie in a mapped file are given
 * back, each layer's as soon as it is through, so that the model is never in memory as a whole; off: the rest of them.
 * They are read from the file again when they are used, from the system's cache of it as long as that has room. */
void pass_leave(struct pass *p, bool on);
/* keep: remember activations for pass_backward. */
int pass_forward(struct pass *p, const struct packed *batch, bool keep, struct error *err);
/* Would pass_forward (keep) of these sequences leave what the last one did, and is that still there for a backward pass?
 * Changes of weights that nobody told of (model_touch) are not seen; a trunk that is perturbed, then or now, is not held. */
bool pass_holds(const struct pass *p, const struct packed *batch);

/* Positions to predict from: targets[i] is predicted by the hidden state of packed row rows[i] (the token
 * before it). logp, entropy: host arrays [n]; entropy and best may be NULL. Divides logits by temperature. */
struct pass_targets {
    uint32_t n;
    const int32_t *rows;      /* [n] increasing */
    const int32_t *targets;   /* [n] token ids */
    double temperature;
};
int pass_logprobs(struct pass *p, const struct pass_targets *t, float *logp, float *entropy, int32_t *best,
                  struct error *err);
/* With the same targets as the last pass_logprobs. d_entropy may be NULL. Adds to gradients of lm_head. */
int pass_logprobs_backward(struct pass *p, const struct pass_targets *t, const float *d_logp, const float *d_entropy,
                           struct error *err);
/* Every score head of view `m` at packed rows[i]; out is a host array [n][model_heads(m)]. */
int pass_head_scores(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, float *out, struct error *err);
/* The score (the mean over the heads) or value at packed rows[i]; out is a host array [n]. */
int pass_scores(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, float *out, struct error *err);
/* d_out: [n][model_heads(m)] */
int pass_scores_backward(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, const float *d_out,
                         struct error *err);
/* Through the trunk; adds to its gradients. */
int pass_backward(struct pass *p, struct error *err);
/* The final normed hidden states [tokens][hidden], for tests. Host copy. */
int pass_hidden(struct pass *p, float *out, struct error *err);

#endif
