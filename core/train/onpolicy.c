/* SPDX-License-Identifier: MIT */
#include "train/onpolicy.h"

#include "base/mem.h"
#include "base/rng.h"
#include "train/rollout.h"
#include "train/scoring.h"
#include "train/signals.h"

#include <math.h>
#include <stdlib.h>

enum {
    EVAL_STEP = 1 << 30, /* evaluations draw from the same numbers each time, apart from any rollout's */
};

#define EVAL_ROWS ((uint64_t)1 << 62) /* and their completions are numbered apart from those of all rollouts */

struct onpolicy {
    struct run *run;
    struct scorer *scorer;
    struct scoring *scoring;
    uint32_t *permutation;       /* [rows] of a rollout */
    uint32_t *together;          /* [minibatch] those of a step, with the completions of a prompt side by side */
    uint32_t rows, minibatch;    /* completions of a rollout, and of a step */
    uint64_t permuted;           /* which pass `permutation` is of, plus 1 */
};

static struct samples *current(struct run *r) {
    return &r->samples[r->main];
}

/* ---- a rollout ---------------------------------------------------------- */

static void describe(const struct rollout *x, const char *prefix, struct metrics *m) {
    const struct samples *s = &x->samples;
    double rewards = 0, unmasked = 0, kl = 0;

    for (uint32_t r = 0; r < s->rows; r++) {
        const double length = samples_row_tokens(s, r);

        metrics_add(m, prefix, "completions/mean_length", REIN_METRIC_MEAN, length, 1);
        metrics_add(m, prefix, "completions/min_length", REIN_METRIC_MIN, length, 1);
        metrics_add(m, prefix, "completions/max_length", REIN_METRIC_MAX, length, 1);
        metrics_add(m, prefix, "completions/clipped_ratio", REIN_METRIC_MEAN, !s->ended[r], 1);
        if (s->reward == NULL || samples_unmasked(s, r) == 0)
            continue;
        rewards += (double)s->reward[r];
        unmasked++;
    }
    metrics_add(m, prefix, "reward", REIN_METRIC_MEAN, rewards, unmasked);
    if (*prefix == '\0' || s->logp_ref == NULL)
        return;
    /* an algorithm's own numbers in training; here nobody else says them */
    for (uint64_t i = 0; i < s->tokens; i++)
        kl += (double)s->logp_old[i] - (double)s->logp_ref[i];
    metrics_add(m, prefix, "objective/kl", REIN_METRIC_MEAN, kl, s->rows);
    metrics_add(m, prefix, "objective/scores", REIN_METRIC_MEAN, rewards, unmasked);
}

/* Is the first thing after sampling that the policy runs a step over the whole rollout at once? Then it goes on from
 * there: a policy has no dropout. */
static bool goes_on(const struct onpolicy *o) {
    const struct run *r = o->run;

    return o->minibatch == o->rows && r->micro >= o->rows && r->main == 0 && !r->stage->model.checkpointing;
}

static struct rollout_request request_of(const struct onpolicy *o, const struct dataset *prompts, const uint32_t *units,
                                         uint32_t count, uint32_t group, uint32_t number) {
    const struct run *r = o->run;

    return (struct rollout_request){.actor = r->trainer.actor,
                                    .stage = r->stage,
                                    .prompts = prompts,
                                    .units = units,
                                    .count = count,
                                    .group = group,
                                    .max_tokens = r->max_tokens,
                                    .temperature = r->temperature,
                                    .seed = r->env->seed,
                                    .step = number,
                                    .sink = r->env->sink};
}

/* Samples what is learnt from. */
static int sample(struct onpolicy *o, const uint32_t *units, struct rollout *out, struct error *err) {
    struct run *r = o->run;
    struct rollout_request q = request_of(o, &r->data[r->main], units, (uint32_t)r->stage->rollout.prompts,
                                          (uint32_t)r->stage->rollout.group, (uint32_t)r->at.rollout);

    q.critic = r->trainer.shared ? r->trainer.critic : NULL;
    q.trace = goes_on(o) ? r->trainer.actor_pass : NULL;
    return rollout_sample(&q, out, err);
}

/* Scores and fills what frozen models say. */
static int judge(struct onpolicy *o, uint32_t number, const char *prefix, struct rollout *out, struct metrics *metrics,
                 struct error *err) {
    struct run *r = o->run;

    if (r->stage->nrewards > 0 &&
        scoring_score(o->scoring, out, *prefix ? EVAL_ROWS : r->at.episodes, number, prefix, metrics, err) != 0) {
        /* a source only sees that its request failed: the reason may be a signal */
        signals_check(err);
        return -1;
    }
    if (r->trainer.reference != NULL) {
        out->samples.logp_ref = samples_array(out->samples.tokens, err);
        if (out->samples.logp_ref == NULL ||
            trainer_logprobs(r->trainer.reference_pass, &out->samples, r->micro, r->temperature, out->samples.logp_ref,
                             err) != 0)
            return -1;
    }
    return 0;
}

static int tell_samples(const struct run *r, const struct rollout *x, struct error *err) {
    const struct report_sink *sink = r->env->sink;
    const struct samples *s = &x->samples;

    if (sink == NULL || sink->sample == NULL)
        return 0;
    for (uint32_t row = 0; row < s->rows && row < (uint64_t)r->stage->rollout.samples; row++) {
        struct report_sample sample = {.step = r->at.step + 1, .prompt = x->prompt[row],
                                       .completion = x->completion[row], .reward = s->reward ? s->reward[row] : NAN,
                                       .kl = NAN};

        if (s->logp_ref != NULL) {
            sample.kl = 0;
            for (uint64_t i = s->offset[row]; i < s->offset[row + 1]; i++)
                sample.kl += (double)s->logp_old[i] - (double)s->logp_ref[i];
        }
        if (sink->sample(sink->ctx, &sample, err) != 0)
            return -1;
    }
    return 0;
}

/* Advantages and returns, by the algorithm. */
static int prepare(struct onpolicy *o, struct samples *s, uint32_t prompts, struct error *err) {
    struct run *r = o->run;
    struct metrics_page page;
    uint32_t *unit = mem_array((size_t)prompts + 1, sizeof(*unit));
    uint32_t *offset = mem_array((size_t)s->rows + 1, sizeof(*offset));
    struct rein_experience e = {
        .size = sizeof(e), .rollout = (uint32_t)r->at.rollout, .rows = s->rows, .units = prompts,
        .tokens = (uint32_t)s->tokens, .members = s->members, .mask = s->mask, .logp_old = s->logp_old,
        .logp_ref = s->logp_ref, .value_old = s->value_old, .reward = s->reward, .family = s->family,
        .ended = s->ended, .max_tokens = r->max_tokens, .metrics = metrics_page_open(&page)};
    int rc = -1;

    s->advantage = samples_array(s->tokens, err);
    s->return_ = r->trainer.critic ? samples_array(s->tokens, err) : NULL;
    if (!unit || !offset || !s->advantage || (r->trainer.critic && !s->return_)) {
        error_nomem(err, "rollout");
        goto out;
    }
    for (uint32_t u = 0; u <= prompts; u++)
        unit[u] = u * (s->rows / prompts);
    for (uint32_t i = 0; i <= s->rows; i++)
        offset[i] = (uint32_t)s->offset[i];
    e.unit = unit;
    e.offset = offset;
    e.advantage = s->advantage;
    e.return_ = s->return_;
    rc = learner_prepare(&r->learners[r->main], &e, err);
    if (rc == 0)
        metrics_merge(&r->rollout_metrics, NULL, &page.table);
out:
    free(unit);
    free(offset);
    return rc;
}

/* Prompts of a rollout: the next ones in the order of the epochs. */
static uint32_t *choose_prompts(struct run *r, struct error *err) {
    const uint32_t count = (uint32_t)r->stage->rollout.prompts;
    uint32_t *units = mem_array(count, sizeof(*units));

    if (units == NULL)
        error_nomem(err, "rollout");
    for (uint32_t i = 0, one; units != NULL && i < count; i++)
        units[i] = *order_at(&r->orders[r->main], r->at.rollout * count + i, &one);
    return units;
}

static int next_rollout(struct onpolicy *o, struct error *err) {
    struct run *r = o->run;
    const double began = run_clock();
    uint32_t *units = choose_prompts(r, err);
    struct rollout x = {0};
    int rc = -1;

    if (units == NULL)
        return -1;
    metrics_clear(&r->rollout_metrics);
    if (sample(o, units, &x, err) != 0 || judge(o, (uint32_t)r->at.rollout, "", &x, &r->rollout_metrics, err) != 0)
        goto out;
    /* those of a shared trunk came with the samples */
    if (r->trainer.critic != NULL && x.samples.value_old == NULL) {
        x.samples.value_old = samples_array(x.samples.tokens, err);
        if (x.samples.value_old == NULL ||
            trainer_values(&r->trainer, &x.samples, r->micro, o->minibatch == o->rows, x.samples.value_old, err) != 0)
            goto out;
    }
    describe(&x, "", &r->rollout_metrics);
    if (tell_samples(r, &x, err) != 0 || prepare(o, &x.samples, x.prompts, err) != 0)
        goto out;
    samples_free(current(r));
    *current(r) = x.samples;
    x.samples = (struct samples){0};
    r->at.sampled = 1;
    r->at.epoch = r->at.minibatch = 0;
    r->at.episodes += o->rows;
    r->rollout_time = run_clock() - began;
    rc = 0;
out:
    rollout_free(&x);
    free(units);
    return rc;
}

/* After a resume between sampling and the first step, which goes on from sampling in a run without an end in between:
 * the same draws again, so that the numbers are the same too. */
static int sample_again(struct onpolicy *o, struct error *err) {
    const struct position *at = &o->run->at;
    struct rollout x = {0};
    uint32_t *units;

    if (!at->sampled || at->epoch > 0 || at->minibatch > 0 || !goes_on(o))
        return 0;
    units = choose_prompts(o->run, err);
    if (units == NULL || sample(o, units, &x, err) != 0) {
        free(units);
        return -1;
    }
    free(units);
    rollout_free(&x);
    return 0;
}

/* ---- its steps ---------------------------------------------------------- */

/* The order of the completions in one pass over a rollout: as they were sampled when a step is over all of them, so
 * that the critic's first step can go on from the pass that gave its values. */
static void permute(struct onpolicy *o) {
    const struct run *r = o->run;
    const uint64_t pass = r->at.rollout * r->epochs + r->at.epoch;

    if (o->permuted == pass + 1)
        return;
    for (uint32_t i = 0; i < o->rows; i++)
        o->permutation[i] = i;
    /* apart from the order of the prompts, which has the same seed */
    if (o->minibatch < o->rows)
        rng_shuffle(r->env->seed ^ 0x5851F42D4C957F2Dull, (uint32_t)pass, o->permutation, o->rows);
    o->permuted = pass + 1;
}

/* What a step learns from, in the order that its micro-batches are cut from: completions of one prompt side by side, as
 * they share its computation there; prompts as they come first in the permutation. */
static const uint32_t *put_together(struct onpolicy *o, const uint32_t *rows, uint32_t count) {
    const uint32_t group = (uint32_t)o->run->stage->rollout.group;
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = 0;

        while (rows[first] / group != rows[i] / group)
            first++;
        for (uint32_t j = i; first == i && j < count; j++)
            if (rows[j] / group == rows[i] / group)
                o->together[n++] = rows[j];
    }
    return o->together;
}

static void advance(struct onpolicy *o, uint32_t stop) {
    struct position *at = &o->run->at;
    const uint32_t per_epoch = (o->rows + o->minibatch - 1) / o->minibatch;

    if (++at->minibatch == per_epoch) {
        at->minibatch = 0;
        at->epoch++;
    }
    if (at->epoch < o->run->epochs && !(stop & REIN_STOP_ROLLOUT))
        return;
    at->epoch = at->minibatch = 0;
    at->sampled = 0;
    at->rollout++;
}

static int one_step(struct onpolicy *o, struct error *err) {
    struct run *r = o->run;
    const uint32_t from = (uint32_t)r->at.minibatch * o->minibatch;
    const uint32_t left = o->rows - from, per_epoch = (o->rows + o->minibatch - 1) / o->minibatch;
    struct run_step what = {
        .count = r->count, .max_tokens = r->max_tokens, .pass = (uint32_t)r->at.epoch,
        .epoch = (double)((r->at.rollout + 1) * (uint64_t)r->stage->rollout.prompts) / (double)r->data[r->main].nunits,
        .critic_only = r->trainer.critic != NULL && r->at.step < (uint64_t)r->stage->critic.warmup_steps,
        .compare_old = r->at.epoch == 0 && r->at.minibatch == 0,
        .last = r->at.epoch + 1 == r->epochs && r->at.minibatch + 1 == per_epoch};
    uint32_t stop = 0;

    permute(o);
    for (size_t i = 0; i < r->count; i++) {
        what.parts[i] = (struct step_part){.learner = &r->learners[i], .samples = &r->samples[i]};
        if (i == r->main) {
            what.parts[i].count = left < o->minibatch ? left : o->minibatch;
            what.parts[i].units = put_together(o, o->permutation + from, what.parts[i].count);
        } else
            what.parts[i].units = order_at(&r->orders[i], r->at.step, &what.parts[i].count);
    }
    if (run_one_step(r, &what, &stop, err) != 0)
        return -1;
    advance(o, stop);
    return 0;
}

/* ---- evaluation --------------------------------------------------------- */

/* One completion for each held-out prompt; always the same draws, so that evaluations compare. */
static int evaluate(struct run *r, struct error *err) {
    struct onpolicy *o = r->loop;
    const double began = run_clock();
    const uint32_t count = (uint32_t)r->eval_data.nunits;
    uint32_t *units = mem_array(count, sizeof(*units));
    struct metrics *m = mem_zeros(1, sizeof(*m));
    struct rollout_request q;
    struct rollout x = {0};
    int rc = -1;

    if (units == NULL || m == NULL) {
        error_nomem(err, "evaluation");
        goto out;
    }
    for (uint32_t i = 0; i < count; i++)
        units[i] = i;
    q = request_of(o, &r->eval_data, units, count, 1, EVAL_STEP);
    if (rollout_sample(&q, &x, err) != 0 || judge(o, EVAL_STEP, "eval_", &x, m, err) != 0)
        goto out;
    describe(&x, "eval_", m);
    rc = run_report_eval(r, m, false, run_clock() - began, err);
out:
    rollout_free(&x);
    free(m);
    free(units);
    return rc;
}

/* ---- the loop ----------------------------------------------------------- */

static int open_onpolicy(struct run *r, struct onpolicy *o, struct error *err) {
    const struct stage *s = r->stage;
    const uint64_t rows = (uint64_t)s->rollout.prompts * (uint64_t)s->rollout.group;

    *o = (struct onpolicy){.run = r};
    if (rows * (r->max_tokens + 1ull) > INT32_MAX)
        return error_input(err, "stage %s: a rollout of %llu completions of up to %u tokens is too large", s->name,
                           (unsigned long long)rows, r->max_tokens);
    if (learner_needs(&r->learners[r->main], REIN_NEED_GROUPS) && s->rollout.group < 2)
        return error_input(err, "stage %s: algorithm %s compares the completions of a prompt: rollout.group must be at "
                                "least 2", s->name, r->learners[r->main].spec->plugin->name);
    if (learner_needs(&r->learners[r->main], REIN_NEED_REWARD | REIN_NEED_FAMILY) && s->nrewards == 0)
        return error_input(err, "stage %s: algorithm %s needs a reward source", s->name,
                           r->learners[r->main].spec->plugin->name);
    o->rows = (uint32_t)rows;
    o->minibatch = s->train.minibatch > 0 && s->train.minibatch < (int64_t)rows ? (uint32_t)s->train.minibatch : o->rows;
    o->permutation = mem_array(o->rows, sizeof(*o->permutation));
    o->together = mem_array(o->minibatch, sizeof(*o->together));
    if (o->permutation == NULL || o->together == NULL)
        return error_nomem(err, "rollout");
    if (scorer_open(s, r->env, model_tokenizer(r->trainer.actor), &o->scorer, err) != 0)
        return -1;
    return scoring_open(s, o->scorer, &o->scoring, err);
}

static int loop(struct onpolicy *o, struct error *err) {
    struct run *r = o->run;

    if (r->at.eval_pending && r->at.step < r->total && run_between_steps(r, err) != 0)
        return run_failed(r, err);
    if (sample_again(o, err) != 0)
        return run_failed(r, err);
    while (r->at.step < r->total && !r->at.stopped) {
        if (signals_check(err) != 0 || (!r->at.sampled && next_rollout(o, err) != 0))
            return run_failed(r, err);
        if (one_step(o, err) != 0)
            return run_stopped(r, err);
        if (run_between_steps(r, err) != 0)
            return run_failed(r, err);
    }
    return 0;
}

int onpolicy_run(struct run *r, struct error *err) {
    struct onpolicy o;
    int rc = -1;

    if (open_onpolicy(r, &o, err) == 0 && run_begin(r, err) == 0) {
        r->loop = &o;
        r->evaluate = evaluate;
        rc = loop(&o, err);
        if (rc == 0)
            rc = run_finish(r, err);
    }
    scoring_close(o.scoring);
    scorer_close(o.scorer);
    free(o.permutation);
    free(o.together);
    return rc;
}
