/* What the host does around algorithms that sample: the moving average, warm-up of a critic, mixed losses, leaving a
 * rollout early. And what must hold of every one of them: see tests/pitfalls.md. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mem.h"
#include "model/tensors.h"
#include "train/harness.h"

#include "tap.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct harness h;

#define REWARDS "rewards: [{use: rule, kind: regex, pattern: '^ ?[a-mA-M]'}]\n"

static void open_ok(struct fixture *f, const char *name, const char *yaml) {
    ck_assert_int_eq(fixture_open(&h, name, yaml, f), 0);
}

static void run_ok(struct fixture *f, bool resume) {
    struct error err = {0};
    const int rc = fixture_run(&h, f, 1, resume, &err);

    ck_assert_msg(rc == 0, "%s", err.text);
}

static double mean(const double *x, size_t n) {
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

/* All numbers of the safetensors file or folder `file` of a run, in the order of the names; free() them. */
static float *weights_of(const struct fixture *f, const char *file, size_t *count) {
    char *path = file_join(f->output, file);
    struct error err = {0};
    struct tensors *t;
    float *all = NULL;
    size_t capacity = 0;

    ck_assert_msg(tensors_open(path, &t, &err) == 0, "%s", err.text);
    *count = 0;
    for (size_t i = 0; i < tensors_count(t); i++) {
        const struct tensor_info *info = tensors_at(t, i);
        void *grown = all;

        ck_assert_int_eq(mem_grow(&grown, &capacity, *count + info->elements, sizeof(float)), 0);
        all = grown;
        ck_assert_int_eq(tensors_read(t, info, 0, info->elements, REIN_F32, all + *count, &err), 0);
        *count += info->elements;
    }
    tensors_close(t);
    free(path);
    return all;
}

/* ---- the moving average ------------------------------------------------- */

static float *run_weights(const char *name, const char *yaml, const char *file, size_t *count) {
    struct fixture f;
    float *w;

    open_ok(&f, name, yaml);
    run_ok(&f, false);
    w = weights_of(&f, file, count);
    fixture_close(&f);
    return w;
}

START_TEST(the_average_follows_the_weights) {
    char yaml[1024], still[1024], file[64];
    size_t n, m;
    struct fixture f;
    float *expect, *now, *got;
    double moved = 0;

    snprintf(yaml, sizeof(yaml),
             "algorithm: {use: sft}\ndata: {train: %s}\ntrain: {steps: 5, batch: 4, lr: 2.0e-2, ema: 0.75}\n"
             "checkpoint: {every: 1, keep: 9}\n",
             h.sft);
    snprintf(still, sizeof(still), "algorithm: {use: sft}\ndata: {train: %s}\ntrain: {steps: 3, lr: 0, ema: 0.9}\n",
             h.sft);
    expect = run_weights("ema-still", still, "model", &n);
    got = run_weights("ema-still-too", still, "ema", &m);
    ck_assert_uint_eq(m, n);
    ck_assert_mem_eq(got, expect, n * sizeof(*got)); /* weights that never move are their own average */
    free(got);

    open_ok(&f, "ema", yaml);
    run_ok(&f, false);
    for (int step = 1; step <= 5; step++) {
        snprintf(file, sizeof(file), step < 5 ? "checkpoint-%d/model.safetensors" : "model", step);
        now = weights_of(&f, file, &m);
        ck_assert_uint_eq(m, n);
        for (size_t i = 0; i < n; i++)
            expect[i] = 0.75f * expect[i] + 0.25f * now[i];
        if (step < 5)
            free(now);
    }
    got = weights_of(&f, "ema", &m);
    ck_assert_uint_eq(m, n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_float_eq_tol(got[i], expect[i], 1e-6f * fabsf(expect[i]) + 1e-8f);
        moved = fmax(moved, fabs((double)got[i] - (double)now[i]));
    }
    ck_assert_double_gt(moved, 1e-3);
    fixture_close(&f);
    free(expect);
    free(got);
    free(now);
}
END_TEST

static void same_file(const struct fixture *a, const struct fixture *b, const char *file) {
    const uint32_t crc = fixture_crc(a, file);

    ck_assert_msg(crc != 0 && crc == fixture_crc(b, file), "%s differs", file);
}

/* Stops the run after each step in turn, goes on, and compares everything with a run that was not stopped. */
static void stop_and_resume(const char *name, const char *yaml, uint64_t last, const char *const *files) {
    struct fixture whole, f;
    struct error err = {0};
    char full[32];

    snprintf(full, sizeof(full), "%s-whole", name);
    open_ok(&whole, full, yaml);
    run_ok(&whole, false);
    for (uint64_t step = 1; step <= last; step++) {
        char *ta, *tb;

        open_ok(&f, name, yaml);
        h.stop_step = step;
        ck_assert_int_eq(fixture_run(&h, &f, 1, false, &err), -1);
        h.stop_step = 0;
        ck_assert_msg(err.kind == ERROR_STOPPED, "%s", err.text);
        run_ok(&f, true);
        ta = fixture_metrics_text(&whole);
        tb = fixture_metrics_text(&f);
        ck_assert_str_eq(ta, tb);
        free(ta);
        free(tb);
        for (int i = 0; files[i]; i++)
            same_file(&whole, &f, files[i]);
        file_remove_tree(f.output, NULL);
        fixture_close(&f);
    }
    fixture_close(&whole);
}

START_TEST(an_average_goes_on_with_the_same_bits) {
    static const char *const files[] = {"model/model.safetensors", "ema/model.safetensors", "critic/model.safetensors",
                                        NULL};
    char yaml[1024];

    for (int share = 0; share < 2; share++) {
        snprintf(yaml, sizeof(yaml),
                 "algorithm: {use: ppo}\nreference: 'yes'\ncritic: %s\ncritic_warmup: 2\n"
                 "data: {train: %s}\n" REWARDS "rollout: {prompts: 4, group: 2, max_tokens: 4, temperature: 1.0}\n"
                 "train: {steps: 5, epochs: 2, minibatch: 4, lr: 1.0e-2, ema: 0.9}\n",
                 share ? "share" : "separate", h.prompts);
        stop_and_resume(share ? "ema-share" : "ema-stop", yaml, 4, files);
    }
}
END_TEST

START_TEST(an_average_of_another_decay_is_not_taken_up) {
    struct fixture f;
    struct error err = {0};
    char yaml[1024];

    snprintf(yaml, sizeof(yaml), "algorithm: {use: sft}\ndata: {train: %s}\ntrain: {steps: 5, batch: 4, ema: 0.9}\n",
             h.sft);
    open_ok(&f, "ema-other", yaml);
    h.stop_step = 2;
    ck_assert_int_eq(fixture_run(&h, &f, 1, false, &err), -1);
    h.stop_step = 0;
    f.stage.train.ema = 0.8;
    ck_assert_int_eq(fixture_run(&h, &f, 1, true, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, "train.ema changed"));
    f.stage.train.ema = 0; /* nor is it let go of silently */
    ck_assert_int_eq(fixture_run(&h, &f, 1, true, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "train.ema changed"));
    fixture_close(&f);
}
END_TEST

/* ---- warm-up of a critic ------------------------------------------------ */

START_TEST(in_a_critics_warm_up_the_critic_alone_moves) {
    static const char *const critics[] = {"separate", "share"};

    for (int i = 0; i < 2; i++) {
        struct fixture still, warm, past;
        char yaml[1024], name[32];

        for (int k = 0; k < 3; k++) { /* nothing moves; all steps are the critic's; all but one */
            struct fixture *f = k == 0 ? &still : k == 1 ? &warm : &past;

            snprintf(name, sizeof(name), "warm-%s-%d", critics[i], k);
            snprintf(yaml, sizeof(yaml),
                     "algorithm: {use: ppo}\nreference: 'yes'\ncritic: %s\ncritic_warmup: %d\n"
                     "data: {train: %s}\n" REWARDS "rollout: {prompts: 4, group: 2, max_tokens: 4, temperature: 1.0}\n"
                     "train: {steps: 4, epochs: 2, minibatch: 4, schedule: constant, lr: %s}\n",
                     critics[i], k == 1 ? 4 : 3, h.prompts, k == 0 ? "0" : "1.0e-2");
            open_ok(f, name, yaml);
            if (k == 0)
                f->stage.critic.lr = 0;
            run_ok(f, false);
        }
        same_file(&still, &warm, "model/model.safetensors");
        ck_assert_uint_ne(fixture_crc(&still, "critic/model.safetensors"),
                          fixture_crc(&warm, "critic/model.safetensors"));
        ck_assert_uint_ne(fixture_crc(&still, "model/model.safetensors"),
                          fixture_crc(&past, "model/model.safetensors"));
        fixture_close(&still);
        fixture_close(&warm);
        fixture_close(&past);
    }
}
END_TEST

/* ---- mixed losses ------------------------------------------------------- */

/* One step of gradient descent: with a huge eps, AdamW's first step of rate eps is the gradient. Returns weights. */
static float *one_step(const char *name, const char *algorithms, const char *data, size_t *count) {
    struct fixture f;
    char yaml[2048];
    float *w;

    snprintf(yaml, sizeof(yaml),
             "algorithms: [%s]\nreference: 'yes'\ncritic: separate\ndata: {train: %s}\n%s"
             "train: {steps: 1, epochs: 1, batch: 12, eps: 1, max_grad_norm: 0, lr: 1, schedule: constant}\n",
             algorithms, data,
             data == h.prompts ? REWARDS "rollout: {prompts: 6, max_tokens: 4, temperature: 1.0}\n" : "");
    open_ok(&f, name, yaml);
    f.stage.train.eps = f.stage.train.lr = 1e5;
    run_ok(&f, false);
    w = weights_of(&f, "model", count);
    file_remove_tree(f.output, NULL);
    fixture_close(&f);
    return w;
}

/* step(`mixed`) = a step(`first`) + b step(`second`), all from the same weights */
static void check_mixture(const char *mixed, const char *data, double a, const char *first, const char *first_data,
                          double b, const char *second, const char *second_data) {
    char still[1024];
    size_t n, m;
    float *from, *both, *one, *other;
    double most = 0, off = 0;

    snprintf(still, sizeof(still), "algorithm: {use: sft}\ndata: {train: %s}\ntrain: {steps: 1, lr: 0}\n", h.sft);
    from = run_weights("mix-still", still, "model", &n);
    both = one_step("mix-both", mixed, data, &m);
    ck_assert_uint_eq(m, n);
    one = one_step("mix-one", first, first_data, &m);
    other = one_step("mix-other", second, second_data, &m);
    for (size_t i = 0; i < n; i++) {
        const double wanted = a * ((double)one[i] - (double)from[i]) + b * ((double)other[i] - (double)from[i]);

        most = fmax(most, fabs(wanted));
        off = fmax(off, fabs((double)both[i] - (double)from[i] - wanted));
    }
    ck_assert_double_gt(most, 1e-3);
    ck_assert_msg(off < 1e-3 * most, "%g of %g", off, most);
    free(from);
    free(both);
    free(one);
    free(other);
}

START_TEST(weights_of_mixed_losses_scale_their_gradients) {
    char mixed[512], texts[256];
    const char *file =
        harness_file(&h, "texts.jsonl", "{\"text\": \"the shop is open\"}\n{\"text\": \"we sell tea and bread\"}\n");

    snprintf(texts, sizeof(texts), "%s", file);
    snprintf(mixed, sizeof(mixed), "{use: sft, weight: 2}, {use: sft, target: text, weight: 0.5, data: %s}", texts);
    check_mixture(mixed, h.sft, 2, "{use: sft}", h.sft, 0.5, "{use: sft, target: text}", texts);
    snprintf(mixed, sizeof(mixed), "{use: ppo}, {use: sft, weight: 0.5, data: %s}", h.sft);
    check_mixture(mixed, h.prompts, 1, "{use: ppo}", h.prompts, 0.5, "{use: sft}", h.sft);
}
END_TEST

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

START_TEST(mixed_losses_have_their_own_order_and_names) {
    double first[32], second[32];
    struct fixture f;
    char yaml[1024];
    bool same = true;

    snprintf(yaml, sizeof(yaml),
             "algorithms: [{use: sft}, {use: sft, data: %s}, {use: sft, data: %s}]\ndata: {train: %s}\n"
             "train: {steps: 12, batch: 1, lr: 0}\n",
             h.sft, h.sft, h.sft);
    open_ok(&f, "order", yaml);
    run_ok(&f, false);
    ck_assert_uint_eq(fixture_metric(&f, "entropy", first, 32), 12);
    ck_assert_uint_eq(fixture_metric(&f, "sft-2/entropy", second, 32), 12);
    ck_assert_uint_eq(fixture_metric(&f, "sft/entropy", second, 32), 12);
    for (int i = 0; i < 12; i++)
        same = same && first[i] == second[i];
    ck_assert(!same);
    qsort(first, 12, sizeof(*first), ascending); /* the same rows all the same */
    qsort(second, 12, sizeof(*second), ascending);
    for (int i = 0; i < 12; i++)
        ck_assert_double_eq_tol(first[i], second[i], 1e-9);
    fixture_close(&f);
}
END_TEST

START_TEST(mixed_losses_go_on_with_the_same_bits) {
    static const char *const files[] = {"model/model.safetensors", "critic/model.safetensors", "samples.jsonl", NULL};
    char yaml[1024];

    snprintf(yaml, sizeof(yaml),
             "algorithms: [{use: ppo}, {use: sft, weight: 0.5, data: %s}]\nreference: 'yes'\n"
             "critic: separate\ndata: {train: %s}\n" REWARDS "rollout: {prompts: 4, max_tokens: 4, temperature: 1.0}\n"
             "train: {steps: 6, epochs: 2, minibatch: 2, batch: 5, lr: 1.0e-2}\n",
             h.sft, h.prompts);
    stop_and_resume("mixed-stop", yaml, 5, files);
}
END_TEST

/* ---- leaving a rollout -------------------------------------------------- */

START_TEST(a_rollout_is_left_when_the_policy_has_gone_far) {
    static const struct {
        const char *stop;
        double episodes[8];
    } cases[] = {{"0", {8, 8, 8, 8, 16, 16, 16, 16}},
                 {"1.0e-9", {8, 8, 16, 16, 24, 24, 32, 32}},
                 {"1.0e+3", {8, 8, 8, 8, 16, 16, 16, 16}}};
    double got[16];

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct fixture f;
        char yaml[1024], name[16];

        snprintf(name, sizeof(name), "stop%zu", i);
        snprintf(yaml, sizeof(yaml),
                 "algorithm: {use: ppo, target_kl_stop: %s}\nreference: 'yes'\ncritic: separate\n"
                 "data: {train: %s}\n" REWARDS "rollout: {prompts: 8, max_tokens: 4, temperature: 1.0}\n"
                 "train: {steps: 8, epochs: 4, lr: 1.0e-2}\n",
                 cases[i].stop, h.prompts);
        open_ok(&f, name, yaml);
        run_ok(&f, false);
        /* of a rollout's four passes the first sees no drift, the second does and is the last */
        ck_assert_uint_eq(fixture_metric(&f, "episode", got, 16), 8);
        for (int k = 0; k < 8; k++)
            ck_assert_double_eq(got[k], cases[i].episodes[k]);
        fixture_close(&f);
    }
}
END_TEST

/* ---- what holds of all of them ------------------------------------------ */

static const char *const sampling[] = {"ppo",  "grpo",      "grpo, baseline: group, beta: 0.04",
                                       "rloo", "reinforce", "reinforce, baseline: group"};
enum { SAMPLING = sizeof(sampling) / sizeof(*sampling) };

static void open_sampling(struct fixture *f, int i, const char *name, const char *rollout, const char *train) {
    char yaml[1024];

    snprintf(yaml, sizeof(yaml),
             "algorithm: {use: %s}\nreference: 'yes'\n%sdata: {train: %s}\n" REWARDS
             "rollout: {max_tokens: 4, %s}\ntrain: {%s}\n",
             sampling[i], i < 2 ? "critic: separate\n" : "", h.prompts, rollout, train);
    open_ok(f, name, yaml);
}

START_TEST(without_a_learning_rate_the_ratio_stays_1_for_a_whole_run) {
    static const struct {
        const char *metric;
        double value;
    } constant[] = {{"val/ratio", 1},           {"val/ratio_var", 0}, {"policy/approxkl_avg", 0},
                    {"policy/clipfrac_avg", 0}, {"objective/kl", 0},  {"sampling/sampling_logp_difference/max", 0}};
    double got[16];

    for (int i = 0; i < SAMPLING; i++) {
        struct fixture f;
        char name[16];

        snprintf(name, sizeof(name), "zero%d", i);
        /* the reference is the policy: at any temperature that all three share */
        open_sampling(&f, i, name, "prompts: 6, group: 4, temperature: 0.6", "steps: 8, epochs: 2, minibatch: 12, micro_batch: 5, lr: 0");
        run_ok(&f, false);
        for (size_t k = 0; k < sizeof(constant) / sizeof(*constant); k++) {
            const size_t n = fixture_metric(&f, constant[k].metric, got, 16);

            ck_assert_msg(n == 8 || (k == 5 && n == 2), "%s, %s: %zu", sampling[i], constant[k].metric, n);
            for (size_t s = 0; s < n; s++)
                ck_assert_double_eq_tol(got[s], constant[k].value, 1e-5);
        }
        fixture_close(&f);
    }
}
END_TEST

/* The first step over a whole rollout goes on from what sampling computed; one in micro-batches cannot. */
START_TEST(a_rollout_in_one_piece_is_the_same) {
    for (int i = 0; i < SAMPLING; i++) {
        double loss[2][4], norm[2][4];

        for (int cut = 0; cut < 2; cut++) {
            struct fixture f;
            char name[16];

            snprintf(name, sizeof(name), "piece%d-%d", i, cut);
            open_sampling(&f, i, name, "prompts: 6, group: 4, temperature: 0.9",
                          cut ? "steps: 4, epochs: 2, micro_batch: 5, lr: 1.0e-3" : "steps: 4, epochs: 2, lr: 1.0e-3");
            run_ok(&f, false);
            ck_assert_uint_eq(fixture_metric(&f, "loss", loss[cut], 4), 4);
            ck_assert_uint_eq(fixture_metric(&f, "grad_norm", norm[cut], 4), 4);
            fixture_close(&f);
        }
        for (int s = 0; s < 4; s++) {
            ck_assert_double_eq_tol(loss[0][s], loss[1][s], 1e-5);
            ck_assert_double_eq_tol(norm[0][s], norm[1][s], 1e-4 * fmax(1, norm[1][s]));
        }
    }
}
END_TEST

/* A temperature that only the sampler knew would leave entropies and KL alone. */
START_TEST(the_temperature_divides_all_log_probabilities) {
    double warm[4], cold[4];
    struct fixture f;

    open_sampling(&f, 0, "warm", "prompts: 6, group: 4, temperature: 1.5", "steps: 1, lr: 0");
    run_ok(&f, false);
    ck_assert_uint_eq(fixture_metric(&f, "objective/entropy", warm, 4), 1);
    fixture_metric(&f, "policy/entropy_avg", warm + 1, 1);
    fixture_close(&f);
    open_sampling(&f, 0, "cold", "prompts: 6, group: 4, temperature: 0.3", "steps: 1, lr: 0");
    run_ok(&f, false);
    ck_assert_uint_eq(fixture_metric(&f, "objective/entropy", cold, 4), 1);
    fixture_metric(&f, "policy/entropy_avg", cold + 1, 1);
    fixture_close(&f);
    ck_assert_double_lt(cold[0], 0.8 * warm[0]);
    ck_assert_double_lt(cold[1], 0.8 * warm[1]);
}
END_TEST

START_TEST(all_of_them_raise_the_reward) {
    double scores[128];

    for (int i = 2; i < SAMPLING; i++) { /* with a critic: check_train */
        struct fixture f;
        char name[16];
        size_t n;

        snprintf(name, sizeof(name), "learn%d", i);
        open_sampling(&f, i, name, "prompts: 12, group: 8, temperature: 1.0", "steps: 60, epochs: 2, minibatch: 48, lr: 2.0e-2");
        run_ok(&f, false);
        n = fixture_metric(&f, "objective/scores", scores, 128);
        ck_assert_uint_eq(n, 60);
        ck_assert_msg(mean(scores + n - 8, 8) > mean(scores, 8) + 0.2, "%s: the score went from %g to %g", sampling[i],
                      mean(scores, 8), mean(scores + n - 8, 8));
        fixture_close(&f);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("policy");
    TCase *tc = tcase_create("policy");
    int rc;

    if (harness_open(&h) != 0)
        return 1;
    harness_data(&h);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, the_average_follows_the_weights);
    tcase_add_test(tc, an_average_goes_on_with_the_same_bits);
    tcase_add_test(tc, an_average_of_another_decay_is_not_taken_up);
    tcase_add_test(tc, in_a_critics_warm_up_the_critic_alone_moves);
    tcase_add_test(tc, weights_of_mixed_losses_scale_their_gradients);
    tcase_add_test(tc, mixed_losses_have_their_own_order_and_names);
    tcase_add_test(tc, mixed_losses_go_on_with_the_same_bits);
    tcase_add_test(tc, a_rollout_is_left_when_the_policy_has_gone_far);
    tcase_add_test(tc, without_a_learning_rate_the_ratio_stays_1_for_a_whole_run);
    tcase_add_test(tc, a_rollout_in_one_piece_is_the_same);
    tcase_add_test(tc, the_temperature_divides_all_log_probabilities);
    tcase_add_test(tc, all_of_them_raise_the_reward);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    harness_close(&h);
    return rc;
}
