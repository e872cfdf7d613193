/* SPDX-License-Identifier: MIT */
#include "train/stage.h"

#include "base/file.h"
#include "train/data.h"
#include "train/offpolicy.h"
#include "train/onpolicy.h"
#include "train/run.h"

#include <stdlib.h>

static const char *const schedules[] = {"linear", "cosine", "constant", NULL};

#define TRAIN(field, t) .name = #field, .type = REIN_PARAM_##t, .offset = offsetof(struct train_config, field)
static const struct rein_param train_rows[] = {
    {TRAIN(epochs, INT), .min = 0, .max = 1e6,
     .doc = "Passes over the data, or over each rollout; left out, the algorithm's own default, else 1."},
    {TRAIN(steps, INT), .min = 0, .max = 1e9, .unit = "steps",
     .doc = "Optimiser steps; left out, as many as the epochs give. Needed where the model samples its own data."},
    {TRAIN(batch, INT), .dflt = "8", .min = 1, .max = 1e6, .unit = "rows",
     .doc = "Completions, pairs or lists of an optimiser step, where the data is given; beside one that samples, of each other one."},
    {TRAIN(micro_batch, INT), .dflt = "0", .min = 0, .max = 1e6, .unit = "rows",
     .doc = "How many of them are computed at once: less memory, the same result; 0 for all."},
    {TRAIN(minibatch, INT), .min = 0, .max = 1e6, .unit = "completions",
     .doc = "Completions of an optimiser step, where the model samples its own data; left out, the whole rollout."},
    {TRAIN(lr, REAL), .min = 0, .max = 100,
     .doc = "Learning rate at its highest; left out, the algorithm's own default."},
    {TRAIN(schedule, CHOICE), .dflt = "linear", .choices = schedules,
     .doc = "The learning rate after the warm-up: down to 0 in a line or half a cosine, or constant."},
    {TRAIN(warmup, REAL), .dflt = "0", .min = 0, .max = 1,
     .doc = "Share of the steps in which the learning rate rises from 0."},
    {TRAIN(beta1, REAL), .dflt = "0.9", .min = 0, .max = 0.9999999, .flags = REIN_PARAM_ADVANCED,
     .doc = "AdamW's memory of the gradient."},
    {TRAIN(beta2, REAL), .dflt = "0.999", .min = 0, .max = 0.9999999, .flags = REIN_PARAM_ADVANCED,
     .doc = "AdamW's memory of the squared gradient."},
    {TRAIN(eps, REAL), .dflt = "1e-8", .min = 0, .max = 1, .flags = REIN_PARAM_ADVANCED,
     .doc = "Added to AdamW's denominator, outside the root."},
    {TRAIN(weight_decay, REAL), .dflt = "0", .min = 0, .max = 10, .doc = "Decoupled weight decay."},
    {TRAIN(weight_decay_all, BOOL), .dflt = "false", .flags = REIN_PARAM_ADVANCED,
     .doc = "Decay biases and norm weights too."},
    {TRAIN(max_grad_norm, REAL), .dflt = "1", .min = 0, .max = 1e9,
     .doc = "Each model's gradient is scaled down to this norm; 0 for no limit."},
    {TRAIN(ema, REAL), .dflt = "0", .min = 0, .max = 0.9999999,
     .doc = "Keep a moving average of the model with this decay (0.992, say), written beside it; 0 for none."},
    {TRAIN(eval_every, INT), .dflt = "0", .min = 0, .max = 1e9, .unit = "steps",
     .doc = "Evaluate each time this many steps are done, and at the end; 0 for the end only."},
    {TRAIN(shuffle, BOOL), .dflt = "true", .doc = "A new order of the rows in each epoch, from the seed."},
    {TRAIN(seed, INT), .dflt = "-1", .min = -1, .max = 9e18,
     .doc = "Seed of this stage: order of rows, new score head, sampling; -1 takes the pipeline's."},
    {.name = NULL},
};
const struct params train_params = {"train", train_rows, sizeof(train_rows[0]), sizeof(struct train_config)};

#define ROLLOUT(field, t) .name = #field, .type = REIN_PARAM_##t, .offset = offsetof(struct rollout_config, field)
static const struct rein_param rollout_rows[] = {
    {ROLLOUT(prompts, INT), .dflt = "64", .min = 1, .max = 1e6, .doc = "Prompts of a rollout."},
    {ROLLOUT(group, INT), .dflt = "1", .min = 1, .max = 1e4, .doc = "Completions sampled for each prompt."},
    {ROLLOUT(max_tokens, INT), .min = 0, .max = 1e6, .unit = "tokens",
     .doc = "Completions are cut off at this length; left out, the algorithm's own default."},
    {ROLLOUT(temperature, REAL), .min = 0, .max = 100,
     .doc = "Sampling temperature, by which training divides too; left out, the algorithm's own default."},
    {ROLLOUT(stop, STRING | REIN_PARAM_LIST), .doc = "Texts that end a completion."},
    {ROLLOUT(slots, INT), .dflt = "0", .min = 0, .max = 1e6, .unit = "rows", .flags = REIN_PARAM_ADVANCED,
     .doc = "Rows sampled at once: less memory for the cache; 0 for all."},
    {ROLLOUT(samples, INT), .dflt = "8", .min = 0, .max = 1e6,
     .doc = "Completions of each rollout that are written to samples.jsonl."},
    {ROLLOUT(top_k, INT), .dflt = "0", .min = 0, .max = 1e9, .flags = REIN_PARAM_ADVANCED,
     .doc = "Must stay 0: sampling from a part of the vocabulary would not be the policy that is trained."},
    {ROLLOUT(top_p, REAL), .dflt = "1", .min = 0, .max = 1, .flags = REIN_PARAM_ADVANCED,
     .doc = "Must stay 1, for the same reason."},
    {.name = NULL},
};
const struct params rollout_params = {"rollout", rollout_rows, sizeof(rollout_rows[0]), sizeof(struct rollout_config)};

#define DATA(field, t) .name = #field, .type = REIN_PARAM_##t, .offset = offsetof(struct data_config, field)
static const struct rein_param data_rows[] = {
    {DATA(train, STRING), .flags = REIN_PARAM_REQUIRED, .doc = "JSONL file (plain or gzip) to learn from."},
    {DATA(eval, STRING), .doc = "JSONL file to evaluate on."},
    {DATA(template, STRING),
     .doc = "Chat template by name, or spelled out as a mapping (rein schema template); strings are templated too then. "
            "Without it message lists use the tokenizer's own."},
    {DATA(max_length, INT), .dflt = "0", .min = 0, .max = 1e9, .unit = "tokens",
     .doc = "Longer rows are dropped and counted; 0 takes the model's context."},
    {DATA(eos, BOOL), .dflt = "true", .doc = "End texts, completions and answers with the end-of-text token."},
    {DATA(limit, INT), .dflt = "0", .min = 0, .max = 1e12, .unit = "rows", .doc = "Only the first rows; 0 for all."},
    {.name = NULL},
};
const struct params data_params = {"data", data_rows, sizeof(data_rows[0]), sizeof(struct data_config)};

#define CHECKPOINT(field, t) .name = #field, .type = REIN_PARAM_##t, .offset = offsetof(struct checkpoint_config, field)
static const struct rein_param checkpoint_rows[] = {
    {CHECKPOINT(every, INT), .dflt = "0", .min = 0, .max = 1e9, .unit = "steps",
     .doc = "Save each time this many steps are done; 0 saves only when a signal, or a reward or an evaluation that fails, "
            "ends the run."},
    {CHECKPOINT(keep, INT), .dflt = "2", .min = 1, .max = 1000, .doc = "How many of the newest checkpoints stay."},
    {.name = NULL},
};
const struct params checkpoint_params = {"checkpoint", checkpoint_rows, sizeof(checkpoint_rows[0]),
                                         sizeof(struct checkpoint_config)};

bool stage_keeps_reference(const struct stage *s) {
    for (size_t i = 0; i < s->nalgorithms; i++)
        if ((s->algorithms[i].needs.data & REIN_DATA_PROMPTS) && (s->algorithms[i].needs.needs & REIN_NEED_REFERENCE))
            return true;
    return false;
}

bool stage_done(const struct stage *s) {
    char *path = file_join(s->output, "model/config.json");
    const bool done = path != NULL && file_exists(path);

    free(path);
    return done;
}

uint32_t stage_max_tokens(const struct stage *s) {
    for (size_t i = 0; i < s->nalgorithms; i++)
        if (s->algorithms[i].needs.data == REIN_DATA_PROMPTS)
            return data_max_tokens(s, &s->algorithms[i].needs);
    return 0;
}

int stage_check_data(const struct stage *s, const struct model_config *c, const struct tokenizer *t, uint64_t seed,
                     struct stage_extent *extent, struct error *err) {
    return data_check(s, c, t, seed, extent, err);
}

int stage_run(struct stage *s, const struct stage_env *env, struct error *err) {
    struct error own = {0};
    struct run *run = NULL;
    int rc;

    if (err == NULL)
        err = &own; /* how it ended decides whether a checkpoint is saved */
    if (run_open(s, env, &run, err) != 0)
        return -1;
    rc = s->on_policy ? onpolicy_run(run, err) : offpolicy_run(run, err);
    run_close(run);
    return rc;
}
