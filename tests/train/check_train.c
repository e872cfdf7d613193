/* Whole stages on a tiny random model. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mem.h"
#include "base/mempeak.h"
#include "model/tensors.h"
#include "report/sink.h"
#include "train/harness.h"
#include "train/run.h"
#include "train/signals.h"

#include "tap.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static struct harness h;

static void run_ok(struct fixture *f, uint64_t seed, bool resume) {
    struct error err = {0};
    const int rc = fixture_run(&h, f, seed, resume, &err);

    ck_assert_msg(rc == 0, "%s", err.text);
}

static void open_ok(struct fixture *f, const char *name, const char *format, const char *data, const char *extra) {
    char yaml[2048];

    snprintf(yaml, sizeof(yaml), format, data, extra);
    ck_assert_int_eq(fixture_open(&h, name, yaml, f), 0);
}

static double mean(const double *x, size_t n) {
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

#define SFT "algorithm: {use: sft}\ndata: {train: %1$s, eval: %1$s}\ntrain: {epochs: 8, batch: 4, lr: 2.0e-2, %2$s}\n"
#define RM "algorithm: {use: rm}\nhead: score\ndata: {train: %1$s, eval: %1$s}\ntrain: {epochs: 6, batch: 4, lr: 1.0e-2, %2$s}\n"
#define PPO \
    "algorithm: {use: ppo, beta: 0.01}\nreference: 'yes'\ndata: {train: %1$s}\n%2$s\n" \
    "rewards: [{use: rule, kind: regex, pattern: '^ ?[a-mA-M]'}]\n" \
    "rollout: {prompts: 12, group: 4, max_tokens: 4, temperature: 1.0}\n"

#define GROUP \
    "algorithm: {use: grpo, baseline: group}\nreference: 'yes'\ndata: {train: %1$s, eval: %1$s}\n%2$s\n" \
    "rewards: [{use: rule, kind: regex, pattern: '^ ?[a-mA-M]'}]\n" \
    "rollout: {prompts: 3, group: 4, max_tokens: 4, temperature: 1.0}\n"
#define DPO \
    "algorithm: {use: dpo, loss: %2$s}\nreference: 'yes'\ndata: {train: %1$s}\ntrain: {epochs: 1, batch: 8, lr: 1.0e-2}\n"

START_TEST(sft_learns) {
    double loss[64], eval[4], accuracy[64];
    struct fixture f;
    size_t n;

    open_ok(&f, "sft", SFT, h.sft, "warmup: 0.1");
    run_ok(&f, 1, false);
    n = fixture_metric(&f, "loss", loss, 64);
    ck_assert_uint_eq(n, 24); /* 12 rows, 3 steps an epoch, 8 epochs */
    ck_assert_double_lt(mean(loss + n - 3, 3), 0.6 * loss[0]);
    ck_assert_uint_eq(fixture_metric(&f, "eval_loss", eval, 4), 1);
    ck_assert_double_lt(eval[0], 0.6 * loss[0]);
    ck_assert_uint_eq(fixture_metric(&f, "mean_token_accuracy", accuracy, 64), n);
    ck_assert_double_gt(accuracy[n - 1], accuracy[0]);
    ck_assert_uint_eq(fixture_metric(&f, "entropy", accuracy, 64), n);
    fixture_metric(&f, "learning_rate", loss, 64);
    ck_assert_double_eq(loss[0], 0);
    ck_assert_double_eq_tol(loss[3], 2e-2, 1e-9);
    fixture_metric(&f, "epoch", loss, 64);
    ck_assert_double_eq_tol(loss[n - 1], 8, 1e-9);
    ck_assert(stage_done(&f.stage));
    fixture_close(&f);
}
END_TEST

/* The gradient is the same however a step is cut: so are the norms and losses of the steps, to rounding. */
static void check_cuts(const char *name, const char *format, const char *data, const char *extra, size_t steps) {
    static const char *const names[] = {"grad_norm", "loss", "critic_grad_norm", "eval_loss"};
    static const int64_t cuts[] = {4, 2, 1, 3};
    double was[4][16], now[4][16];

    for (int i = 0; i < 4; i++) {
        char full[32];
        struct fixture f;

        snprintf(full, sizeof(full), "%s-cut%d", name, i);
        open_ok(&f, full, format, data, extra);
        f.stage.train.steps = (int64_t)steps;
        f.stage.train.micro_batch = cuts[i];
        run_ok(&f, 1, false);
        for (int k = 0; k < 4; k++) {
            const size_t n = fixture_metric(&f, names[k], now[k], 16);

            ck_assert_uint_eq(n, k < 2 ? steps : n);
            for (size_t s = 0; s < n; s++) {
                if (i == 0)
                    was[k][s] = now[k][s];
                ck_assert_double_eq_tol(now[k][s], was[k][s], 1e-5 * fabs(was[k][s]) + 1e-7);
            }
        }
        fixture_close(&f);
    }
}

START_TEST(micro_batches_make_no_difference) {
    check_cuts("sft", SFT, h.sft, "warmup: 0", 6);
    check_cuts("rm", RM, h.pairs, "warmup: 0", 6);
    /* the steps of one rollout: after it, sampling may take another turn at a rounding error */
    check_cuts("ppo", PPO, h.prompts, "critic: separate\ntrain: {epochs: 2, minibatch: 4, lr: 1.0e-2}", 16);
    check_cuts("ppo-shared", PPO, h.prompts, "critic: share\ntrain: {epochs: 2, minibatch: 4, lr: 1.0e-2}", 16);
}
END_TEST

/* The weights after one step whose length is the gradient's: with a large eps, Adam's first step is lr g / (eps + |g|). */
static float *one_plain_step(const char *format, const char *data, const char *extra, int64_t micro_batch, double lr,
                             size_t *count, size_t *end) {
    struct error err = {0};
    struct tensors *t;
    struct fixture f;
    char name[64], *folder;
    float *all = NULL;
    size_t capacity = 0;

    snprintf(name, sizeof(name), "plain-%lld-%d", (long long)micro_batch, lr < 1);
    open_ok(&f, name, format, data, extra);
    f.stage.train.steps = 1;
    f.stage.train.micro_batch = micro_batch;
    f.stage.train.batch = f.stage.train.minibatch = 8;
    f.stage.train.lr = f.stage.critic.lr = lr;
    f.stage.train.eps = 1;
    f.stage.train.max_grad_norm = 0;
    run_ok(&f, 1, false);
    folder = file_join(f.stage.output, "model");
    ck_assert_int_eq(tensors_open(folder, &t, &err), 0);
    *count = 0;
    for (size_t i = 0; i < tensors_count(t); i++) {
        const struct tensor_info *info = tensors_at(t, i);
        void *grown = all;

        ck_assert_int_eq(mem_grow(&grown, &capacity, *count + info->elements, sizeof(float)), 0);
        all = grown;
        ck_assert_int_eq(tensors_read(t, info, 0, info->elements, REIN_F32, all + *count, &err), 0);
        *count += info->elements;
        end[i] = *count;
        end[i + 1] = 0;
    }
    tensors_close(t);
    free(folder);
    ck_assert_int_eq(file_remove_tree(f.stage.output, &err), 0);
    fixture_close(&f);
    return all;
}

/* Every tensor's gradient of 1x8, 2x4 and 8x1 micro-batches, to 1e-5 of its largest element. */
static void check_gradients(const char *format, const char *data, const char *extra) {
    static const int64_t cuts[] = {4, 1};
    size_t n, again, end[128], tensors = 0;
    float *before = one_plain_step(format, data, extra, 8, 1e-30, &n, end);
    float *whole = one_plain_step(format, data, extra, 8, 1, &again, end);

    for (size_t c = 0; c < 2; c++) {
        float *cut = one_plain_step(format, data, extra, cuts[c], 1, &again, end);

        ck_assert_uint_eq(again, n);
        for (size_t i = 0, k = 0; end[i]; i++, tensors++) {
            double most = 0, off = 0, rounding = 0;

            for (; k < end[i]; k++) {
                most = fmax(most, fabs((double)whole[k] - before[k]));
                off = fmax(off, fabs((double)whole[k] - cut[k]));
                rounding = fmax(rounding, 0x1p-23 * fabs((double)whole[k]));
            }
            ck_assert_msg(most > 0, "tensor %zu has no gradient", i);
            ck_assert_msg(off <= 1e-5 * most + rounding, "tensor %zu: %g of %g", i, off, most);
        }
        free(cut);
    }
    ck_assert_uint_gt(tensors, 20);
    free(before);
    free(whole);
}

START_TEST(every_gradient_is_the_same_however_the_step_is_cut) {
    check_gradients(SFT, h.sft, "warmup: 0");
    check_gradients(RM, h.pairs, "warmup: 0");
    check_gradients(DPO, h.pairs, "sigmoid");
    check_gradients(DPO, h.pairs, "kto");
    check_gradients(PPO, h.prompts, "critic: separate\ntrain: {epochs: 1, minibatch: 8, lr: 1.0e-2}");
    check_gradients(PPO, h.prompts, "critic: share\ntrain: {epochs: 1, minibatch: 8, lr: 1.0e-2}");
}
END_TEST

static void same_run(struct fixture *a, struct fixture *b) {
    char *ta = fixture_metrics_text(a), *tb = fixture_metrics_text(b);
    size_t same = 0;

    while (ta[same] && ta[same] == tb[same])
        same++;
    ck_assert_msg(ta[same] == tb[same], "metrics differ:\n%.200s\n%.200s", ta + same, tb + same);
    ck_assert_uint_ne(fixture_crc(a, "model/model.safetensors"), 0);
    ck_assert_uint_eq(fixture_crc(a, "model/model.safetensors"), fixture_crc(b, "model/model.safetensors"));
    free(ta);
    free(tb);
}

START_TEST(the_same_seed_gives_the_same_bits) {
    struct fixture a, b, c;

    open_ok(&a, "same-a", SFT, h.sft, "steps: 5");
    open_ok(&b, "same-b", SFT, h.sft, "steps: 5");
    open_ok(&c, "same-c", SFT, h.sft, "steps: 5");
    run_ok(&a, 3, false);
    run_ok(&b, 3, false);
    run_ok(&c, 4, false);
    same_run(&a, &b);
    ck_assert_uint_ne(fixture_crc(&a, "model/model.safetensors"), fixture_crc(&c, "model/model.safetensors"));
    fixture_close(&a);
    fixture_close(&b);
    fixture_close(&c);
}
END_TEST

START_TEST(a_reward_model_learns_what_is_better) {
    double accuracy[4];
    struct fixture f;

    open_ok(&f, "judge", RM, h.pairs, "warmup: 0");
    run_ok(&f, 1, false);
    ck_assert_uint_eq(fixture_metric(&f, "eval_accuracy", accuracy, 4), 1);
    ck_assert_double_ge(accuracy[0], 0.95);
    fixture_close(&f);
}
END_TEST

static void check_ppo(const char *name, const char *critic) {
    double scores[128], ratio[128], drift[128], norm[128];
    struct fixture f;
    size_t n;

    open_ok(&f, name, PPO, h.prompts, critic);
    run_ok(&f, 1, false);
    n = fixture_metric(&f, "objective/scores", scores, 128);
    ck_assert_uint_eq(n, 80);
    ck_assert_msg(mean(scores + n - 8, 8) > mean(scores, 8) + 0.2, "the score went from %g to %g", mean(scores, 8),
                  mean(scores + n - 8, 8));
    /* before a rollout's first update the policy is the one that sampled */
    n = fixture_metric(&f, "sampling/sampling_logp_difference/max", drift, 128);
    ck_assert_uint_eq(n, 20);
    for (size_t i = 0; i < n; i++)
        ck_assert_double_le(drift[i], 1e-4);
    fixture_metric(&f, "val/ratio", ratio, 128);
    ck_assert_double_eq_tol(ratio[0], 1, 1e-5);
    ck_assert_uint_eq(fixture_metric(&f, "grad_norm", norm, 128), 80);
    fixture_close(&f);
}

START_TEST(ppo_raises_the_reward) {
    check_ppo("ppo", "critic: separate\ntrain: {steps: 80, epochs: 2, minibatch: 24, micro_batch: 8, lr: 2.0e-2}");
}
END_TEST

START_TEST(ppo_with_a_shared_trunk_raises_the_reward) {
    check_ppo("ppo-shared", "critic: share\ntrain: {steps: 80, epochs: 2, minibatch: 24, micro_batch: 8, lr: 2.0e-2}");
}
END_TEST

START_TEST(a_critics_warm_up_leaves_the_policy_alone) {
    static const char *const critics[] = {"separate", "share"};

    for (int i = 0; i < 2; i++) {
        char extra[256], name[32];
        double difference[8];
        struct fixture f;

        snprintf(name, sizeof(name), "warm-%s", critics[i]);
        snprintf(extra, sizeof(extra), "critic: %s\ncritic_warmup: 4\ntrain: {steps: 6, epochs: 1, lr: 1.0e-2}", critics[i]);
        open_ok(&f, name, PPO, h.prompts, extra);
        run_ok(&f, 1, false);
        ck_assert_uint_eq(fixture_metric(&f, "objective/kl", difference, 8), 6);
        for (int k = 0; k < 5; k++) /* the fifth rollout is sampled before the first update of the policy */
            ck_assert_double_eq_tol(difference[k], 0, 1e-4);
        ck_assert_double_gt(fabs(difference[5]), 1e-3);
        fixture_close(&f);
    }
}
END_TEST

START_TEST(losses_can_be_mixed) {
    struct fixture f;
    double loss[8];
    char extra[512];

    snprintf(extra, sizeof(extra), "critic: separate\ntrain: {steps: 4, epochs: 1, batch: 4, lr: 1.0e-2}");
    open_ok(&f, "mixed", PPO, h.prompts, extra);
    fixture_close(&f);
    {
        char yaml[2048];

        snprintf(yaml, sizeof(yaml),
                 "algorithms: [{use: ppo}, {use: sft, weight: 0.5, data: %s}]\nreference: 'yes'\ncritic: separate\n"
                 "data: {train: %s}\nrewards: [{use: rule, kind: regex, pattern: '^ ?[a-mA-M]'}]\n"
                 "rollout: {prompts: 4, max_tokens: 4, temperature: 1.0}\ntrain: {steps: 4, epochs: 1, batch: 4, lr: 1.0e-2}\n",
                 h.sft, h.prompts);
        ck_assert_int_eq(fixture_open(&h, "mixed", yaml, &f), 0);
    }
    run_ok(&f, 1, false);
    ck_assert_uint_eq(fixture_metric(&f, "sft/mean_token_accuracy", loss, 8), 4);
    ck_assert_uint_eq(fixture_metric(&f, "mean_token_accuracy", loss, 8), 0); /* a sample is always right */
    ck_assert_uint_eq(fixture_metric(&f, "sft/entropy", loss, 8), 4);
    ck_assert_uint_eq(fixture_metric(&f, "objective/kl", loss, 8), 4);
    ck_assert_uint_eq(fixture_metric(&f, "sft/loss", loss, 8), 4);
    fixture_close(&f);
}
END_TEST

/* Sampling at another temperature must not change what is learnt from texts beside it. */
START_TEST(texts_beside_a_rollout_are_learnt_at_temperature_1) {
    const char *const algorithms[] = {"algorithm: {use: sft}\n", "algorithms: [{use: ppo, weight: 0}, {use: sft, data: %s}]\n"};
    double loss[2];

    for (int i = 0; i < 2; i++) {
        struct fixture f;
        char yaml[2048], use[512];

        snprintf(use, sizeof(use), algorithms[i], h.sft);
        snprintf(yaml, sizeof(yaml),
                 "%sreference: 'yes'\ncritic: separate\ndata: {train: %s}\n"
                 "rewards: [{use: rule, kind: regex, pattern: '^ ?[a-mA-M]'}]\n"
                 "rollout: {prompts: 4, max_tokens: 4, temperature: 0.5}\ntrain: {steps: 1, batch: 12, lr: 1.0e-2}\n",
                 use, i ? h.prompts : h.sft);
        ck_assert_int_eq(fixture_open(&h, i ? "beside" : "alone", yaml, &f), 0);
        run_ok(&f, 1, false);
        ck_assert_uint_eq(fixture_metric(&f, "loss", &loss[i], 1), 1);
        fixture_close(&f);
    }
    ck_assert_double_eq_tol(loss[0], loss[1], 1e-6);
}
END_TEST

START_TEST(a_weight_is_of_training_alone) {
    double trained[2], evaluated[2];

    for (int i = 0; i < 2; i++) {
        struct fixture f;
        char yaml[1024];

        snprintf(yaml, sizeof(yaml), "algorithms: [{use: sft, weight: %s}]\ndata: {train: %s, eval: %s}\n"
                                     "train: {steps: 1, batch: 12, lr: 0, shuffle: false}\n", i ? "0.5" : "1", h.sft, h.sft);
        ck_assert_int_eq(fixture_open(&h, i ? "half" : "one", yaml, &f), 0);
        run_ok(&f, 1, false);
        ck_assert_uint_eq(fixture_metric(&f, "loss", &trained[i], 1), 1);
        ck_assert_uint_eq(fixture_metric(&f, "eval_loss", &evaluated[i], 1), 1);
        fixture_close(&f);
    }
    ck_assert_double_eq_tol(trained[0], 2 * trained[1], 1e-6);
    ck_assert_double_eq_tol(evaluated[0], trained[0], 1e-6);
    ck_assert_double_eq_tol(evaluated[1], trained[0], 1e-6);
}
END_TEST

/* ---- what a stage takes ---------------------------------------------------- */

enum { EARLIER = 128 << 20 }; /* bytes that the process has and lets go of before the stage */

static struct {
    const struct rein_backend_ops *real;
    double first_alloc; /* when the model begins to be read; 0: not yet */
    double last_step;   /* when it had been evaluated */
    uint64_t step;
    struct report_cost cost;
} taken;

static rein_status slow_alloc(void *dev, size_t bytes, void **ptr) {
    const struct timespec moment = {0, 100000000};

    if (taken.first_alloc == 0) {
        taken.first_alloc = run_clock();
        nanosleep(&moment, NULL); /* so that reading is not little beside writing */
    }
    return taken.real->alloc(dev, bytes, ptr);
}

static int quiet_begin(void *ctx, const char *stage, const char *folder, uint64_t total, int append, uint64_t step,
                       struct error *err) {
    (void)ctx, (void)stage, (void)folder, (void)total, (void)append, (void)step, (void)err;
    return 0;
}

static int keep_step(void *ctx, uint64_t step, int eval, const struct report_value *values, size_t count,
                     struct error *err) {
    (void)ctx, (void)step, (void)eval, (void)values, (void)count, (void)err;
    taken.last_step = run_clock();
    return 0;
}

static int keep_cost(void *ctx, uint64_t step, const struct report_cost *c, struct error *err) {
    (void)ctx, (void)err;
    taken.step = step;
    taken.cost = *c;
    return 0;
}

/* Memory that was the process's before; returns its peak. */
static uint64_t use_memory(void) {
    char *earlier = mmap(NULL, EARLIER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t peak;

    ck_assert(earlier != MAP_FAILED);
    memset(earlier, 1, EARLIER);
    peak = mempeak();
    munmap(earlier, EARLIER);
    ck_assert_uint_ge(peak, EARLIER);
    return peak;
}

/* The time is from before the models are read to after they are written, in seconds; the memory is in bytes, and the
 * stage's alone where the system can tell. */
START_TEST(a_stage_says_what_it_took) {
    const struct report_sink sink = {.begin = quiet_begin, .step = keep_step, .cost = keep_cost};
    const struct stage_env env = {.backend = h.backend, .seed = 1, .sink = &sink};
    struct rein_backend_ops slow = *h.backend->ops;
    const uint64_t before = use_memory();
    struct error err = {0};
    struct rusage usage;
    struct stat model;
    struct fixture f;
    double began;
    char *path;

    open_ok(&f, "taken", SFT, h.sft, "steps: 2");
    taken.real = h.backend->ops;
    slow.alloc = slow_alloc;
    h.backend->ops = &slow;
    began = run_clock();
    ck_assert_msg(stage_run(&f.stage, &env, &err) == 0, "%s", err.text);
    ck_assert_double_le(taken.cost.seconds, run_clock() - began);
    h.backend->ops = taken.real;
    ck_assert_uint_eq(taken.step, 2);
    ck_assert_double_ge(taken.first_alloc, began);
    ck_assert_double_ge(taken.cost.seconds, taken.last_step - taken.first_alloc);
    path = file_join(f.output, "model/model.safetensors");
    ck_assert_int_eq(stat(path, &model), 0);
    ck_assert_uint_ge(taken.cost.peak_memory, (uint64_t)model.st_size);
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    ck_assert_uint_le(taken.cost.peak_memory, ((uint64_t)usage.ru_maxrss + 1024) * 1024);
    ck_assert_int_eq(taken.cost.of_process, !mempeak_reset());
    if (taken.cost.of_process)
        ck_assert_uint_ge(taken.cost.peak_memory, before);
    else
        ck_assert_uint_le(taken.cost.peak_memory, before - EARLIER / 2);
    free(path);
    fixture_close(&f);
}
END_TEST

START_TEST(nothing_is_left_of_a_refused_stage) {
    struct fixture f;
    struct error err = {0};

    open_ok(&f, "refused", SFT, "/nonexistent/data.jsonl", "steps: 1");
    ck_assert_int_eq(fixture_run(&h, &f, 1, false, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert(!file_exists(f.output));
    fixture_close(&f);
}
END_TEST

START_TEST(numbers_that_are_not_finite_end_the_run) {
    struct fixture f;
    struct error err = {0};

    open_ok(&f, "explode", SFT, h.sft, "steps: 40, max_grad_norm: 0");
    f.stage.train.lr = 1e30;
    ck_assert_int_eq(fixture_run(&h, &f, 1, false, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_RUN);
    ck_assert_ptr_nonnull(strstr(err.text, "finite"));
    ck_assert(!stage_done(&f.stage));
    fixture_close(&f);
}
END_TEST

/* Room is made for the largest batch to come: no step, rollout or evaluation asks the backend for memory. */
START_TEST(no_step_allocates) {
    static const struct {
        const char *name, *format, *extra;
        uint64_t steps;
    } runs[] = {
        {"memory-sft", SFT, "micro_batch: 3, eval_every: 2", 24},
        {"memory-rm", RM, "micro_batch: 2", 18},
        {"memory-dpo", DPO, "sigmoid", 2},
        {"memory-grpo", GROUP, "train: {steps: 6, epochs: 2, minibatch: 6, micro_batch: 4, lr: 1.0e-2}", 6},
        {"memory-ppo", PPO, "critic: separate\ntrain: {steps: 6, epochs: 1, minibatch: 24, lr: 1.0e-2}", 6},
        {"memory-shared", PPO, "critic: share\ntrain: {steps: 6, epochs: 1, minibatch: 24, lr: 1.0e-2}", 6},
    };
    const char *const data[] = {h.sft, h.pairs, h.pairs, h.prompts, h.prompts, h.prompts};
    uint64_t so_far[32];

    for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
        struct fixture f;

        memset(so_far, 0, sizeof(so_far));
        h.allocations = so_far;
        open_ok(&f, runs[i].name, runs[i].format, data[i], runs[i].extra);
        run_ok(&f, 1, false);
        h.allocations = NULL;
        ck_assert_uint_gt(so_far[0], 0);
        for (uint64_t k = 1; k <= runs[i].steps; k++)
            ck_assert_msg(so_far[k] == so_far[0], "%s: step %d", runs[i].name, (int)k);
        fixture_close(&f);
    }
}
END_TEST

START_TEST(checkpointing_gives_the_same_bits) {
    const char *const data[] = {h.sft, h.pairs, h.prompts};
    static const char *const formats[] = {SFT, RM, PPO};
    static const char *const extras[] = {"micro_batch: 2", "micro_batch: 2",
                                         "critic: separate\ntrain: {steps: 4, epochs: 2, lr: 1.0e-2}"};

    for (int i = 0; i < 3; i++) {
        uint32_t crc[2];

        for (int on = 0; on < 2; on++) {
            char name[32];
            struct fixture f;

            snprintf(name, sizeof(name), "again-%d-%d", i, on);
            open_ok(&f, name, formats[i], data[i], extras[i]);
            f.stage.model.dropout = i == 1 ? 0.2 : 0;
            f.stage.model.checkpointing = f.stage.critic.checkpointing = on != 0;
            run_ok(&f, 1, false);
            crc[on] = fixture_crc(&f, "model/model.safetensors");
            fixture_close(&f);
        }
        ck_assert_uint_eq(crc[0], crc[1]);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("train");
    TCase *tc = tcase_create("train");
    int rc;

    if (harness_open(&h) != 0)
        return 1;
    harness_data(&h);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, sft_learns);
    tcase_add_test(tc, micro_batches_make_no_difference);
    tcase_add_test(tc, every_gradient_is_the_same_however_the_step_is_cut);
    tcase_add_test(tc, the_same_seed_gives_the_same_bits);
    tcase_add_test(tc, a_reward_model_learns_what_is_better);
    tcase_add_test(tc, ppo_raises_the_reward);
    tcase_add_test(tc, ppo_with_a_shared_trunk_raises_the_reward);
    tcase_add_test(tc, a_critics_warm_up_leaves_the_policy_alone);
    tcase_add_test(tc, losses_can_be_mixed);
    tcase_add_test(tc, a_weight_is_of_training_alone);
    tcase_add_test(tc, texts_beside_a_rollout_are_learnt_at_temperature_1);
    tcase_add_test(tc, a_stage_says_what_it_took);
    tcase_add_test(tc, nothing_is_left_of_a_refused_stage);
    tcase_add_test(tc, no_step_allocates);
    tcase_add_test(tc, checkpointing_gives_the_same_bits);
    tcase_add_test(tc, numbers_that_are_not_finite_end_the_run);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    harness_close(&h);
    return rc;
}
