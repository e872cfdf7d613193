/* SPDX-License-Identifier: MIT
 * What a pass keeps and what it computes again, and that nothing is allocated once there was room made.
 */
#include "engine.h"
#include "model/gradients.h"
#include "model/param.h"
#include "model/pass_state.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *golden;

static json_t *case_at(int i) {
    return json_array_get(json_object_get(golden, "cases"), (size_t)i);
}

static const int32_t ids[] = {1, 9, 30, 4, 4, 58, 12, 33, 2, 40, 1, 9, 30, 4, 4, 58, 12, 33, 7, 7, 1, 20};
static const uint32_t offset[] = {0, 10, 20, 22};
static const struct packed batch = {3, offset, ids};
static const int32_t last[] = {9, 19, 21};

static struct model *open_case(int i, char **folder) {
    char *config = json_dumps(json_object_get(case_at(i), "config"), 0);
    struct model *m;

    *folder = engine_model(config, true);
    m = engine_open(*folder, json_object_get(case_at(i), "scores") ? MODEL_SCORE : MODEL_LM, true);
    free(config);
    return m;
}

static int first_case(bool scores) {
    int i = 0;

    while ((json_object_get(case_at(i), "scores") != NULL) != scores)
        i++;
    return i;
}

/* Forward and backward; the numbers that came out in `out` [22]. */
static void add_gradients(struct pass *p, struct model *m, float *out) {
    const float d[3] = {0.7f, -1, 0.3f};
    struct error err = {0};
    float d_logp[22];

    memset(out, 0, 22 * sizeof(*out));
    if (model_head(m) == MODEL_LM) {
        for (int i = 0; i < 22; i++)
            d_logp[i] = (float)(i * 5 % 9) / 8 - 0.4f;
        engine_logprobs(p, &batch, d_logp, out);
        return;
    }
    must(pass_forward(p, &batch, true, &err), &err);
    must(pass_scores(p, m, 3, last, out, &err), &err);
    must(pass_scores_backward(p, m, 3, last, d, &err), &err);
    must(pass_backward(p, &err), &err);
}

static void run(struct pass *p, struct model *m, float *out) {
    engine_zero_grad(m);
    add_gradients(p, m, out);
}

static float **gradients_of(struct model *m) {
    float **g = calloc(model_params(m), sizeof(*g));

    for (size_t i = 0; i < model_params(m); i++)
        g[i] = engine_gradient(m, model_param(m, i));
    return g;
}

/* _i / 2: a family; _i % 2: under dropout, which draws its masks again. */
START_TEST(what_is_computed_again_has_the_same_bits) {
    const uint64_t keys[] = {5, 6, 7};
    const struct pass_perturb dropout = {REIN_PERTURB_DROPOUT, REIN_SITE_ALL, 0.2, keys};
    float before[22], after[22], **kept, **again;
    struct error err = {0};
    struct pass *p;
    char *folder;
    struct model *m = open_case(_i / 2, &folder);
    uint64_t bytes;

    printf("# %s\n", json_string_value(json_object_get(case_at(_i / 2), "name")));
    must(pass_create(m, &p, &err), &err);
    pass_recompute(p, true);
    must(pass_perturb(p, _i % 2 ? &dropout : NULL, 3, &err), &err);
    run(p, m, after);
    again = gradients_of(m);
    bytes = pass_bytes(p);
    pass_recompute(p, false);
    run(p, m, before);
    kept = gradients_of(m);
    ck_assert_uint_lt(bytes, pass_bytes(p));
    ck_assert_mem_eq(before, after, sizeof(before));
    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *q = model_param(m, i);

        ck_assert_msg(memcmp(kept[i], again[i], (size_t)(q->w.rows * q->w.cols) * sizeof(float)) == 0, "%s", q->name);
        free(kept[i]);
        free(again[i]);
    }
    free(kept);
    free(again);
    pass_free(p);
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* The estimate is what is taken: of what stays, to the byte; and half of it would not do. */
START_TEST(bytes_are_counted) {
    struct error err = {0};
    float out[22];

    for (int how = KEEP_INPUTS; how <= KEEP_ALL; how++) {
        char *folder;
        struct model *m = open_case(first_case(false), &folder);
        const uint64_t before = engine_backend()->scratch_bytes;
        struct work_bytes all = work_bytes(model_config(m), 22, (enum keep)how);
        struct pass *p;

        must(pass_create(m, &p, &err), &err);
        pass_share(p, 0);
        pass_recompute(p, how == KEEP_INPUTS);
        must(pass_reserve(p, &(struct pass_size){.kept = 22}, &err), &err);
        ck_assert_uint_ge(pass_bytes(p), all.kept);
        ck_assert_uint_lt(pass_bytes(p), all.kept + 64 * 60 * 4); /* rows of heads */
        ck_assert_uint_ge(engine_backend()->scratch_bytes, all.scratch);
        ck_assert(engine_backend()->scratch_bytes == all.scratch || engine_backend()->scratch_bytes == before);
        run(p, m, out);
        ck_assert(engine_backend()->scratch_bytes == all.scratch || engine_backend()->scratch_bytes == before);
        pass_free(p);
        model_close(m);
        engine_remove(folder);
        backend_scratch_free(engine_backend());
    }
}
END_TEST

START_TEST(room_is_made_once) {
    const struct pass_size size = {.kept = 22, .passing = 22, .targets = 22, .scores = 3, .heads = 1};
    const uint32_t group[] = {0, 10};
    const struct generate_request r = {
        .prompts = 1, .offset = group, .ids = ids, .group = 2, .max_tokens = 3, .temperature = 1, .top_p = 1};
    struct error err = {0};
    struct pass *p;
    float out[22];
    uint64_t before;
    char *folder;
    struct model *m = open_case(first_case(false), &folder);

    must(pass_create(m, &p, &err), &err);
    for (int turn = 0; turn < 2; turn++) {
        struct generation g;

        if (turn == 0)
            must(pass_reserve(p, &size, &err), &err);
        else
            must(generate(m, &r, &g, &err), &err);
        if (turn)
            generation_free(&g);
        before = engine_backend()->allocations;
        run(p, m, out);
        engine_logprobs(p, &batch, NULL, out);
        if (turn) {
            must(generate(m, &r, &g, &err), &err);
            generation_free(&g);
        }
        ck_assert_uint_eq(engine_backend()->allocations, before);
    }
    pass_free(p);
    model_close(m);
    engine_remove(folder);
}
END_TEST

static float **run_times(struct pass *p, struct model *m, int times) {
    float out[22];

    for (int k = 0; k < times; k++)
        add_gradients(p, m, out);
    return gradients_of(m);
}

/* Over whatever lies there: every gradient is zeroed where it is first added to. */
static float **run_lodged(struct pass *p, struct model *m, int times) {
    float **g;

    for (size_t i = 0; i < model_params(m); i++)
        model_param(m, i)->stale = true;
    g = run_times(p, m, times);
    for (size_t i = 0; i < model_params(m); i++)
        ck_assert_msg(!model_param(m, i)->stale, "%s: added to what was there", model_param(m, i)->name);
    return g;
}

static void same_gradients(struct model *m, float **g, float **h) {
    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *q = model_param(m, i);

        ck_assert_msg(memcmp(g[i], h[i], (size_t)param_count(q) * sizeof(float)) == 0, "%s", q->name);
        free(h[i]);
    }
    free(h);
}

/* _i / 2: a family; _i % 2: with checkpointing. Over the activations, in room that grows with the batch, step after
 * step; and apart from them, where the gradients of two batches add up. */
START_TEST(gradients_lodge_with_a_pass) {
    const enum keep keep = _i % 2 ? KEEP_INPUTS : KEEP_ALL;
    struct error err = {0};
    char *folder;
    struct model *own = open_case(_i / 2, &folder), *m;
    const struct model_source source = {.path = folder, .head = model_head(own), .trainable = true, .lodges = true};
    struct pass *p;
    float **once, **twice;

    must(pass_create(own, &p, &err), &err);
    pass_share(p, 0);
    pass_recompute(p, keep == KEEP_INPUTS);
    engine_zero_grad(own);
    once = run_times(p, own, 1);
    engine_zero_grad(own);
    twice = run_times(p, own, 2);
    pass_free(p);
    for (int over = 0; over < 2; over++) {
        must(model_open(engine_backend(), &source, &m, &err), &err);
        must(pass_create(m, &p, &err), &err);
        pass_share(p, 0);
        pass_recompute(p, keep == KEEP_INPUTS);
        must(pass_reserve(p, &(struct pass_size){.kept = over ? 5 : 22, .over = over}, &err), &err);
        must(pass_lodge(p, &err), &err);
        for (int turn = 0; turn < 2; turn++)
            same_gradients(m, over ? once : twice, run_lodged(p, m, over ? 1 : 2));
        for (size_t i = 0; over && i < m->trunk->nparams; i++) {
            const char *at = (char *)m->trunk->params[i]->grad, *kept = p->kept;

            ck_assert(at >= kept && at + param_count(m->trunk->params[i]) * sizeof(float) <= kept + p->kept_bytes);
        }
        if (over) {
            const uint64_t acts = work_bytes(model_config(m), 22, keep).kept, grads = gradients_bytes(m->trunk);
            uint64_t saved;

            ck_assert_uint_ge(p->kept_bytes, acts > grads ? acts : grads);
            ck_assert_uint_lt(p->kept_bytes, (acts > grads ? acts : grads) + (acts < grads ? acts : grads) * 3 / 4);
            ck_assert_ptr_null(p->gradients);
            must(model_overlaid(model_config(m), &source, 22, keep == KEEP_INPUTS, &saved, &err), &err);
            ck_assert_uint_eq(saved, acts + grads - p->kept_bytes);
        }
        pass_free(p);
        model_close(m);
    }
    for (size_t i = 0; i < model_params(own); i++) {
        free(once[i]);
        free(twice[i]);
    }
    free(once);
    free(twice);
    model_close(own);
    engine_remove(folder);
}
END_TEST

/* Two passes take turns: what one keeps stays, what it does not is gone when the other has run. */
START_TEST(turns_do_not_mix) {
    struct error err = {0};
    struct pass *p, *q;
    float alone[22], score[3], between[3], d[3] = {1, 1, 1}, **g;
    char *folder, *other;
    struct model *m = open_case(first_case(true), &folder), *n = open_case((int)json_array_size(json_object_get(golden, "cases")) - 1, &other);

    must(pass_create(m, &p, &err), &err);
    must(pass_create(n, &q, &err), &err);
    run(p, m, alone);
    g = gradients_of(m);
    engine_zero_grad(m);
    must(pass_forward(p, &batch, true, &err), &err);
    must(pass_forward(q, &batch, false, &err), &err);
    must(pass_scores(q, n, 3, last, between, &err), &err);
    must(pass_scores(p, m, 3, last, score, &err), &err);
    for (int i = 0; i < 3; i++) {
        ck_assert_float_eq(score[i], alone[i]);
        ck_assert_float_ne(score[i], between[i]);
        d[i] = i == 0 ? 0.7f : i == 1 ? -1 : 0.3f;
    }
    must(pass_scores_backward(p, m, 3, last, d, &err), &err);
    must(pass_forward(q, &batch, true, &err), &err);
    must(pass_backward(p, &err), &err);
    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *w = model_param(m, i);
        float *now = engine_gradient(m, w);

        ck_assert_mem_eq(now, g[i], (size_t)(w->w.rows * w->w.cols) * sizeof(float));
        free(now);
        free(g[i]);
    }
    free(g);
    must(pass_forward(p, &batch, false, &err), &err);
    must(pass_forward(q, &batch, false, &err), &err);
    ck_assert_int_eq(pass_scores(p, m, 3, last, score, &err), -1);
    must(pass_scores(q, n, 3, last, score, &err), &err);
    pass_free(p);
    pass_free(q);
    model_close(m);
    model_close(n);
    engine_remove(folder);
    engine_remove(other);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("workspace");
    TCase *t = tcase_create("workspace");
    int rc;

    golden = json_load_file(SOURCE_DIR "/tests/golden/engine.json", 0, NULL);
    if (!golden)
        return 1;
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, what_is_computed_again_has_the_same_bits, 0,
                        2 * (int)json_array_size(json_object_get(golden, "cases")));
    tcase_add_loop_test(t, gradients_lodge_with_a_pass, 0, 2 * (int)json_array_size(json_object_get(golden, "cases")));
    tcase_add_test(t, bytes_are_counted);
    tcase_add_test(t, room_is_made_once);
    tcase_add_test(t, turns_do_not_mix);
    suite_add_tcase(suite, t);
    rc = tap_run(suite);
    json_decref(golden);
    return rc;
}
