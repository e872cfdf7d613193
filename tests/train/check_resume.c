/* Stopping, dying and going on. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mem.h"
#include "train/checkpoint.h"
#include "train/harness.h"
#include "train/signals.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tap.h"

static struct harness h;

#define SFT \
    "algorithm: {use: sft}\ndata: {train: %1$s, eval: %1$s}\n" \
    "train: {epochs: 4, batch: 4, micro_batch: 2, lr: 2.0e-2, eval_every: 5, warmup: 0.2}\ncheckpoint: {every: %2$d, keep: 2}\n"
#define PPO \
    "algorithm: {use: ppo, target_kl: 1, horizon: 100}\nreference: 'yes'\ncritic: separate\ndata: {train: %1$s, eval: %1$s}\n" \
    "rewards: [{use: rule, kind: regex, pattern: '^ ?[a-m]'}]\n" \
    "rollout: {prompts: 4, group: 2, max_tokens: 4, temperature: 1.0}\n" \
    "train: {steps: 14, epochs: 2, minibatch: 3, micro_batch: 2, lr: 1.0e-2, eval_every: 4}\ncheckpoint: {every: %2$d, keep: 2}\n"

static void open_ok(struct fixture *f, const char *name, const char *format, const char *data, int every) {
    char yaml[2048];

    snprintf(yaml, sizeof(yaml), format, data, every);
    ck_assert_int_eq(fixture_open(&h, name, yaml, f), 0);
}

static void run_ok(struct fixture *f, bool resume) {
    struct error err = {0};
    const int rc = fixture_run(&h, f, 1, resume, &err);

    ck_assert_msg(rc == 0, "%s", err.text);
}

static void same_run(const struct fixture *a, const struct fixture *b) {
    char *ta = fixture_metrics_text(a), *tb = fixture_metrics_text(b);
    size_t same = 0;

    while (ta[same] && ta[same] == tb[same])
        same++;
    ck_assert_msg(ta[same] == tb[same], "metrics differ:\n%.200s\n%.200s", ta + same, tb + same);
    ck_assert_uint_ne(fixture_crc(a, "model/model.safetensors"), 0);
    ck_assert_uint_eq(fixture_crc(a, "model/model.safetensors"), fixture_crc(b, "model/model.safetensors"));
    ck_assert_uint_eq(fixture_crc(a, "critic/model.safetensors"), fixture_crc(b, "critic/model.safetensors"));
    ck_assert_uint_eq(fixture_crc(a, "samples.jsonl"), fixture_crc(b, "samples.jsonl"));
    free(ta);
    free(tb);
}

static size_t count_checkpoints(const struct fixture *f) {
    DIR *dir = opendir(f->output);
    struct dirent *entry;
    size_t n = 0;

    while (dir && (entry = readdir(dir)) != NULL) {
        ck_assert_ptr_null(strstr(entry->d_name, ".tmp-"));
        n += strncmp(entry->d_name, "checkpoint-", 11) == 0;
    }
    if (dir)
        closedir(dir);
    return n;
}

/* Stops a run once, goes on, and compares it with one that was not stopped. */
static void stop_and_resume(const char *name, const char *format, const char *data, const struct fixture *whole,
                            uint64_t step, uint64_t progress) {
    struct error err = {0};
    struct fixture f;
    int rc;

    open_ok(&f, name, format, data, 0);
    h.stop_step = step;
    h.stop_progress = progress;
    rc = fixture_run(&h, &f, 1, false, &err);
    h.stop_step = h.stop_progress = 0;
    ck_assert_int_eq(rc, -1);
    ck_assert_msg(err.kind == ERROR_STOPPED, "%s", err.text);
    ck_assert_int_eq(error_exit_code(&err), 3);
    ck_assert(!stage_done(&f.stage));
    ck_assert_uint_eq(count_checkpoints(&f), 1);
    run_ok(&f, true);
    same_run(whole, &f);
    if (f.stage.on_policy)
        ck_assert_uint_eq(fixture_crc(&f, "samples.jsonl"), fixture_crc(whole, "samples.jsonl"));
    file_remove_tree(f.output, NULL);
    fixture_close(&f);
}

START_TEST(a_stopped_sft_goes_on_with_the_same_bits) {
    struct fixture whole;

    open_ok(&whole, "sft-whole", SFT, h.sft, 0);
    run_ok(&whole, false);
    for (uint64_t step = 1; step <= 12; step += 2)
        stop_and_resume("sft-stop", SFT, h.sft, &whole, step, 0);
    for (uint64_t call = 1; call <= 30; call += 7) /* between micro-batches and in evaluations */
        stop_and_resume("sft-stop", SFT, h.sft, &whole, 0, call);
    fixture_close(&whole);
}
END_TEST

START_TEST(a_stopped_ppo_goes_on_with_the_same_bits) {
    struct fixture whole;

    open_ok(&whole, "ppo-whole", PPO, h.prompts, 0);
    run_ok(&whole, false);
    for (uint64_t step = 1; step <= 13; step += 2) /* in the middle of rollouts and at their ends */
        stop_and_resume("ppo-stop", PPO, h.prompts, &whole, step, 0);
    for (uint64_t call = 1; call <= 160; call += call < 40 ? 3 : 30)
        stop_and_resume("ppo-stop", PPO, h.prompts, &whole, 0, call);
    fixture_close(&whole);
}
END_TEST

/* Stages whose first step over a rollout goes on from what sampling computed. */
static const struct {
    const char *form; /* beside the data and the rewards */
    bool alike;       /* prompts begin alike: more of them are computed than the longest beginnings would save */
} pieces[] = {
    {"algorithm: {use: ppo}\nreference: 'yes'\ncritic: separate\nrollout: {prompts: 4, group: 2, max_tokens: 4}\n",
     false},
    {"algorithm: {use: grpo, baseline: group}\nrollout: {prompts: 2, group: 4, max_tokens: 3}\n", true},
    {"algorithm: {use: ppo}\nreference: 'yes'\ncritic: share\nlora: {rank: 2, alpha: 4, merge: true}\n"
     "rollout: {prompts: 4, group: 2, max_tokens: 4, slots: 3}\n",
     false},
    {"algorithms: [{use: sft, data: %1$s, weight: 0.1}, {use: grpo, baseline: group}]\n"
     "rollout: {prompts: 2, group: 3, max_tokens: 4}\n",
     false},
};
enum { PIECES = sizeof(pieces) / sizeof(*pieces) };

static const char *prompts_alike(void) {
    static const char *const words[] = {"the", "shop", "is", "open", "we", "sell", "tea", "and", "bread"};
    static char path[256];
    struct buffer b = {0};

    for (int i = 0; i < 12; i++) {
        buffer_printf(&b, "{\"prompt\": \"the shop is open we sell tea and bread and");
        for (int j = 0; j < 14; j++)
            buffer_printf(&b, " %s", words[(i + j * (1 + i % 4) + 1) % 9]);
        buffer_printf(&b, "\"}\n");
    }
    snprintf(path, sizeof(path), "%s", harness_file(&h, "alike.jsonl", b.data));
    buffer_free(&b);
    return path;
}

/* On a backend whose rounding depends on how many rows it sees: stopped before that step, a run has to sample again,
 * and what is recorded must not depend on how much memory the process came to hold. */
START_TEST(a_run_stopped_before_its_step_goes_on_with_the_same_bits) {
    const char *data = pieces[_i].alike ? prompts_alike() : h.prompts;
    uint64_t calls = 0, allocations[7], last;
    char form[1024], yaml[2048];
    struct fixture whole;

    if (harness_use(&h, "cpu-blas") != 0) {
        printf("# SKIP cpu-blas was not built\n");
        return;
    }
    snprintf(form, sizeof(form), pieces[_i].form, h.sft);
    snprintf(yaml, sizeof(yaml),
             "%sdata: {train: %%1$s}\nrewards: [{use: rule, kind: regex, pattern: '^ ?[a-m]'}]\n"
             "train: {steps: 6, epochs: 2, lr: 1.0e-2}\ncheckpoint: {every: %%2$d, keep: 2}\n",
             form);
    open_ok(&whole, "piece-whole", yaml, data, 0);
    h.calls = &calls;
    h.allocations = allocations;
    run_ok(&whole, false);
    h.allocations = NULL;
    last = calls;
    ck_assert_uint_gt(last, 24);
    ck_assert_uint_eq(allocations[1], allocations[6]);
    if (pieces[_i].alike) /* what is planned is enough; an adapter takes a little more in the first step */
        ck_assert_uint_eq(allocations[0], allocations[6]);
    for (uint64_t step = 1; step <= 5; step++)
        stop_and_resume("piece-stop", yaml, data, &whole, step, 0);
    for (uint64_t call = 1; call <= last; call += 2)
        stop_and_resume("piece-stop", yaml, data, &whole, 0, call);
    file_remove_tree(whole.output, NULL);
    fixture_close(&whole);
}
END_TEST

static void back_to_ref(void) {
    h.calls = h.allocations = NULL;
    ck_assert_int_eq(harness_use(&h, "ref"), 0);
}

/* Weights in bfloat16: a checkpoint holds their masters, which they follow from the first pass on. */
START_TEST(narrow_weights_go_on_with_the_same_bits) {
    struct fixture whole, wide;

    open_ok(&wide, "wide", SFT, h.sft, 0);
    run_ok(&wide, false);
    open_ok(&whole, "narrow", "dtype: bf16\n" SFT, h.sft, 0);
    run_ok(&whole, false);
    ck_assert_uint_ne(fixture_crc(&whole, "model/model.safetensors"), fixture_crc(&wide, "model/model.safetensors"));
    for (uint64_t step = 1; step <= 11; step += 5)
        stop_and_resume("narrow-stop", "dtype: bf16\n" SFT, h.sft, &whole, step, 0);
    for (uint64_t call = 1; call <= 30; call += 14)
        stop_and_resume("narrow-stop", "dtype: bf16\n" SFT, h.sft, &whole, 0, call);
    fixture_close(&wide);
    fixture_close(&whole);
    open_ok(&whole, "narrow-ppo", "dtype: bf16\n" PPO, h.prompts, 0);
    run_ok(&whole, false);
    for (uint64_t step = 2; step <= 13; step += 5)
        stop_and_resume("narrow-stop", "dtype: bf16\n" PPO, h.prompts, &whole, step, 0);
    for (uint64_t call = 20; call <= 160; call += 60)
        stop_and_resume("narrow-stop", "dtype: bf16\n" PPO, h.prompts, &whole, 0, call);
    fixture_close(&whole);
}
END_TEST

START_TEST(only_the_newest_checkpoints_stay) {
    struct fixture a, b;
    struct error err = {0};
    char *path;

    open_ok(&a, "every-a", SFT, h.sft, 2);
    open_ok(&b, "every-b", SFT, h.sft, 0);
    run_ok(&a, false);
    run_ok(&b, false);
    same_run(&a, &b);
    ck_assert_uint_eq(count_checkpoints(&a), 2);
    ck_assert_uint_eq(count_checkpoints(&b), 0);
    ck_assert_int_eq(checkpoint_find(a.output, &path, &err), 0);
    ck_assert_ptr_nonnull(strstr(path, "checkpoint-10"));
    free(path);
    fixture_close(&a);
    fixture_close(&b);
}
END_TEST

/* A run that ended at a checkpoint of step `n` by a signal. */
static void half_run(struct fixture *f, const char *name, uint64_t n) {
    struct error err = {0};

    open_ok(f, name, SFT, h.sft, 2);
    h.stop_step = n;
    ck_assert_int_eq(fixture_run(&h, f, 1, false, &err), -1);
    h.stop_step = 0;
}

static void damage(const char *path, long at) {
    FILE *f = fopen(path, "r+b");
    int byte;

    ck_assert_ptr_nonnull(f);
    fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
    byte = fgetc(f);
    fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
    fputc(byte ^ 1, f);
    fclose(f);
}

START_TEST(a_damaged_checkpoint_is_passed_over) {
    static const char *const files[] = {"model.safetensors", "model-adamw.safetensors", "state.json",
                                        "algorithm-0.state", "manifest.json"};
    struct fixture whole, f;
    struct error err = {0};

    open_ok(&whole, "damage-whole", SFT, h.sft, 0);
    run_ok(&whole, false);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        for (int how = 0; how < 3; how++) {
            char path[512], *found;

            half_run(&f, "damage", 5);
            snprintf(path, sizeof(path), "%s/checkpoint-5/%s", f.output, files[i]);
            ck_assert_msg(file_exists(path), "%s", path);
            if (how == 0)
                ck_assert_int_eq(unlink(path), 0);
            else if (how == 1)
                ck_assert_int_eq(truncate(path, i == 3 ? 1 : 7), 0);
            else if (i != 3) /* sft has no state: nothing to flip */
                damage(path, i == 4 ? 24 : -3);
            ck_assert_int_eq(checkpoint_find(f.output, &found, &err), 0);
            if (how < 2 || i != 3)
                ck_assert_msg(found && strstr(found, "checkpoint-4"), "%s, way %d", files[i], how);
            free(found);
            run_ok(&f, true);
            same_run(&whole, &f);
            file_remove_tree(f.output, NULL);
            fixture_close(&f);
        }
    fixture_close(&whole);
}
END_TEST

START_TEST(a_checkpoint_of_something_else_is_refused) {
    struct fixture f;
    struct error err = {0};

    half_run(&f, "other", 5);
    ck_assert_int_eq(fixture_run(&h, &f, 2, true, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, "the seed changed"));
    f.stage.train.steps = 3;
    ck_assert_int_eq(fixture_run(&h, &f, 1, true, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "the number of steps changed"));
    fixture_close(&f);
}
END_TEST

static void refused(struct fixture *f, const char *why) {
    struct error err = {0};

    ck_assert_int_eq(fixture_run(&h, f, 1, true, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_msg(strstr(err.text, why) != NULL, "%s", err.text);
}

/* A position in the middle of a rollout of another shape would be outside it. */
START_TEST(a_checkpoint_of_another_shape_is_refused) {
    static const char shape[] = "what shapes a rollout (prompts, group, temperature, minibatch, epochs) changed";
    struct stage *s;
    struct fixture f;
    struct error err = {0};

    half_run(&f, "batches", 5);
    f.stage.train.batch = 3;
    f.stage.train.steps = 12;
    refused(&f, "train.batch changed");
    fixture_close(&f);
    open_ok(&f, "shape", PPO, h.prompts, 100);
    h.stop_step = 2; /* in the middle of a rollout of 3 + 3 + 2 completions, twice */
    ck_assert_int_eq(fixture_run(&h, &f, 1, false, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_STOPPED);
    h.stop_step = 0;
    s = &f.stage;
    s->train.minibatch = 8;
    refused(&f, shape);
    s->train.minibatch = 3;
    s->rollout.prompts = 1;
    refused(&f, shape);
    s->rollout.prompts = 4;
    s->rollout.temperature = 0.5;
    refused(&f, shape);
    s->rollout.temperature = 1;
    s->train_path = harness_file(&h, "others.jsonl", "{\"prompt\": \"the shop\"}\n{\"prompt\": \"we sell\"}\n");
    refused(&f, "the data changed");
    s->train_path = h.prompts;
    run_ok(&f, true);
    fixture_close(&f);
}
END_TEST

START_TEST(a_checkpoint_of_another_memory_layout_is_refused) {
    static const char *const one[] = {"layers.0.mlp.up_proj.weight"}, *const other[] = {"layers.0.mlp.gate_proj.weight"};
    struct model_source *source;
    struct fixture f;
    struct error err = {0};

    open_ok(&f, "frozen", SFT, h.sft, 2);
    source = &f.stage.model.source;
    source->freeze = one;
    source->nfreeze = 1;
    h.stop_step = 5;
    ck_assert_int_eq(fixture_run(&h, &f, 1, false, &err), -1);
    h.stop_step = 0;
    source->dtype = REIN_BF16;
    refused(&f, "model.dtype changed");
    source->dtype = 0;
    source->freeze = other; /* of as many parameters */
    refused(&f, "model.freeze changed");
    source->nfreeze = 0;
    refused(&f, "model.freeze changed");
    source->freeze = one;
    source->nfreeze = 1;
    run_ok(&f, true);
    fixture_close(&f);
}
END_TEST

START_TEST(resuming_before_the_first_checkpoint_begins_anew) {
    struct fixture a, b;

    open_ok(&a, "anew-a", SFT, h.sft, 0);
    open_ok(&b, "anew-b", SFT, h.sft, 0);
    run_ok(&a, false);
    ck_assert_int_eq(file_make_folder(b.output, NULL), 0);
    run_ok(&b, true);
    same_run(&a, &b);
    fixture_close(&a);
    fixture_close(&b);
}
END_TEST

/* SIGKILL at moments spread over the run, until it gets through. */
static void kill_and_resume(const char *name, const char *format, const char *data) {
    struct fixture whole, f;
    char whole_name[32];
    unsigned delay = 1500, kills = 0;

    snprintf(whole_name, sizeof(whole_name), "%s-whole", name);
    open_ok(&whole, whole_name, format, data, 1);
    run_ok(&whole, false);
    open_ok(&f, name, format, data, 1);
    for (int life = 0; life < 100; life++) {
        const pid_t pid = fork();
        int status = 0;

        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            _exit(fixture_run(&h, &f, 1, true, NULL) == 0 ? 0 : 1);
        usleep(delay);
        delay = delay * 7 % 20011 + 1000 + (unsigned)life * 2000; /* looks random; longer and longer, so that it ends */
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) {
            ck_assert_int_eq(WEXITSTATUS(status), 0);
            break;
        }
        kills++;
    }
    ck_assert_uint_gt(kills, 2);
    if (!stage_done(&f.stage)) /* a slow machine: enough of it */
        run_ok(&f, true);
    same_run(&whole, &f);
    fixture_close(&f);
    fixture_close(&whole);
}

START_TEST(a_killed_run_goes_on_with_the_same_bits) {
    kill_and_resume("kill-sft", SFT, h.sft);
    kill_and_resume("kill-ppo", PPO, h.prompts);
}
END_TEST

START_TEST(a_file_size_limit_is_an_error_and_not_a_death) {
    struct fixture f;
    struct error err = {0};
    int status = 0;
    const pid_t pid = fork();

    if (pid == 0) {
        const struct rlimit limit = {4096, 4096};

        open_ok(&f, "full", SFT, h.sft, 2);
        signal(SIGXFSZ, SIG_IGN); /* as the program does */
        setrlimit(RLIMIT_FSIZE, &limit);
        fixture_run(&h, &f, 1, false, &err);
        _exit(err.kind == ERROR_RUN && err.text[0] && !stage_done(&f.stage) ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

START_TEST(signals_set_a_flag_and_a_second_interrupt_kills) {
    static const int polite[] = {SIGINT, SIGTERM, SIGUSR1};
    int status = 0;
    pid_t pid;

    for (size_t i = 0; i < 3; i++) {
        struct error err = {0};

        signals_restore();
        signals_install();
        ck_assert(!signals_pending());
        raise(polite[i]);
        ck_assert(signals_pending());
        ck_assert_int_eq(signals_check(&err), -1);
        ck_assert_int_eq(err.kind, ERROR_STOPPED);
        signals_raise(false);
    }
    pid = fork();
    if (pid == 0) {
        raise(SIGINT);
        raise(SIGINT);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    signals_restore();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("resume");
    TCase *tc = tcase_create("resume"), *threads = tcase_create("threads"); /* last: no test that forks may come after it */
    int rc;

    if (harness_open(&h) != 0)
        return 1;
    harness_data(&h);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, a_stopped_sft_goes_on_with_the_same_bits);
    tcase_add_test(tc, a_stopped_ppo_goes_on_with_the_same_bits);
    tcase_add_test(tc, narrow_weights_go_on_with_the_same_bits);
    tcase_add_test(tc, only_the_newest_checkpoints_stay);
    tcase_add_test(tc, a_damaged_checkpoint_is_passed_over);
    tcase_add_test(tc, a_checkpoint_of_something_else_is_refused);
    tcase_add_test(tc, a_checkpoint_of_another_shape_is_refused);
    tcase_add_test(tc, a_checkpoint_of_another_memory_layout_is_refused);
    tcase_add_test(tc, resuming_before_the_first_checkpoint_begins_anew);
    tcase_add_test(tc, a_killed_run_goes_on_with_the_same_bits);
    tcase_add_test(tc, a_file_size_limit_is_an_error_and_not_a_death);
    tcase_add_test(tc, signals_set_a_flag_and_a_second_interrupt_kills);
    suite_add_tcase(suite, tc);
    tcase_set_timeout(threads, 300);
    tcase_add_checked_fixture(threads, NULL, back_to_ref);
    tcase_add_loop_test(threads, a_run_stopped_before_its_step_goes_on_with_the_same_bits, 0, PIECES);
    suite_add_tcase(suite, threads);
    rc = tap_run(suite);
    harness_close(&h);
    return rc;
}
