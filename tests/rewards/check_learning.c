/* What a step on pairs says and does, against the second decoder. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/rng.h"
#include "model/pass.h"
#include "rewards/asking.h"

#include "tap.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 12, TOKENS = 1024, WIDTH = 16 };

/* The harness's pairs: rows 2 u and 2 u + 1 are the chosen and the rejected answer of unit u. */
static int32_t ids[TOKENS];
static uint32_t offset[2 * PAIRS + 1];

static void add_answer(const struct tokenizer *t, const json_t *pair, const char *key, uint32_t row) {
    const char *prompt = json_string_value(json_object_get(pair, "prompt")),
               *answer = json_string_value(json_object_get(pair, key));
    struct ids all_of = {0};

    ck_assert_int_eq(tokenizer_encode(t, prompt, strlen(prompt), TOKENIZE_BOS, &all_of, NULL), 0);
    ck_assert_int_eq(tokenizer_encode(t, answer, strlen(answer), 0, &all_of, NULL), 0);
    ck_assert_int_eq(ids_add(&all_of, tokenizer_eos(t), NULL), 0);
    offset[row + 1] = offset[row] + (uint32_t)all_of.count;
    ck_assert_uint_le(offset[row + 1], TOKENS);
    memcpy(ids + offset[row], all_of.data, all_of.count * sizeof(*ids));
    ids_free(&all_of);
}

static void read_pairs(void) {
    size_t length;
    char *text = file_read(h.pairs, 1 << 16, &length, NULL), *save = NULL;
    struct tokenizer *t;
    uint32_t row = 0;

    ck_assert_int_eq(tokenizer_load(h.model, &t, NULL), 0);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), row += 2) {
        json_t *pair = json_loads(line, 0, NULL);

        add_answer(t, pair, "chosen", row);
        add_answer(t, pair, "rejected", row + 1);
        json_decref(pair);
    }
    ck_assert_uint_eq(row, 2 * PAIRS);
    tokenizer_free(t);
    free(text);
}

/* A model of so many heads in a folder, which the caller frees. */
static struct model *make_model(const char *name, uint32_t heads, char **folder) {
    const struct model_source source = random_source(5, heads);
    struct model *m = open_model(&source);
    struct error err = {0};

    *folder = file_join(h.folder, name);
    ck_assert_msg(model_save(m, *folder, NULL, &err) == 0, "%s", err.text);
    return m;
}

static void learn(struct fixture *f, const char *name, const char *from, const char *model, const char *train,
                  uint64_t seed) {
    char yaml[1024];
    struct error err = {0};

    snprintf(yaml, sizeof(yaml),
             "algorithm: {use: rm}\nhead: score\nfrom: %s\nmodel: {%s}\ndata: {train: %s, eval: %s}\n"
             "train: {batch: 12, micro_batch: 5, max_grad_norm: 0, %s}\n",
             from, model, h.pairs, h.pairs, train);
    ck_assert_int_eq(fixture_open(&h, name, yaml, f), 0);
    ck_assert_msg(fixture_run(&h, f, seed, false, &err) == 0, "%s", err.text);
}

/* ---- what is reported --------------------------------------------------------- */

static double score(const struct model *m, uint32_t row, uint32_t head, double rate, uint64_t seed, uint32_t step) {
    uint32_t word[4];

    rng_block(seed, RNG_DROPOUT, step, 0, row, word);
    return tiny_score(m, ids + offset[row], (int)(offset[row + 1] - offset[row]), head,
                      rate > 0 ? TINY_DROP_ALL : TINY_PLAIN, rate, (uint64_t)word[1] << 32 | word[0]);
}

struct wanted {
    double loss, margin, reward, right;
};

/* Every head has a loss of its own, and the step's is their mean; in an evaluation the score is the heads' mean. */
static struct wanted expect(const struct model *m, double rate, uint64_t seed, uint32_t step, bool eval) {
    const uint32_t heads = model_heads(m);
    struct wanted x = {0};

    for (uint32_t u = 0; u < PAIRS; u++) {
        double mean = 0;

        for (uint32_t k = 0; k < heads; k++) {
            const double chosen = score(m, 2 * u, k, rate, seed, step);
            const double rejected = score(m, 2 * u + 1, k, rate, seed, step);

            mean += (chosen - rejected) / heads;
            x.margin += (chosen - rejected) / heads / PAIRS;
            x.reward += (chosen + rejected) / 2 / heads / PAIRS;
            if (!eval) {
                x.loss += log1p(exp(rejected - chosen)) / heads / PAIRS;
                x.right += (chosen > rejected) / (double)heads / PAIRS;
            }
        }
        if (eval) {
            x.loss += log1p(exp(-mean)) / PAIRS;
            x.right += (mean > 0) / (double)PAIRS;
        }
    }
    return x;
}

static void compare(const struct fixture *f, const char *prefix, size_t count, const struct wanted *wanted) {
    static const char *const metrics[] = {"loss", "margin", "mean_reward", "accuracy"};

    for (int i = 0; i < 4; i++) {
        double said[4];
        char name[32];

        snprintf(name, sizeof(name), "%s%s", prefix, metrics[i]);
        ck_assert_uint_eq(fixture_metric(f, name, said, 4), count);
        for (size_t k = 0; k < count; k++) {
            const double one[] = {wanted[k].loss, wanted[k].margin, wanted[k].reward, wanted[k].right};

            ck_assert_msg(fabs(said[k] - one[i]) < 2e-6, "%s of step %zu: %.9g, not %.9g", name, k + 1, said[k],
                          one[i]);
        }
    }
}

static const struct {
    uint32_t heads;
    double rate;
} reports[] = {{1, 0}, {3, 0}, {1, 0.3}, {3, 0.3}};

/* At a learning rate of 0 every step is on the same weights: only dropout, drawn anew for each step and row, tells
 * steps apart, and an evaluation, which has none, knows nothing of it. */
START_TEST(a_step_says_what_another_decoder_says) {
    const uint64_t seed = 9;
    struct wanted steps[3], eval[2];
    char *folder, model[32];
    struct fixture f;
    struct model *m;

    read_pairs();
    m = make_model("report", reports[_i].heads, &folder);
    snprintf(model, sizeof(model), "dropout: %g", reports[_i].rate);
    learn(&f, "report-out", folder, model, "steps: 3, lr: 0, eval_every: 2", seed);
    for (uint32_t i = 0; i < 3; i++)
        steps[i] = expect(m, reports[_i].rate, seed, i, false);
    eval[0] = eval[1] = expect(m, 0, seed, 0, true);
    compare(&f, "", 3, steps);
    compare(&f, "eval_", 2, eval);
    ck_assert((reports[_i].rate > 0) == (fabs(steps[0].loss - steps[1].loss) > 1e-4));
    fixture_close(&f);
    model_close(m);
    free(folder);
}
END_TEST

/* ---- what is learnt ------------------------------------------------------------- */

/* Poisson(1) from a uniform number: how many values of the distribution function it reaches. */
static int times_drawn(double u) {
    double sum = exp(-1), one = exp(-1);
    int n = 0;

    while (u >= sum)
        sum += one /= ++n;
    return n;
}

/* The normalised state at the end of each answer. */
static void read_states(struct model *m, double states[2 * PAIRS][WIDTH]) {
    const struct packed packed = {2 * PAIRS, offset, ids};
    static float hidden[TOKENS * WIDTH];
    struct pass *p;

    ck_assert_int_eq(pass_create(m, &p, NULL), 0);
    ck_assert_int_eq(pass_forward(p, &packed, false, NULL), 0);
    ck_assert_int_eq(pass_hidden(p, hidden, NULL), 0);
    for (uint32_t r = 0; r < 2 * PAIRS; r++)
        for (uint32_t c = 0; c < WIDTH; c++)
            states[r][c] = (double)hidden[(offset[r + 1] - 1) * WIDTH + c];
    pass_free(p);
}

/* A head's derivative is the sum over the step's pairs of times drawn x that of the pair, wherever shuffling and
 * micro-batches put it. AdamW's first step is lr g / (|g| + eps). */
START_TEST(a_head_learns_a_pair_as_often_as_it_was_drawn) {
    enum { HEADS = 8, SEED_OF_RUN = 3 };
    double states[2 * PAIRS][WIDTH];
    char *folder, *path;
    struct model *before, *after;
    struct model_source source = {.head = MODEL_SCORE};
    const float *was, *is;
    struct fixture f;
    int most = 0;

    read_pairs();
    before = make_model("boot", HEADS, &folder);
    read_states(before, states);
    learn(&f, "boot-out", folder, "bootstrap: true", "steps: 1, lr: 1, eps: 1", SEED_OF_RUN);
    source.path = path = file_join(f.output, "model");
    after = open_model(&source);
    was = model_param(before, model_params(before) - 1)->w.data;
    is = model_param(after, model_params(after) - 1)->w.data;
    for (uint32_t k = 0; k < HEADS; k++) {
        double g[WIDTH] = {0};

        for (uint32_t u = 0; u < PAIRS; u++) {
            const int times = times_drawn(rng_uniform(SEED_OF_RUN, RNG_BOOTSTRAP, k, u, 0));
            const double d = score(before, 2 * u, k, 0, 0, 0) - score(before, 2 * u + 1, k, 0, 0, 0);

            most = times > most ? times : most;
            for (int c = 0; c < WIDTH; c++)
                g[c] -= times / (1 + exp(d)) * (states[2 * u][c] - states[2 * u + 1][c]) / PAIRS / HEADS;
        }
        for (int c = 0; c < WIDTH; c++)
            ck_assert_double_eq_tol((double)was[k * WIDTH + c] - (double)is[k * WIDTH + c], g[c] / (fabs(g[c]) + 1),
                                    1e-6);
    }
    ck_assert_int_ge(most, 3); /* more than once or not at all: all of the distribution counts */
    fixture_close(&f);
    model_close(before);
    model_close(after);
    free(path);
    free(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("learning");
    TCase *tc = tcase_create("learning");
    int rc;

    if (harness_open(&h) != 0)
        return 1;
    harness_data(&h);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, a_step_says_what_another_decoder_says, 0, sizeof(reports) / sizeof(*reports));
    tcase_add_test(tc, a_head_learns_a_pair_as_often_as_it_was_drawn);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    harness_close(&h);
    return rc;
}
