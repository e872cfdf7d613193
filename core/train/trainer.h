/* core/train/trainer.h - the models of a stage, the passes over them and what moves their weights.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_TRAINER_H
#define REIN_CORE_TRAINER_H

#include "model/pass.h"
#include "train/batch.h"
#include "train/optimizer.h"
#include "train/stage.h"

enum { OWNER_ACTOR, OWNER_CRITIC };

struct trainer {
    struct backend *backend;
    struct model *actor, *critic, *reference; /* the last two may be NULL */
    struct pass *actor_pass, *critic_pass, *reference_pass; /* critic_pass: NULL when it shares the actor's trunk */
    struct optimizer *optimizer;    /* the actor's, and a sharing critic's head */
    struct optimizer *critic_optimizer; /* of a separate critic, else NULL */
    bool shared;
};

/* Opens the models that the stage names and `needs` (REIN_NEED_*) asks for. */
int trainer_open(const struct stage *s, const struct stage_env *env, uint32_t needs, struct trainer *out,
                 struct error *err);
/* Gives the reference's memory back; before the optimizers are there, so that they take its place. */
void trainer_drop_reference(struct trainer *t);
/* The optimizers' state; lr is the stage's. Before the first step. */
int trainer_open_optimizers(const struct stage *s, double lr, struct trainer *t, struct error *err);
void trainer_close(struct trainer *t);

/* Weights changed: backends may have packed copies. */
void trainer_touch(struct trainer *t);

/* Runs the actor (and the critic) over a batch and fills what `needs` names: logp and entropy, score, value. */
struct trainer_forward {
    uint32_t needs;
    double temperature;
    bool keep;                      /* for a backward pass */
    bool best;                      /* the most likely ids too */
    const struct pass_perturb *perturb; /* of the actor; NULL: none. A key for each row */
};
int trainer_forward(struct trainer *t, struct batch *b, const struct trainer_forward *how, struct error *err);
/* Adds the gradients of batch->d_*; critic_only: nothing but the critic's. */
int trainer_backward(struct trainer *t, struct batch *b, const struct trainer_forward *how, bool critic_only,
                     struct error *err);

/* Log-probabilities of all samples under `pass`'s model, `chunk` units at a time. */
int trainer_logprobs(struct pass *pass, const struct samples *s, uint32_t chunk, double temperature, float *out,
                     struct error *err);
/* The critic's values of all samples. keep: a step over all of them at once comes next, before any weight changes, and
 * goes on from this pass instead of making it again. */
int trainer_values(struct trainer *t, const struct samples *s, uint32_t chunk, bool keep, float *out,
                   struct error *err);

#endif
