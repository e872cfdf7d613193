/* The optimizer and the schedules against PyTorch, metrics, and samples as bytes. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mem.h"
#include "dirty.h"
#include "ref/ref.h"
#include "train/batch.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/stage.h"
#include "tap.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static json_t *golden;

static double number(const json_t *object, const char *name) {
    return json_number_value(json_object_get(object, name));
}

static int64_t schedule_of(const char *name) {
    return strcmp(name, "linear") == 0 ? SCHEDULE_LINEAR : strcmp(name, "cosine") == 0 ? SCHEDULE_COSINE : SCHEDULE_CONSTANT;
}

static float value(size_t i, size_t salt) {
    return (float)((int)((i * 37 + salt * 101) % 257) - 128) / 64.0f;
}

START_TEST(schedules_are_those_of_transformers) {
    const json_t *list = json_object_get(golden, "schedules");

    ck_assert_uint_ge(json_array_size(list), 12);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i), *factors = json_object_get(x, "factors");
        const uint64_t total = (uint64_t)number(x, "total"), warmup = schedule_warmup(number(x, "share"), total);
        const int64_t kind = schedule_of(json_string_value(json_object_get(x, "kind")));

        for (uint64_t step = 0; step < total; step++)
            ck_assert_double_eq_tol(schedule_factor(kind, step, warmup, total),
                                    json_number_value(json_array_get(factors, step)), 1e-14);
    }
    ck_assert_double_eq(schedule_factor(SCHEDULE_LINEAR, 10, 0, 10), 0);
    ck_assert_double_eq(schedule_factor(SCHEDULE_COSINE, 99, 0, 10), 0);
}
END_TEST

static struct model_param make_param(struct backend *b, int64_t rows, int64_t cols, size_t salt, bool decay) {
    struct model_param p = {.name = mem_strdup("p"), .decay = decay};
    float *w = backend_alloc(b, (size_t)(rows * cols), sizeof(float), NULL);

    p.grad = backend_alloc(b, (size_t)(rows * cols), sizeof(float), NULL);
    ck_assert_ptr_nonnull(w);
    ck_assert_ptr_nonnull(p.grad);
    for (size_t i = 0; i < (size_t)(rows * cols); i++)
        w[i] = value(i, salt);
    p.w = (struct rein_weight){.size = sizeof(p.w), .dtype = REIN_F32, .rows = rows, .cols = cols, .ld = cols, .data = w};
    return p;
}

static void release_param(struct backend *b, struct model_param *p) {
    backend_free(b, p->w.data);
    backend_free(b, p->grad);
    free(p->name);
}

static rein_status (*real_sum_squares)(void *, const struct rein_sum_squares *);
static int asked, waiting; /* calls of sum_squares; results that only the next sync writes */

static rein_status third_sum_fails(void *dev, const struct rein_sum_squares *a) {
    (void)dev;
    (void)a;
    waiting++;
    return ++asked == 3 ? REIN_ERR_DEVICE : REIN_OK;
}

static rein_status sync_writes(void *dev) {
    waiting = 0;
    return ((const struct rein_backend_ops *)ref_plugin.ops)->sync(dev);
}

/* A backend writes its results when it is waited for: they must not come after their place was given back. */
START_TEST(a_failed_norm_leaves_nothing_under_way) {
    const struct optimizer_options options = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
    struct rein_backend_ops late;
    struct model_param p[4];
    struct optimizer *o = NULL;
    struct backend *b = NULL;
    double norm;

    ck_assert_int_eq(backend_open(&ref_plugin, NULL, NULL, &b, NULL), 0);
    ck_assert_int_eq(optimizer_create(b, &options, &o, NULL), 0);
    for (uint32_t i = 0; i < 4; i++) {
        p[i] = make_param(b, 1, 2, i, true);
        ck_assert_int_eq(optimizer_add(o, &p[i], 1e-3, 0, NULL), 0);
    }
    real_sum_squares = b->k.sum_squares;
    b->k.sum_squares = third_sum_fails;
    late = *b->ops;
    late.sync = sync_writes;
    b->ops = &late;
    for (int what = 0; what < 2; what++) {
        asked = waiting = 0;
        ck_assert_int_eq(what ? optimizer_check_finite(o, NULL) : optimizer_norm(o, OPTIMIZER_ALL, &norm, NULL), -1);
        ck_assert_int_eq(asked, 3);
        ck_assert_int_eq(waiting, 0);
    }
    b->k.sum_squares = real_sum_squares;
    optimizer_free(o);
    for (int i = 0; i < 4; i++)
        release_param(b, &p[i]);
    backend_close(b);
}
END_TEST

static void run_adamw(const json_t *x) {
    const struct optimizer_options options = {
        .beta1 = number(x, "beta1"), .beta2 = number(x, "beta2"), .eps = number(x, "eps"),
        .weight_decay = number(x, "weight_decay"), .max_grad_norm = number(x, "max_grad_norm"),
        .weight_decay_all = json_is_true(json_object_get(x, "weight_decay_all"))};
    const uint64_t steps = (uint64_t)number(x, "steps"), warmup = schedule_warmup(number(x, "warmup"), steps);
    const int64_t kind = schedule_of(json_string_value(json_object_get(x, "schedule")));
    struct model_param p[2];
    struct optimizer *o = NULL;
    struct backend *b = NULL;

    ck_assert_int_eq(backend_open(&ref_plugin, NULL, NULL, &b, NULL), 0);
    dirty_memory(b);
    p[0] = make_param(b, 3, 5, 50, true);
    p[1] = make_param(b, 1, 7, 51, false);
    ck_assert_int_eq(optimizer_create(b, &options, &o, NULL), 0);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_int_eq(optimizer_add(o, &p[i], number(x, "lr"), i, NULL), 0);
    ck_assert_int_eq(optimizer_add(o, &p[0], 7, 1, NULL), 0);
    ck_assert_uint_eq(o->count, 2); /* once only */
    ck_assert_uint_eq(optimizer_elements(o), 22);
    for (uint64_t step = 0; step < steps; step++) {
        const double factor = schedule_factor(kind, step, warmup, steps);
        double norm = 0;

        ck_assert_double_eq_tol(factor * number(x, "lr"), json_number_value(json_array_get(json_object_get(x, "rates"), step)),
                                1e-15);
        for (size_t k = 0; k < 2; k++)
            for (size_t i = 0; i < (size_t)(p[k].w.rows * p[k].w.cols); i++)
                p[k].grad[i] = value(i, 7 * step + k);
        ck_assert_int_eq(optimizer_norm(o, OPTIMIZER_ALL, &norm, NULL), 0);
        ck_assert_double_eq_tol(norm, json_number_value(json_array_get(json_object_get(x, "norms"), step)), 1e-6 * norm);
        ck_assert_int_eq(optimizer_step(o, OPTIMIZER_ALL, factor, norm, NULL), 0);
    }
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < (size_t)(p[k].w.rows * p[k].w.cols); i++) {
            const json_t *want = json_array_get(json_array_get(json_object_get(x, "weights"), k), i);
            ck_assert_double_eq_tol(((float *)p[k].w.data)[i], json_number_value(want), 1e-6);
        }
    optimizer_free(o);
    release_param(b, &p[0]);
    release_param(b, &p[1]);
    backend_close(b);
}

START_TEST(adamw_is_pytorchs) {
    const json_t *list = json_object_get(golden, "adamw");

    ck_assert_uint_eq(json_array_size(list), 3);
    for (size_t i = 0; i < json_array_size(list); i++)
        run_adamw(json_array_get(list, i));
}
END_TEST

START_TEST(only_the_owner_moves) {
    const struct optimizer_options options = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    struct model_param p[2];
    struct optimizer *o = NULL;
    struct backend *b = NULL;
    double norm;

    ck_assert_int_eq(backend_open(&ref_plugin, NULL, NULL, &b, NULL), 0);
    p[0] = make_param(b, 2, 2, 1, true);
    p[1] = make_param(b, 2, 2, 2, true);
    ck_assert_int_eq(optimizer_create(b, &options, &o, NULL), 0);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_int_eq(optimizer_add(o, &p[i], 1e-2, i, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        p[0].grad[i] = 3, p[1].grad[i] = 4;
    ck_assert_int_eq(optimizer_norm(o, 1, &norm, NULL), 0);
    ck_assert_double_eq_tol(norm, 8, 1e-12);
    ck_assert_int_eq(optimizer_step(o, 1, 1, norm, NULL), 0);
    ck_assert_float_eq(((float *)p[0].w.data)[0], value(0, 1));
    ck_assert_float_ne(((float *)p[1].w.data)[0], value(0, 2));
    ck_assert_int_eq(o->slots[0].steps, 0);
    ck_assert_int_eq(o->slots[1].steps, 1);
    optimizer_zero_grad(o);
    ck_assert_int_eq(optimizer_norm(o, OPTIMIZER_ALL, &norm, NULL), 0);
    ck_assert_double_eq(norm, 0);
    optimizer_free(o);
    release_param(b, &p[0]);
    release_param(b, &p[1]);
    backend_close(b);
}
END_TEST

START_TEST(metrics_do_not_depend_on_the_cut) {
    static struct metrics m;
    static struct metrics_page page;
    struct report_value values[8];

    for (int part = 0; part < 2; part++) {
        struct rein_metrics *t = metrics_page_open(&page);

        rein_metric_mean(t, "accuracy", part ? 1 : 3, part ? 1 : 7); /* 4/8, not the mean of 3/7 and 1 */
        rein_metric_add(t, "least", REIN_METRIC_MIN, part ? -2 : 5, 1);
        rein_metric_add(t, "most", REIN_METRIC_MAX, part ? -2 : 5, 1);
        rein_metric_add(t, "count", REIN_METRIC_SUM, 2, 1);
        rein_metric_mean(t, "nothing", 0, 0);
        metrics_merge(&m, part ? NULL : NULL, t);
    }
    ck_assert_uint_eq(metrics_values(&m, values, 0, 8), 4);
    ck_assert_str_eq(values[0].name, "accuracy");
    ck_assert_double_eq(values[0].value, 0.5);
    ck_assert_double_eq(values[1].value, -2);
    ck_assert_double_eq(values[2].value, 5);
    ck_assert_double_eq(values[3].value, 4);
    for (int i = 0; i < METRICS_MAX + 5; i++) {
        char name[16];
        snprintf(name, sizeof(name), "m%d", i);
        metrics_add(&m, "eval_", name, REIN_METRIC_SUM, i, 1);
    }
    ck_assert_uint_eq(m.count, METRICS_MAX);
    ck_assert_uint_eq(m.dropped, 10);
}
END_TEST

/* Two rows: four tokens of which two are the prompt, and three without a prompt. */
static void two_rows(struct samples *s) {
    const uint32_t lengths[] = {4, 3}, prompts[] = {2, 0};

    ck_assert_int_eq(samples_create(2, lengths, prompts, s, NULL), 0);
    for (int i = 0; i < 7; i++)
        s->own[i] = 10 + i;
}

START_TEST(a_batch_lines_up_tokens_and_states) {
    const uint32_t order[] = {1, 0};
    struct batch_norms norms;
    struct samples s;
    struct batch b = {0};

    two_rows(&s);
    ck_assert_uint_eq(s.tokens, 4);
    s.advantage = samples_array(s.tokens, NULL);
    for (int i = 0; i < 4; i++)
        s.advantage[i] = (float)i;
    batch_norms(&s, order, 2, &norms);
    ck_assert_double_eq(norms.tokens, 4);
    ck_assert_double_eq(norms.max_tokens, 2);
    ck_assert_int_eq(batch_build(&b, &s, order, 2, BATCH_ALL, &norms, NULL), 0);
    /* packed: 14 15 16 | 10 11 12 13 */
    ck_assert_int_eq(b.ids[0], 14);
    ck_assert_int_eq(b.ids[3], 10);
    ck_assert_uint_eq(b.view.tokens, 4);
    ck_assert_uint_eq(b.view.offset[1], 2);
    ck_assert_int_eq(b.targets[0], 15); /* a text's first token is predicted by nothing */
    ck_assert_int_eq(b.rows[0], 0);
    ck_assert_int_eq(b.targets[2], 12);
    ck_assert_int_eq(b.rows[2], 4);
    ck_assert_int_eq(b.last[0], 2);
    ck_assert_int_eq(b.last[1], 6);
    ck_assert_float_eq(b.view.advantage[0], 2);
    ck_assert_float_eq(b.view.advantage[2], 0);
    ck_assert_ptr_null(b.view.logp_ref);
    ck_assert_ptr_null(b.view.mask);
    batch_free(&b);
    samples_free(&s);
}
END_TEST

START_TEST(changed_data_is_noticed) {
    struct samples s;
    uint32_t crc;

    two_rows(&s);
    s.margin = samples_array(s.rows, NULL);
    s.rank = mem_zeros(s.rows, sizeof(*s.rank));
    s.label = mem_zeros(s.rows, 1);
    s.mask = mem_zeros(s.tokens, 1);
    crc = samples_crc(&s);
    s.margin[1] = 0.5f;
    ck_assert_uint_ne(samples_crc(&s), crc);
    s.margin[1] = 0;
    s.rank[0] = 1;
    ck_assert_uint_ne(samples_crc(&s), crc);
    s.rank[0] = 0;
    s.label[1] = 1;
    ck_assert_uint_ne(samples_crc(&s), crc);
    s.label[1] = 0;
    s.mask[3] = 1;
    ck_assert_uint_ne(samples_crc(&s), crc);
    s.mask[3] = 0;
    ck_assert_uint_eq(samples_crc(&s), crc);
    s.own[6] = 99;
    ck_assert_uint_ne(samples_crc(&s), crc);
    samples_free(&s);
}
END_TEST

START_TEST(samples_survive_being_written) {
    struct samples s, back;
    struct buffer bytes = {0};

    two_rows(&s);
    s.members = 2;
    s.logp_old = samples_array(s.tokens, NULL);
    s.family = samples_array(4, NULL);
    s.mask = mem_zeros(s.tokens, 1);
    s.logp_old[3] = -1.5f;
    s.family[3] = 9;
    s.mask[1] = 1;
    ck_assert_int_eq(samples_write(&s, &bytes, NULL), 0);
    ck_assert_int_eq(samples_read(bytes.data, bytes.length, &back, NULL), 0);
    ck_assert_uint_eq(samples_crc(&s), samples_crc(&back));
    ck_assert_float_eq(back.logp_old[3], -1.5f);
    ck_assert_float_eq(back.family[3], 9);
    ck_assert_uint_eq(back.mask[1], 1);
    ck_assert_ptr_null(back.advantage);
    samples_free(&back);
    for (size_t n = 0; n < bytes.length; n++)
        ck_assert_int_eq(samples_read(bytes.data, n, &back, NULL), -1);
    buffer_free(&bytes);
    samples_free(&s);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("train-numbers");
    TCase *tc = tcase_create("numbers");
    int rc;

    golden = json_load_file(SOURCE_DIR "/tests/golden/optim.json", 0, NULL);
    if (golden == NULL)
        return 1;
    tcase_add_test(tc, schedules_are_those_of_transformers);
    tcase_add_test(tc, adamw_is_pytorchs);
    tcase_add_test(tc, a_failed_norm_leaves_nothing_under_way);
    tcase_add_test(tc, only_the_owner_moves);
    tcase_add_test(tc, metrics_do_not_depend_on_the_cut);
    tcase_add_test(tc, a_batch_lines_up_tokens_and_states);
    tcase_add_test(tc, changed_data_is_noticed);
    tcase_add_test(tc, samples_survive_being_written);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    json_decref(golden);
    return rc;
}
