/* core/train/run.h - a stage being run: what off-policy and on-policy training have in common.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_RUN_H
#define REIN_CORE_RUN_H

#include "train/average.h"
#include "train/learner.h"
#include "train/order.h"
#include "train/step.h"
#include "train/trainer.h"

#include <jansson.h>

/* Where the run stands: with the weights and the optimizer, all that a checkpoint must hold. */
struct position {
    uint64_t step;               /* optimiser steps done */
    uint64_t tokens;             /* that the model has read in training */
    uint64_t skipped, skipped_in_row; /* updates left out because a number was not finite */
    uint64_t eval_pending;       /* stopped between a step and its evaluation */
    uint64_t stopped;            /* an algorithm ended the stage */
    /* on-policy */
    uint64_t rollout;            /* the current one */
    uint64_t sampled;            /* it is there, scored and prepared */
    uint64_t epoch, minibatch;   /* next step within it */
    uint64_t episodes;           /* completions sampled */
};

struct run {
    const struct stage *stage;
    const struct stage_env *env;
    struct learner learners[STAGE_MAX_ALGORITHMS];
    size_t count, main;          /* main: the on-policy algorithm, else the first */
    struct dataset data[STAGE_MAX_ALGORITHMS], eval_data;
    struct samples samples[STAGE_MAX_ALGORITHMS], eval; /* samples[main] is the rollout when on-policy */
    struct order orders[STAGE_MAX_ALGORITHMS];
    struct trainer trainer;
    struct average *average;     /* of the policy's weights, or NULL */
    struct step step;
    struct step_result result;
    struct metrics rollout_metrics; /* of prepare(), repeated on each step of a rollout */
    double rollout_time;            /* seconds that sampling and scoring it took; since this process began, 0 before */
    uint64_t total, warmup;
    uint32_t epochs, micro;
    double lr, temperature;
    uint32_t max_tokens;
    struct position at;
    json_t *models;              /* fingerprint_models */
    bool begun;                  /* the sink knows of the stage */
    double clock;                /* when it was opened */
    bool own_peak;               /* peak memory is counted from there */
    /* evaluates and reports; set by off-policy or on-policy training */
    int (*evaluate)(struct run *r, struct error *err);
    void *loop;                  /* evaluate()'s own */
};

int run_open(const struct stage *s, const struct stage_env *env, struct run **out, struct error *err);
void run_close(struct run *r);
/* Takes up the newest checkpoint when asked to, and tells the sink that the stage begins. Call when everything
 * that can be refused has been. */
int run_begin(struct run *r, struct error *err);

/* What the loops fill in for one step. */
struct run_step {
    struct step_part parts[STAGE_MAX_ALGORITHMS];
    size_t count;
    double max_tokens;           /* 0: the longest row's */
    double epoch;                /* TRL's metric */
    uint32_t pass;               /* which pass over the data or the rollout, for after() */
    bool critic_only, compare_old, last;
};
/* One step with everything that comes after it but the checkpoint: update, metrics, after(). *stop receives REIN_STOP_*.
 * Counts the step. */
int run_one_step(struct run *r, const struct run_step *what, uint32_t *stop, struct error *err);
/* Evaluation and checkpoint, when they are due. The position must be that of the next step. */
int run_between_steps(struct run *r, struct error *err);
/* After a failure: when a signal was its cause, saves a checkpoint. Returns -1. */
int run_stopped(struct run *r, struct error *err);
/* After a failure between steps (sampling, rewards, evaluation, writing the models), where the weights are whole: saves a checkpoint whatever
 * its cause, unless there is no step to lose. Returns -1. */
int run_failed(struct run *r, struct error *err);
/* Evaluates a last time, and writes <output>/model and critic. */
int run_finish(struct run *r, struct error *err);

/* For the sink: values of an evaluation. */
int run_report_eval(struct run *r, const struct metrics *m, bool loss, double seconds, struct error *err);
double run_clock(void);

#endif
