/* SPDX-License-Identifier: MIT */
#include "ref/kernels.h"
#include "ref/ref.h"
#include "tap.h"

#include <math.h>

static int is_nan16(uint16_t h, uint16_t exponent) {
    return (h & exponent) == exponent && (h & (uint16_t)~(exponent | 0x8000u));
}

START_TEST(halves_survive_the_round_trip) {
    for (uint32_t h = 0; h <= 0xffff; h++) {
        uint16_t f = rein_to_f16(rein_from_f16((uint16_t)h)), b = rein_to_bf16(rein_from_bf16((uint16_t)h));
        ck_assert(f == h || (is_nan16(f, 0x7c00) && is_nan16((uint16_t)h, 0x7c00)));
        ck_assert(b == h || (is_nan16(b, 0x7f80) && is_nan16((uint16_t)h, 0x7f80)));
    }
}
END_TEST

/* Exactly half way between two neighbours goes to the even one; a hair more or less to the nearer. */
START_TEST(halves_round_to_nearest_even) {
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float a = rein_from_f16((uint16_t)h), b = rein_from_f16((uint16_t)(h + 1)), middle = 0.5f * (a + b);
        ck_assert_uint_eq(rein_to_f16(middle), h & 1 ? h + 1 : h);
        ck_assert_uint_eq(rein_to_f16(nextafterf(middle, -1.0f)), h);
        ck_assert_uint_eq(rein_to_f16(-nextafterf(middle, 1e9f)), 0x8000u | (h + 1));
    }
    ck_assert_uint_eq(rein_to_f16(65519.996f), 0x7bff);
    ck_assert_uint_eq(rein_to_f16(65520.0f), 0x7c00);
    ck_assert_uint_eq(rein_to_bf16(rein_bits_float(0x3f808000u)), 0x3f80);
    ck_assert_uint_eq(rein_to_bf16(rein_bits_float(0x3f818000u)), 0x3f82);
    ck_assert_uint_eq(rein_to_bf16(rein_bits_float(0x7f7fffffu)), 0x7f80);
    ck_assert_uint_eq(rein_to_bf16(rein_bits_float(0x7f800001u)), 0x7fc0); /* NaN, not infinity */
}
END_TEST

/* With constant g, m and v over their corrections are g and g^2: each step moves by lr, whatever g is. */
START_TEST(adamw_has_a_closed_form) {
    float p = 1.0f, g = 4.0f, m = 0, v = 0, master = 1.0f, m2 = 0, v2 = 0;
    uint16_t p16 = rein_to_bf16(1.0f);
    struct rein_adamw a = {.size = sizeof(a), .dtype = REIN_F32, .n = 1, .p = &p, .g = &g, .m = &m, .v = &v,
                           .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 0, .weight_decay = 0.1, .grad_scale = 0.5};
    struct rein_adamw b = a;
    double expected = 1.0;

    b.dtype = REIN_BF16;
    b.p = &p16;
    b.master = &master;
    b.m = &m2;
    b.v = &v2;
    for (a.step = b.step = 1; a.step <= 10; a.step++, b.step++) {
        ck_assert_int_eq(ref_adamw(NULL, &a), REIN_OK);
        ck_assert_int_eq(ref_adamw(NULL, &b), REIN_OK);
        expected = expected * (1 - 0.01 * 0.1) - 0.01;
    }
    ck_assert_double_eq_tol(p, expected, 1e-5);
    ck_assert_float_eq(master, p);
    ck_assert_uint_eq(p16, rein_to_bf16(p));
}
END_TEST

/* A one-column head: logits are the weights themselves. Probabilities 0.4, 0.3, 0.2, 0.1, permuted. */
static const double probability[4] = {0.2, 0.4, 0.1, 0.3};

static void draw_histogram(double top_p, int64_t top_k, const uint8_t *banned, double share[4]) {
    enum { N = 4000 };
    float w[4], hidden[1] = {1.0f}, logp[1];
    struct rein_weight weight = {.size = sizeof(weight), .dtype = REIN_F32, .rows = 4, .cols = 1, .ld = 1, .data = w};
    int32_t id;
    double u;
    struct rein_sample a = {.size = sizeof(a), .w = &weight, .n = 1, .ldh = 1, .hidden = hidden, .inv_temperature = 1,
                            .top_p = (float)top_p, .top_k = top_k, .u = &u, .banned = banned, .ids = &id, .logp = logp};

    for (int i = 0; i < 4; i++) {
        w[i] = (float)log(probability[i]);
        share[i] = 0;
    }
    for (int i = 0; i < N; i++) {
        u = (i + 0.5) / N;
        ck_assert_int_eq(ref_sample(NULL, &a), REIN_OK);
        ck_assert_float_eq_tol(logp[0], (float)log(probability[id]), 1e-5f); /* of the full distribution */
        share[id] += 1.0 / N;
    }
}

static void expect(const double share[4], double a, double b, double c, double d) {
    ck_assert_double_eq_tol(share[0], a, 1e-3);
    ck_assert_double_eq_tol(share[1], b, 1e-3);
    ck_assert_double_eq_tol(share[2], c, 1e-3);
    ck_assert_double_eq_tol(share[3], d, 1e-3);
}

START_TEST(segments_share_keys_but_no_queries) {
    float q[3] = {1, 2, 3}, k[3] = {0}, v[3] = {4, 5, 6}, out[3] = {0}, lse[3] = {0}, dq[3] = {0}, dk[3] = {0}, dv[3] = {0};
    struct rein_segment s[2] = {{.q_begin = 0, .q_rows = 2, .kv_rows = 2}, {.q_begin = 2, .q_rows = 1, .kv_rows = 2}};
    struct rein_attention a = {.size = sizeof(a), .nsegments = 2, .segments = s, .heads = 1, .kv_heads = 1, .head_dim = 1, .ldq = 1,
                               .ldk = 1, .ldv = 1, .ldout = 1, .q = q, .k = k, .v = v, .out = out, .lse = lse, .scale = 1};
    struct rein_attention_dx b = {.size = sizeof(b), .nsegments = 2, .segments = s, .heads = 1, .kv_heads = 1, .head_dim = 1,
                                  .ldq = 1, .ldk = 1, .ldv = 1, .ldout = 1, .lddq = 1, .lddk = 1, .lddv = 1, .q = q, .k = k,
                                  .v = v, .out = out, .lse = lse, .dout = q, .dq = dq, .dk = dk, .dv = dv, .scale = 1};

    ck_assert_int_eq(ref_attention(NULL, &a), REIN_OK);
    ck_assert_int_eq(ref_attention_dx(NULL, &b), REIN_OK);
    s[1].q_begin = 1;
    ck_assert_int_eq(ref_attention(NULL, &a), REIN_ERR_ARG);
    ck_assert_int_eq(ref_attention_dx(NULL, &b), REIN_ERR_ARG);
}
END_TEST

START_TEST(draws_follow_the_distribution) {
    const uint8_t ban[4] = {0, 1, 0, 0};
    double share[4];

    draw_histogram(1, 0, NULL, share);
    expect(share, 0.2, 0.4, 0.1, 0.3);
    draw_histogram(1, 2, NULL, share);
    expect(share, 0, 4.0 / 7, 0, 3.0 / 7);
    draw_histogram(0.69, 0, NULL, share);
    expect(share, 0, 4.0 / 7, 0, 3.0 / 7);
    draw_histogram(0.71, 0, NULL, share);
    expect(share, 2.0 / 9, 4.0 / 9, 0, 3.0 / 9);
    draw_histogram(0.8, 2, NULL, share); /* 0.4 / 0.7 is not yet 0.8 */
    expect(share, 0, 4.0 / 7, 0, 3.0 / 7);
    draw_histogram(0.5, 2, NULL, share);
    expect(share, 0, 1, 0, 0);
    draw_histogram(0, 0, NULL, share); /* at least one stays */
    expect(share, 0, 1, 0, 0);
    draw_histogram(1, 0, ban, share);
    expect(share, 2.0 / 6, 0, 1.0 / 6, 3.0 / 6);
    draw_histogram(1, 1, ban, share);
    expect(share, 0, 0, 0, 1);
}
END_TEST

int main(void) {
    Suite *s = suite_create("ref");
    TCase *t = tcase_create("ref");

    tcase_add_test(t, halves_survive_the_round_trip);
    tcase_add_test(t, halves_round_to_nearest_even);
    tcase_add_test(t, adamw_has_a_closed_form);
    tcase_add_test(t, segments_share_keys_but_no_queries);
    tcase_add_test(t, draws_follow_the_distribution);
    suite_add_tcase(s, t);
    return tap_run(s);
}
