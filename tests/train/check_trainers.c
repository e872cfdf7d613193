/* Whole training, and single steps from a given rollout, against TRL's own trainers. SPDX-License-Identifier: MIT
 *
 * The files in tests/golden/trainers are TRL's numbers in float64; what differs here is our rounding to float32. AdamW
 * divides a gradient by its own size, so a weight whose gradient is nearly nothing moves by rounding alone, as far as
 * any other: single weights are held less tightly than losses, and the lengths of the changes show that these are few.
 */
#include "base/mem.h"
#include "model/param.h"
#include "train/learner.h"
#include "train/step.h"
#include "train/trainer.h"

/* after rein's own headers: check.h has a macro called fail */
#include "compare.h"
#include "harness.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Allowed, where about a fifth is reached. */
static const double METRIC = 5e-6, GRADIENT = 5e-6, WEIGHT = 2e-4;

static struct harness harness;

static void report(const char *what, const struct worst *w) {
    printf("# %s: metrics %.2g, gradients %.2g, weights %.2g, lengths of changes %.2g\n", what, w->metrics,
           w->gradients, w->values, w->changes);
}

/* ---- sft, rm, dpo: rein run --------------------------------------------- */

struct whole {
    const char *name, *backend;
    const char *algorithm, *data, *lr, *extra;
    bool score, reference;
    const char *const *ours; /* TRL's metrics that we have under the same name and meaning */
};

static void run_rein(const char *yaml) {
    char command[512];
    int status;

    ck_assert_ptr_nonnull(harness_file(&harness, "pipeline.yaml", yaml));
    snprintf(command, sizeof(command), "cd %s && " BUILD_DIR "/rein run pipeline.yaml >log 2>&1 || { cat log; false; }",
             harness.folder);
    status = system(command);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "rein run failed");
}

/* The steps of a metrics.jsonl; its last line tells what the stage cost. */
static json_t *read_lines(const char *path) {
    json_t *list = json_array(), *line;
    FILE *f = fopen(path, "r");

    ck_assert_msg(f != NULL, "no %s", path);
    while ((line = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)) != NULL)
        if (json_object_get(line, "stage_time") == NULL)
            json_array_append_new(list, line);
        else
            json_decref(line);
    fclose(f);
    return list;
}

static void compare_steps(const struct whole *x, const json_t *theirs, const json_t *ours, struct worst *w) {
    ck_assert_uint_eq(json_array_size(theirs), 20);
    ck_assert_uint_eq(json_array_size(ours), 20);
    for (size_t step = 0; step < 20; step++) {
        const json_t *a = json_array_get(ours, step), *b = json_array_get(theirs, step);

        for (size_t i = 0; x->ours[i]; i++)
            compare_number(golden_number(a, x->ours[i]), golden_number(b, x->ours[i]),
                           fmax(1, fabs(golden_number(b, x->ours[i]))), METRIC, &w->metrics, "step %zu: %s", step + 1,
                           x->ours[i]);
    }
}

static void compare_weights(const char *path, const json_t *digests, struct worst *w) {
    const char *name;
    struct arrays a;
    json_t *digest;

    arrays_open(&a, path);
    json_object_foreach((json_t *)digests, name, digest) {
        size_t count;
        const float *x = arrays_f32(&a, name, &count);

        ck_assert_msg(x != NULL, "%s has no %s", path, name);
        compare_tensor(name, "", digest, x, count, WEIGHT, w);
    }
    arrays_close(&a);
}

static void train_whole(const struct whole *x) {
    json_t *golden = golden_open(x->name), *ours;
    char *base = golden_model(golden, "", x->score), *reference = golden_model(golden, "reference.", false);
    struct buffer yaml = {0};
    struct worst w = {0};
    char path[256];

    snprintf(path, sizeof(path), "%s/%s-%s", harness.folder, x->name, x->backend);
    buffer_printf(&yaml,
                  "rein: 1\nbackend: %s\noutput: %s\nmodels:\n  base: {from: %s}\n  other: {from: %s}\n"
                  "stages:\n  - name: %s\n    algorithm: {%s}\n    model: {from: base%s}\n",
                  x->backend, path, base, reference, x->name, x->algorithm, x->score ? ", head: score" : "");
    if (x->reference)
        buffer_printf(&yaml, "    reference: {from: other}\n");
    buffer_printf(&yaml,
                  "    data: {train: " SOURCE_DIR "/tests/golden/trainers/%s}\n"
                  "    train: {steps: 20, batch: 4, micro_batch: 3, shuffle: false, lr: %s, warmup: 0.2, "
                  "weight_decay: 0.1}\n",
                  x->data, x->lr);
    run_rein(yaml.data);
    snprintf(path, sizeof(path), "%s/%s-%s/%s/metrics.jsonl", harness.folder, x->name, x->backend, x->name);
    ours = read_lines(path);
    compare_steps(x, json_object_get(golden, "steps"), ours, &w);
    snprintf(path, sizeof(path), "%s/%s-%s/%s/model/model.safetensors", harness.folder, x->name, x->backend, x->name);
    compare_weights(path, json_object_get(golden, "weights"), &w);
    report(path + strlen(harness.folder) + 1, &w);
    buffer_free(&yaml);
    json_decref(ours);
    json_decref(golden);
    engine_remove(base);
    engine_remove(reference);
}

static const char *const sft_metrics[] = {"loss",       "grad_norm", "learning_rate", "mean_token_accuracy", "entropy",
                                          "num_tokens", NULL};
static const char *const rm_metrics[] = {"loss",        "grad_norm",  "learning_rate", "num_tokens", "min_reward",
                                         "mean_reward", "max_reward", "accuracy",      "margin",     NULL};

START_TEST(sft_is_trls) {
    const struct whole x = {.name = "sft",
                            .backend = _i ? "auto" : "ref",
                            .algorithm = "use: sft",
                            .data = "completions.jsonl",
                            .lr = "1.0e-2",
                            .ours = sft_metrics};

    train_whole(&x);
}
END_TEST

START_TEST(rm_is_trls) {
    const struct whole x = {.name = "rm",
                            .backend = _i ? "auto" : "ref",
                            .algorithm = "use: rm, center: 0.01",
                            .data = "pairs.jsonl",
                            .lr = "5.0e-3",
                            .score = true,
                            .ours = rm_metrics};

    train_whole(&x);
}
END_TEST

/* TRL's logits/chosen and logits/rejected are not there: no logits are ever made. */
static const char *const dpo_metrics[] = {"loss",
                                          "grad_norm",
                                          "learning_rate",
                                          "entropy",
                                          "num_tokens",
                                          "mean_token_accuracy",
                                          "rewards/chosen",
                                          "rewards/rejected",
                                          "rewards/accuracies",
                                          "rewards/margins",
                                          "logps/chosen",
                                          "logps/rejected",
                                          NULL};

START_TEST(dpo_is_trls) {
    const struct whole x = {.name = "dpo",
                            .backend = _i ? "auto" : "ref",
                            .algorithm = "use: dpo, beta: 0.3",
                            .data = "pairs.jsonl",
                            .lr = "5.0e-3",
                            .reference = true,
                            .ours = dpo_metrics};

    train_whole(&x);
}
END_TEST

/* ---- grpo, ppo: steps from a given rollout ------------------------------- */

static uint32_t length_of(const json_t *list, size_t i) {
    return (uint32_t)json_array_size(json_array_get(list, i));
}

/* Rows of the rollout: prompts (each `group` times) and completions, whether they ended, and their rewards. */
static void make_rollout(const json_t *golden, uint32_t group, const json_t *rewards, struct samples *s) {
    const json_t *prompts = json_object_get(golden, "prompts"), *completions = json_object_get(golden, "completions");
    const uint32_t rows = (uint32_t)json_array_size(completions);
    uint32_t lengths[16], firsts[16];
    struct error err = {0};

    ck_assert_uint_le(rows, 16);
    for (uint32_t r = 0; r < rows; r++) {
        firsts[r] = length_of(prompts, r / group);
        lengths[r] = firsts[r] + length_of(completions, r);
    }
    must(samples_create(rows, lengths, firsts, s, &err), &err);
    s->members = 1;
    s->ended = mem_zeros(rows, 1);
    s->reward = samples_array(rows, &err);
    s->family = samples_array(rows, &err);
    s->advantage = samples_array(s->tokens, &err);
    s->return_ = samples_array(s->tokens, &err);
    for (uint32_t r = 0; r < rows; r++) {
        int32_t *to = s->own + (s->ids[r] - s->own);

        for (uint32_t t = 0; t < lengths[r]; t++)
            to[t] = (int32_t)json_integer_value(t < firsts[r]
                                                    ? json_array_get(json_array_get(prompts, r / group), t)
                                                    : json_array_get(json_array_get(completions, r), t - firsts[r]));
        s->ended[r] = to[lengths[r] - 1] == 0;
        s->reward[r] = s->family[r] = (float)json_number_value(json_array_get(rewards, r));
    }
}

/* A ragged array of TRL's, a row after the other. */
static void compare_ragged(const float *ours, const json_t *theirs, const char *what, struct worst *w) {
    size_t at = 0;

    for (size_t r = 0; r < json_array_size(theirs); r++)
        for (size_t t = 0; t < length_of(theirs, r); t++, at++)
            compare_number((double)ours[at], json_number_value(json_array_get(json_array_get(theirs, r), t)), 1, METRIC,
                           &w->metrics, "%s of row %zu, token %zu", what, r, t);
}

struct policy {
    struct fixture fixture;
    struct learner learner;
    struct trainer trainer;
    struct samples samples;
    struct metrics metrics; /* of prepare() */
    struct worst worst;
    char *model, *reference, *critic;
    double temperature, max_tokens;
    uint32_t group, micro; /* completions of a prompt, and of a micro-batch */
};

static struct model_use use(const char *path, enum model_head head) {
    return (struct model_use){.present = true, .from = "given", .source = {.path = path, .head = head}};
}

static void open_policy(struct policy *p, const json_t *golden, const char *name, const char *yaml, double lr) {
    const struct stage_env env = {.backend = harness.backend};
    struct stage *s = &p->fixture.stage;
    struct error err = {0};

    p->model = golden_model(golden, "", false);
    p->reference = golden_model(golden, "reference.", false);
    p->critic = golden_model(golden, "critic.", true);
    ck_assert_int_eq(fixture_open(&harness, name, yaml, &p->fixture), 0);
    s->model = use(p->model, MODEL_LM);
    s->reference = use(p->reference, MODEL_LM);
    s->critic = use(p->critic, MODEL_SCORE);
    lr *= 2; /* steps are taken at half the rates: the schedule's factor counts for every model */
    s->critic.lr = lr;
    must(learner_open(&s->algorithms[0], 0, &p->learner, &err), &err);
    must(trainer_open(s, &env, p->learner.needs.needs, &p->trainer, &err), &err);
    must(trainer_open_optimizers(s, lr, &p->trainer, &err), &err);
}

static void close_policy(struct policy *p) {
    learner_close(&p->learner);
    trainer_close(&p->trainer);
    samples_free(&p->samples);
    fixture_close(&p->fixture);
    engine_remove(p->model);
    engine_remove(p->reference);
    engine_remove(p->critic);
}

/* What the models say of the rollout, each time as a run would ask them. */
static void ask_models(struct policy *p, const json_t *c) {
    struct samples *s = &p->samples;
    struct error err = {0};

    s->logp_old = samples_array(s->tokens, &err);
    must(trainer_logprobs(p->trainer.actor_pass, s, 3, p->temperature, s->logp_old, &err), &err);
    compare_ragged(s->logp_old, json_object_get(c, "logp_old"), "log-probability", &p->worst);
    if (p->trainer.reference) {
        s->logp_ref = samples_array(s->tokens, &err);
        must(trainer_logprobs(p->trainer.reference_pass, s, 3, p->temperature, s->logp_ref, &err), &err);
        compare_ragged(s->logp_ref, json_object_get(c, "logp_ref"), "the reference's log-probability", &p->worst);
    }
    if (p->trainer.critic) {
        s->value_old = samples_array(s->tokens, &err);
        must(trainer_values(&p->trainer, s, p->micro, true, s->value_old, &err), &err);
        compare_ragged(s->value_old, json_object_get(c, "value_old"), "value", &p->worst);
    }
}

static void prepare(struct policy *p) {
    struct samples *s = &p->samples;
    uint32_t unit[17], offset[17];
    struct metrics_page page;
    struct error err = {0};
    struct rein_experience e = {.size = sizeof(e),
                                .rows = s->rows,
                                .mask = s->mask,
                                .units = s->rows / p->group,
                                .tokens = (uint32_t)s->tokens,
                                .members = 1,
                                .unit = unit,
                                .offset = offset,
                                .logp_old = s->logp_old,
                                .logp_ref = s->logp_ref,
                                .value_old = s->value_old,
                                .reward = s->reward,
                                .family = s->family,
                                .ended = s->ended,
                                .max_tokens = (uint32_t)p->max_tokens,
                                .advantage = s->advantage,
                                .return_ = s->return_,
                                .metrics = metrics_page_open(&page)};

    for (uint32_t r = 0; r <= s->rows; r++) {
        offset[r] = (uint32_t)s->offset[r];
        if (r % p->group == 0)
            unit[r / p->group] = r;
    }
    must(learner_prepare(&p->learner, &e, &err), &err);
    metrics_merge(&p->metrics, NULL, &page.table);
}

static double metric(const struct metrics *m, const char *name) {
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->names[i], name) == 0)
            return metrics_value(&m->items[i]);
    ck_abort_msg("no metric %s", name);
    return 0;
}

/* One optimiser step over the whole rollout. */
static void one_step(struct policy *p, struct step *step, struct step_result *result) {
    uint32_t units[16];
    const struct step_part part = {&p->learner, &p->samples, units, p->samples.units};
    const struct step_request request = {.parts = &part,
                                         .count = 1,
                                         .micro = p->micro,
                                         .temperature = p->temperature,
                                         .max_tokens = p->max_tokens,
                                         .factor = 0.5};
    struct error err = {0};

    for (uint32_t u = 0; u < p->samples.units; u++)
        units[u] = u;
    must(step_run(step, &request, result, &err), &err);
    ck_assert(result->updated);
}

static void run_grpo(const json_t *golden, const json_t *c, const char *options) {
    static const char *const names[][2] = {{"kl", "kl"},
                                           {"policy/entropy_avg", "entropy"},
                                           {"clip_ratio/low_mean", "clip_ratio/low_mean"},
                                           {"clip_ratio/high_mean", "clip_ratio/high_mean"},
                                           {"clip_ratio/region_mean", "clip_ratio/region_mean"}};
    static struct step_result result;
    static struct policy p;
    struct step step = {.trainer = &p.trainer};
    const json_t *advantages = json_object_get(c, "advantages");
    char yaml[512];

    p = (struct policy){.temperature = golden_number(c, "temperature"), .max_tokens = 10, .group = 4, .micro = 3};
    snprintf(yaml, sizeof(yaml),
             "algorithm: {use: grpo, baseline: group, %s}\nrollout: {prompts: 2, group: 4}\n"
             "data: {train: none}\ntrain: {weight_decay: 0.1}\n",
             options);
    open_policy(&p, golden, "grpo", yaml, golden_number(c, "lr"));
    make_rollout(golden, 4, json_object_get(golden, "rewards"), &p.samples);
    ask_models(&p, c);
    prepare(&p);
    for (uint32_t r = 0; r < p.samples.rows; r++)
        for (uint64_t i = p.samples.offset[r]; i < p.samples.offset[r + 1]; i++)
            compare_number((double)p.samples.advantage[i], json_number_value(json_array_get(advantages, r)), 1, METRIC,
                           &p.worst.metrics, "advantage of row %u", r);
    for (size_t i = 0; i < 2; i++) {
        const json_t *want = json_array_get(json_object_get(c, "steps"), i);
        const double norm = golden_number(want, "grad_norm");

        one_step(&p, &step, &result);
        compare_number(result.loss, golden_number(want, "loss"), 1, METRIC, &p.worst.metrics, "step %zu: loss", i + 1);
        compare_number(result.grad_norm, norm, norm, METRIC, &p.worst.metrics, "step %zu: norm of the gradient", i + 1);
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
            if (json_object_get(want, names[k][1]))
                compare_number(metric(&result.metrics, names[k][0]), golden_number(want, names[k][1]), 1, METRIC,
                               &p.worst.metrics, "step %zu: %s", i + 1, names[k][1]);
        compare_gradients(p.trainer.actor, "", json_array_get(json_object_get(c, "gradients"), i),
                          fmin(1, 1 / (result.grad_norm + 1e-6)), GRADIENT, &p.worst);
    }
    compare_model(p.trainer.actor, "", json_object_get(c, "weights"), WEIGHT, &p.worst);
    report(options, &p.worst);
    step_free(&step);
    close_policy(&p);
}

START_TEST(two_steps_of_grpo_are_trls) {
    static const char *const options[] = {"loss: dapo, beta: 0.3", "loss: grpo", "loss: cispo, clip_high: 1.05",
                                          "loss: dr_grpo, scale: none"};
    json_t *golden = golden_open("grpo"), *cases = json_object_get(golden, "cases");

    ck_assert_uint_eq(json_array_size(cases), 4);
    run_grpo(golden, json_array_get(cases, (size_t)_i), options[_i]);
    json_decref(golden);
}
END_TEST

static void run_ppo(const json_t *golden, const json_t *c, const char *options, uint32_t micro) {
    /* the two steps' mean; TRL's others are means over padding too */
    static const char *const averaged[] = {"loss/policy_avg", "loss/value_avg", "policy/clipfrac_avg",
                                           "val/clipfrac_avg"};
    static const char *const once[] = {"objective/kl", "objective/non_score_reward", "objective/rlhf_reward",
                                       "objective/scores", "val/num_eos_tokens"};
    static struct step_result result;
    static struct policy p;
    const json_t *metrics = json_object_get(c, "metrics"), *losses = json_object_get(c, "losses");
    struct step step = {.trainer = &p.trainer};
    double sums[4] = {0};
    char yaml[512];

    p = (struct policy){
        .temperature = golden_number(golden, "temperature"), .max_tokens = 8, .group = 1, .micro = micro};
    snprintf(yaml, sizeof(yaml),
             "algorithm: {use: ppo, beta: 0.2, missing_eos_penalty: 0.5%s}\n"
             "rollout: {prompts: 6}\ndata: {train: none}\n"
             "train: {weight_decay: 0.1, max_grad_norm: 0}\n",
             options);
    open_policy(&p, golden, "ppo", yaml, 1e-2);
    make_rollout(golden, 1, json_object_get(golden, "scores"), &p.samples);
    ask_models(&p, c);
    prepare(&p);
    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
        compare_number(metric(&p.metrics, once[i]), golden_number(metrics, once[i]), 1, METRIC, &p.worst.metrics, "%s",
                       once[i]);
    for (size_t i = 0; i < 2; i++) {
        const json_t *gradients = json_array_get(json_object_get(c, "gradients"), i);

        one_step(&p, &step, &result);
        compare_number(result.loss, json_number_value(json_array_get(losses, i)), 1, METRIC, &p.worst.metrics,
                       "step %zu: loss", i + 1);
        compare_gradients(p.trainer.actor, "policy.", gradients, 1, METRIC, &p.worst);
        compare_gradients(p.trainer.critic, "critic.", gradients, 1, METRIC, &p.worst);
        for (size_t k = 0; k < 4; k++)
            sums[k] += metric(&result.metrics, averaged[k]);
    }
    for (size_t k = 0; k < 4; k++)
        compare_number(sums[k] / 2, golden_number(metrics, averaged[k]), 1, METRIC, &p.worst.metrics, "%s",
                       averaged[k]);
    compare_model(p.trainer.actor, "policy.", json_object_get(c, "weights"), WEIGHT, &p.worst);
    compare_model(p.trainer.critic, "critic.", json_object_get(c, "weights"), WEIGHT, &p.worst);
    report(options, &p.worst);
    step_free(&step);
    close_policy(&p);
}

START_TEST(two_steps_of_ppo_are_trls) {
    static const char *const options[] = {"", ", kl: k3, vf_coef: 0.5, gamma: 0.9, clip_value: 0.05"};
    json_t *golden = golden_open("ppo"), *cases = json_object_get(golden, "cases");

    ck_assert_uint_eq(json_array_size(cases), 2);
    run_ppo(golden, json_array_get(cases, (size_t)_i / 2), options[_i / 2], _i % 2 ? 16 : 3);
    json_decref(golden);
}
END_TEST

static void ask_critic(struct policy *p, struct batch *b, const uint32_t *units, uint32_t count) {
    const struct trainer_forward how = {.needs = REIN_NEED_CRITIC, .temperature = 1, .keep = true};
    const struct batch_norms norms = {0};
    struct error err = {0};

    must(batch_build(b, &p->samples, units, count, BATCH_ALL, &norms, &err), &err);
    must(trainer_forward(&p->trainer, b, &how, &err), &err);
}

/* The critic's first step over a whole rollout does not run the model again: it sees no change of the weights that
 * nobody told it of. Any other batch, and the same one after an update, is computed. */
START_TEST(a_critic_s_step_goes_on_from_its_values) {
    static const uint32_t as_sampled[] = {0, 1, 2, 3, 4, 5}, turned[] = {5, 4, 3, 2, 1, 0};
    static struct policy p;
    json_t *golden = golden_open("ppo");
    struct samples *s = &p.samples;
    struct batch b = {0};
    struct error err = {0};
    float before[64], *weights;

    p = (struct policy){.max_tokens = 8, .group = 1};
    open_policy(&p, golden, "kept", "algorithm: {use: ppo}\nrollout: {prompts: 6}\ndata: {train: none}\n", 1e-2);
    make_rollout(golden, 1, json_object_get(golden, "scores"), s);
    ck_assert(s->units == 6 && s->tokens <= 64);
    s->value_old = samples_array(s->tokens, &err);
    for (int other = 0; other < 4; other++) {
        const struct model_param *embedding = model_param(p.trainer.critic, 0);
        const size_t bytes = (size_t)(embedding->w.rows * embedding->w.cols) * sizeof(float);
        const uint32_t *units = other == 1 ? turned : as_sampled, count = other == 2 ? 5 : 6;

        must(trainer_values(&p.trainer, s, other == 3 ? 5 : 6, true, s->value_old, &err), &err);
        ck_assert_ptr_nonnull(weights = param_values(harness.backend, embedding, &err));
        must(backend_zero(harness.backend, embedding->w.data, bytes / 2, &err), &err);
        ask_critic(&p, &b, units, count);
        memcpy(before, b.value, b.view.tokens * sizeof(float));
        if (other == 0)
            ck_assert_mem_eq(before, s->value_old, s->tokens * sizeof(float));
        trainer_touch(&p.trainer);
        ask_critic(&p, &b, units, count);
        ck_assert_int_eq(memcmp(before, b.value, b.view.tokens * sizeof(float)) == 0, other != 0);
        must(backend_upload(harness.backend, embedding->w.data, weights, bytes, &err), &err);
        free(weights);
    }
    batch_free(&b);
    close_policy(&p);
    json_decref(golden);
}
END_TEST

/* A completion without a reward does not count among those that the others of its group are compared with. */
START_TEST(nobody_s_opinion_is_in_no_mean) {
    json_t *golden = golden_open("grpo"), *c = json_array_get(json_object_get(golden, "cases"), 1);
    const char *const kinds[] = {"grpo, baseline: group", "grpo, baseline: value", "ppo"};
    static struct policy p;
    struct samples *s = &p.samples;
    char yaml[512];

    p = (struct policy){.temperature = golden_number(c, "temperature"), .max_tokens = 10, .group = 4, .micro = 3};
    snprintf(yaml, sizeof(yaml), "algorithm: {use: %s}\nrollout: {prompts: 2, group: 4}\ndata: {train: none}\n",
             kinds[_i]);
    open_policy(&p, golden, "silent", yaml, 1e-2);
    make_rollout(golden, 4, json_object_get(golden, "rewards"), s);
    s->logp_old = samples_array(s->tokens, NULL);
    s->logp_ref = samples_array(s->tokens, NULL);
    s->value_old = samples_array(s->tokens, NULL);
    s->mask = mem_zeros(s->tokens, 1);
    memset(s->mask, 1, s->tokens);
    memset(s->mask + s->offset[2], 0, samples_row_tokens(s, 2));
    s->reward[2] = s->family[2] = NAN;
    prepare(&p);
    for (uint64_t i = 0; i < s->tokens; i++)
        ck_assert(isfinite(s->advantage[i]) && (s->mask[i] || s->advantage[i] == 0));
    compare_number(metric(&p.metrics, "objective/scores"), 3.75 / 7, 1, 1e-6, &p.worst.metrics, "mean score");
    if (_i == 0) /* rewards 1, 0.25 and 2: mean 13/12, deviation 0.878 */
        compare_number((double)s->advantage[0], (1 - 13. / 12) / (0.8779711460710615 + 1e-4), 1, 1e-6, &p.worst.metrics,
                       "advantage");
    close_policy(&p);
    json_decref(golden);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("trainers");
    TCase *tc = tcase_create("trainers");
    int rc;

    if (harness_open(&harness) != 0)
        return 1;
    setenv("REIN_PLUGIN_PATH", BUILD_DIR "/modules", 1);
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, sft_is_trls, 0, 2);
    tcase_add_loop_test(tc, rm_is_trls, 0, 2);
    tcase_add_loop_test(tc, dpo_is_trls, 0, 2);
    tcase_add_loop_test(tc, two_steps_of_grpo_are_trls, 0, 4);
    tcase_add_loop_test(tc, two_steps_of_ppo_are_trls, 0, 4);
    tcase_add_test(tc, a_critic_s_step_goes_on_from_its_values);
    tcase_add_loop_test(tc, nobody_s_opinion_is_in_no_mean, 0, 3);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    harness_close(&harness);
    return rc;
}
