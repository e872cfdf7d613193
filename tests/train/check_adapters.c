/* Stages that train adapters. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "model/peft.h"
#include "train/harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tap.h"

static struct harness h;
static char base[256]; /* a model in files: of a short sft */

#define LORA "from: %1$s\nlora: {rank: 4, alpha: 8}\n"
#define PPO \
    LORA "algorithm: {use: ppo}\nreference: 'yes'\ncritic: share\ndata: {train: %2$s}\n" \
    "rewards: [{use: rule, kind: regex, pattern: '^ ?[a-m]'}]\n" \
    "rollout: {prompts: 4, group: 2, max_tokens: 4, temperature: 1.0}\n" \
    "train: {steps: 8, epochs: 2, minibatch: 4, micro_batch: 2, lr: 1.0e-2, ema: 0.9}\n"
#define SFT(lora, train) \
    "from: %1$s\nlora: {" lora "}\nalgorithm: {use: sft}\ndata: {train: %2$s}\ntrain: {" train ", batch: 6, lr: 1.0e-2}\n"
#define DPO LORA "algorithm: {use: dpo}\nreference: 'yes'\ndata: {train: %2$s}\ntrain: {steps: 3, batch: 4, lr: 1.0e-2}\n"
#define RM  LORA "head: score\nalgorithm: {use: rm}\ndata: {train: %2$s}\ntrain: {steps: 4, batch: 4, lr: 1.0e-2}\n"

static void open_ok(struct fixture *f, const char *name, const char *format, const char *from, const char *data) {
    char yaml[2048];

    snprintf(yaml, sizeof(yaml), format, from, data);
    ck_assert_int_eq(fixture_open(&h, name, yaml, f), 0);
}

static void run_ok(struct fixture *f, bool resume) {
    struct error err = {0};

    ck_assert_msg(fixture_run(&h, f, 1, resume, &err) == 0, "%s", err.text);
}

static void setup(void) {
    struct fixture f;

    ck_assert_int_eq(harness_open(&h), 0);
    harness_data(&h);
    open_ok(&f, "base", "algorithm: {use: sft}\ndata: {train: %2$s}\ntrain: {steps: 4, batch: 6, lr: 1.0e-2}\n", "", h.sft);
    run_ok(&f, false);
    snprintf(base, sizeof(base), "%s/model", f.output);
    fixture_close(&f);
}

static void teardown(void) {
    harness_close(&h);
}

static void same_files(const struct fixture *a, const struct fixture *b) {
    static const char *const files[] = {"model/adapter_model.safetensors", "critic/adapter_model.safetensors",
                                        "ema/adapter_model.safetensors"};

    ck_assert_uint_ne(fixture_crc(a, files[0]), 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        ck_assert_msg(fixture_crc(a, files[i]) == fixture_crc(b, files[i]), "%s", files[i]);
}

START_TEST(stopped_and_resumed) {
    struct error err = {0};
    struct fixture whole, f;
    double difference[8];
    char *a, *b;

    open_ok(&whole, "whole", PPO, base, h.prompts);
    run_ok(&whole, false);
    ck_assert_uint_ge(fixture_metric(&whole, "sampling/sampling_logp_difference/max", difference, 8), 1);
    ck_assert_double_le(difference[0], 1e-5);
    for (uint64_t step = 1; step < 8; step += 2) {
        open_ok(&f, "stopped", PPO, base, h.prompts);
        h.stop_step = step;
        ck_assert_int_eq(fixture_run(&h, &f, 1, false, &err), -1);
        h.stop_step = 0;
        ck_assert_msg(err.kind == ERROR_STOPPED, "%s", err.text);
        run_ok(&f, true);
        same_files(&whole, &f);
        a = fixture_metrics_text(&whole);
        b = fixture_metrics_text(&f);
        ck_assert_str_eq(a, b);
        free(a);
        free(b);
        file_remove_tree(f.output, NULL);
        fixture_close(&f);
    }
    fixture_close(&whole);
}
END_TEST

static size_t norms(const char *name, const char *format, int64_t micro, double *out) {
    struct fixture f;
    size_t n;

    open_ok(&f, name, format, base, h.sft);
    f.stage.train.micro_batch = micro;
    run_ok(&f, false);
    n = fixture_metric(&f, "grad_norm", out, 8);
    file_remove_tree(f.output, NULL);
    fixture_close(&f);
    return n;
}

/* However a step is cut, with dropout of the adapters' inputs or without. */
START_TEST(micro_batches_make_no_difference) {
    static const char *const forms[] = {SFT("rank: 3", "steps: 3"), SFT("rank: 3, dropout: 0.3", "steps: 3"),
                                        SFT("rank: 3, targets: [v_proj, down_proj], rslora: true", "steps: 3")};
    static double first[3][8];

    for (size_t k = 0; k < 3; k++) {
        double cut[8];

        ck_assert_uint_eq(norms("cut", forms[k], 6, first[k]), 3);
        for (int64_t micro = 1; micro <= 4; micro++) {
            norms("cut", forms[k], micro, cut);
            for (int i = 0; i < 3; i++)
                ck_assert_double_eq_tol(cut[i], first[k][i], 1e-4 * first[k][i]);
        }
    }
    ck_assert_double_gt(fabs(first[0][0] - first[1][0]), 1e-4);
}
END_TEST

/* Dropout is of what the adapters read, not of the model: while B is zero the loss is that of no dropout, but its gradient
 * is not. */
START_TEST(dropout_is_the_adapters_alone) {
    struct fixture f[2];
    double loss[2][8], norm[2][8];

    for (int k = 0; k < 2; k++) {
        open_ok(&f[k], k ? "dropped" : "kept", k ? SFT("rank: 3, dropout: 0.4", "steps: 4") : SFT("rank: 3", "steps: 4"),
                base, h.sft);
        run_ok(&f[k], false);
        ck_assert_uint_eq(fixture_metric(&f[k], "loss", loss[k], 8), 4);
        ck_assert_uint_eq(fixture_metric(&f[k], "grad_norm", norm[k], 8), 4);
        file_remove_tree(f[k].output, NULL);
        fixture_close(&f[k]);
    }
    ck_assert_double_eq_tol(loss[0][0], loss[1][0], 1e-7);
    ck_assert_double_gt(fabs(norm[0][0] - norm[1][0]), 1e-2 * norm[0][0]);
    ck_assert_double_gt(fabs(loss[0][3] - loss[1][3]), 1e-6);
}
END_TEST

/* An adapter is trained on from where it stands; its reference is itself as it was, so the first margin is 0. */
START_TEST(an_adapter_goes_on) {
    struct fixture f, g;
    double loss[8], again[8];
    char path[300];

    open_ok(&f, "first", SFT("rank: 3", "steps: 12"), base, h.sft);
    run_ok(&f, false);
    ck_assert_uint_eq(fixture_metric(&f, "loss", loss, 8), 8);
    snprintf(path, sizeof(path), "%s/model", f.output);
    ck_assert(peft_is_adapter(path));
    open_ok(&g, "second", "from: %1$s\nalgorithm: {use: sft}\ndata: {train: %2$s}\ntrain: {steps: 2, batch: 6, lr: 1.0e-2}\n",
            path, h.sft);
    run_ok(&g, false);
    fixture_metric(&g, "loss", again, 8);
    ck_assert_double_lt(again[0], 0.95 * loss[0]);
    fixture_close(&g);
    open_ok(&g, "prefer", "from: %1$s\nreference: 'yes'\nalgorithm: {use: dpo}\ndata: {train: %2$s}\n"
                          "train: {steps: 2, batch: 4, lr: 1.0e-2}\n", path, h.pairs);
    g.stage.reference.source.trainable = false;
    run_ok(&g, false);
    fixture_metric(&g, "loss", again, 8);
    ck_assert_double_eq_tol(again[0], log(2), 1e-6);
    ck_assert_double_lt(again[1], log(2));
    fixture_close(&g);
    fixture_close(&f);
}
END_TEST

/* The reference is the model with its adapter off. */
START_TEST(dpo_begins_at_its_reference) {
    struct fixture f;
    double loss[8];

    open_ok(&f, "dpo", DPO, base, h.pairs);
    run_ok(&f, false);
    ck_assert_uint_eq(fixture_metric(&f, "loss", loss, 8), 3);
    ck_assert_double_eq_tol(loss[0], log(2), 1e-6);
    ck_assert_double_lt(loss[2], log(2));
    fixture_close(&f);
}
END_TEST

/* Whole when asked to, and the same model as the adapter on its base. */
START_TEST(merged_when_asked) {
    struct fixture f, g;
    char path[300];

    open_ok(&f, "merged", SFT("rank: 3, merge: true", "steps: 3"), base, h.sft);
    run_ok(&f, false);
    snprintf(path, sizeof(path), "%s/model", f.output);
    ck_assert(!peft_is_adapter(path));
    ck_assert_uint_ne(fixture_crc(&f, "model/model.safetensors"), 0);
    open_ok(&g, "apart", SFT("rank: 3", "steps: 3"), base, h.sft);
    run_ok(&g, false);
    ck_assert_uint_ne(fixture_crc(&g, "model/adapter_model.safetensors"), 0);
    ck_assert_uint_eq(fixture_crc(&g, "model/model.safetensors"), 0);
    fixture_close(&f);
    fixture_close(&g);
}
END_TEST

/* A reward model's adapter brings its head and where its scores lie. */
START_TEST(reward_model) {
    struct fixture f;
    struct model_source source = {.head = MODEL_SCORE};
    struct error err = {0};
    struct model *m;
    char path[300];

    open_ok(&f, "rm", RM, base, h.pairs);
    run_ok(&f, false);
    snprintf(path, sizeof(path), "%s/model", f.output);
    source.path = path;
    ck_assert_msg(model_open(h.backend, &source, &m, &err) == 0, "%s", err.text);
    ck_assert_int_eq(model_heads(m), 1);
    ck_assert(model_standard(m)->known);
    model_close(m);
    fixture_close(&f);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("adapters");
    TCase *t = tcase_create("adapters");

    tcase_add_unchecked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, stopped_and_resumed);
    tcase_add_test(t, micro_batches_make_no_difference);
    tcase_add_test(t, dropout_is_the_adapters_alone);
    tcase_add_test(t, an_adapter_goes_on);
    tcase_add_test(t, dpo_begins_at_its_reference);
    tcase_add_test(t, merged_when_asked);
    tcase_add_test(t, reward_model);
    suite_add_tcase(suite, t);
    return tap_run(suite);
}
