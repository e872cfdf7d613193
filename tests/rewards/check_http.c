/* The http reward against a real server on the loopback. SPDX-License-Identifier: MIT */
#include "algorithms/module.h"
#include "base/file.h"
#include "rewards/server.h"
#include "tap.h"

#include <rein/reward.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 8 };

static struct instance in;
static int port;
static char url[64];

static rein_status open_http(const char *const *more) {
    const char *options[24] = {"url", url, "backoff", "0.01"};

    for (size_t i = 0; more && more[i]; i++)
        options[4 + i] = more[i];
    return instance_open(&in, "reward", "http", options);
}

static rein_status score(uint32_t rows, float *out) {
    static const char *const prompts[MOST] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    static const char *const completions[MOST] = {"", "1", "\"\\\n", "333", "\xc3\xbc", "55555", "666666", "7777777"};
    static const char *const columns[MOST] = {"{\"y\": \"x\"}", "{\"y\": 2}", "{\"y\": [1, null]}", "{\"y\": null}",
                                              "{\"y\": 1}",     "{\"y\": 1}", "{\"y\": 1}",         "{\"y\": 1}"};
    const struct rein_reward_ops *ops = in.plugin->ops;
    const struct rein_completions c = {
        .size = sizeof(c), .rows = rows, .prompt = prompts, .completion = completions, .columns = columns};

    return ops->score(in.self, &c, out);
}

#define SCRIPT(...)                                                                                                    \
    do {                                                                                                               \
        const struct server_step steps[] = {__VA_ARGS__};                                                              \
        server_script(steps, sizeof(steps) / sizeof(*steps));                                                          \
    } while (0)
#define SAID(status_, text)                                                                                            \
    { .way = SERVER_ANSWER, .status = (status_), .body = (text) }
#define DO(way_)                                                                                                       \
    { .way = (way_) }

/* One try at scoring a row fails with these words and was `requests` requests. */
static void fails(const char *words, size_t requests) {
    float out = 7;

    ck_assert_int_eq(score(1, &out), REIN_ERR_IO);
    ck_assert_msg(strstr(in.message, words) != NULL, "'%s' not in '%s'", words, in.message);
    ck_assert_msg(strstr(in.message, url) != NULL || strstr(in.message, "127.0.0.1") != NULL, "%s", in.message);
    ck_assert_uint_eq(server_requests(), requests);
}

START_TEST(batches_are_asked_in_order) {
    float out[5];

    SCRIPT(DO(SERVER_ECHO));
    ck_assert_msg(open_http((const char *const[]){"batch", "2", "label", "y", NULL}) == REIN_OK, "%s", in.message);
    ck_assert_int_eq(score(5, out), REIN_OK);
    ck_assert_uint_eq(server_requests(), 3);
    ck_assert_str_eq(server_body(0), "{\"query\":[\"a\",\"b1\"],\"prompts\":[\"a\",\"b\"],\"labels\":[\"x\",2]}");
    ck_assert_str_eq(server_body(1), "{\"query\":[\"c\\\"\\\\\\n\",\"d333\"],\"prompts\":[\"c\",\"d\"],"
                                     "\"labels\":[[1,null],null]}");
    ck_assert_str_eq(server_body(2), "{\"query\":[\"e\xc3\xbc\"],\"prompts\":[\"e\"],\"labels\":[1]}");
    ck_assert_ptr_nonnull(strstr(server_head(0), "POST /score HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(server_head(0), "\r\nContent-Type: application/json\r\n"));
    ck_assert(out[0] == 1 && out[1] == 2 && out[2] == 4 && out[3] == 4 && out[4] == 3);
    ck_assert_int_eq(score(0, out), REIN_OK); /* nothing to ask */
    ck_assert_uint_eq(server_requests(), 3);
    instance_close(&in);
}
END_TEST

START_TEST(null_is_no_opinion) {
    float out[4];

    SCRIPT(SAID(200, " {\"rewards\": [1.5, null, -2, 0], \"scores\": [1], \"extra_logs\": {}}\n"));
    ck_assert_int_eq(open_http(NULL), REIN_OK);
    ck_assert_int_eq(score(4, out), REIN_OK);
    ck_assert_ptr_nonnull(strstr(server_body(0), "\"labels\":[\"\",\"\",\"\",\"\"]"));
    ck_assert(out[0] == 1.5f && isnan(out[1]) && out[2] == -2 && out[3] == 0);
    instance_close(&in);
}
END_TEST

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

START_TEST(what_may_pass_is_tried_again) {
    double began;
    float out = 0;

    SCRIPT(SAID(500, "busy"), DO(SERVER_CLOSE), DO(SERVER_PARTIAL),
           {.way = SERVER_ANSWER, .status = 429, .header = "Retry-After: 0\r\n", .body = ""}, SAID(503, ""),
           DO(SERVER_ECHO));
    ck_assert_int_eq(open_http(NULL), REIN_OK);
    ck_assert_msg(score(1, &out) == REIN_OK, "%s", in.message);
    ck_assert_float_eq(out, 1);
    ck_assert_uint_eq(server_requests(), 6); /* one, and five retries */
    ck_assert_str_eq(server_body(0), server_body(5));
    SCRIPT(SAID(500, "the model\nis gone"));
    fails("HTTP status 500 (tried 6 times): the model is gone", 6);
    instance_close(&in);
    SCRIPT(SAID(408, ""), SAID(599, ""), SAID(201, "{\"rewards\": [4]}"));
    ck_assert_int_eq(open_http(NULL), REIN_OK);
    ck_assert_msg(score(1, &out) == REIN_OK, "%s", in.message);
    ck_assert_float_eq(out, 4);
    ck_assert_uint_eq(server_requests(), 3);
    instance_close(&in);
    SCRIPT(DO(SERVER_SILENT));
    ck_assert_int_eq(open_http((const char *const[]){"timeout", "0.15", "retries", "1", NULL}), REIN_OK);
    began = now();
    fails("timed out", 2);
    ck_assert_double_lt(now() - began, 15); /* seconds, and room for a slow machine */
    ck_assert_ptr_nonnull(strstr(in.message, "(tried 2 times)"));
    instance_close(&in);
}
END_TEST

/* The least time that it may take: each wait is twice the one before, or what the server asked for. */
START_TEST(it_waits_longer_each_time) {
    double began = now();
    float out = 0;

    SCRIPT(SAID(503, ""), SAID(503, ""), SAID(503, ""), DO(SERVER_ECHO));
    ck_assert_int_eq(open_http((const char *const[]){"backoff", "0.1", NULL}), REIN_OK);
    ck_assert_int_eq(score(1, &out), REIN_OK);
    ck_assert_double_ge(now() - began, 0.1 + 0.2 + 0.4 - 0.01);
    instance_close(&in);
    began = now();
    SCRIPT({.way = SERVER_ANSWER, .status = 429, .header = "Retry-After: 1\r\n", .body = ""}, DO(SERVER_ECHO));
    ck_assert_int_eq(open_http(NULL), REIN_OK);
    ck_assert_int_eq(score(1, &out), REIN_OK);
    ck_assert_double_ge(now() - began, 1 - 0.01);
    instance_close(&in);
}
END_TEST

START_TEST(what_will_not_pass_is_not) {
    SCRIPT(SAID(400, "{\"detail\": \"no such field: query\"}"));
    ck_assert_int_eq(open_http(NULL), REIN_OK);
    fails("HTTP status 400: {\"detail\": \"no such field: query\"}", 1);
    SCRIPT({.way = SERVER_ANSWER, .status = 302, .header = "Location: file:///etc/passwd\r\n", .body = ""},
           DO(SERVER_ECHO));
    fails("HTTP status 302: redirects are not followed", 1);
    SCRIPT(DO(SERVER_HUGE));
    fails("the answer is larger than 16 MiB", 1);
    SCRIPT(SAID(404, "")); /* the next failure is not taken for it */
    fails("HTTP status 404", 1);
    instance_close(&in);
}
END_TEST

static const struct {
    const char *body, *words;
} wrong[] = {
    {"<html>Welcome</html>", "the answer is not JSON (line 1: "},
    {"", "the answer is not JSON"},
    {"[1]", "the answer has no list 'rewards'"},
    {"{\"rewards\": 1}", "the answer has no list 'rewards'"},
    {"{\"reward\": [1]}", "the answer has no list 'rewards'"},
    {"{\"rewards\": []}", "0 rewards for 1 completions"},
    {"{\"rewards\": [1, 2]}", "2 rewards for 1 completions"},
    {"{\"rewards\": [\"1\"]}", "reward 0 is no number"},
    {"{\"rewards\": [true]}", "reward 0 is no number"},
    {"{\"rewards\": [[1]]}", "reward 0 is no number"},
    {"{\"rewards\": [1e39]}", "reward 0 is no number"},
    {"{\"rewards\": [1e999]}", "the answer is not JSON"},
};

START_TEST(wrong_answers_are_told) {
    SCRIPT(SAID(200, wrong[_i].body));
    ck_assert_int_eq(open_http(NULL), REIN_OK);
    fails(wrong[_i].words, 1);
    instance_close(&in);
}
END_TEST

START_TEST(nobody_listens) {
    snprintf(url, sizeof(url), "http://me:secret@127.0.0.1:1/score");
    server_script(&(const struct server_step){.way = SERVER_ECHO}, 1);
    ck_assert_int_eq(open_http((const char *const[]){"retries", "2", NULL}), REIN_OK);
    fails("http://127.0.0.1:1/score: ", 0);
    ck_assert_ptr_nonnull(strstr(in.message, "(tried 3 times)"));
    ck_assert_ptr_null(strstr(in.message, "secret"));
    instance_close(&in);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/score", port);
}
END_TEST

START_TEST(headers_and_token_are_sent) {
    float out;

    SCRIPT(DO(SERVER_ECHO));
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* the environment's proxy is nothing to us */
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    setenv("REIN_TEST_TOKEN", "abc.def", 1);
    ck_assert_int_eq(open_http((const char *const[]){"headers", "[\"X-Team: alignment\", \"X-Empty:\"]", "token_env",
                                                     "REIN_TEST_TOKEN", NULL}),
                     REIN_OK);
    ck_assert_int_eq(score(1, &out), REIN_OK);
    ck_assert_ptr_nonnull(strstr(server_head(0), "\r\nX-Team: alignment\r\n"));
    ck_assert_ptr_nonnull(strstr(server_head(0), "\r\nAuthorization: Bearer abc.def\r\n"));
    ck_assert_ptr_nonnull(strstr(server_head(0), "\r\nAccept: application/json\r\n"));
    ck_assert_ptr_nonnull(strstr(server_head(0), "\r\nUser-Agent: rein\r\n"));
    instance_close(&in);
    unsetenv("http_proxy");
    /* the address's own name and password */
    snprintf(url, sizeof(url), "http://me:secret@127.0.0.1:%d/score", port);
    SCRIPT(DO(SERVER_ECHO));
    ck_assert_int_eq(open_http(NULL), REIN_OK);
    ck_assert_int_eq(score(1, &out), REIN_OK);
    ck_assert_ptr_nonnull(strstr(server_head(0), "\r\nAuthorization: Basic bWU6c2VjcmV0\r\n"));
    instance_close(&in);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/score", port);
}
END_TEST

static const struct {
    const char *option, *value, *param;
} refused[] = {
    {"url", "ftp://127.0.0.1/x", "url"},
    {"url", "file:///etc/passwd", "url"},
    {"url", "", "url"},
    {"url", "http://", "url"},
    {"url", "gopher://127.0.0.1", "url"},
    {"headers", "[\"no colon\"]", "headers"},
    {"headers", "[\": x\"]", "headers"},
    {"headers", "[\"X Y: x\"]", "headers"},
    {"headers", "[\"X: \\x7f\"]", "headers"},
    {"headers", "[\"X: a\\r\\nY: b\"]", "headers"},
    {"token_env", "REIN_TEST_NONE", "token_env"},
    {"token_env", "REIN_TEST_EMPTY", "token_env"},
    {"token_env", "REIN_TEST_LINES", "token_env"},
    {"token_env", "REIN_TEST_LONG", "token_env"},
};

START_TEST(what_cannot_be_asked_is_refused) {
    char longest[4097];

    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    setenv("REIN_TEST_EMPTY", "", 1);
    setenv("REIN_TEST_LINES", "a\r\nb: c", 1);
    setenv("REIN_TEST_LONG", longest, 1);
    ck_assert_int_eq(open_http((const char *const[]){refused[_i].option, refused[_i].value, NULL}), REIN_ERR_ARG);
    ck_assert_str_eq(in.failed_param, refused[_i].param);
    instance_close(&in);
}
END_TEST

START_TEST(a_label_must_be_there) {
    float out;

    SCRIPT(DO(SERVER_ECHO));
    ck_assert_int_eq(open_http((const char *const[]){"label", "z", NULL}), REIN_OK);
    ck_assert_int_eq(score(1, &out), REIN_ERR_ARG);
    ck_assert_str_eq(in.message, "row 0 has no column 'z'");
    ck_assert_uint_eq(server_requests(), 0);
    instance_close(&in);
}
END_TEST

static uint32_t stop_when_asked(void *ctx) {
    (void)ctx;
    return server_requests() > 0;
}

static double stop_at;

static uint32_t stop_when_it_waits(void *ctx) {
    (void)ctx;
    if (stop_at == 0 && server_requests() > 0)
        stop_at = now() + 0.3;
    return stop_at > 0 && now() > stop_at;
}

START_TEST(a_stop_ends_the_wait) {
    double began;
    float out;

    SCRIPT(DO(SERVER_SILENT));
    ck_assert_int_eq(open_http((const char *const[]){"timeout", "100", NULL}), REIN_OK);
    in.host.stopping = stop_when_asked;
    ck_assert_int_eq(score(1, &out), REIN_ERR_IO);
    ck_assert_str_eq(in.message, "stopped while waiting for the server");
    instance_close(&in);
    SCRIPT(SAID(500, ""));
    ck_assert_int_eq(open_http((const char *const[]){"backoff", "60", NULL}), REIN_OK);
    in.host.stopping = stop_when_asked;
    ck_assert_int_eq(score(1, &out), REIN_ERR_IO);
    ck_assert_str_eq(in.message, "stopped while waiting for the server");
    ck_assert_uint_eq(server_requests(), 1);
    instance_close(&in);
    SCRIPT(SAID(500, "")); /* long after the answer came */
    ck_assert_int_eq(open_http((const char *const[]){"backoff", "30", NULL}), REIN_OK);
    in.host.stopping = stop_when_it_waits;
    began = now();
    ck_assert_int_eq(score(1, &out), REIN_ERR_IO);
    ck_assert_str_eq(in.message, "stopped while waiting for the server");
    ck_assert_uint_eq(server_requests(), 1);
    ck_assert_double_lt(now() - began, 20);
    instance_close(&in);
}
END_TEST

START_TEST(it_conforms) {
    char command[1024];

    SCRIPT(DO(SERVER_ECHO));
    snprintf(command, sizeof(command),
             "%s/rein-conform reward %s/modules/rewards/http.so --set url=%s --set label=y "
             "--set retries=0 | sed -n 's/^not ok/# not ok/p' | { ! grep .; }",
             BUILD_DIR, BUILD_DIR, url);
    ck_assert_int_eq(system(command), 0);
    ck_assert_uint_gt(server_requests(), 0);
}
END_TEST

/* ---- a whole run -------------------------------------------------------------------------------- */

static pid_t start_run(const char *pipeline, const char *option) {
    const pid_t pid = fork();

    if (pid == 0) {
        execl(BUILD_DIR "/rein", "rein", "run", pipeline, "--quiet", option, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int ended(pid_t pid) {
    int status = 0;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(a_signal_stops_a_run_that_waits) {
    static const char yaml[] = "rein: 1\nbackend: ref\noutput: out\n"
                               "models: {tiny: {config: %s/conf/demo/model, init: random}}\n"
                               "stages:\n"
                               "  - name: align\n"
                               "    algorithm: {use: grpo, baseline: group, beta: 0}\n"
                               "    model: {from: tiny}\n"
                               "    rewards: [{use: http, url: '%s'}]\n"
                               "    data: {train: %s/conf/demo/data/prompts.jsonl}\n"
                               "    rollout: {prompts: 1, group: 2, max_tokens: 4}\n"
                               "    train: {steps: 2}\n";
    const struct timespec moment = {0, 20000000};
    char folder[] = "/tmp/rein-http-XXXXXX", path[64], text[4096];
    pid_t pid;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/p.yaml", folder);
    snprintf(text, sizeof(text), yaml, SOURCE_DIR, url, SOURCE_DIR);
    ck_assert_int_eq(file_write(path, text, strlen(text), NULL), 0);
    SCRIPT(DO(SERVER_ECHO), DO(SERVER_SILENT));
    pid = start_run(path, "--resume");
    while (server_requests() < 2 && waitpid(pid, NULL, WNOHANG) == 0)
        nanosleep(&moment, NULL);
    kill(pid, SIGINT);
    ck_assert_int_eq(ended(pid), 3); /* saved, although the reward had 180 seconds */
    SCRIPT(DO(SERVER_ECHO));
    ck_assert_int_eq(ended(start_run(path, "--resume")), 0);
    ck_assert_uint_eq(server_requests(), 1); /* the second rollout alone */
    file_remove_tree(folder, NULL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("http");
    TCase *cases = tcase_create("http");
    int rc;

    setenv("CK_FORK", "no", 1); /* the server is a thread of this process */
    port = server_start();
    if (port < 0)
        return 99;
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/score", port);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, batches_are_asked_in_order);
    tcase_add_test(cases, null_is_no_opinion);
    tcase_add_test(cases, what_may_pass_is_tried_again);
    tcase_add_test(cases, it_waits_longer_each_time);
    tcase_add_test(cases, what_will_not_pass_is_not);
    tcase_add_loop_test(cases, wrong_answers_are_told, 0, sizeof(wrong) / sizeof(*wrong));
    tcase_add_test(cases, nobody_listens);
    tcase_add_test(cases, headers_and_token_are_sent);
    tcase_add_loop_test(cases, what_cannot_be_asked_is_refused, 0, sizeof(refused) / sizeof(*refused));
    tcase_add_test(cases, a_label_must_be_there);
    tcase_add_test(cases, a_stop_ends_the_wait);
    tcase_add_test(cases, it_conforms);
    tcase_add_test(cases, a_signal_stops_a_run_that_waits);
    suite_add_tcase(suite, cases);
    rc = tap_run(suite);
    server_stop();
    return rc;
}
