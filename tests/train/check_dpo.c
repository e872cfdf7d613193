/* Preference optimisation on a tiny random model. SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "train/harness.h"
#include "train/mismatch.h"
#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tap.h"

static struct harness h;
static char labelled[256];

static void run_ok(struct fixture *f, bool resume) {
    struct error err = {0};
    const int rc = fixture_run(&h, f, 1, resume, &err);

    ck_assert_msg(rc == 0, "%s", err.text);
}

/* %1$s data, %2$s loss and more options, %3$s what else the stage has, %4$s more of train */
#define STAGE \
    "algorithm: {use: dpo, loss: %2$s}\n%3$s\ndata: {train: %1$s, eval: %1$s}\n" \
    "train: {epochs: 6, batch: 4, lr: 5.0e-3, %4$s}\n"
#define REFERENCE "reference: 'yes'"

static void open_ok(struct fixture *f, const char *name, const char *data, const char *loss, const char *more,
                    const char *train) {
    char yaml[2048];

    snprintf(yaml, sizeof(yaml), STAGE, data, loss, more, train);
    ck_assert_int_eq(fixture_open(&h, name, yaml, f), 0);
}

static double first(const struct fixture *f, const char *metric) {
    double x[64];

    ck_assert_msg(fixture_metric(f, metric, x, 64) > 0, "no metric %s", metric);
    return x[0];
}

static double last(const struct fixture *f, const char *metric) {
    double x[64];
    const size_t n = fixture_metric(f, metric, x, 64);

    ck_assert_msg(n > 0, "no metric %s", metric);
    return x[n - 1];
}

START_TEST(before_the_first_step_the_policy_is_the_reference) {
    static const struct {
        const char *loss, *data;
        double expect;
    } cases[] = {
        {"sigmoid", h.pairs, 0.6931471805599453}, {"hinge", h.pairs, 1},
        {"ipo", h.pairs, 25},                     {"robust, label_smoothing: 0.2", h.pairs, 0.6931471805599453},
        {"cdpo, label_smoothing: 0.2", h.pairs, 0.6931471805599453},
        {"kto", labelled, 0.5},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char name[32];
        struct fixture f;

        snprintf(name, sizeof(name), "first-%zu", i);
        open_ok(&f, name, cases[i].data, cases[i].loss, REFERENCE, "steps: 1, micro_batch: 3");
        run_ok(&f, false);
        ck_assert_double_eq_tol(first(&f, "loss"), cases[i].expect, 1e-9);
        ck_assert_double_eq_tol(first(&f, "rewards/chosen"), 0, 1e-7);
        ck_assert_double_eq_tol(first(&f, "rewards/rejected"), 0, 1e-7);
        ck_assert_double_gt(first(&f, "grad_norm"), 0.01);
        if (i < 5)
            ck_assert_double_eq(first(&f, "rewards/accuracies"), 0); /* nobody wins */
        else
            ck_assert_double_eq_tol(first(&f, "kl"), 0, 1e-7);
        fixture_close(&f);
    }
}
END_TEST

START_TEST(every_loss_raises_the_margin) {
    static const char *const losses[] = {"sigmoid", "hinge", "ipo", "robust, label_smoothing: 0.1",
                                         "cdpo, label_smoothing: 0.1", "simpo", "orpo"};

    for (size_t i = 0; i < sizeof(losses) / sizeof(*losses); i++) {
        const bool alone = i > 4;
        char name[32];
        struct fixture f;

        snprintf(name, sizeof(name), "learns-%zu", i);
        open_ok(&f, name, h.pairs, losses[i], alone ? "" : REFERENCE, "micro_batch: 2");
        run_ok(&f, false);
        ck_assert_double_eq(last(&f, "eval_rewards/accuracies"), 1);
        ck_assert_double_gt(last(&f, "rewards/margins"), first(&f, "rewards/margins") + 0.1);
        ck_assert_double_lt(last(&f, "eval_loss"), 0.9 * first(&f, "loss"));
        ck_assert_double_gt(last(&f, "logps/chosen") - last(&f, "logps/rejected"),
                            first(&f, "logps/chosen") - first(&f, "logps/rejected") + 0.5);
        fixture_close(&f);
    }
}
END_TEST

START_TEST(kto_tells_good_from_bad) {
    static const char *const names[] = {"kto-labelled", "kto-pairs"};

    for (int i = 0; i < 2; i++) { /* a pair is a good completion and a bad one */
        struct fixture f;

        open_ok(&f, names[i], i ? h.pairs : labelled, "kto, beta: 0.3", REFERENCE, "micro_batch: 3");
        run_ok(&f, false);
        ck_assert_double_eq_tol(last(&f, "epoch"), 6, 1e-9);
        ck_assert_double_gt(last(&f, "eval_rewards/chosen"), 0.3);
        ck_assert_double_lt(last(&f, "eval_rewards/rejected"), -0.3);
        ck_assert_double_lt(last(&f, "eval_loss"), 0.45);
        ck_assert_double_eq_tol(last(&f, "eval_rewards/margins"),
                                last(&f, "eval_rewards/chosen") - last(&f, "eval_rewards/rejected"), 1e-6);
        fixture_close(&f);
    }
}
END_TEST

/* Beside an algorithm that samples at another temperature, given data is read at 1 by policy and reference alike, and a
 * reference that only it needs is let go. */
START_TEST(mixed_into_ppo_it_starts_at_the_reference_too) {
    for (int shared = 0; shared < 2; shared++) {
        char yaml[2048], name[32];
        struct fixture f;

        snprintf(name, sizeof(name), "mixed-%d", shared);
        snprintf(yaml, sizeof(yaml),
                 "algorithms: [{use: ppo, beta: %s}, {use: dpo, weight: 0.5, data: %s}]\nreference: 'yes'\ncritic: share\n"
                 "data: {train: %s}\nrewards: [{use: rule, kind: length}]\n"
                 "rollout: {prompts: 4, max_tokens: 4, temperature: 0.5}\n"
                 "train: {steps: 3, epochs: 1, batch: 4, lr: 1.0e-3}\n",
                 shared ? "0.05" : "0", h.pairs, h.prompts);
        ck_assert_int_eq(fixture_open(&h, name, yaml, &f), 0);
        ck_assert(stage_keeps_reference(&f.stage) == (shared == 1));
        run_ok(&f, false);
        ck_assert_double_eq_tol(first(&f, "dpo/rewards/chosen"), 0, 1e-6);
        ck_assert_double_gt(fabs(last(&f, "dpo/rewards/chosen")), 1e-5);
        fixture_close(&f);
    }
}
END_TEST

/* Losses, sums and gradients are those of the step, however it is cut. */
START_TEST(micro_batches_make_no_difference) {
    static const char *const losses[] = {"sigmoid", "orpo", "simpo", "kto"};
    static const char *const metrics[] = {"loss", "grad_norm", "rewards/chosen", "kl", "nll_loss", "eval_loss",
                                          "eval_kl", "num_tokens"};
    static const int64_t cuts[] = {4, 2, 1, 3};

    for (int i = 0; i < 4; i++) {
        double was[8][16];

        for (int k = 0; k < 4; k++) {
            char name[32];
            struct fixture f;

            snprintf(name, sizeof(name), "cut-%d-%d", i, k);
            open_ok(&f, name, i == 3 ? labelled : h.pairs, losses[i], i == 1 || i == 2 ? "" : REFERENCE, "steps: 5");
            f.stage.train.micro_batch = cuts[k];
            run_ok(&f, false);
            for (int m = 0; m < 8; m++) {
                double now[16];
                const size_t n = fixture_metric(&f, metrics[m], now, 16);

                for (size_t s = 0; s < n; s++) {
                    if (k == 0)
                        was[m][s] = now[s];
                    ck_assert_msg(fabs(now[s] - was[m][s]) <= 1e-5 * fabs(was[m][s]) + 1e-6, "%s, %s: %g and %g",
                                  losses[i], metrics[m], now[s], was[m][s]);
                }
            }
            if (i == 3 && k == 0)
                ck_assert_double_gt(last(&f, "kl"), 0);
            fixture_close(&f);
        }
    }
}
END_TEST

static void same_run(const struct fixture *a, const struct fixture *b) {
    char *ta = fixture_metrics_text(a), *tb = fixture_metrics_text(b);

    ck_assert_str_eq(ta, tb);
    ck_assert_uint_ne(fixture_crc(a, "model/model.safetensors"), 0);
    ck_assert_uint_eq(fixture_crc(a, "model/model.safetensors"), fixture_crc(b, "model/model.safetensors"));
    free(ta);
    free(tb);
}

START_TEST(a_stopped_run_goes_on_with_the_same_bits) {
    static const char *const losses[] = {"sigmoid", "orpo", "kto"};

    for (int i = 0; i < 3; i++) {
        const char *data = i == 2 ? labelled : h.pairs, *more = i == 1 ? "" : REFERENCE;
        char name[32];
        struct fixture whole;

        snprintf(name, sizeof(name), "whole-%d", i);
        open_ok(&whole, name, data, losses[i], more, "steps: 9, micro_batch: 3, eval_every: 4");
        run_ok(&whole, false);
        for (int stop = 0; stop < 6; stop++) {
            struct error err = {0};
            struct fixture f;

            snprintf(name, sizeof(name), "stop-%d-%d", i, stop);
            open_ok(&f, name, data, losses[i], more, "steps: 9, micro_batch: 3, eval_every: 4");
            h.stop_step = stop < 3 ? (uint64_t)(2 + 3 * stop) : 0;
            h.stop_progress = stop < 3 ? 0 : (uint64_t)(3 + 7 * (stop - 3)); /* between micro-batches, in evaluations */
            ck_assert_int_eq(fixture_run(&h, &f, 1, false, &err), -1);
            h.stop_step = h.stop_progress = 0;
            ck_assert_msg(err.kind == ERROR_STOPPED, "%s", err.text);
            run_ok(&f, true);
            same_run(&whole, &f);
            fixture_close(&f);
        }
        fixture_close(&whole);
    }
}
END_TEST

START_TEST(the_reference_is_let_go_when_the_data_is_read) {
    const struct stage_env env = {.backend = h.backend, .seed = 1};
    struct error err = {0};
    struct fixture f;
    struct run *r;

    open_ok(&f, "let-go", labelled, "kto", REFERENCE, "steps: 1");
    ck_assert_msg(run_open(&f.stage, &env, &r, &err) == 0, "%s", err.text);
    ck_assert(!stage_keeps_reference(&f.stage));
    ck_assert_ptr_null(r->trainer.reference);
    ck_assert_ptr_null(r->trainer.reference_pass);
    ck_assert_ptr_nonnull(r->samples[0].logp_ref);
    ck_assert_ptr_nonnull(r->eval.logp_ref);
    run_close(r);
    fixture_close(&f);
}
END_TEST

/* ---- mismatched rows ------------------------------------------------------ */

/* Rows of a prompt of one id and completions of two, from pairs of prompt and completion. */
struct toy {
    struct dataset d;
    struct data_row rows[8];
    struct data_unit units[8];
    int32_t ids[8][3];
};
static void toy_make(struct toy *t, size_t n, const int32_t *prompts) {
    *t = (struct toy){.d = {.kind = REIN_DATA_LABELLED, .nunits = n, .nrows = n, .units = t->units, .rows = t->rows,
                            .longest = 3, .path = "toy"}};
    for (size_t i = 0; i < n; i++) {
        t->ids[i][0] = prompts[i];
        t->ids[i][1] = t->ids[i][2] = (int32_t)i;
        t->rows[i] = (struct data_row){.ids = t->ids[i], .length = 3, .prompt_length = 1};
        t->units[i] = (struct data_unit){.first = (uint32_t)i, .rows = 1, .label = i % 2 == 0};
    }
}

static void check_shift(size_t n, const int32_t *prompts, size_t shift) {
    struct error err = {0};
    struct data_row *rows;
    struct toy t;
    int32_t *ids;

    toy_make(&t, n, prompts);
    ck_assert_int_eq(mismatch_rows(&t.d, &rows, &ids, &err), 0);
    for (size_t i = 0; i < n; i++) {
        const struct data_row *kl = &rows[2 * i + 1];

        ck_assert_ptr_eq(rows[2 * i].ids, t.rows[i].ids);
        ck_assert_uint_eq(kl->role, REIN_ROLE_KL);
        ck_assert_uint_eq(kl->length, 3);
        ck_assert_uint_eq(kl->prompt_length, 1);
        ck_assert_int_eq(kl->ids[0], prompts[i]);
        ck_assert_int_eq(kl->ids[1], (int32_t)((i + n - shift) % n));
        ck_assert_int_eq(kl->ids[2], kl->ids[1]);
    }
    free(rows);
    free(ids);
}

START_TEST(mismatched_rows_are_a_shift_that_keeps_prompts_apart) {
    check_shift(4, (const int32_t[]){10, 11, 12, 13}, 1);                 /* as TRL's */
    check_shift(6, (const int32_t[]){10, 10, 11, 11, 12, 12}, 2);         /* what were pairs */
    check_shift(7, (const int32_t[]){10, 10, 10, 11, 12, 13, 14}, 3);
    check_shift(5, (const int32_t[]){10, 11, 10, 11, 10}, 1);             /* one meets itself, whatever the shift */
    check_shift(3, (const int32_t[]){10, 10, 10}, 1);                     /* nothing better */
    check_shift(2, (const int32_t[]){10, 11}, 1);
}
END_TEST

START_TEST(a_mismatched_row_is_no_longer_than_the_data) {
    static const uint8_t mask[] = {0, 1, 1, 1};
    static int32_t longer[] = {1, 2, 3, 4, 5, 6}, shorter[] = {7, 8, 9, 10, 11};
    struct data_row rows[] = {{.ids = longer, .length = 6, .prompt_length = 5},
                              {.ids = shorter, .length = 5, .prompt_length = 1, .mask = mask}};
    struct data_unit units[] = {{.first = 0, .rows = 1, .label = 1}, {.first = 1, .rows = 1}};
    struct dataset d = {.kind = REIN_DATA_LABELLED, .nunits = 2, .nrows = 2, .units = units, .rows = rows, .longest = 6};
    struct error err = {0};
    struct samples s;

    ck_assert_int_eq(samples_from_dataset(&d, REIN_NEED_LOGP | REIN_NEED_KL_ROWS, &s, &err), 0);
    ck_assert_uint_eq(s.rows, 4);
    ck_assert_uint_eq(s.units, 2);
    ck_assert_uint_eq(s.unit[1], 2);
    ck_assert_uint_eq(s.length[1], 6);        /* 5 + 4, cut off */
    ck_assert_uint_eq(samples_row_tokens(&s, 1), 1);
    ck_assert_int_eq(s.ids[1][5], 8);
    ck_assert_uint_eq(s.length[3], 2);
    ck_assert_int_eq(s.ids[3][1], 6);
    ck_assert_uint_eq(s.label[0] * 8u + s.label[1] * 4u + s.label[2] * 2u + s.label[3], 12);
    ck_assert_uint_eq(s.role[0] + s.role[2], 2 * REIN_ROLE_PLAIN);
    ck_assert_uint_eq(s.role[1] + s.role[3], 2 * REIN_ROLE_KL);
    ck_assert_uint_eq(samples_unmasked(&s, 2), 3);
    ck_assert_uint_eq(samples_unmasked(&s, 1), 0); /* the mask goes with the completion */
    ck_assert_uint_eq(samples_unmasked(&s, 3), 1);
    samples_free(&s);
}
END_TEST

START_TEST(one_row_has_nothing_to_be_mismatched_with) {
    struct error err = {0};
    struct fixture f;
    char one[256];

    snprintf(one, sizeof(one), "%s",
             harness_file(&h, "one.jsonl", "{\"prompt\": \"tea\", \"completion\": \" and\", \"label\": true}\n"));
    open_ok(&f, "one", one, "kto", REFERENCE, "steps: 1");
    ck_assert_int_eq(fixture_run(&h, &f, 1, false, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, "one.jsonl: has one row"));
    fixture_close(&f);
}
END_TEST

/* A stage that goes on from what another one wrote, with the random model it came from as reference; it moves nothing. */
static void open_again(struct fixture *f, const struct fixture *from, const char *name, const char *algorithm,
                       const char *data) {
    char yaml[2048];

    snprintf(yaml, sizeof(yaml),
             "algorithm: {use: %s}\nfrom: %s/model\n" REFERENCE "\ndata: {train: %s, eval: %s}\n"
             "train: {steps: 1, batch: 4, lr: 0}\n", algorithm, from->output, data, data);
    ck_assert_int_eq(fixture_open(&h, name, yaml, f), 0);
    f->stage.reference.source = f->tiny;
    if (strcmp(algorithm, "sft") == 0)
        f->stage.reference.present = false;
}

/* kl is that of the mismatched rows, computed here from the models' log-probabilities of every row. */
START_TEST(the_kl_is_that_of_the_mismatched_rows) {
    const struct stage_env env = {.backend = h.backend, .seed = 1};
    struct error err = {0};
    struct fixture trained, f;
    double kl = 0, matched = 0;
    float *logp;
    struct run *r;

    open_ok(&trained, "kl-trained", labelled, "kto, beta: 0.3, desirable_weight: 3", REFERENCE, "micro_batch: 3");
    run_ok(&trained, false);
    open_again(&f, &trained, "kl", "dpo, loss: kto", labelled);
    ck_assert_msg(run_open(&f.stage, &env, &r, &err) == 0, "%s", err.text);
    logp = samples_array(r->eval.tokens, &err);
    ck_assert_int_eq(trainer_logprobs(r->trainer.actor_pass, &r->eval, 3, 1, logp, &err), 0);
    ck_assert_uint_eq(r->eval.rows, 24);
    for (uint32_t row = 0; row < r->eval.rows; row++)
        for (uint64_t i = r->eval.offset[row]; i < r->eval.offset[row + 1]; i++)
            *(row % 2 ? &kl : &matched) += ((double)logp[i] - (double)r->eval.logp_ref[i]) / 12;
    free(logp);
    run_close(r);
    run_ok(&f, false);
    ck_assert_double_gt(kl, 0.1);
    ck_assert_double_gt(fabs(kl - matched), 0.1);
    ck_assert_double_eq_tol(last(&f, "eval_kl"), kl, 1e-5 * kl);
    fixture_close(&f);
    fixture_close(&trained);
}
END_TEST

START_TEST(token_accuracy_is_that_of_what_is_wanted) {
    static const char *const words[] = {"the", "shop", "is", "open", "we", "sell", "tea", "and", "bread"};
    struct buffer b = {0};
    struct fixture trained, f;
    char chosen[256];
    double wanted;

    for (int i = 0; i < 12; i++)
        buffer_printf(&b, "{\"prompt\": \"%s %s\", \"completion\": \" tea and bread\"}\n", words[i % 9],
                      words[(i + 5) % 9]);
    snprintf(chosen, sizeof(chosen), "%s", harness_file(&h, "chosen.jsonl", b.data));
    buffer_free(&b);
    open_ok(&trained, "accuracy-trained", h.pairs, "simpo", "", "micro_batch: 3");
    run_ok(&trained, false);
    open_again(&f, &trained, "accuracy-sft", "sft", chosen);
    run_ok(&f, false);
    wanted = last(&f, "eval_mean_token_accuracy");
    ck_assert_double_gt(wanted, 0.5);
    fixture_close(&f);
    for (int i = 0; i < 2; i++) {
        open_again(&f, &trained, i ? "accuracy-kto" : "accuracy-dpo", i ? "dpo, loss: kto" : "dpo", h.pairs);
        run_ok(&f, false);
        ck_assert_double_eq_tol(last(&f, "eval_mean_token_accuracy"), wanted, 1e-9);
        fixture_close(&f);
    }
    fixture_close(&trained);
}
END_TEST

static void make_labelled(void) {
    static const char *const words[] = {"the", "shop", "is", "open", "we", "sell", "tea", "and", "bread"};
    struct buffer b = {0};

    for (int i = 0; i < 12; i++)
        buffer_printf(&b, "{\"prompt\": \"%s %s\", \"completion\": \"%s%s\", \"label\": %s}\n", words[i % 9],
                      words[(i + 5) % 9], i % 3 ? " tea and bread" : " shop ", i % 3 ? "" : words[i % 9],
                      i % 3 ? "true" : "false");
    snprintf(labelled, sizeof(labelled), "%s", harness_file(&h, "labelled.jsonl", b.data));
    buffer_free(&b);
}

int main(void) {
    Suite *suite = suite_create("dpo");
    TCase *tc = tcase_create("dpo");
    int rc;

    if (harness_open(&h) != 0)
        return 1;
    harness_data(&h);
    make_labelled();
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, before_the_first_step_the_policy_is_the_reference);
    tcase_add_test(tc, every_loss_raises_the_margin);
    tcase_add_test(tc, kto_tells_good_from_bad);
    tcase_add_test(tc, mixed_into_ppo_it_starts_at_the_reference_too);
    tcase_add_test(tc, micro_batches_make_no_difference);
    tcase_add_test(tc, a_stopped_run_goes_on_with_the_same_bits);
    tcase_add_test(tc, the_kl_is_that_of_the_mismatched_rows);
    tcase_add_test(tc, token_accuracy_is_that_of_what_is_wanted);
    tcase_add_test(tc, the_reference_is_let_go_when_the_data_is_read);
    tcase_add_test(tc, mismatched_rows_are_a_shift_that_keeps_prompts_apart);
    tcase_add_test(tc, a_mismatched_row_is_no_longer_than_the_data);
    tcase_add_test(tc, one_row_has_nothing_to_be_mismatched_with);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    harness_close(&h);
    return rc;
}
