/* A checkpoint survives a SIGKILL before every single system call of its saving. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mem.h"
#include "train/checkpoint.h"
#include "train/harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tap.h"

enum { N = 24 };
static struct harness h;
static char folder[96];
static float weights[N], gradient[N];
static struct model_param param = {
    .name = (char[]){"w"}, .grad = gradient,
    .w = {.size = sizeof(struct rein_weight), .dtype = REIN_F32, .rows = 4, .cols = 6, .ld = 6, .data = weights}};
static struct optimizer *optimizer;

/* Saves a checkpoint whose every number is `step`. */
static int save(uint64_t step) {
    struct checkpoint_writer w;
    char text[32];

    for (int i = 0; i < N; i++)
        weights[i] = optimizer->slots[0].m[i] = optimizer->slots[0].v[i] = (float)step;
    snprintf(text, sizeof(text), "%llu", (unsigned long long)step);
    if (checkpoint_begin(folder, step, &w, NULL) != 0)
        return -1;
    if (checkpoint_put_optimizer(&w, "model", optimizer, NULL) != 0 ||
        checkpoint_put(&w, "state.json", text, strlen(text), NULL) != 0) {
        checkpoint_abort(&w);
        return -1;
    }
    return checkpoint_commit(&w, 1, NULL);
}

/* The step of what is there; everything in it must be of that step. 0: nothing. */
static uint64_t load(void) {
    char *path = NULL, *text = NULL;
    size_t length;
    uint64_t step;

    ck_assert_int_eq(checkpoint_find(folder, &path, NULL), 0);
    if (path == NULL)
        return 0;
    ck_assert_int_eq(checkpoint_get(path, "state.json", &text, &length, NULL), 0);
    step = strtoull(text, NULL, 10);
    ck_assert_int_eq(checkpoint_get_optimizer(path, "model", optimizer, NULL), 0);
    for (int i = 0; i < N; i++) {
        ck_assert_float_eq(weights[i], (float)step);
        ck_assert_float_eq(optimizer->slots[0].m[i], (float)step);
        ck_assert_float_eq(optimizer->slots[0].v[i], (float)step);
    }
    free(text);
    free(path);
    return step;
}

/* Runs save(step) in a child that is killed before its `limit`th system call. Returns how many it got to make, or -1
 * when tracing is not allowed; *done: it came to its end. */
static long save_until(uint64_t step, long limit, bool *done) {
    const pid_t pid = fork();
    long calls = 0;
    int status;

    *done = false;
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(77);
        raise(SIGSTOP);
        _exit(save(step) == 0 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    if (WIFEXITED(status))
        return -1;
    for (bool entering = true;; entering = !entering) {
        if (entering && calls++ == limit) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return calls;
        }
        if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) < 0)
            return -1;
        if (WIFEXITED(status)) {
            ck_assert_int_eq(WEXITSTATUS(status), 0);
            *done = true;
            return calls;
        }
    }
}

START_TEST(a_kill_before_any_system_call_leaves_the_old_or_the_new) {
    uint64_t old = 1, now;
    long killed = 0;
    bool done = false;
    bool seen_old = false, seen_new = false;

    ck_assert_int_eq(file_make_folder(folder, NULL), 0);
    ck_assert_int_eq(save(old), 0);
    for (long limit = 1; !done; limit++) {
        if (save_until(old + 1, limit, &done) < 0) {
            printf("# SKIP processes cannot be traced here\n");
            return;
        }
        now = load();
        ck_assert_msg(now == old || now == old + 1, "after %ld calls: %llu", limit, (unsigned long long)now);
        ck_assert(!done || now == old + 1);
        seen_old |= now == old;
        seen_new |= now == old + 1;
        killed += !done;
        old = now;
        ck_assert_int_eq(checkpoint_clean(folder, NULL), 0);
        ck_assert_uint_eq(load(), old);
    }
    ck_assert(seen_old && seen_new);
    ck_assert_int_gt(killed, 40);
}
END_TEST

/* The same step again, as when a run is stopped twice: the two change places. */
START_TEST(a_step_can_be_saved_again_at_any_risk) {
    bool done = false;

    ck_assert_int_eq(file_remove_tree(folder, NULL), 0);
    ck_assert_int_eq(file_make_folder(folder, NULL), 0);
    ck_assert_int_eq(save(7), 0);
    for (long limit = 1; !done; limit++) {
        if (save_until(7, limit, &done) < 0) {
            printf("# SKIP processes cannot be traced here\n");
            return;
        }
        ck_assert_uint_eq(load(), 7);
    }
}
END_TEST

int main(void) {
    const struct optimizer_options options = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    Suite *suite = suite_create("crash");
    TCase *tc = tcase_create("crash");
    int rc;

    if (harness_open(&h) != 0)
        return 1;
    snprintf(folder, sizeof(folder), "%s/stage", h.folder);
    if (optimizer_create(h.backend, &options, &optimizer, NULL) != 0 ||
        optimizer_add(optimizer, &param, 1, 0, NULL) != 0 || optimizer_set_moments(optimizer, NULL) != 0)
        return 1;
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, a_kill_before_any_system_call_leaves_the_old_or_the_new);
    tcase_add_test(tc, a_step_can_be_saved_again_at_any_risk);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    optimizer_free(optimizer);
    harness_close(&h);
    return rc;
}
