/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/log.h"
#include "pipeline/pipeline.h"
#include "pipeline/resolved.h"
#include "tap.h"
#include "wrong.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char right[] = "rein: 1\n"
                            "output: out\n"
                            "models:\n"
                            "  base: {from: base}\n"
                            "stages:\n"
                            "  - name: sft\n"
                            "    algorithm: {use: sft}\n"
                            "    model: {from: base}\n"
                            "    data: {train: sft.jsonl}\n"
                            "    train: {epochs: 1, batch: 4}\n"
                            "  - name: judge\n"
                            "    algorithm: {use: rm}\n"
                            "    model: {from: sft, head: score}\n"
                            "    data: {train: pairs.jsonl}\n"
                            "  - name: align\n"
                            "    algorithm: {use: ppo, clip: 0.2}\n"
                            "    model: {from: sft}\n"
                            "    reference: {from: sft}\n"
                            "    critic: {from: judge, head: value, lr: 5.0e-6}\n"
                            "    rewards:\n"
                            "      - {use: rm, model: judge}\n"
                            "      - {use: rule, kind: length, weight: 0.1}\n"
                            "    data: {train: prompts.jsonl}\n"
                            "    rollout: {prompts: 8, group: 2, max_tokens: 16}\n"
                            "    train: {steps: 10, epochs: 2, minibatch: 4}\n";

static char folder[4096];
static struct registry *registry;
static struct pipeline p;
static struct error err;

static const char *at(const char *name) {
    static char path[4][4200];
    static int turn;

    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    return path[turn];
}

/* Loads the right pipeline with `old` replaced by `new`. */
static int load(const char *old, const char *new, const char *const *sets, size_t nsets) {
    struct buffer text = {0};
    const char *place = strcmp(old, "STAGES") == 0 ? strstr(right, "stages:") : strstr(right, old);
    int rc;

    ck_assert_msg(place != NULL, "'%s' does not occur", old);
    buffer_add(&text, right, (size_t)(place - right));
    buffer_text(&text, new);
    if (strcmp(old, "STAGES") != 0)
        buffer_text(&text, place + strlen(old));
    ck_assert_int_eq(file_write(at("p.yaml"), text.data, text.length, &err), 0);
    buffer_free(&text);
    memset(&err, 0, sizeof(err));
    rc = pipeline_load(at("p.yaml"), sets, nsets, registry, &p, &err);
    if (rc != 0)
        ck_assert_int_eq(err.kind, ERROR_INPUT);
    return rc;
}

/* The message with the folder called DIR, and left out before the pipeline's own name; the list of all plugins, which
 * grows, is left out too. */
static const char *shown(void) {
    static char out[2048];
    const size_t length = strlen(folder);
    char *list = strstr(err.text, "; there are ");
    size_t n = 0;

    if (list != NULL)
        *list = '\0';

    for (const char *s = err.text; *s && n < sizeof(out) - 4;) {
        if (strncmp(s, folder, length) != 0) {
            out[n++] = *s++;
        } else if (s == err.text) {
            s += length + 1;
        } else {
            memcpy(out + n, "DIR", 3);
            n += 3;
            s += length;
        }
    }
    out[n] = '\0';
    return out;
}

START_TEST(wrong_pipelines) {
    ck_assert_msg(load(wrong[_i].old, wrong[_i].new, NULL, 0) == -1, "accepted: '%s' for '%s'", wrong[_i].new,
                  wrong[_i].old);
    ck_assert_str_eq(shown(), wrong[_i].message);
}
END_TEST

START_TEST(resolves) {
    const struct stage *align;

    ck_assert_msg(load("", "", NULL, 0) == 0, "%s", err.text);
    ck_assert_uint_eq(p.nstages, 3);
    ck_assert_str_eq(p.stages[0].model.source.path, at("base"));
    ck_assert(p.stages[0].model.source.trainable && !p.stages[0].on_policy);
    ck_assert(p.stages[0].train.micro_batch == 4 && p.stages[0].train.lr == 2e-5);
    ck_assert_int_eq(p.stages[1].model.source.head, MODEL_SCORE);
    align = pipeline_stage(&p, "align");
    ck_assert(align && align->on_policy && align->nrewards == 2 && align->nscored == 1);
    ck_assert_str_eq(align->model.source.path, at("out/sft/model"));
    ck_assert_str_eq(align->critic.source.path, at("out/judge/model"));
    ck_assert(align->critic.source.head == MODEL_VALUE && align->critic.lr == 5e-6);
    ck_assert(align->reference.present && !align->reference.source.trainable);
    ck_assert(align->scored[0].use.source.head == MODEL_SCORE && !align->scored[0].use.source.trainable);
    ck_assert(align->rewards[1].weight == 0.1 && align->train.micro_batch == 4);
    ck_assert(align->rollout.temperature == 0.7); /* PPO's own default */
    ck_assert_str_eq(align->train_path, at("prompts.jsonl"));
    pipeline_free(&p);
}
END_TEST

START_TEST(resolves_an_average) {
    const struct stage *align;

    ck_assert_msg(load("batch: 4}\n  - name: judge", "batch: 4, ema: 0.9}\n  - name: judge", NULL, 0) == 0, "%s", err.text);
    pipeline_free(&p);
    ck_assert_msg(load("train: {epochs: 1, batch: 4}\n  - name: judge\n    algorithm: {use: rm}\n    model: {from: sft,",
                       "train: {epochs: 1, batch: 4, ema: 0.9}\n  - name: judge\n    algorithm: {use: rm}\n"
                       "    model: {from: sft/ema,", NULL, 0) == 0, "%s", err.text);
    ck_assert_str_eq(p.stages[1].model.source.path, at("out/sft/ema"));
    align = pipeline_stage(&p, "align");
    ck_assert_str_eq(align->model.source.path, at("out/sft/model"));
    ck_assert_ptr_eq(pipeline_stage(&p, "sft/ema"), &p.stages[0]);
    ck_assert_ptr_null(pipeline_stage(&p, "sft/model"));
    pipeline_free(&p);
}
END_TEST

START_TEST(rows_beside_completions_have_their_own_number) {
    static const char *const sets[] = {"align.train.batch=3"};

    ck_assert_int_eq(load("algorithm: {use: ppo, clip: 0.2}", "algorithms: [{use: ppo}, {use: sft, data: sft.jsonl}]", sets, 1), 0);
    ck_assert_int_eq(p.stages[2].train.batch, 3);
    ck_assert_int_eq(p.stages[2].train.minibatch, 4);
    pipeline_free(&p);
    ck_assert_int_eq(load("", "", sets, 1), -1);
}
END_TEST

START_TEST(accepts) {
    static const char *const changes[][2] = {
        {"critic: {from: judge, head: value, lr: 5.0e-6}", "critic: {share: policy, warmup_steps: 3}"},
        {"    reference: {from: sft}\n", "    reference: {from: ./base}\n"},
        {"base: {from: base}", "base: {config: base, init: random}"},
        {"model: {from: base}", "model: {from: tiny.gguf}"},
        {"algorithm: {use: sft}", "algorithms: [{use: sft}, {use: sft, weight: 0.5, data: pairs.jsonl}]"},
        {"algorithm: {use: ppo, clip: 0.2}", "algorithms: [{use: ppo}, {use: sft, data: sft.jsonl}]"},
        {"epochs: 1, batch", "steps: 7, batch"},
        {"{use: rm, model: judge}", "{use: rm, name: quality, model: judge}"},
        {"train: {epochs: 1, batch: 4}", "checkpoint: {every: 5, keep: 1}"},
        {"group: 2", "group: 2, top_k: 0, top_p: 1"},
        {"{use: rm, model: judge}", "{use: judge, model: sft}\n      - {use: rm, model: judge}"},
    };

    ck_assert_msg(load(changes[_i][0], changes[_i][1], NULL, 0) == 0, "%s: %s", changes[_i][1], err.text);
    pipeline_free(&p);
}
END_TEST

START_TEST(sets) {
    static const char *const fine[] = {"align.train.lr=1e-7", "seed=11", "align.rewards.1.weight=0.5", "output=elsewhere"};
    static const char *const bad[] = {"align.train.lr=high"}, *const unknown[] = {"algin.train.lr=1"};
    static const char *const key[] = {"sed=3"}, *const in_stage[] = {"align.roolout.prompts=3"};

    ck_assert_msg(load("", "", fine, 4) == 0, "%s", err.text);
    ck_assert(p.stages[2].train.lr == 1e-7 && p.seed == 11 && p.stages[2].rewards[1].weight == 0.5);
    ck_assert_str_eq(p.output, at("elsewhere"));
    pipeline_free(&p);
    ck_assert_int_eq(load("", "", bad, 1), -1);
    ck_assert_str_eq(err.text, "--set align.train.lr=high: train.lr: expected a finite number, got 'high'");
    ck_assert_int_eq(load("", "", unknown, 1), -1);
    ck_assert_str_eq(err.text, "--set algin.train.lr=1: there is no stage and no top-level key 'algin' (did you mean 'align'?)");
    ck_assert_int_eq(load("", "", key, 1), -1);
    ck_assert_str_eq(err.text, "--set sed=3: pipeline has no option 'sed' (did you mean 'seed'?)");
    ck_assert_int_eq(load("", "", in_stage, 1), -1);
    ck_assert_str_eq(err.text, "--set align.roolout.prompts=3: a stage has no key 'roolout' (did you mean 'rollout'?)");
}
END_TEST

/* What is written loads again, means the same, and is then written the same. */
START_TEST(written_and_read_again) {
    /* options left to their defaults; a template spelled out */
    static const char *const change[2][2] = {
        {"group: 2, max_tokens: 16}\n    train: {steps: 10, epochs: 2, minibatch: 4}",
         "group: 2}\n    train: {steps: 10, minibatch: 4}"},
        {"data: {train: prompts.jsonl}",
         "data: {template: {user: 'U {content}\\', assistant: \"A {content}\\n\"}, train: prompts.jsonl}"}};
    static const char *const in_force[] = {"\n      epochs: 4\n", "\n      temperature: 0.7\n", "\n      max_tokens: 53\n",
                                           "\n      warmup_steps: ", "\n      max_length: 0\n", "\n      eos: true\n",
                                           "\n    checkpoint:\n      every: 0\n      keep: 2\n"};
    struct buffer one = {0}, two = {0};
    const char *text;

    ck_assert_msg(load(change[_i][0], change[_i][1], NULL, 0) == 0, "%s", err.text);
    ck_assert_int_eq(p.stages[2].data.chat != NULL, _i);
    ck_assert_int_eq(resolved_write(&p, &one, &err), 0);
    pipeline_free(&p);
    /* what the algorithm or the host settled is spelled out: the values in force */
    ck_assert_ptr_nonnull(strstr(one.data, "lr: 3e-06"));
    file_remove_tree(at("other"), NULL);
    for (size_t i = 0; _i == 0 && i < sizeof(in_force) / sizeof(*in_force); i++)
        ck_assert_msg(strstr(strstr(one.data, "name: align"), in_force[i]) != NULL, "no '%s' in\n%s", in_force[i], one.data);
    ck_assert_int_eq(mkdir(at("other"), 0755), 0);
    ck_assert_int_eq(file_write(at("other/pipeline.yaml"), one.data, one.length, &err), 0);
    ck_assert_msg(pipeline_load(at("other/pipeline.yaml"), NULL, 0, registry, &p, &err) == 0, "%s", err.text);
    ck_assert_str_eq(p.stages[0].model.source.path, at("base"));
    ck_assert_str_eq(p.output, at("out"));
    ck_assert_int_eq(p.stages[2].data.chat != NULL, _i);
    ck_assert(p.stages[2].train.lr == 3e-6 && p.stages[2].rollout.temperature == 0.7);
    ck_assert_int_eq(resolved_write(&p, &two, &err), 0);
    text = strchr(one.data, '\n');
    ck_assert_str_eq(text, strchr(two.data, '\n'));
    pipeline_free(&p);
    buffer_free(&one);
    buffer_free(&two);
}
END_TEST

int main(void) {
    Suite *s = suite_create("pipeline");
    TCase *t = tcase_create("pipeline");
    static const char *const files[] = {"sft.jsonl", "pairs.jsonl", "prompts.jsonl", "tiny.gguf"};
    int rc;

    snprintf(folder, sizeof(folder), "%s/tests/pipeline/files-XXXXXX", BUILD_DIR);
    if (mkdtemp(folder) == NULL || mkdir(at("base"), 0755) != 0 || registry_create(BUILD_DIR "/modules", &registry, &err) != 0)
        return 99;
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        if (file_write(at(files[i]), "{}\n", 3, &err) != 0)
            return 99;
    log_set_level(LOG_ERROR);
    tcase_add_loop_test(t, wrong_pipelines, 0, sizeof(wrong) / sizeof(*wrong));
    tcase_add_loop_test(t, accepts, 0, 11);
    tcase_add_test(t, resolves);
    tcase_add_test(t, resolves_an_average);
    tcase_add_test(t, rows_beside_completions_have_their_own_number);
    tcase_add_test(t, sets);
    tcase_add_loop_test(t, written_and_read_again, 0, 2);
    suite_add_tcase(s, t);
    rc = tap_run(s);
    registry_free(registry);
    file_remove_tree(folder, NULL);
    return rc;
}
