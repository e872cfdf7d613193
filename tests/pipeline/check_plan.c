/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/log.h"
#include "base/memlimit.h"
#include "pipeline/lora_read.h"
#include "pipeline/models.h"
#include "pipeline/plan.h"
#include "pipeline/stage_read.h"
#include "tap.h"

#include <stdio.h>
#include <string.h>

static const char text[] = "rein: 1\n"
                           "output: out\n"
                           "models:\n"
                           "  tiny: {config: " SOURCE_DIR "/conf/demo/model, init: random}\n"
                           "stages:\n"
                           "  - name: align\n"
                           "    algorithm: {use: ppo}\n"
                           "    model: {from: tiny}\n"
                           "    reference: {from: tiny}\n"
                           "    critic: {from: tiny}\n"
                           "    rewards: [{use: rule, kind: length}]\n"
                           "    data: {train: " SOURCE_DIR "/conf/demo/data/prompts.jsonl}\n"
                           "    rollout: {prompts: 4, max_tokens: 4}\n"
                           "    train: {steps: 2}\n";
static char path[4096];
static struct registry *registry;
static struct pipeline p;
static struct error err;

static void load(const char *const *sets, size_t nsets) {
    ck_assert_int_eq(file_write(path, text, sizeof(text) - 1, &err), 0);
    ck_assert_msg(pipeline_load(path, sets, nsets, registry, &p, &err) == 0, "%s", err.text);
}

START_TEST(adds_up) {
    struct plan plan;
    struct model_config c;
    struct buffer out = {0};
    uint64_t n, trained;

    load(NULL, 0);
    ck_assert_msg(plan_create(&p, UINT64_MAX, &plan, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(plan.nstages, 1);
    ck_assert_uint_eq(plan.stages[0].nmodels, 3);
    ck_assert_int_eq(config_load(p.models[0].source.path, &c, &err), 0);
    n = config_parameters(&c);
    trained = n * 16; /* weight, gradient, two moments, 4 bytes each */
    ck_assert_uint_eq(plan.stages[0].models[0].parameters, n);
    ck_assert_uint_eq(plan.stages[0].models[0].bytes, trained);
    ck_assert_uint_lt(plan.stages[0].models[1].bytes, trained / 2);
    ck_assert(!plan.stages[0].models[1].use->source.trainable && plan.stages[0].models[2].use->source.trainable);
    ck_assert_uint_gt(plan.stages[0].work, 0);
    plan_json(&plan, &p, memory_limit(), &out);
    ck_assert_ptr_nonnull(strstr(out.data, "\"role\": \"critic\", \"from\": \"tiny\""));
    buffer_free(&out);
    config_free(&c);
    plan_free(&plan);
    pipeline_free(&p);
}
END_TEST

START_TEST(shared_critic_costs_a_head) {
    static const char *const sets[] = {"align.critic={share: policy}"};
    struct plan plan;

    load(sets, 1);
    ck_assert_msg(plan_create(&p, UINT64_MAX, &plan, &err) == 0, "%s", err.text);
    ck_assert(plan.stages[0].models[2].with);
    ck_assert_uint_lt(plan.stages[0].models[2].bytes, 10000);
    plan_free(&plan);
    pipeline_free(&p);
}
END_TEST

/* Of given data the reference's log-probabilities are computed once, before there is an optimizer. */
START_TEST(early_reference_takes_no_room) {
    static const char offline[] = "rein: 1\noutput: out\nmodels:\n"
                                  "  tiny: {config: " SOURCE_DIR "/conf/demo/model, init: random}\n"
                                  "stages:\n  - name: prefer\n    algorithm: {use: dpo}\n    model: {from: tiny}\n"
                                  "    reference: {from: tiny}\n"
                                  "    data: {train: " SOURCE_DIR "/conf/demo/data/pairs.jsonl}\n";
    struct plan plan;
    struct buffer out = {0};

    load(NULL, 0);
    ck_assert_msg(plan_create(&p, UINT64_MAX, &plan, &err) == 0, "%s", err.text);
    ck_assert(!plan.stages[0].models[1].early); /* ppo asks it after every rollout */
    plan_free(&plan);
    pipeline_free(&p);
    ck_assert_int_eq(file_write(path, offline, sizeof(offline) - 1, &err), 0);
    ck_assert_msg(pipeline_load(path, NULL, 0, registry, &p, &err) == 0, "%s", err.text);
    ck_assert_msg(plan_create(&p, UINT64_MAX, &plan, &err) == 0, "%s", err.text);
    ck_assert(plan.stages[0].models[1].early);
    ck_assert_uint_gt(plan.stages[0].models[1].bytes, 0);
    ck_assert_uint_eq(plan.stages[0].bytes, plan.stages[0].models[0].bytes);
    plan_print(&plan, UINT64_MAX, &out);
    ck_assert_ptr_nonnull(strstr(out.data, "before the first step"));
    plan_json(&plan, &p, UINT64_MAX, &out);
    ck_assert_ptr_nonnull(strstr(out.data, "\"early\": true}"));
    buffer_free(&out);
    plan_free(&plan);
    pipeline_free(&p);
}
END_TEST

START_TEST(an_average_costs_a_copy) {
    static const char *const sets[] = {"align.train.ema=0.99"};
    struct plan plain, averaged;

    load(NULL, 0);
    ck_assert_msg(plan_create(&p, UINT64_MAX, &plain, &err) == 0, "%s", err.text);
    pipeline_free(&p);
    load(sets, 1);
    ck_assert_msg(plan_create(&p, UINT64_MAX, &averaged, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(averaged.stages[0].models[0].bytes - plain.stages[0].models[0].bytes,
                      4 * plain.stages[0].models[0].parameters);
    ck_assert_uint_eq(averaged.stages[0].models[2].bytes, plain.stages[0].models[2].bytes);
    ck_assert_uint_eq(averaged.stages[0].bytes - plain.stages[0].bytes, 4 * plain.stages[0].models[0].parameters);
    plan_free(&plain);
    plan_free(&averaged);
    pipeline_free(&p);
}
END_TEST

/* A rollout that goes through a reference in pieces needs its first layers again. */
START_TEST(a_reference_asked_in_pieces_stays) {
    static const char *const sets[] = {"align.train.micro_batch=4", "align.train.micro_batch=3"};

    for (int pieces = 0; pieces < 2; pieces++) {
        struct plan plan;

        load(&sets[pieces], 1);
        ck_assert_msg(plan_create(&p, UINT64_MAX - 1, &plan, &err) == 0, "%s", err.text);
        ck_assert_int_eq(plan.stages[0].models[1].passing, !pieces);
        ck_assert(!plan.stages[0].models[0].passing);
        plan_free(&plan);
        pipeline_free(&p);
    }
}
END_TEST

START_TEST(what_cannot_fit_is_refused) {
    struct plan plan;

    load(NULL, 0);
    ck_assert_int_eq(plan_create(&p, 1000000, &plan, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, ":6:5: stage 'align': its models take "));
    pipeline_free(&p);
}
END_TEST

START_TEST(there_is_memory) {
    ck_assert_uint_gt(memory_limit(), 1 << 20);
}
END_TEST

START_TEST(tables_of_the_sections) {
    static const struct params *const tables[] = {&pipeline_params, &models_params, &use_params, &reference_params,
                                                  &critic_params, &train_params, &rollout_params, &data_params,
                                                  &checkpoint_params, &lora_params};

    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        ck_assert_msg(params_verify(tables[i], &err) == 0, "%s: %s", tables[i]->owner, err.text);
}
END_TEST

int main(void) {
    Suite *s = suite_create("plan");
    TCase *t = tcase_create("plan");
    int rc;

    snprintf(path, sizeof(path), "%s/tests/pipeline/plan.yaml", BUILD_DIR);
    if (registry_create(BUILD_DIR "/modules", &registry, &err) != 0)
        return 99;
    log_set_level(LOG_ERROR);
    tcase_add_test(t, adds_up);
    tcase_add_test(t, shared_critic_costs_a_head);
    tcase_add_test(t, early_reference_takes_no_room);
    tcase_add_test(t, an_average_costs_a_copy);
    tcase_add_test(t, a_reference_asked_in_pieces_stays);
    tcase_add_test(t, what_cannot_fit_is_refused);
    tcase_add_test(t, there_is_memory);
    tcase_add_test(t, tables_of_the_sections);
    suite_add_tcase(s, t);
    rc = tap_run(s);
    registry_free(registry);
    remove(path);
    return rc;
}
