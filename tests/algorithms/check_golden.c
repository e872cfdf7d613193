/* The algorithms against tests/golden/NAME.json, which PyTorch wrote from TRL's formulas.
 * Each array must agree to 1e-6 of its largest value, whichever way a step is cut into micro-batches.
 * SPDX-License-Identifier: MIT */
#include "algorithms/module.h"
#include "tap.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TOLERANCE 1e-6
enum { MOST = 64 };
static double worst;
static bool other_metrics; /* the module has metrics beyond the golden's */

static json_t *golden(const char *name) {
    char path[1024];
    json_error_t error;

    snprintf(path, sizeof(path), "%s/tests/golden/%s.json", SOURCE_DIR, name);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(root != NULL, "%s:%d: %s", path, error.line, error.text);
    return root;
}

/* Arrays from JSON; NULL for null. An element that is null becomes NaN. */
static float *floats(const json_t *o, const char *key) {
    json_t *a = json_object_get(o, key);
    if (!json_is_array(a))
        return NULL;
    float *x = calloc(json_array_size(a) + 1, sizeof(*x));
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < json_array_size(a); i++) {
        json_t *v = json_array_get(a, i);
        x[i] = json_is_number(v) ? (float)json_number_value(v) : NAN;
        ck_assert(!json_is_number(v) || !strncmp(key, "adv", 3) || !strncmp(key, "ret", 3) ||
                  (double)x[i] == json_number_value(v));
    }
    return x;
}

static uint32_t *numbers(const json_t *o, const char *key) {
    json_t *a = json_object_get(o, key);
    if (!json_is_array(a))
        return NULL;
    uint32_t *x = calloc(json_array_size(a) + 1, sizeof(*x));
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < json_array_size(a); i++)
        x[i] = (uint32_t)json_integer_value(json_array_get(a, i));
    return x;
}

static uint8_t *bytes(const json_t *o, const char *key) {
    uint32_t *wide = numbers(o, key);
    size_t n = json_array_size(json_object_get(o, key));
    uint8_t *x = wide ? calloc(n + 1, 1) : NULL;
    for (size_t i = 0; x && i < n; i++)
        x[i] = (uint8_t)wide[i];
    free(wide);
    return x;
}

/* One call of a golden case with everything it feeds. */
struct call {
    uint32_t rows, units, tokens;
    uint32_t *offset, *unit, *rank;
    uint8_t *mask, *ended, *label;
    struct call *mismatched; /* the rows that measure() is given, one a unit; or NULL */
    uint32_t take, members;
    float *family, *logp, *logp_old, *logp_ref, *value, *value_old, *entropy, *advantage, *return_, *reward, *score,
        *margin;
};

static float *mean_of_members(const float *family, uint32_t members, uint32_t rows) {
    float *mean = calloc(rows + 1, sizeof(*mean));

    for (uint32_t r = 0; r < rows; r++) {
        float sum = 0, n = 0;
        for (uint32_t k = 0; k < members; k++)
            if (!isnan(family[k * rows + r])) {
                sum += family[k * rows + r];
                n++;
            }
        mean[r] = sum / n;
    }
    return mean;
}

static void call_read(struct call *c, const json_t *o) {
    const json_t *prepared = json_object_get(o, "prepare"), *mismatched = json_object_get(o, "mismatched");

    *c = (struct call){.offset = numbers(o, "offset"),
                       .unit = numbers(o, "unit"),
                       .rank = numbers(o, "rank"),
                       .mask = bytes(o, "mask"),
                       .ended = bytes(o, "ended"),
                       .label = bytes(o, "label"),
                       .logp = floats(o, "logp"),
                       .logp_old = floats(o, "logp_old"),
                       .logp_ref = floats(o, "logp_ref"),
                       .value = floats(o, "value"),
                       .value_old = floats(o, "value_old"),
                       .entropy = floats(o, "entropy"),
                       .reward = floats(o, "reward"),
                       .score = floats(o, "score"),
                       .margin = floats(o, "margin"),
                       .advantage = floats(prepared, "advantage"),
                       .return_ = floats(prepared, "return"),
                       .family = floats(o, "family")};
    c->rows = c->offset ? (uint32_t)json_array_size(json_object_get(o, "offset")) - 1
                        : (uint32_t)json_array_size(json_object_get(o, "score"));
    if (!c->offset)
        c->offset = calloc(c->rows + 1, sizeof(*c->offset));
    if (!c->unit) {
        c->units = c->rows;
        c->unit = calloc(c->rows + 1, sizeof(*c->unit));
        for (uint32_t r = 0; r <= c->rows; r++)
            c->unit[r] = r;
    } else {
        c->units = (uint32_t)json_array_size(json_object_get(o, "unit")) - 1;
    }
    c->tokens = c->offset[c->rows];
    c->take = json_is_integer(json_object_get(o, "take")) ? (uint32_t)json_integer_value(json_object_get(o, "take"))
                                                          : c->units;
    if (!c->family && c->reward) { /* a family of one */
        c->family = calloc(c->rows + 1, sizeof(float));
        memcpy(c->family, c->reward, c->rows * sizeof(float));
    }
    c->members = c->family ? (uint32_t)(json_array_size(json_object_get(o, "family")) / c->rows) : 0;
    c->members += c->family && !c->members;
    if (mismatched) {
        c->mismatched = calloc(1, sizeof(*c));
        ck_assert_ptr_nonnull(c->mismatched);
        call_read(c->mismatched, mismatched);
    }
    if (c->family && !c->reward) /* as the host fills it */
        c->reward = mean_of_members(c->family, c->members, c->rows);
}

static void call_free(struct call *c) {
    void *all[] = {c->offset,   c->unit,   c->rank,      c->mask,    c->ended,     c->logp,    c->logp_old,
                   c->logp_ref, c->value,  c->value_old, c->entropy, c->advantage, c->return_, c->reward,
                   c->score,    c->margin, c->family,    c->label,   c->mismatched};
    if (c->mismatched)
        call_free(c->mismatched);
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        free(all[i]);
}

static void compare(const char *where, const char *what, const json_t *expect, const float *got, size_t n) {
    double largest = 0, off = 0;

    ck_assert_msg(json_array_size(expect) == n, "%s: %s has %zu elements, not %zu", where, what, n,
                  json_array_size(expect));
    for (size_t i = 0; i < n; i++) {
        double e = json_number_value(json_array_get(expect, i));
        largest = fmax(largest, fabs(e));
        ck_assert_msg(isfinite(got[i]), "%s: %s[%zu] is %g, not %.9g", where, what, i, (double)got[i], e);
        off = fmax(off, fabs((double)got[i] - e));
    }
    ck_assert_msg(off <= TOLERANCE * largest, "%s: %s is off by %.3g of its largest value", where, what, off / largest);
    if (largest > 0)
        worst = fmax(worst, off / largest);
}

static void compare_one(const char *where, const char *what, double expect, double got) {
    ck_assert_msg(fabs(got - expect) <= TOLERANCE * fabs(expect), "%s: %s is %.17g, not %.17g", where, what, got,
                  expect);
    if (expect != 0)
        worst = fmax(worst, fabs(got - expect) / fabs(expect));
}

static void compare_metrics(const char *where, json_t *expect, const struct rein_metrics *got) {
    const char *name;
    json_t *value;

    json_object_foreach(expect, name, value)
        compare_one(where, name, json_number_value(value), metrics_value(got, name));
    for (uint32_t i = 0; i < got->count; i++)
        ck_assert_msg(other_metrics || got->items[i].weight == 0 || json_object_get(expect, got->items[i].name) != NULL,
                      "%s: metric %s was not expected", where, got->items[i].name);
}

static void check_prepare(struct instance *in, const char *where, const struct call *c, uint32_t number,
                          json_t *expect) {
    struct metric_box metrics;
    float *advantage = calloc(c->tokens + 1, sizeof(*advantage)), *return_ = calloc(c->tokens + 1, sizeof(*return_));
    struct rein_experience e = {.size = sizeof(e),
                                .rollout = number,
                                .rows = c->rows,
                                .units = c->units,
                                .tokens = c->tokens,
                                .offset = c->offset,
                                .unit = c->unit,
                                .mask = c->mask,
                                .logp_old = c->logp_old,
                                .logp_ref = c->logp_ref,
                                .value_old = c->value_old,
                                .entropy = c->entropy,
                                .reward = c->reward,
                                .members = c->members,
                                .family = c->family,
                                .ended = c->ended,
                                .max_tokens = 8,
                                .advantage = advantage,
                                .return_ = return_,
                                .metrics = metrics_reset(&metrics)};

    ck_assert_msg(in->ops->prepare(in->self, &e) == REIN_OK, "%s: %s", where, in->message);
    compare(where, "advantage", json_object_get(expect, "advantage"), advantage, c->tokens);
    if (json_is_array(json_object_get(expect, "return")))
        compare(where, "return", json_object_get(expect, "return"), return_, c->tokens);
    compare_metrics(where, json_object_get(expect, "metrics"), &metrics.list);
    free(advantage);
    free(return_);
}

#define PART(array, at) ((array) ? (array) + (at) : NULL)

/* Units from .. to of a call as a micro-batch, with the divisors of the whole step. */
struct piece {
    uint32_t offset[MOST], unit[MOST], row, token;
    struct rein_batch b;
};
static void piece_of(const struct call *c, uint32_t from, uint32_t to, struct piece *p) {
    const uint32_t row = c->unit[from], rows = c->unit[to] - row, token = c->offset[row];
    double unmasked = 0;

    ck_assert_uint_lt(rows, MOST);
    for (uint32_t r = 0; r <= rows; r++)
        p->offset[r] = c->offset[row + r] - token;
    for (uint32_t u = 0; u <= to - from; u++)
        p->unit[u] = c->unit[from + u] - row;
    for (uint32_t i = 0; i < c->offset[c->unit[c->take]]; i++)
        unmasked += !c->mask || c->mask[i];
    p->row = row;
    p->token = token;
    p->b = (struct rein_batch){.size = sizeof(p->b),
                               .rows = rows,
                               .units = to - from,
                               .tokens = p->offset[rows],
                               .offset = p->offset,
                               .unit = p->unit,
                               .mask = PART(c->mask, token),
                               .logp = PART(c->logp, token),
                               .logp_old = PART(c->logp_old, token),
                               .logp_ref = PART(c->logp_ref, token),
                               .value = PART(c->value, token),
                               .value_old = PART(c->value_old, token),
                               .entropy = PART(c->entropy, token),
                               .advantage = PART(c->advantage, token),
                               .return_ = PART(c->return_, token),
                               .reward = PART(c->reward, row),
                               .score = PART(c->score, row),
                               .margin = PART(c->margin, row),
                               .rank = PART(c->rank, row),
                               .label = PART(c->label, row),
                               .ended = PART(c->ended, row),
                               .norm_tokens = unmasked,
                               .norm_rows = c->unit[c->take],
                               .norm_units = c->take,
                               .max_tokens = 8};
}

/* measure() of all pieces, as the host calls it. */
static void measure_all(struct instance *in, const struct call *c, const json_t *cut, double *sums) {
    const struct call *from = in->needs.needs & REIN_NEED_KL_ROWS ? c->mismatched : c;
    uint32_t at = 0;

    ck_assert_ptr_nonnull(from);
    for (size_t k = 0; k < json_array_size(cut) && in->needs.sums > 0; k++) {
        const uint32_t to = at + (uint32_t)json_integer_value(json_array_get(cut, k));
        struct piece p;

        piece_of(from, at, to, &p);
        if (in->needs.counts_only)
            p.b.logp = p.b.entropy = p.b.value = p.b.score = NULL;
        ck_assert_int_eq(in->ops->measure(in->self, &p.b, sums), REIN_OK);
        at = to;
    }
}

/* A step, cut into micro-batches of the given numbers of units. */
static void check_step(struct instance *in, const char *where, const struct call *c, const json_t *cut,
                       json_t *expect) {
    uint32_t largest = c->tokens > c->rows ? c->tokens : c->rows, from = 0;
    float *d[4]; /* logp, value, entropy, score */
    static const char *const names[] = {"d_logp", "d_value", "d_entropy", "d_score"};
    const uint32_t rows_taken = c->unit[c->take], tokens_taken = c->offset[rows_taken];
    double loss = 0, sums[REIN_MAX_SUMS] = {0};
    struct metric_box total, part;

    for (int i = 0; i < 4; i++)
        d[i] = calloc(largest + 1, sizeof(float));
    metrics_reset(&total);
    measure_all(in, c, cut, sums);
    for (size_t k = 0; k < json_array_size(cut); k++) {
        uint32_t to = from + (uint32_t)json_integer_value(json_array_get(cut, k));
        struct piece p;

        piece_of(c, from, to, &p);
        p.b.sums = in->needs.sums ? sums : NULL;
        struct rein_loss out = {.size = sizeof(out),
                                .loss = NAN,
                                .d_logp = c->logp ? d[0] + p.token : NULL,
                                .d_value = c->value ? d[1] + p.token : NULL,
                                .d_entropy = in->needs.needs & REIN_NEED_ENTROPY ? d[2] + p.token : NULL,
                                .d_score = c->score ? d[3] + p.row : NULL,
                                .metrics = metrics_reset(&part)};
        ck_assert_msg(in->ops->loss(in->self, &p.b, &out) == REIN_OK, "%s: %s", where, in->message);
        metrics_total(&total, &part.list);
        loss += out.loss;
        from = to;
    }
    ck_assert_uint_eq(from, c->take);
    compare_one(where, "loss", json_number_value(json_object_get(expect, "loss")), loss);
    compare_metrics(where, json_object_get(expect, "metrics"), &total.list);
    for (int i = 0; i < 4; i++) {
        json_t *e = json_object_get(expect, names[i]);
        if (e)
            compare(where, names[i], e, d[i], i == 3 ? rows_taken : tokens_taken);
        free(d[i]);
    }
}

static void check_case(const char *algorithm, const json_t *o) {
    const char *options[MOST] = {NULL}, *key;
    json_t *value, *call, *cut, *cuts;
    struct instance in;
    size_t i, k, n = 0;

    json_object_foreach(json_object_get(o, "options"), key, value) {
        options[n++] = key;
        options[n++] = json_string_value(value);
    }
    ck_assert_int_eq(instance_open(&in, "algorithm", algorithm, options), REIN_OK);
    json_array_foreach(json_object_get(o, "calls"), i, call) {
        struct call c;
        char where[200];

        call_read(&c, call);
        snprintf(where, sizeof(where), "%s, \"%s\"", algorithm, json_string_value(json_object_get(o, "name")));
        ck_assert_msg(!(in.needs.needs & REIN_NEED_REFERENCE) == !c.logp_ref, "%s: reference asked for or not", where);
        if (json_object_get(call, "prepare"))
            check_prepare(&in, where, &c, (uint32_t)i, json_object_get(call, "prepare"));
        cuts = json_object_get(call, "cuts");
        ck_assert_uint_gt(json_array_size(cuts), 0);
        json_array_foreach(cuts, k, cut) check_step(&in, where, &c, cut, json_object_get(call, "loss"));
        call_free(&c);
    }
    instance_close(&in);
}

static void check_algorithm(const char *name, const char *file, size_t least) {
    json_t *root = golden(file), *cases = json_object_get(root, "cases"), *o;
    size_t i;

    worst = 0;
    ck_assert_uint_ge(json_array_size(cases), least);
    json_array_foreach(cases, i, o) check_case(name, o);
    printf("# %s, %s.json: %zu cases, worst relative error %.2g\n", name, file, json_array_size(cases), worst);
    json_decref(root);
}

START_TEST(sft_equals_golden) {
    check_algorithm("sft", "sft", 7);
}
END_TEST

START_TEST(rm_equals_golden) {
    check_algorithm("rm", "rm", 16);
}
END_TEST

START_TEST(ppo_equals_golden) {
    check_algorithm("ppo", "ppo", 41);
}
END_TEST

START_TEST(grpo_equals_golden) {
    check_algorithm("grpo", "grpo", 42);
}
END_TEST

START_TEST(dpo_equals_golden) {
    check_algorithm("dpo", "dpo", 77);
}
END_TEST

/* With a family of one and a critic it is PPO: it must give PPO's numbers. */
START_TEST(grpo_of_one_member_is_ppo) {
    other_metrics = true;
    check_algorithm("grpo", "ppo", 41);
    other_metrics = false;
}
END_TEST

START_TEST(rloo_equals_golden) {
    check_algorithm("rloo", "rloo", 30);
}
END_TEST

START_TEST(reinforce_equals_golden) {
    check_algorithm("reinforce", "reinforce", 31);
}
END_TEST

/* The options of ppo-seed.yaml make PPO the algorithm that is usually sketched. */
START_TEST(ppo_equals_the_sketch) {
    other_metrics = true;
    check_algorithm("ppo", "ppo-seed", 6);
    check_algorithm("grpo", "ppo-seed", 6);
    other_metrics = false;
}
END_TEST

int main(void) {
    Suite *suite = suite_create("golden");
    TCase *cases = tcase_create("golden");

    tcase_add_test(cases, sft_equals_golden);
    tcase_add_test(cases, rm_equals_golden);
    tcase_add_test(cases, ppo_equals_golden);
    tcase_add_test(cases, grpo_equals_golden);
    tcase_add_test(cases, dpo_equals_golden);
    tcase_add_test(cases, grpo_of_one_member_is_ppo);
    tcase_add_test(cases, rloo_equals_golden);
    tcase_add_test(cases, reinforce_equals_golden);
    tcase_add_test(cases, ppo_equals_the_sketch);
    suite_add_tcase(suite, cases);
    return tap_run(suite);
}
