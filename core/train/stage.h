/* core/train/stage.h - everything a stage of a pipeline is made of, resolved and checked, and running it.
 * SPDX-License-Identifier: MIT
 *
 * core/pipeline fills struct stage from YAML; core/train runs it and knows no YAML. The option tables of a
 * stage's sections are here, beside the structs they fill.
 */
#ifndef REIN_CORE_STAGE_H
#define REIN_CORE_STAGE_H

#include "model/model.h"
#include "plugin/loader.h"
#include "plugin/params.h"
#include "text/dataset.h"

#include <rein/rein.h>

/* train: */
struct train_config {
    int64_t epochs;          /* passes over the data, or over each rollout; 0: the algorithm's default, else 1 */
    int64_t steps;           /* optimiser steps; 0: as many as the epochs give (off-policy), required on-policy */
    int64_t batch;           /* off-policy: units of an optimiser step */
    int64_t micro_batch;     /* units computed at once; 0: batch (memory decides nothing silently) */
    int64_t minibatch;       /* on-policy: completions of an optimiser step; 0: the whole rollout */
    double lr;               /* at its highest */
    int64_t schedule;        /* SCHEDULE_* */
    double warmup;           /* share of the steps */
    double beta1, beta2, eps, weight_decay;
    uint8_t weight_decay_all;
    double max_grad_norm;    /* 0: no clipping; for each separate model */
    double ema;              /* decay of a moving average of the policy; 0: none */
    int64_t eval_every;      /* steps; 0: at the end only */
    uint8_t shuffle;
    int64_t seed;            /* -1: the pipeline's */
};
enum { SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_CONSTANT };

/* rollout: (on-policy) */
struct rollout_config {
    int64_t prompts;         /* per rollout */
    int64_t group;           /* completions of each prompt */
    int64_t max_tokens;      /* 0: the algorithm's default */
    double temperature;      /* 0: the algorithm's default */
    struct rein_list stop;   /* strings that end a completion */
    int64_t slots;           /* rows decoded at once; 0: all */
    int64_t samples;         /* completions written to samples.jsonl per rollout */
    /* named only to be refused with a reason: they would make the ratio differ from 1 */
    int64_t top_k;
    double top_p;
};

/* data: */
struct data_config {
    const char *train, *eval;      /* as written; resolved paths in struct stage */
    const char *template;          /* as named; NULL: not named */
    const struct chat_template *chat; /* named or spelled out; NULL: the tokenizer's own for message lists, none for strings */
    int64_t max_length;            /* 0: the model's context */
    uint8_t eos;
    int64_t limit;                 /* first n units only; 0: all */
};

/* checkpoint: */
struct checkpoint_config {
    int64_t every;                 /* optimiser steps; 0: only when stopped by a signal */
    int64_t keep;
};

extern const struct params train_params, rollout_params, data_params, checkpoint_params;

/* One use of a model in a stage. */
struct model_use {
    bool present;
    const char *from;              /* the name it goes by: "sft", "base", or the path as written */
    struct model_source source;    /* path of an earlier stage's output: does not exist before that stage ran */
    bool share;                    /* critic: {share: policy} */
    bool checkpointing;            /* of a model that trains: its layers are computed again in the backward pass */
    double dropout;                /* of a reward model in training */
    bool bootstrap;                /* each of its score heads learns from a draw of the data of its own */
    double lr;                     /* of a critic of its own */
    int64_t warmup_steps;          /* critic: critic-only steps first */
    const struct node *node;       /* for messages */
};

struct stage_algorithm {
    const struct rein_plugin *plugin;
    const void *config;
    struct params_marks marks;
    double weight;
    const char *data;              /* resolved path of its own data (mixed loss), or NULL: the stage's */
    struct rein_needs needs;       /* describe()d while checking the pipeline */
};
struct stage_reward {
    const struct rein_plugin *plugin;
    const void *config;
    struct params_marks marks;
    double weight;
    bool normalise;                /* scores of a rollout to mean 0 and deviation 1 */
    double clip;                   /* then limited to plus and minus this; 0: no limit */
    const char *name;              /* `name:` or the plugin's */
    uint32_t members;              /* of its family, found while checking the pipeline */
};
/* A model that a reward source names through a MODEL option. */
struct stage_scored {
    const char *name;              /* what the option says */
    uint32_t dtype;                /* what the reward's own `dtype` says, 0 for nothing */
    struct model_use use;
};

enum { STAGE_MAX_ALGORITHMS = 4, STAGE_MAX_REWARDS = 16 };

struct stage {
    const char *name;
    const struct node *node;
    struct stage_algorithm algorithms[STAGE_MAX_ALGORITHMS];
    size_t nalgorithms;            /* the first is the main one; at most one is on-policy */
    struct model_use model, reference, critic;
    struct stage_reward rewards[STAGE_MAX_REWARDS];
    size_t nrewards;
    struct stage_scored scored[STAGE_MAX_REWARDS];
    size_t nscored;
    const struct node *reward_backend_node, *reward_device_node; /* the backend of those models and its device, or NULL */
    int64_t reward_device;
    struct backend *reward_backend;         /* once it is opened */
    struct train_config train;
    struct rollout_config rollout;
    struct data_config data;
    struct checkpoint_config checkpoint;
    const char *train_path, *eval_path; /* resolved */
    bool on_policy;
    const char *output;            /* <run>/<stage> */
};

/* What all stages of a run share. */
struct stage_env {
    struct backend *backend;
    uint64_t seed;
    bool resume;                   /* continue from the newest valid checkpoint of the stage, if there is one */
    const struct report_sink *sink; /* report/sink.h */
    int (*accepted)(void *ctx, struct error *err); /* a stage begins or goes on: it was not refused; may be NULL */
    void *accepted_ctx;
};

/* Trains and writes <output>/model (and critic). 0; -1 with ERROR_STOPPED after a saved checkpoint when a signal came. */
int stage_run(struct stage *s, const struct stage_env *env, struct error *err);
/* Is the reference asked after every rollout? If not, only once at the start, about the data; then it is let go. */
bool stage_keeps_reference(const struct stage *s);
/* True when <output>/model is complete: a resumed run skips the stage. */
bool stage_done(const struct stage *s);
/* A micro-batch at its largest: rows that the model computes (what sequences begin with alike counts once), tokens that it
 * predicts. */
struct stage_load {
    uint64_t rows, tokens;
    uint32_t sequences;
};
/* How much goes through the models at once; completions of rollouts are as long as they may be. */
struct stage_extent {
    struct stage_load trained, passing; /* with a backward pass, and without one; the first counts for both */
    uint64_t rollout;              /* rows of a whole rollout */
    uint32_t prompt;               /* longest prompt of a rollout */
    uint32_t eval_prompts, eval_prompt; /* of an evaluation that samples: how many, and the longest */
};
uint32_t stage_max_tokens(const struct stage *s); /* of completions that it samples */
/* Checks the data against the models without running anything: file:line of every refusal. */
int stage_check_data(const struct stage *s, const struct model_config *c, const struct tokenizer *t, uint64_t seed,
                     struct stage_extent *extent, struct error *err);

#endif
