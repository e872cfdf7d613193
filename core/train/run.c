/* SPDX-License-Identifier: MIT */
#include "train/run.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mempeak.h"
#include "train/data.h"
#include "train/fingerprint.h"
#include "train/room.h"
#include "train/save.h"
#include "train/schedule.h"
#include "train/signals.h"
#include "train/state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VALUES = METRICS_MAX * 2 + 16, MAX_SKIPPED = 3 };

double run_clock(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- opening ------------------------------------------------------------ */

/* Two of one name would write into each other's metrics: they are counted. */
static unsigned nth_of_its_name(const struct stage *s, size_t i) {
    unsigned nth = i > 0;

    for (size_t k = 1; k < i; k++)
        nth += strcmp(s->algorithms[k].plugin->name, s->algorithms[i].plugin->name) == 0;
    return nth;
}

static int open_learners(struct run *r, uint32_t *needs, struct error *err) {
    const struct stage *s = r->stage;

    for (size_t i = 0; i < s->nalgorithms; i++, r->count++) {
        if (learner_open(&s->algorithms[i], nth_of_its_name(s, i), &r->learners[i], err) != 0)
            return -1;
        *needs |= r->learners[i].needs.needs;
        if (s->on_policy && learner_samples(&r->learners[i]))
            r->main = i;
    }
    return 0;
}

/* Numbers that the pipeline leaves to the algorithm. */
static void settle(struct run *r) {
    const struct stage *s = r->stage;
    const struct rein_needs *needs = &r->learners[r->main].needs;

    r->lr = s->train.lr;
    r->epochs = data_epochs(s, needs);
    r->temperature = s->on_policy ? data_temperature(s, needs) : 1;
    r->max_tokens = s->on_policy ? data_max_tokens(s, needs) : 0;
}

static int open_reference_logprobs(struct run *r, struct samples *s, struct error *err) {
    const double began = run_clock();

    s->logp_ref = samples_array(s->tokens, err);
    if (s->logp_ref == NULL || trainer_logprobs(r->trainer.reference_pass, s, r->micro, 1, s->logp_ref, err) != 0)
        return -1;
    log_debug("%s: reference log-probabilities of %u rows in %.3f s", r->stage->name, s->rows, run_clock() - began);
    return 0;
}

static int open_one_data(struct run *r, size_t i, const char *path, struct dataset *d, struct samples *samples,
                         struct error *err) {
    const struct learner *l = &r->learners[i];
    const struct data_request request = {.stage = r->stage, .needs = &l->needs,
                                         .config = model_config(r->trainer.actor),
                                         .tokenizer = model_tokenizer(r->trainer.actor)};

    if (data_load(&request, path, d, err) != 0)
        return -1;
    if (r->stage->on_policy && i == r->main)
        return 0;
    if (samples_from_dataset(d, l->needs.needs, samples, err) != 0)
        return -1;
    return 0;
}

static int open_data(struct run *r, struct error *err) {
    const struct stage *s = r->stage;

    for (size_t i = 0; i < r->count; i++) {
        const uint64_t seed = r->env->seed + DATA_SEED_STEP * i;
        const bool prompts = s->on_policy && i == r->main;

        if (open_one_data(r, i, data_path(s, &s->algorithms[i]), &r->data[i], &r->samples[i], err) != 0)
            return -1;
        if (order_open(seed, (uint32_t)r->data[i].nunits, prompts ? 1 : (uint32_t)s->train.batch, s->train.shuffle != 0,
                       &r->orders[i], err) != 0)
            return -1;
    }
    if (s->eval_path != NULL)
        return open_one_data(r, r->main, s->eval_path, &r->eval_data, &r->eval, err);
    return 0;
}

static int settle_steps(struct run *r, struct error *err) {
    const struct stage *s = r->stage;

    if (s->on_policy && s->train.steps == 0)
        return error_input(err, "stage %s: train.steps is needed: the model samples its data, which has no end", s->name);
    r->total = s->train.steps > 0 ? (uint64_t)s->train.steps : r->epochs * order_steps(&r->orders[r->main]);
    r->warmup = schedule_warmup(s->train.warmup, r->total);
    r->micro = data_micro(s);
    return 0;
}

/* Given data is read by the reference once, before the first step: nobody asks it again. */
static int open_references(struct run *r, struct error *err) {
    for (size_t i = 0; i < r->count; i++) {
        if (!learner_needs(&r->learners[i], REIN_NEED_REFERENCE) || (r->stage->on_policy && i == r->main))
            continue;
        if (open_reference_logprobs(r, &r->samples[i], err) != 0)
            return -1;
        if (i == r->main && r->eval.rows > 0 && open_reference_logprobs(r, &r->eval, err) != 0)
            return -1;
    }
    if (!stage_keeps_reference(r->stage))
        trainer_drop_reference(&r->trainer);
    return 0;
}

int run_open(const struct stage *s, const struct stage_env *env, struct run **out, struct error *err) {
    struct run *r = mem_zeros(1, sizeof(*r));
    uint32_t needs = 0;

    *out = NULL;
    if (r == NULL)
        return error_nomem(err, "stage");
    r->stage = s;
    r->env = env;
    r->step.trainer = &r->trainer;
    r->clock = run_clock();
    r->own_peak = mempeak_reset();
    signals_install();
    if (open_learners(r, &needs, err) != 0)
        goto fail;
    settle(r);
    if (fingerprint_models(s, &r->models, err) != 0 || trainer_open(s, env, needs, &r->trainer, err) != 0 ||
        open_data(r, err) != 0 || settle_steps(r, err) != 0 || room_make(r, err) != 0 || open_references(r, err) != 0 ||
        trainer_open_optimizers(s, r->lr, &r->trainer, err) != 0)
        goto fail;
    if (s->train.ema > 0 && average_create(r->trainer.optimizer, OWNER_ACTOR, s->train.ema, &r->average, err) != 0)
        goto fail;
    *out = r;
    return 0;
fail:
    run_close(r);
    return -1;
}

void run_close(struct run *r) {
    const struct report_sink *sink = r->env->sink;

    if (r->begun && sink != NULL && sink->end != NULL)
        sink->end(sink->ctx, NULL);
    for (size_t i = 0; i < STAGE_MAX_ALGORITHMS; i++) {
        if (i < r->count)
            learner_close(&r->learners[i]);
        samples_free(&r->samples[i]);
        dataset_free(&r->data[i]);
        order_close(&r->orders[i]);
    }
    samples_free(&r->eval);
    dataset_free(&r->eval_data);
    step_free(&r->step);
    average_free(r->average);
    trainer_close(&r->trainer);
    json_decref(r->models);
    free(r);
}

int run_begin(struct run *r, struct error *err) {
    const struct report_sink *sink = r->env->sink;
    bool found = false;
    int append;

    if (file_make_folder(r->stage->output, err) != 0)
        return -1;
    if (r->env->resume && state_load(r, &found, err) != 0)
        return -1;
    if (r->env->accepted != NULL && r->env->accepted(r->env->accepted_ctx, err) != 0)
        return -1;
    append = found ? REPORT_APPEND : 0;
    if (r->at.sampled && r->at.epoch == 0 && r->at.minibatch == 0)
        append |= REPORT_SAMPLED;
    if (sink != NULL && sink->begin != NULL) {
        if (sink->begin(sink->ctx, r->stage->name, r->stage->output, r->total, append, r->at.step, err) != 0)
            return -1;
        r->begun = true;
    }
    return 0;
}

/* ---- one step ----------------------------------------------------------- */

struct values {
    struct report_value list[VALUES];
    size_t count;
};

static void add(struct values *v, const char *name, double value) {
    if (v->count < VALUES)
        v->list[v->count++] = (struct report_value){name, value};
}

static int report_step(struct run *r, const struct run_step *what, double factor, double seconds, struct error *err) {
    const struct report_sink *sink = r->env->sink;
    const struct step_result *x = &r->result;
    struct values v = {.count = 0};

    if (sink == NULL || sink->step == NULL)
        return 0;
    add(&v, "loss", x->loss);
    add(&v, "grad_norm", x->grad_norm);
    if (r->trainer.critic_optimizer != NULL)
        add(&v, "critic_grad_norm", x->critic_grad_norm);
    add(&v, "learning_rate", factor * r->lr);
    v.count = metrics_values(&x->metrics, v.list, v.count, VALUES);
    v.count = metrics_values(&r->rollout_metrics, v.list, v.count, VALUES);
    add(&v, "num_tokens", (double)r->at.tokens);
    if (r->stage->on_policy) {
        add(&v, "episode", (double)r->at.episodes);
        add(&v, "lr", factor * r->lr);
    }
    add(&v, "epoch", what->epoch);
    if (r->at.skipped > 0)
        add(&v, "skipped_updates", (double)r->at.skipped);
    add(&v, "step_time", seconds);
    if (r->rollout_time > 0)
        add(&v, "rollout_time", r->rollout_time);
    add(&v, "tokens_per_second", seconds > 0 ? (double)x->tokens / seconds : 0);
    return sink->step(sink->ctx, r->at.step, 0, v.list, v.count, err);
}

/* Numbers that are not finite leave the weights alone; three such steps in a row end the run. */
static int count_update(struct run *r, struct error *err) {
    if (r->result.updated) {
        r->at.skipped_in_row = 0;
        return 0;
    }
    r->at.skipped++;
    r->at.skipped_in_row++;
    log_warn("%s: step %llu left out: loss %g, gradient norm %g", r->stage->name, (unsigned long long)r->at.step,
             r->result.loss, r->result.grad_norm);
    if (r->at.skipped_in_row < MAX_SKIPPED)
        return 0;
    return error_run(err, "stage %s: loss or gradient was not finite in %d steps in a row (step %llu: loss %g, gradient "
                          "norm %g); the last checkpoint is untouched. A lower learning rate may help", r->stage->name,
                     MAX_SKIPPED, (unsigned long long)r->at.step, r->result.loss, r->result.grad_norm);
}

static int tell_algorithms(struct run *r, const struct run_step *what, double factor, uint32_t *stop,
                           struct error *err) {
    const struct rein_metrics table = metrics_table(&r->result.metrics);
    const struct rein_step s = {.size = sizeof(s), .step = (uint32_t)r->at.step, .rollout = (uint32_t)r->at.rollout,
                                .epoch = what->pass, .last = what->last, .loss = r->result.loss,
                                .grad_norm = r->result.grad_norm, .lr = factor * r->lr, .metrics = &table};

    *stop = 0;
    for (size_t i = 0; i < r->count; i++) {
        uint32_t wish = 0;

        if (learner_after(&r->learners[i], &s, &wish, err) != 0)
            return -1;
        *stop |= wish;
    }
    return 0;
}

int run_one_step(struct run *r, const struct run_step *what, uint32_t *stop, struct error *err) {
    const double began = run_clock(), factor = schedule_factor(r->stage->train.schedule, r->at.step, r->warmup, r->total);
    const struct lora_options *lora = r->stage->model.source.lora;
    const bool adapter = lora != NULL && lora->dropout > 0;
    const struct step_request request = {
        .parts = what->parts, .count = what->count, .micro = r->micro, .temperature = r->temperature,
        .max_tokens = what->max_tokens, .factor = factor, .critic_only = what->critic_only,
        .dropout = adapter ? lora->dropout : r->stage->model.dropout, .adapter_dropout = adapter, .bootstrap = r->stage->model.bootstrap, .seed = r->env->seed,
        .step = r->at.step, .compare_old = what->compare_old, .sink = r->env->sink};

    if (step_run(&r->step, &request, &r->result, err) != 0)
        return -1;
    if (r->average != NULL && r->result.updated && !what->critic_only && average_update(r->average, err) != 0)
        return -1;
    r->at.step++;
    r->at.tokens += r->result.tokens;
    if (report_step(r, what, factor, run_clock() - began, err) != 0 || count_update(r, err) != 0 ||
        tell_algorithms(r, what, factor, stop, err) != 0)
        return -1;
    if (r->result.metrics.dropped > 0 && r->at.step == 1)
        log_warn("%s: there are more metrics than there is room for", r->stage->name);
    r->at.stopped |= (*stop & REIN_STOP_STAGE) != 0;
    return 0;
}

/* ---- between steps ------------------------------------------------------ */

int run_report_eval(struct run *r, const struct metrics *m, bool loss, double seconds, struct error *err) {
    const struct report_sink *sink = r->env->sink;
    struct values v = {.count = 0};

    if (sink == NULL || sink->step == NULL)
        return 0;
    if (loss)
        add(&v, "eval_loss", r->result.loss);
    v.count = metrics_values(m, v.list, v.count, VALUES);
    add(&v, "eval_time", seconds);
    return sink->step(sink->ctx, r->at.step, 1, v.list, v.count, err);
}

static bool every(int64_t period, uint64_t step) {
    return period > 0 && step % (uint64_t)period == 0;
}

static int evaluate_if_pending(struct run *r, struct error *err) {
    if (!r->at.eval_pending)
        return 0;
    if (r->evaluate != NULL && r->eval_data.nunits > 0 && r->evaluate(r, err) != 0)
        return -1;
    r->at.eval_pending = 0;
    return 0;
}

int run_between_steps(struct run *r, struct error *err) {
    struct error why = {0};

    if (every(r->stage->train.eval_every, r->at.step) && r->at.step < r->total && r->eval_data.nunits > 0)
        r->at.eval_pending = 1;
    if (evaluate_if_pending(r, err) != 0)
        return -1;
    /* a disk that is full for a while should not cost the run */
    if (every(r->stage->checkpoint.every, r->at.step) && r->at.step < r->total && state_save(r, &why) != 0)
        log_warn("CHECKPOINT NOT SAVED, training goes on: %s", why.text);
    return 0;
}

int run_stopped(struct run *r, struct error *err) {
    struct error why = {0};

    if (err->kind != ERROR_STOPPED)
        return -1;
    if (state_save(r, &why) != 0)
        return error_run(err, "%s; the checkpoint could not be saved: %s", r->stage->name, why.text);
    error_prefix(err, "stage %s, step %llu of %llu saved", r->stage->name, (unsigned long long)r->at.step,
                 (unsigned long long)r->total);
    return -1;
}

int run_failed(struct run *r, struct error *err) {
    struct error why = {0};

    if (err->kind == ERROR_STOPPED || r->at.step == 0)
        return run_stopped(r, err);
    if (state_save(r, &why) == 0)
        log_warn("%s: step %llu of %llu is saved, --resume goes on from there", r->stage->name,
                 (unsigned long long)r->at.step, (unsigned long long)r->total);
    else
        log_warn("CHECKPOINT NOT SAVED: %s", why.text);
    return -1;
}

static int report_cost(const struct run *r, struct error *err) {
    const struct report_sink *sink = r->env->sink;
    const struct report_cost cost = {.seconds = run_clock() - r->clock, .peak_memory = mempeak(),
                                     .of_process = !r->own_peak};

    return r->begun && sink->cost ? sink->cost(sink->ctx, r->at.step, &cost, err) : 0;
}

int run_finish(struct run *r, struct error *err) {
    const struct report_sink *sink = r->env->sink;
    int rc;

    r->at.eval_pending = r->eval_data.nunits > 0;
    if (evaluate_if_pending(r, err) != 0)
        return run_failed(r, err);
    rc = save_models(r, err);
    if (rc != 0)
        return run_failed(r, err);
    rc = report_cost(r, err);
    if (r->begun && sink != NULL && sink->end != NULL) {
        r->begun = false;
        if (sink->end(sink->ctx, rc == 0 ? err : NULL) != 0)
            rc = -1;
    }
    return rc;
}
