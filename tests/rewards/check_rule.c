/* The rule and rm rewards. SPDX-License-Identifier: MIT */
#include "algorithms/module.h"
#include "tap.h"

#include <rein/reward.h>

#include <math.h>
#include <string.h>

static struct instance in;

static rein_status open_reward(const char *name, const char *const *options) {
    return instance_open(&in, "reward", name, options);
}

/* One completion of `tokens` tokens (0: as many as bytes) against a data row. */
static rein_status score(const char *completion, const char *columns, uint32_t tokens, float *out) {
    const struct rein_reward_ops *ops = in.plugin->ops;
    uint32_t offset[] = {0, 3 + (tokens ? tokens : (uint32_t)strlen(completion))}, prompt_length[] = {3},
             unit[] = {0, 1};
    uint64_t id[] = {1};
    uint8_t ended[] = {1};
    const char *prompt = "?";
    struct rein_completions c = {.size = sizeof(c),
                                 .rows = 1,
                                 .units = 1,
                                 .unit = unit,
                                 .row_id = id,
                                 .offset = offset,
                                 .prompt_length = prompt_length,
                                 .prompt = &prompt,
                                 .completion = &completion,
                                 .columns = columns ? &columns : NULL,
                                 .ended = ended};
    return ops->score(in.self, &c, out);
}

struct example {
    const char *completion, *columns;
    float reward;
};

static void check(const char *const *options, const struct example *e, size_t n) {
    ck_assert_msg(open_reward("rule", options) == REIN_OK, "%s", in.message);
    for (size_t i = 0; i < n; i++) {
        float got = 77;
        ck_assert_msg(score(e[i].completion, e[i].columns, 0, &got) == REIN_OK, "%s: %s", e[i].completion, in.message);
        ck_assert_msg(isnan(e[i].reward) ? isnan(got) : fabsf(got - e[i].reward) < 1e-6f, "'%s' against %s: %g, not %g",
                      e[i].completion, e[i].columns ? e[i].columns : "nothing", (double)got, (double)e[i].reward);
    }
    instance_close(&in);
}
#define CHECK(options, examples) check(options, examples, sizeof(examples) / sizeof(*(examples)))

START_TEST(last_numbers_are_compared) {
    static const char *const options[] = {"kind", "number", "column", "answer", NULL};
    static const struct example examples[] = {
        {"6 times 7 is 42", "{\"answer\": \"#### 42\"}", 1},
        {"6 times 7 is 42.", "{\"answer\": \"... so 6*7=<<6*7=42>>42\\n#### 42\"}", 1},
        {"42 is 6 times 7", "{\"answer\": \"42\"}", 0},
        {"$1,234.50 in all", "{\"answer\": 1234.5}", 1},
        {"1234.500", "{\"answer\": \"1,234.5\"}", 1},
        {"12,345,678", "{\"answer\": 12345678}", 1},
        {"one of 1,2,3", "{\"answer\": 3}", 1},
        {"0.1", "{\"answer\": 0.1}", 1},
        {".5", "{\"answer\": 0.5}", 1},
        {"007", "{\"answer\": 7}", 1},
        {"it is -5", "{\"answer\": -5}", 1},
        {"it is -$5", "{\"answer\": \"-5\"}", 1},
        {"it is \xe2\x88\x92"
         "5",
         "{\"answer\": -5}", 1},
        {"it is 5", "{\"answer\": -5}", 0},
        {"10-5", "{\"answer\": 5}", 1},
        {"(10)-5", "{\"answer\": 5}", 1},
        {"-0.0", "{\"answer\": 0}", 1},
        {"12345678901234567890", "{\"answer\": \"12345678901234567891\"}", 0},
        {"9007199254740993", "{\"answer\": 9007199254740993}", 1},
        {"9007199254740992", "{\"answer\": 9007199254740993}", 0},
        {"1e-7 is 0.0000001", "{\"answer\": 1e-7}", 1},
        {"no number at all", "{\"answer\": 3}", 0},
        {"", "{\"answer\": 3}", 0},
        {"3 or 4", "{\"answer\": [2, \"4\"]}", 1},
        {"3 or 5", "{\"answer\": [2, \"4\"]}", 0},
        {"3", "{\"answer\": null}", NAN},
        /* units */
        {"It covers 20 m2.", "{\"answer\": 20}", 1},
        {"20 cm^2", "{\"answer\": \"20\"}", 1},
        {"5km or 42km", "{\"answer\": 42}", 1},
        {"50%", "{\"answer\": 50}", 1},
        {"x2 or y3", "{\"answer\": 3}", 1},
        {"H2O", "{\"answer\": 2}", 1},
        {"USD42", "{\"answer\": 42}", 1},
        {"Rs.500", "{\"answer\": 500}", 1},
        {"x^2", "{\"answer\": 2}", 1},
        {"2^10", "{\"answer\": 10}", 1},
        {"x=5", "{\"answer\": 5}", 1},
        {"$-5", "{\"answer\": -5}", 1},
        {"1,23", "{\"answer\": 23}", 1},
        {"#### 72\n", "{\"answer\": \"Natalia sold 48/2 = 24 clips in May.\\n#### 72\"}", 1},
        {"#### -1,000", "{\"answer\": \"#### -1000\"}", 1},
        {"3", "{\"answer\": []}", 0},
    };
    CHECK(options, examples);
}
END_TEST

START_TEST(texts_are_compared) {
    static const char *const plain[] = {"kind", "exact", "column", "label", NULL};
    static const char *const bare[] = {"kind", "exact", "column", "label", "strip", "false",
                                       "hit",  "2",     "miss",   "-1",    NULL};
    static const char *const caseless[] = {"kind", "exact", "column", "label", "ignore_case", "true", NULL};
    static const struct example first[] = {
        {" yes\n", "{\"label\": \"yes\"}", 1},
        {"Yes", "{\"label\": \"yes\"}", 0},
        {"yes!", "{\"label\": \"yes\"}", 0},
        {"ye", "{\"label\": \"yes\"}", 0},
        {"", "{\"label\": \"\"}", 1},
        {"42", "{\"label\": 42}", 1},
        {"b", "{\"label\": [\"a\", \"b\"]}", 1},
        {"\xc3\xbc", "{\"label\": \"\\u00fc\"}", 1},
    };
    static const struct example second[] = {{"yes", "{\"label\": \"yes\"}", 2}, {" yes", "{\"label\": \"yes\"}", -1}};
    static const struct example third[] = {
        {"YES", "{\"label\": \"yes\"}", 1},
        {"\xc3\x9c"
         "ber",
         "{\"label\": \"\\u00fcber\"}", 1}, /* U umlaut */
        {"a.c", "{\"label\": \"ABC\"}", 0},
        {"abcd", "{\"label\": \"ABC\"}", 0},
    };
    CHECK(plain, first);
    CHECK(bare, second);
    CHECK(caseless, third);
}
END_TEST

START_TEST(patterns_are_looked_for) {
    static const char *const regex[] = {"kind", "regex", "pattern", "ab+c", NULL};
    static const char *const caseless[] = {"kind", "regex", "pattern", "ab+c", "ignore_case", "true", NULL};
    static const char *const format[] = {"kind", "format", "pattern", "(?s)<think>.*</think>\\s*\\S+", NULL};
    static const struct example first[] = {{"xxabbbcxx", NULL, 1},
                                           {"ABC", NULL, 0},
                                           {"", NULL, 0},
                                           {"\xff"
                                            "abc",
                                            NULL, 0}};
    static const struct example second[] = {{"ABC", NULL, 1}};
    static const struct example third[] = {{"<think>so\nand so</think> 42\n", NULL, 1},
                                           {"well <think>so</think> 42", NULL, 0},
                                           {"<think>so</think>", NULL, 0},
                                           {"<think>so</think> 42 and more", NULL, 0}};
    CHECK(regex, first);
    CHECK(caseless, second);
    CHECK(format, third);
}
END_TEST

START_TEST(what_counts_can_be_picked) {
    static const char *const hashes[] = {"kind", "number", "column", "answer", "extract", "####\\s*(.+)", "miss", "-1", NULL};
    static const char *const boxed[] = {"kind", "exact", "column", "answer", "extract", "<answer>(.*?)</answer>", NULL};
    static const char *const whole[] = {"kind", "exact", "column", "answer", "extract", "[abc]?", "ignore_case", "true", NULL};
    static const struct example first[] = {
        {"12 + 30\n#### 42\n(checked 3 times)", "{\"answer\": \"#### 42\"}", 1},
        {"42", "{\"answer\": \"#### 42\"}", -1},
        {"#### 41 #### 42", "{\"answer\": 42}", 1},
        {"#### 41\n#### 42", "{\"answer\": 41}", -1},
        {"#### none", "{\"answer\": 41}", -1},
        {"#### 1", "{\"answer\": null}", NAN},
        {"1", "{\"answer\": null}", NAN},
    };
    static const struct example second[] = {
        {"<answer>no</answer> or <answer> yes </answer>.", "{\"answer\": \"yes\"}", 1},
        {"yes", "{\"answer\": \"yes\"}", 0},
        {"<answer>true</answer>", "{\"answer\": true}", 1},
        {"<answer>true</answer>", "{\"answer\": false}", 0},
        {"<answer></answer>", "{\"answer\": \"\"}", 1},
    };
    static const struct example third[] = {
        {"\xc3\xbc\xc3\xbc", "{\"answer\": \"\"}", 1}, /* empty matches only, a character at a time */
        {"xA", "{\"answer\": \"a\"}", 0},               /* the empty one at the end is the last */
        {"\xff", "{\"answer\": \"a\"}", 0},
    };
    CHECK(hashes, first);
    CHECK(boxed, second);
    CHECK(whole, third);
}
END_TEST

START_TEST(numbers_may_be_a_little_off) {
    static const char *const options[] = {"kind", "number", "column", "answer", "tolerance", "0.01", NULL};
    static const struct example examples[] = {
        {"3.14", "{\"answer\": 3.14159}", 1},
        {"3.15", "{\"answer\": 3.14159}", 1},
        {"3.16", "{\"answer\": 3.14159}", 0},
        {"-3.14", "{\"answer\": 3.14159}", 0},
    };
    CHECK(options, examples);
}
END_TEST

START_TEST(endless_patterns_end) {
    static const char *const options[] = {"kind", "format", "pattern", "(a+)+b", "miss", "-1", NULL};
    char text[4096];
    float got = 0;

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    ck_assert_int_eq(open_reward("rule", options), REIN_OK);
    ck_assert_int_eq(score(text, NULL, 0, &got), REIN_OK);
    ck_assert_float_eq(got, -1);
    instance_close(&in);
}
END_TEST

START_TEST(length_falls_in_a_line) {
    static const char *const options[] = {"kind", "length", "target", "10", "scale", "20", NULL};
    static const struct {
        uint32_t tokens;
        float reward;
    } examples[] = {{1, 0}, {10, 0}, {11, -0.05f}, {20, -0.5f}, {30, -1}, {500, -1}};

    ck_assert_int_eq(open_reward("rule", options), REIN_OK);
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        float got = 77;
        ck_assert_int_eq(score("", NULL, examples[i].tokens, &got), REIN_OK);
        ck_assert_float_eq_tol(got, examples[i].reward, 1e-6f);
    }
    instance_close(&in);
}
END_TEST

START_TEST(what_cannot_be_used_is_refused) {
    static const char *const no_column[] = {"kind", "number", NULL};
    static const char *const no_pattern[] = {"kind", "regex", NULL};
    static const char *const bad[] = {"kind", "regex", "pattern", "a(b", NULL};
    static const char *const number[] = {"kind", "number", "column", "answer", NULL};
    static const char *const extract[] = {"kind", "number", "column", "answer", "extract", "a(b", NULL};
    float got;

    ck_assert_int_eq(open_reward("rule", no_column), REIN_ERR_ARG);
    ck_assert_str_eq(in.failed_param, "column");
    instance_close(&in);
    ck_assert_int_eq(open_reward("rule", no_pattern), REIN_ERR_ARG);
    ck_assert_str_eq(in.failed_param, "pattern");
    instance_close(&in);
    ck_assert_int_eq(open_reward("rule", bad), REIN_ERR_ARG);
    ck_assert_str_eq(in.failed_param, "pattern");
    ck_assert_str_eq(in.message, "at character 4: missing closing parenthesis");
    instance_close(&in);
    ck_assert_int_eq(open_reward("rule", extract), REIN_ERR_ARG);
    ck_assert_str_eq(in.failed_param, "extract");
    instance_close(&in);
    ck_assert_int_eq(open_reward("rule", number), REIN_OK);
    ck_assert_int_eq(score("3", "{\"answers\": 3}", 0, &got), REIN_ERR_ARG);
    ck_assert_str_eq(in.message, "row 0 has no column 'answer'");
    ck_assert_int_eq(score("3", "{\"answer\": \"three\"}", 0, &got), REIN_ERR_ARG);
    ck_assert_str_eq(in.message, "row 0: column 'answer' holds no number");
    ck_assert_int_eq(score("3", "{\"answer\": 3", 0, &got), REIN_ERR_ARG);
    ck_assert_int_eq(score("3", NULL, 0, &got), REIN_ERR_ARG);
    instance_close(&in);
    ck_assert_int_eq(open_reward("rm", (const char *const[]){"model", "judge", NULL}), REIN_ERR_UNSUPPORTED);
    instance_close(&in);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("rewards");
    TCase *cases = tcase_create("rewards");

    tcase_add_test(cases, last_numbers_are_compared);
    tcase_add_test(cases, texts_are_compared);
    tcase_add_test(cases, patterns_are_looked_for);
    tcase_add_test(cases, what_counts_can_be_picked);
    tcase_add_test(cases, numbers_may_be_a_little_off);
    tcase_add_test(cases, endless_patterns_end);
    tcase_add_test(cases, length_falls_in_a_line);
    tcase_add_test(cases, what_cannot_be_used_is_refused);
    suite_add_tcase(suite, cases);
    return tap_run(suite);
}
