/* What algorithms share, piece by piece, where a golden file would hide which piece is wrong: see tests/pitfalls.md.
 * SPDX-License-Identifier: MIT */
#include "common/beta.h"
#include "common/clip.h"
#include "common/gae.h"
#include "common/kl.h"
#include "common/numeric.h"
#include "common/shape.h"
#include "common/totals.h"
#include "common/whiten.h"
#include "tap.h"

#include <string.h>

/* "The N implementation details of RLHF with PPO": torch.var is unbiased, TensorFlow's moments are biased. */
START_TEST(whitening_uses_the_unbiased_variance) {
    static const double plain[9] = {1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0};
    double x[9], biased[9], shifted[9];

    memcpy(x, plain, sizeof(x));
    memcpy(biased, plain, sizeof(x));
    memcpy(shifted, plain, sizeof(x));
    whiten(x, NULL, 9, 0);
    ck_assert_double_eq_tol(x[0], 0.13940657, 1e-6);
    ck_assert_double_eq_tol(x[8], 3.06059343, 1e-6);
    whiten(shifted, NULL, 9, 1);
    for (int i = 0; i < 9; i++)
        ck_assert_double_eq_tol(shifted[i], x[i] - 1.6, 1e-12);
    whiten_population(biased, NULL, 9); /* OpenRLHF's */
    ck_assert_double_eq_tol(biased[0] + 1.6, 0.05080667, 1e-6);
}
END_TEST

START_TEST(whitening_sees_the_mask) {
    static const uint8_t mask[] = {1, 0, 1, 0, 1}, one[] = {0, 0, 1, 0, 0}, none[5];
    double x[] = {1, NAN, 2, 1e30, 3}, alone[] = {NAN, NAN, 7, NAN, NAN}, y[] = {1, NAN, 2, 1e30, 3};

    whiten(x, mask, 5, 1);
    ck_assert_double_eq_tol(x[0], -1, 1e-7);
    ck_assert_double_eq(x[2], 0);
    ck_assert_double_eq_tol(x[4], 1, 1e-7);
    ck_assert(isnan(x[1]) && x[3] == 1e30);
    whiten(alone, one, 5, 1); /* the 0/0 of mask_sum == 1 */
    ck_assert_double_eq(alone[2], 0);
    whiten_population(y, one, 5);
    ck_assert_double_eq(y[2], 0);
    whiten(y, none, 5, 0);
    ck_assert_double_eq(y[0], 1);
}
END_TEST

/* At the clip's edge both branches are the same: the one with a derivative is taken, and nothing counts as clipped. */
START_TEST(the_ratio_at_the_edge_of_the_clip) {
    static const double signs[] = {1, -1};

    for (int i = 0; i < 2; i++) {
        const double a = signs[i];
        struct surrogate s = surrogate_clip(log(1.25), a, 0.25, exp(log(1.25)) - 1, 0);

        ck_assert_double_eq(s.loss, -a * s.ratio);
        ck_assert_double_eq(s.d_logp, -a * s.ratio);
        ck_assert_int_eq(s.clipped, 0);
        s = surrogate_clip(log(1.25) + 1e-9, a, 0.25, 0.25, 0); /* a step outside: clipped for A > 0 only */
        ck_assert_int_eq(s.clipped, a > 0);
        ck_assert(a > 0 ? s.d_logp == 0 : s.d_logp > 1.2);
        s = surrogate_clip(log(0.75) - 1e-9, a, 0.25, 0.25, 0); /* and for A < 0 on the other side */
        ck_assert_int_eq(s.clipped, a < 0);
        ck_assert(a < 0 ? s.d_logp == 0 : s.d_logp < -0.7);
        s = surrogate_clip(0, a, 0.25, 0.25, 0);
        ck_assert_double_eq(s.loss, -a);
        ck_assert_double_eq(s.d_logp, -a);
    }
}
END_TEST

START_TEST(the_value_at_the_edge_of_the_clip) {
    struct value_loss l = value_clip(1.25, 1, 2, 0.25); /* at the edge: the derivative stays */

    ck_assert_double_eq(l.loss, 0.5 * 0.75 * 0.75);
    ck_assert_double_eq(l.d_value, -0.75);
    ck_assert_int_eq(l.clipped, 0);
    l = value_clip(1.5, 1, 2, 0.25); /* beyond, towards R: the clipped error is larger and constant */
    ck_assert_double_eq(l.loss, 0.5 * 0.75 * 0.75);
    ck_assert_double_eq(l.d_value, 0);
    ck_assert_int_eq(l.clipped, 1);
    l = value_clip(1.5, 1, 0, 0.25); /* beyond, away from R: the plain error is larger */
    ck_assert_double_eq(l.loss, 0.5 * 1.5 * 1.5);
    ck_assert_double_eq(l.d_value, 1.5);
    ck_assert_int_eq(l.clipped, 0);
}
END_TEST

START_TEST(beta_moves_by_a_fifth_at_most) {
    static const struct {
        double kl, next;
    } cases[] = {{6, 1}, {6.6, 1.01}, {1e9, 1.02}, {5.4, 0.99}, {0, 0.98}, {-1e9, 0.98}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct beta b;

        beta_init(&b, 1);
        beta_begin(&b, 0);
        beta_adapt(&b, cases[i].kl, 6, 100, 10);
        ck_assert_double_eq_tol(b.next, cases[i].next, 1e-12);
        ck_assert_double_eq(b.now, 1); /* until the next rollout begins */
        beta_begin(&b, 1);
        ck_assert_double_eq_tol(b.now, cases[i].next, 1e-12);
    }
}
END_TEST

/* Nothing is bootstrapped after the last token, whatever ended the row; masked tokens are passed over. */
START_TEST(advantages_end_with_the_last_token) {
    static const double reward[] = {0, 99, 1};
    static const float value[] = {0.5f, NAN, 0.25f};
    static const uint8_t mask[] = {1, 0, 1};
    double a[3] = {7, 7, 7}, r[3] = {7, 7, 7};

    gae(reward, value, mask, 3, 0.5, 0.5, a, r);
    ck_assert_double_eq(a[2], 0.75);
    ck_assert_double_eq(r[2], 1);
    ck_assert_double_eq(a[0], 0.5 * 0.25 - 0.5 + 0.25 * 0.75);
    ck_assert_double_eq(a[1], 7);
    reward_minus_value(reward, value, mask, 3, 1, a, r);
    ck_assert_double_eq(a[0], 0.5);
    ck_assert_double_eq(a[2], 0.5);
    discounted_returns(reward, mask, 3, 0.5, r);
    ck_assert_double_eq(r[0], 0.5);
}
END_TEST

START_TEST(scores_go_to_the_last_token_that_counts) {
    static const uint32_t offset[] = {0, 3, 3, 5, 6};
    static const uint8_t mask[] = {1, 1, 0, 0, 0, 1};
    static const double score[] = {1, 2, 3, NAN};
    const struct rein_experience e = {.rows = 4, .tokens = 6, .offset = offset, .mask = mask};
    double reward[] = {0, 0.5, 7, 7, 7, 0.25};
    static const double expect[] = {0, 1.5, 7, 7, 7, 0.25};

    place_scores(&e, score, reward);
    ck_assert_mem_eq(reward, expect, sizeof(expect));
}
END_TEST

/* k3's e^d overflows where policies drift apart, and its derivative with it: limited at e^20. */
START_TEST(k3_stays_finite_with_its_derivative) {
    static const double far[] = {-1e3, -200, -20, 0, 20, 20.5, 200, 1e3};

    for (size_t i = 0; i < sizeof(far) / sizeof(*far); i++) {
        double d = NAN, kl = kl_estimate(KL_K3, -1 - far[i], -1, &d);

        ck_assert(isfinite(kl) && isfinite(d) && kl >= 0 && (float)kl < INFINITY);
        ck_assert(far[i] <= LOG_RATIO_MAX ? d == -expm1(far[i]) : d == 0);
    }
}
END_TEST

START_TEST(rows_without_tokens_have_no_share_of_clipping) {
    struct clips c = {0};

    clips_row(&c, 0, 0, 0);
    ck_assert_double_eq(c.rows, 0);
    ck_assert(!isnan(c.low_min) && !isnan(c.high_max));
    clips_row(&c, 1, 0, 2);
    clips_row(&c, 0, 3, 4);
    ck_assert_double_eq(c.low_min, 0);
    ck_assert_double_eq(c.high_max, 0.75);
    ck_assert_double_eq(c.low, 1);
    ck_assert_double_eq(c.n, 6);
}
END_TEST

START_TEST(kl_slopes_equal_differences) {
    for (int64_t estimator = KL_K1; estimator <= KL_K3; estimator++)
        for (double ref = -3; ref < 1; ref += 0.5) {
            const double h = 1e-6, logp = -1.25;
            double d = NAN, up = kl_estimate(estimator, logp + h, ref, NULL);

            ck_assert_double_eq_tol((up - kl_estimate(estimator, logp - h, ref, NULL)) / (2 * h),
                                    (kl_estimate(estimator, logp, ref, &d), d), 1e-7);
        }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("common");
    TCase *cases = tcase_create("common");

    tcase_add_test(cases, whitening_uses_the_unbiased_variance);
    tcase_add_test(cases, whitening_sees_the_mask);
    tcase_add_test(cases, the_ratio_at_the_edge_of_the_clip);
    tcase_add_test(cases, the_value_at_the_edge_of_the_clip);
    tcase_add_test(cases, beta_moves_by_a_fifth_at_most);
    tcase_add_test(cases, advantages_end_with_the_last_token);
    tcase_add_test(cases, scores_go_to_the_last_token_that_counts);
    tcase_add_test(cases, k3_stays_finite_with_its_derivative);
    tcase_add_test(cases, rows_without_tokens_have_no_share_of_clipping);
    tcase_add_test(cases, kl_slopes_equal_differences);
    suite_add_tcase(suite, cases);
    return tap_run(suite);
}
