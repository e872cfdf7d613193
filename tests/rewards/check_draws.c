/* Reward models under dropout and noise, forward and backward. SPDX-License-Identifier: MIT */
#include "base/rng.h"
#include "model/pass.h"
#include "rewards/asking.h"

#include "tap.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MEMBERS = 600 };

/* ---- against the second decoder ------------------------------------------ */

static const struct way {
    enum tiny_what what;
    uint32_t perturb, site;
    double rate;
} ways[] = {
    {TINY_PLAIN, REIN_PERTURB_NONE, 0, 0},
    {TINY_DROP_HEAD, REIN_PERTURB_DROPOUT, REIN_SITE_HEAD, 0.3},
    {TINY_DROP_ALL, REIN_PERTURB_DROPOUT, REIN_SITE_ALL, 0.2},
    {TINY_NOISE_HEAD, REIN_PERTURB_NOISE, REIN_SITE_HEAD, 0.5},
    {TINY_NOISE_EMBEDDING, REIN_PERTURB_NOISE, REIN_SITE_EMBEDDING, 0.4},
};

START_TEST(scores_are_those_of_another_decoder) {
    const struct way *w = &ways[_i];
    const struct model_source source = random_source(5, 3);
    const uint32_t purpose = w->perturb == REIN_PERTURB_NOISE ? RNG_NOISE : RNG_DROPOUT;
    struct model *m = open_model(&source);
    float out[4 * 3 * ROWS];
    struct asked a;
    struct set s;

    ask_open(&a, &source, 1, SEED);
    make(&s, all, ROWS);
    ask(&a, &s,
        (struct rein_score_request){
            .perturb = w->perturb, .site = w->site, .rate = w->rate, .sample = 2, .samples = 4, .heads = 3},
        out);
    for (uint32_t k = 0; k < 4; k++)
        for (uint32_t head = 0; head < 3; head++)
            for (uint32_t r = 0; r < ROWS; r++) {
                uint32_t word[4];

                rng_block(SEED, purpose, 2 + k, (uint32_t)(s.row_id[r] >> 32), (uint32_t)s.row_id[r], word);
                ck_assert_double_eq_tol(out[(k * 3 + head) * ROWS + r],
                                        tiny_score(m, s.ids + s.offset[r], (int)(s.offset[r + 1] - s.offset[r]), head,
                                                   w->what, w->rate, (uint64_t)word[1] << 32 | word[0]),
                                        1e-6);
            }
    ask_close(&a);
    model_close(m);
}
END_TEST

/* The same draw of a row is the same number whatever is beside it, before it, or asked for with it. */
START_TEST(a_draw_is_a_row_s_own) {
    static const uint32_t turned[] = {3, 1, 4, 0, 2};
    const struct way *w = &ways[1 + _i];
    const struct model_source source = random_source(5, 1);
    const struct rein_score_request q = {.perturb = w->perturb, .site = w->site, .rate = w->rate, .samples = 6};
    struct rein_score_request one = q;
    float first[6 * ROWS], again[6 * ROWS], other[6 * ROWS];
    struct asked a, b;
    struct set s;

    ask_open(&a, &source, 1, SEED);
    ask_open(&b, &source, 1, SEED + 1);
    make(&s, all, ROWS);
    ask(&a, &s, q, first);
    ask(&a, &s, q, again);
    ck_assert_mem_eq(first, again, sizeof(first));
    ask(&b, &s, q, other);
    for (int i = 0; i < 6 * ROWS; i++)
        ck_assert_float_ne(first[i], other[i]); /* another seed */
    for (uint32_t k = 0; k < 6; k++)
        for (uint32_t r = 0; r < ROWS; r++)
            for (uint32_t j = 0; j < k; j++)
                ck_assert_float_ne(first[k * ROWS + r], first[j * ROWS + r]);
    make(&s, turned, ROWS);
    ask(&a, &s, q, again);
    for (uint32_t k = 0; k < 6; k++)
        for (uint32_t r = 0; r < ROWS; r++)
            ck_assert_float_eq(again[k * ROWS + r], first[k * ROWS + turned[r]]);
    one.samples = 0;
    for (one.sample = 0; one.sample < 6; one.sample++)
        for (uint32_t r = 0; r < ROWS; r++) {
            make(&s, &all[r], 1);
            ask(&a, &s, one, again);
            ck_assert_float_eq(again[0], first[one.sample * ROWS + r]);
        }
    one.perturb = REIN_PERTURB_NONE; /* and nothing of it stays behind */
    make(&s, all, ROWS);
    ask(&a, &s, one, again);
    one.rate = 0;
    one.perturb = w->perturb;
    ask(&a, &s, one, other);
    for (uint32_t r = 0; r < ROWS; r++)
        ck_assert_float_eq_tol(again[r], other[r], 1e-6);
    ask_close(&a);
    ask_close(&b);
}
END_TEST

/* More rows than are read at once: each is still drawn by its own id, not by where it came to lie. */
START_TEST(a_draw_is_a_row_s_own_in_a_long_request) {
    enum { MANY = 220, LENGTH = 41 };
    static int32_t ids[MANY * LENGTH];
    static const char *text[MANY];
    static uint32_t offset[MANY + 1], prompt_length[MANY];
    static uint64_t row_id[MANY];
    static uint8_t ended[MANY];
    static float out[2 * MANY];
    const struct way *w = &ways[1 + _i];
    const uint32_t purpose = w->perturb == REIN_PERTURB_NOISE ? RNG_NOISE : RNG_DROPOUT;
    const struct model_source source = random_source(5, 1);
    struct model *m = open_model(&source);
    struct set s = {.c = {.size = sizeof(s.c),
                          .rows = MANY,
                          .units = MANY,
                          .offset = offset,
                          .ids = ids,
                          .row_id = row_id,
                          .prompt_length = prompt_length,
                          .prompt = text,
                          .completion = text,
                          .ended = ended}};
    struct asked a;

    for (uint32_t r = 0; r < MANY; r++) {
        offset[r + 1] = offset[r] + LENGTH;
        row_id[r] = 1000 + 3 * r;
        text[r] = "";
        for (uint32_t k = 0; k < LENGTH; k++) /* texts in pairs */
            ids[offset[r] + k] = (int32_t)(20 + (r / 2 * 31 + k * 17) % 400);
    }
    ask_open(&a, &source, 1, SEED);
    ask(&a, &s,
        (struct rein_score_request){.perturb = w->perturb, .site = w->site, .rate = w->rate, .sample = 4, .samples = 2},
        out);
    for (uint32_t k = 0; k < 2; k++)
        for (uint32_t r = 0; r < MANY; r++) {
            uint32_t word[4];

            if (r % 2 == 1)
                ck_assert_float_ne(out[k * MANY + r], out[k * MANY + r - 1]);
            if (r % 9 != 0 && r + 1 < MANY)
                continue;
            rng_block(SEED, purpose, 4 + k, 0, (uint32_t)row_id[r], word);
            ck_assert_double_eq_tol(
                out[k * MANY + r],
                tiny_score(m, ids + offset[r], LENGTH, 0, w->what, w->rate, (uint64_t)word[1] << 32 | word[0]), 1e-6);
        }
    ask_close(&a);
    model_close(m);
}
END_TEST

/* At the head the score is linear in what is perturbed: the mean tends to the score, the variance is known.
 * dropout: p / (1 - p) sum (w_c h_c)^2; noise: rate^2 mean(w^2) sum h_c^2. */
START_TEST(draws_have_their_moments) {
    const struct way *w = &ways[_i ? 3 : 1];
    const struct model_source source = random_source(5, 1);
    struct model *m = open_model(&source);
    const float *head = model_param(m, model_params(m) - 1)->w.data;
    static float family[MEMBERS * ROWS], hidden[64 * 16];
    struct packed packed;
    struct pass *p;
    float plain[ROWS];
    struct asked a;
    struct set s;

    ask_open(&a, &source, 1, SEED);
    make(&s, all, ROWS);
    ask(&a, &s, (struct rein_score_request){.samples = 1}, plain);
    ask(&a, &s,
        (struct rein_score_request){.perturb = w->perturb, .site = w->site, .rate = w->rate, .samples = MEMBERS},
        family);
    packed = (struct packed){ROWS, s.offset, s.ids};
    ck_assert_int_eq(pass_create(m, &p, NULL), 0);
    ck_assert_int_eq(pass_forward(p, &packed, false, NULL), 0);
    ck_assert_int_eq(pass_hidden(p, hidden, NULL), 0);
    for (uint32_t r = 0; r < ROWS; r++) {
        const float *x = hidden + (s.offset[r + 1] - 1) * 16;
        double mean = 0, variance = 0, products = 0, weights = 0, states = 0, wanted;

        for (int c = 0; c < 16; c++) {
            products += pow((double)head[c] * x[c], 2);
            weights += (double)head[c] * head[c] / 16;
            states += (double)x[c] * x[c];
        }
        wanted = _i ? w->rate * w->rate * weights * states : w->rate / (1 - w->rate) * products;
        for (uint32_t k = 0; k < MEMBERS; k++)
            mean += (double)family[k * ROWS + r] / MEMBERS;
        for (uint32_t k = 0; k < MEMBERS; k++)
            variance += pow(family[k * ROWS + r] - mean, 2) / (MEMBERS - 1);
        ck_assert_double_gt(wanted, 0);
        ck_assert_double_eq_tol(mean, plain[r], 4 * sqrt(wanted / MEMBERS));
        ck_assert_double_eq_tol(variance, wanted, 0.3 * wanted);
    }
    pass_free(p);
    ask_close(&a);
    model_close(m);
}
END_TEST

/* ---- backwards ------------------------------------------------------------ */

static double weigh(struct pass *p, struct model *m, const struct packed *packed, const int32_t *last, const float *d) {
    float score[ROWS * 3];
    double sum = 0;

    ck_assert_int_eq(pass_forward(p, packed, true, NULL), 0);
    ck_assert_int_eq(pass_head_scores(p, m, packed->count, last, score, NULL), 0);
    for (uint32_t i = 0; i < packed->count * 3; i++)
        sum += (double)d[i] * score[i];
    return sum;
}

/* Moves every weight by `step` along a direction of +-1. */
static void move(struct model *m, double step) {
    for (size_t i = 0; i < model_params(m); i++) {
        struct model_param *q = model_param(m, i);
        float *w = q->w.data;

        for (int64_t k = 0; k < q->w.rows * q->w.cols; k++)
            w[k] += (float)(step * ((k * 2654435761u + i * 40503u) >> 7 & 1 ? 1 : -1));
    }
    model_touch(m);
}

START_TEST(gradients_under_dropout_equal_differences) {
    struct model_source source = random_source(9, 3);
    const struct pass_perturb how = {.kind = REIN_PERTURB_DROPOUT,
                                     .site = REIN_SITE_ALL,
                                     .rate = 0.25,
                                     .keys = (const uint64_t[]){1, 22, 333, 4444, 1ull << 60}};
    float d[ROWS * 3];
    double slope = 0, value[2], step = 1e-4;
    struct packed packed;
    int32_t last[ROWS];
    struct model *m;
    struct pass *p;
    struct set s;

    source.trainable = true;
    m = open_model(&source);
    make(&s, all, ROWS);
    packed = (struct packed){ROWS, s.offset, s.ids};
    for (uint32_t r = 0; r < ROWS; r++)
        last[r] = (int32_t)s.offset[r + 1] - 1;
    for (int i = 0; i < ROWS * 3; i++)
        d[i] = (float)(i % 5 - 2) / 4 + 0.125f;
    ck_assert_int_eq(pass_create(m, &p, NULL), 0);
    ck_assert_int_eq(pass_perturb(p, &how, ROWS, NULL), 0);
    weigh(p, m, &packed, last, d);
    ck_assert_int_eq(pass_scores_backward(p, m, ROWS, last, d, NULL), 0);
    ck_assert_int_eq(pass_backward(p, NULL), 0);
    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *q = model_param(m, i);
        const float *g = q->grad;

        for (int64_t k = 0; k < q->w.rows * q->w.cols; k++)
            slope += (double)g[k] * ((k * 2654435761u + i * 40503u) >> 7 & 1 ? 1 : -1);
    }
    move(m, step);
    value[0] = weigh(p, m, &packed, last, d);
    move(m, -2 * step);
    value[1] = weigh(p, m, &packed, last, d);
    printf("# slope %.7g, by differences %.7g\n", slope, (value[0] - value[1]) / (2 * step));
    ck_assert_double_gt(fabs(slope), 0.1);
    ck_assert_double_eq_tol((value[0] - value[1]) / (2 * step), slope, 3e-3 * fabs(slope));
    pass_free(p);
    model_close(m);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("draws");
    TCase *tc = tcase_create("draws");
    int rc;

    if (harness_open(&h) != 0)
        return 1;
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, scores_are_those_of_another_decoder, 0, 5);
    tcase_add_loop_test(tc, a_draw_is_a_row_s_own, 0, 4);
    tcase_add_loop_test(tc, a_draw_is_a_row_s_own_in_a_long_request, 0, 4);
    tcase_add_loop_test(tc, draws_have_their_moments, 0, 2);
    tcase_add_test(tc, gradients_under_dropout_equal_differences);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    harness_close(&h);
    return rc;
}
