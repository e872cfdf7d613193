/* The judge: what it asks, and what it makes of the answers. SPDX-License-Identifier: MIT */
#include "algorithms/module.h"
#include "tap.h"

#include <rein/reward.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 8 };

static struct instance in;
/* what the last request was, and what is answered: [rows][choices] */
static char asked[MOST][1024], words[MOST][32];
static uint32_t rows, choices, flags, calls;
static float answers[MOST * MOST];
static rein_status status;

static rein_status answer(void *ctx, const struct rein_choice_request *q, float *out) {
    (void)ctx;
    ck_assert_str_eq(q->model, "oracle");
    calls++;
    flags = q->flags;
    choices = q->nchoices;
    for (uint32_t k = 0; k < q->nchoices; k++)
        snprintf(words[k], sizeof(words[k]), "%s", q->choices[k]);
    if (q->rows == 0)
        return status;
    rows = q->rows;
    for (uint32_t r = 0; r < q->rows; r++)
        snprintf(asked[r], sizeof(asked[r]), "%s", q->text[r]);
    memcpy(out, answers, q->rows * q->nchoices * sizeof(*out));
    return REIN_OK;
}

static const struct rein_scorer_1 scorer = {.size = sizeof(scorer), .choice_logprobs = answer};

static rein_status open_judge(const char *const *options) {
    module_offer(REIN_SCORER_1, &scorer);
    calls = rows = 0;
    return instance_open(&in, "reward", "judge", options);
}

static rein_status score(uint32_t n, const char *const *completion, const char *const *columns, float *out) {
    const struct rein_reward_ops *ops = in.plugin->ops;
    const char *prompt[MOST];
    const struct rein_completions c = {
        .size = sizeof(c), .rows = n, .prompt = prompt, .completion = completion, .columns = columns};

    for (uint32_t r = 0; r < n; r++)
        prompt[r] = "2+{completion}?";
    return ops->score(in.self, &c, out);
}

START_TEST(rubrics_are_filled_in_once) {
    static const char *const options[] = {"model",   "oracle",
                                          "rubric",  "{{q}} {prompt}|{completion}|{answer}|{n}|{list}|{completion}}}",
                                          "columns", "[answer, n, list]",
                                          NULL};
    static const char *const completion[] = {"{prompt}{answer}", "", "}{"};
    static const char *const columns[] = {"{\"answer\": \"{n}\", \"n\": 1.5, \"list\": [1, \"a\"]}",
                                          "{\"answer\": \"\\u00fc\", \"n\": -3, \"list\": {\"k\": true}}",
                                          "{\"answer\": null, \"n\": 1, \"list\": 0}"};
    float out[3] = {7, 7, 7};

    status = REIN_OK;
    ck_assert_msg(open_judge(options) == REIN_OK, "%s", in.message);
    ck_assert_uint_eq(calls, 1); /* the model is tried before anything is sampled */
    answers[0] = answers[1] = answers[2] = answers[3] = answers[4] = answers[5] = answers[6] = answers[7] = -1;
    ck_assert_int_eq(score(3, completion, columns, out), REIN_OK);
    ck_assert_uint_eq(rows, 2);
    ck_assert_str_eq(asked[0], "{q} 2+{completion}?|{prompt}{answer}|{n}|1.5|[1,\"a\"]|{prompt}{answer}}");
    ck_assert_str_eq(asked[1], "{q} 2+{completion}?||\xc3\xbc|-3|{\"k\":true}|}");
    ck_assert_float_eq_tol(out[0], 0.5f, 1e-7f);
    ck_assert_float_eq_tol(out[1], 0.5f, 1e-7f);
    ck_assert(isnan(out[2])); /* null: not judged */
    ck_assert_int_eq(score(1, completion, (const char *const[]){"{\"answer\": \"\"}"}, out), REIN_ERR_ARG);
    ck_assert_str_eq(in.message, "row 0 has no column 'n'");
    instance_close(&in);
}
END_TEST

START_TEST(verdicts_follow_their_formula) {
    static const char *const probability[] = {"model", "oracle", NULL};
    static const char *const odds[] = {"model", "oracle", "score", "log-odds", "chat", "false", NULL};
    static const char *const three[] = {"model", "oracle", "good", "[A]", "bad", "[B, C]", "score", "log-odds", NULL};
    static const char *const skips[] = {"model", "oracle",   "good",    "[A]", "bad", "[B]",
                                        "score", "log-odds", "columns", "[a]", NULL};
    static const char *const completion[] = {"4", "5", "6", "7"};
    float out[4];

    status = REIN_OK;
    ck_assert_int_eq(open_judge(probability), REIN_OK);
    ck_assert_uint_eq(choices, 4);
    ck_assert_str_eq(words[0], "Yes");
    ck_assert_str_eq(words[3], "no");
    ck_assert_uint_eq(flags, REIN_CHOICE_CHAT);
    /* 0.1 + 0.2 against 0.3 + 0.1; then values that an exp() of them would lose; then a text too long to be read */
    memcpy(answers,
           (const float[]){logf(0.1f), logf(0.2f), logf(0.3f), logf(0.1f), -1000, -2000, -1001, -3000, -2000, -3000,
                           -10, -4000, NAN, NAN, NAN, NAN},
           16 * sizeof(float));
    ck_assert_int_eq(score(4, completion, NULL, out), REIN_OK);
    ck_assert_float_eq_tol(out[0], 0.3f / 0.7f, 1e-6f);
    ck_assert_float_eq_tol(out[1], 1 / (1 + expf(-1)), 1e-6f);
    ck_assert_float_eq(out[2], 0);
    ck_assert(isnan(out[3]));
    instance_close(&in);
    /* a row that is not asked about shifts nothing */
    ck_assert_int_eq(open_judge(skips), REIN_OK);
    memcpy(answers, (const float[]){0, -1, 0, -3}, 4 * sizeof(float));
    ck_assert_int_eq(score(3, completion, (const char *const[]){"{\"a\": 1}", "{\"a\": null}", "{\"a\": 2}"}, out),
                     REIN_OK);
    ck_assert_uint_eq(rows, 2);
    ck_assert_float_eq_tol(out[0], 1, 1e-6f);
    ck_assert(isnan(out[1]));
    ck_assert_float_eq_tol(out[2], 3, 1e-6f);
    instance_close(&in);
    memcpy(answers,
           (const float[]){logf(0.1f), logf(0.2f), logf(0.3f), logf(0.1f), -1000, -2000, -1001, -3000, -2000, -3000,
                           -10, -4000, NAN, NAN, NAN, NAN},
           16 * sizeof(float));
    ck_assert_int_eq(open_judge(odds), REIN_OK);
    ck_assert_uint_eq(flags, 0);
    ck_assert_int_eq(score(4, completion, NULL, out), REIN_OK);
    ck_assert_float_eq_tol(out[0], logf(0.3f / 0.4f), 1e-6f);
    ck_assert_float_eq_tol(out[1], 1, 1e-4f);
    ck_assert_float_eq_tol(out[2], -1990, 1e-3f);
    instance_close(&in);
    ck_assert_int_eq(open_judge(three), REIN_OK);
    ck_assert_uint_eq(choices, 3);
    memcpy(answers, (const float[]){logf(0.5f), logf(0.2f), logf(0.1f)}, 3 * sizeof(float));
    ck_assert_int_eq(score(1, completion, NULL, out), REIN_OK);
    ck_assert_float_eq_tol(out[0], logf(0.5f / 0.3f), 1e-6f);
    instance_close(&in);
}
END_TEST

static const struct {
    const char *option, *value, *param, *message;
} wrong[] = {
    {"rubric", "Is it good?", "rubric", "has no {completion}: every completion would be judged alike"},
    {"rubric", "{completion} {anser}", "rubric",
     "at character 14: neither prompt, completion nor one of 'columns' is called {anser}"},
    {"rubric", "a{completion", "rubric", "at character 2: a '{' without '}' (a brace itself is written twice)"},
    {"rubric", "{completion{x}}", "rubric", "at character 1: a '{' without '}' (a brace itself is written twice)"},
    {"rubric", "{completion}}", "rubric", "at character 13: a '}' without '{' (a brace itself is written twice)"},
    {"rubric", "{completion}{}", "rubric", NULL},
    {"good", "[]", "good", NULL},
    {"bad", "[]", "bad", NULL},
    {"good", "[no]", "bad", "names a word twice, or both ways"},
    {"bad", "[x, \"\"]", "bad", "names an empty word"},
};

START_TEST(what_cannot_be_asked_is_refused) {
    const char *const options[] = {"model", "oracle", wrong[_i].option, wrong[_i].value, NULL};

    status = REIN_OK;
    ck_assert_int_eq(open_judge(options), REIN_ERR_ARG);
    ck_assert_str_eq(in.failed_param, wrong[_i].param);
    if (wrong[_i].message)
        ck_assert_str_eq(in.message, wrong[_i].message);
    instance_close(&in);
}
END_TEST

START_TEST(a_model_that_cannot_be_asked_is_told_at_once) {
    status = REIN_ERR_ARG;
    ck_assert_int_eq(open_judge((const char *const[]){"model", "oracle", NULL}), REIN_ERR_ARG);
    instance_close(&in);
    module_offer(NULL, NULL);
    ck_assert_int_eq(instance_open(&in, "reward", "judge", (const char *const[]){"model", "oracle", NULL}),
                     REIN_ERR_UNSUPPORTED);
    instance_close(&in);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("judge");
    TCase *cases = tcase_create("judge");

    tcase_add_test(cases, rubrics_are_filled_in_once);
    tcase_add_test(cases, verdicts_follow_their_formula);
    tcase_add_loop_test(cases, what_cannot_be_asked_is_refused, 0, sizeof(wrong) / sizeof(*wrong));
    tcase_add_test(cases, a_model_that_cannot_be_asked_is_told_at_once);
    suite_add_tcase(suite, cases);
    return tap_run(suite);
}
