/* SPDX-License-Identifier: MIT
 * Forward and backward of every family against transformers' float64 (tests/golden/engine.json), and properties.
 */
#include "engine.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *golden;

/* The golden rows. */
static struct packed rows_of(json_t *rows, uint32_t *offset, int32_t *ids) {
    size_t r, i;
    json_t *row, *id;

    offset[0] = 0;
    json_array_foreach(rows, r, row) {
        offset[r + 1] = offset[r];
        json_array_foreach(row, i, id) ids[offset[r + 1]++] = (int32_t)json_integer_value(id);
    }
    return (struct packed){(uint32_t)json_array_size(rows), offset, ids};
}

static double token_weight(size_t row, size_t i) {
    return ((double)((row * 5 + i * 7) % 9) - 4) / 8;
}

static double number(json_t *outer, size_t i, size_t j) {
    return json_number_value(json_array_get(json_array_get(outer, i), j));
}

static void check_gradients(struct model *m, json_t *wanted) {
    size_t tensors = 0;

    for (size_t i = 0; i < model_params(m); tensors++) {
        const char *name;
        size_t count;
        float *g = engine_tensor_gradient(m, &i, &name, &count);
        json_t *want = json_object_get(wanted, name);
        double norm = json_number_value(json_array_get(want, 1)), projected = 0, squares = 0;

        ck_assert_msg(want != NULL, "%s", name);
        for (size_t k = 0; k < count; k++) {
            projected += engine_direction(name, k) * g[k];
            squares += (double)g[k] * g[k];
        }
        ck_assert_msg(fabs(sqrt(squares) - norm) < 5e-5 * norm + 1e-9, "%s: length %.9g, not %.9g", name, sqrt(squares),
                      norm);
        ck_assert_msg(fabs(projected - json_number_value(json_array_get(want, 0))) < 1e-4 * norm + 1e-9,
                      "%s: projection %.9g, not %.9g", name, projected, json_number_value(json_array_get(want, 0)));
        free(g);
    }
    ck_assert_uint_eq(json_object_size(wanted), tensors);
}

static void check_language_model(struct model *m, json_t *c, const struct packed *batch) {
    double temperature = json_number_value(json_object_get(golden, "temperature"));
    int32_t rows[64], targets[64];
    float logp[64], entropy[64], d_logp[64], d_entropy[64];
    struct pass_targets t = {.rows = rows, .targets = targets, .temperature = temperature};
    struct error err = {0};
    struct pass *p;
    uint32_t k = 0;

    for (uint32_t s = 0; s < batch->count; s++)
        for (uint32_t i = 1; batch->offset[s] + i < batch->offset[s + 1]; i++, t.n++) {
            rows[t.n] = (int32_t)(batch->offset[s] + i) - 1;
            targets[t.n] = batch->ids[batch->offset[s] + i];
            d_logp[t.n] = (float)token_weight(s, i);
            d_entropy[t.n] = (float)token_weight(s, i + 100);
        }
    must(pass_create(m, &p, &err), &err);
    must(pass_forward(p, batch, true, &err), &err);
    must(pass_logprobs(p, &t, logp, entropy, NULL, &err), &err);
    for (uint32_t s = 0; s < batch->count; s++)
        for (uint32_t i = 1; batch->offset[s] + i < batch->offset[s + 1]; i++, k++) {
            ck_assert_double_eq_tol(logp[k], number(json_object_get(c, "logprobs"), s, i - 1), 1e-5);
            ck_assert_double_eq_tol(entropy[k], number(json_object_get(c, "entropies"), s, i - 1), 1e-5);
        }
    must(pass_logprobs_backward(p, &t, d_logp, d_entropy, &err), &err);
    must(pass_backward(p, &err), &err);
    check_gradients(m, json_object_get(c, "gradients"));
    pass_free(p);
}

static void check_greedy(struct model *m, json_t *c, const struct packed *batch) {
    struct generate_request r = {.prompts = batch->count,
                                 .offset = batch->offset,
                                 .ids = batch->ids,
                                 .group = 1,
                                 .max_tokens = 12,
                                 .top_p = 1,
                                 .ignore_eos = true,
                                 .slots = 3};
    struct error err = {0};
    struct generation g;

    must(generate(m, &r, &g, &err), &err);
    for (uint32_t s = 0; s < batch->count; s++)
        for (uint32_t i = 0; i < 12; i++)
            ck_assert_int_eq(g.ids[g.offset[s] + i], (int32_t)number(json_object_get(c, "greedy"), s, i));
    generation_free(&g);
}

static void check_classifier(struct model *m, json_t *c, const struct packed *batch) {
    struct error err = {0};
    struct pass *p;
    int32_t last[8];
    float score[8], d[8];

    for (uint32_t s = 0; s < batch->count; s++) {
        last[s] = (int32_t)batch->offset[s + 1] - 1;
        d[s] = (float)token_weight(s, 3);
    }
    must(pass_create(m, &p, &err), &err);
    must(pass_forward(p, batch, true, &err), &err);
    must(pass_scores(p, m, batch->count, last, score, &err), &err);
    for (uint32_t s = 0; s < batch->count; s++)
        ck_assert_double_eq_tol(score[s], json_number_value(json_array_get(json_object_get(c, "scores"), s)), 1e-5);
    must(pass_scores_backward(p, m, batch->count, last, d, &err), &err);
    must(pass_backward(p, &err), &err);
    check_gradients(m, json_object_get(c, "gradients"));
    pass_free(p);
}

/* config.json as transformers 5 writes it and as 4 did mean the same. */
static void check_styles(json_t *c) {
    struct model_config four, five;
    struct error err = {0};

    must(config_parse(json_object_get(c, "config"), "config", &four, &err), &err);
    must(config_parse(json_object_get(c, "written"), "written", &five, &err), &err);
    config_free(&four);
    config_free(&five);
    ck_assert_mem_eq(&four, &five, sizeof(four));
}

START_TEST(families_equal_transformers) {
    json_t *c = json_array_get(json_object_get(golden, "cases"), (size_t)_i);
    char *config = json_dumps(json_object_get(c, "config"), 0), *folder = engine_model(config, true);
    bool classifier = json_object_get(c, "scores") != NULL;
    uint32_t offset[9];
    int32_t ids[64];
    struct packed batch = rows_of(json_object_get(golden, "rows"), offset, ids);
    struct model *m = engine_open(folder, classifier ? MODEL_SCORE : MODEL_LM, true);

    printf("# %s\n", json_string_value(json_object_get(c, "name")));
    check_styles(c);
    if (classifier) {
        check_classifier(m, c, &batch);
    } else {
        check_language_model(m, c, &batch);
        check_greedy(m, c, &batch);
    }
    model_close(m);
    engine_remove(folder);
    free(config);
}
END_TEST

/* A golden model, with weights. */
static char *case_folder(const char *name) {
    char *config, *folder;
    json_t *c = NULL;
    size_t i;

    json_array_foreach(json_object_get(golden, "cases"), i,
                       c) if (strcmp(json_string_value(json_object_get(c, "name")), name) == 0) break;
    ck_assert_msg(c != NULL, "%s", name);
    config = json_dumps(json_object_get(c, "config"), 0);
    folder = engine_model(config, true);
    free(config);
    return folder;
}

static char *first_folder(void) {
    return case_folder("llama");
}

/* One of each kind of attention and position. */
static const char *const kinds[] = {"llama", "mistral, window", "qwen2, window", "qwen3", "gemma", "gpt2"};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* The derivative along a random direction through all weights, by differences. */
START_TEST(gradient_equals_differences) {
    char *folder = case_folder(kinds[_i]);
    struct model_source source = {.path = folder, .random = true, .seed = 5, .trainable = true};
    const double h = 3e-3;
    uint32_t offset[9];
    int32_t ids[64];
    float d[64];
    struct packed batch = rows_of(json_object_get(golden, "rows"), offset, ids);
    struct error err = {0};
    double slope = 0, value[2];
    struct model *m;
    struct pass *p;

    must(model_open(engine_backend(), &source, &m, &err), &err);
    engine_zero_grad(m);
    must(pass_create(m, &p, &err), &err);
    for (uint32_t i = 0; i < offset[batch.count]; i++)
        d[i] = (float)token_weight(0, i);
    engine_logprobs(p, &batch, d, NULL);
    for (size_t i = 0; i < model_params(m); i++) {
        float *g = engine_gradient(m, model_param(m, i));
        for (int64_t k = 0; k < model_param(m, i)->w.rows * model_param(m, i)->w.cols; k++)
            slope += g[k] * 0.05 * engine_direction(model_param(m, i)->name, (uint64_t)k);
        free(g);
    }
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < model_params(m); i++) {
            struct model_param *q = model_param(m, i);
            const size_t n = (size_t)(q->w.rows * q->w.cols);
            float *w = engine_download(m, q->w.data, n);
            for (size_t k = 0; k < n; k++)
                w[k] += (float)((side ? -2 : 1) * h * 0.05 * engine_direction(q->name, k));
            engine_upload(m, q->w.data, w, n);
            free(w);
        }
        model_touch(m);
        float logp[64];
        value[side] = 0;
        engine_logprobs(p, &batch, NULL, logp);
        for (uint32_t i = 0; i < offset[batch.count]; i++)
            value[side] += (double)d[i] * logp[i];
    }
    printf("# slope %.6g, by differences %.6g\n", slope, (value[0] - value[1]) / (2 * h));
    ck_assert_double_eq_tol((value[0] - value[1]) / (2 * h), slope, 2e-3 * fabs(slope) + 1e-4);
    ck_assert_double_gt(fabs(slope), 0.01);
    pass_free(p);
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* What a row gives does not depend on its neighbours or their order, to the last bit (on ref). */
START_TEST(rows_do_not_see_each_other) {
    char *folder = first_folder();
    struct model *m = engine_open(folder, MODEL_LM, true);
    uint32_t offset[9], turned[9] = {0};
    int32_t ids[64], back[64];
    float all[64], one[64], other[64], d[64];
    struct packed batch = rows_of(json_object_get(golden, "rows"), offset, ids);
    struct error err = {0};
    struct pass *p;
    uint32_t n = 0;

    must(pass_create(m, &p, &err), &err);
    for (int i = 0; i < 64; i++)
        d[i] = 0.25f;
    engine_logprobs(p, &batch, d, all);
    float *sum = engine_gradient(m, engine_param(m, "model.layers.0.self_attn.k_proj.weight")), *parts;
    engine_zero_grad(m);
    for (uint32_t s = 0; s < batch.count; s++) {
        uint32_t span[2] = {0, offset[s + 1] - offset[s]};
        struct packed single = {1, span, ids + offset[s]};
        engine_logprobs(p, &single, d, one);
        for (uint32_t i = 0; i < span[1]; i++)
            same(one[i], all[offset[s] + i]);
    }
    parts = engine_gradient(m, engine_param(m, "model.layers.0.self_attn.k_proj.weight"));
    for (int i = 0; i < 12 * 24; i++)
        ck_assert_float_eq_tol(parts[i], sum[i], 1e-5);
    for (uint32_t s = batch.count; s-- > 0;) {
        memcpy(back + n, ids + offset[s], (offset[s + 1] - offset[s]) * sizeof(*ids));
        n += offset[s + 1] - offset[s];
        turned[batch.count - s] = n;
    }
    struct packed reversed = {batch.count, turned, back};
    engine_logprobs(p, &reversed, NULL, other);
    for (uint32_t s = 0; s < batch.count; s++)
        for (uint32_t i = 0; i < offset[s + 1] - offset[s]; i++)
            same(other[turned[batch.count - s - 1] + i], all[offset[s] + i]);
    free(sum);
    free(parts);
    pass_free(p);
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* Sampled with a cache and a shared prompt = recomputed by a full pass, log-probabilities and values of a head on the same
 * trunk; and whatever the number of slots. */
START_TEST(sampling_records_what_training_recomputes) {
    char *folder = case_folder(kinds[_i]);
    struct model *m = engine_open(folder, MODEL_LM, false);
    uint32_t offset[9], slots[] = {0, 1, 2, 5};
    int32_t ids[64];
    struct packed batch = rows_of(json_object_get(golden, "rows"), offset, ids);
    struct error err = {0};
    struct generation first = {0}, g;
    const struct model_source drawn = {.head_seed = 5};
    struct model *head;
    struct pass *p;

    must(model_share(m, MODEL_SCORE, &drawn, &head, &err), &err);
    must(pass_create(m, &p, &err), &err);
    for (int k = 0; k < 4; k++) {
        int32_t eos = 2;
        struct generate_request r = {.prompts = batch.count,
                                     .offset = offset,
                                     .ids = ids,
                                     .group = 3,
                                     .max_tokens = 15,
                                     .temperature = 0.8,
                                     .top_p = 1,
                                     .eos = &eos,
                                     .neos = 1,
                                     .seed = 11,
                                     .step = 4,
                                     .values = k == 1 ? NULL : head,
                                     .slots = slots[k]};
        must(generate(m, &r, &g, &err), &err);
        if (k == 0) {
            first = g;
            continue;
        }
        ck_assert_mem_eq(g.offset, first.offset, (g.count + 1) * sizeof(*g.offset));
        ck_assert_mem_eq(g.ids, first.ids, g.offset[g.count] * sizeof(*g.ids));
        ck_assert_mem_eq(g.ended, first.ended, g.count);
        ck_assert(k == 1 ? g.value == NULL : g.value != NULL);
        for (uint32_t i = 0; i < g.offset[g.count]; i++) {
            same(g.logp[i], first.logp[i]);
            if (g.value)
                same(g.value[i], first.value[i]);
        }
        generation_free(&g);
    }
    ck_assert_uint_eq(first.count, batch.count * 3);
    bool ended = false, differ = false;
    for (uint32_t c = 0; c < first.count; c++) {
        uint32_t prompt = offset[c / 3 + 1] - offset[c / 3], n = first.offset[c + 1] - first.offset[c];
        uint32_t span[2] = {0, prompt + n};
        int32_t row[64], at[64];
        float logp[64], value[64];
        memcpy(row, ids + offset[c / 3], prompt * sizeof(*row));
        memcpy(row + prompt, first.ids + first.offset[c], n * sizeof(*row));
        for (uint32_t i = 0; i < n; i++)
            at[i] = (int32_t)(prompt + i) - 1;
        struct packed one = {1, span, row};
        struct pass_targets t = {n, at, row + prompt, 0.8};
        must(pass_forward(p, &one, false, &err), &err);
        must(pass_logprobs(p, &t, logp, NULL, NULL, &err), &err);
        must(pass_scores(p, head, n, at, value, &err), &err);
        for (uint32_t i = 0; i < n; i++) {
            ck_assert_float_eq_tol(value[i], first.value[first.offset[c] + i], 1e-5);
            ck_assert_float_eq_tol(logp[i], first.logp[first.offset[c] + i], 1e-5);
            ck_assert(row[prompt + i] != 2 || i == n - 1);
        }
        ck_assert_int_eq(first.ended[c], row[prompt + n - 1] == 2);
        ck_assert(first.ended[c] || n == 15);
        ended |= first.ended[c];
        differ |= c % 3 && row[prompt] != first.ids[first.offset[c - 1]];
    }
    ck_assert(ended && differ);
    generation_free(&first);
    pass_free(p);
    model_close(head);
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* A completion ends where the context does, and a prompt that fills it is refused. */
START_TEST(generation_respects_the_context) {
    char *folder = first_folder();
    struct model *m = engine_open(folder, MODEL_LM, false);
    int32_t ids[64];
    uint32_t offset[2] = {0, 60};
    struct error err = {0};
    struct generation g;

    for (int i = 0; i < 64; i++)
        ids[i] = 3 + i % 20;
    struct generate_request r = {
        .prompts = 1, .offset = offset, .ids = ids, .group = 1, .max_tokens = 1000, .top_p = 1, .ignore_eos = true};
    must(generate(m, &r, &g, &err), &err);
    ck_assert_uint_eq(g.offset[1], 4);
    ck_assert_int_eq(g.ended[0], 0);
    generation_free(&g);
    offset[1] = 64;
    ck_assert_int_eq(generate(m, &r, &g, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ids[0] = 61;
    offset[1] = 3;
    ck_assert_int_eq(generate(m, &r, &g, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    r.temperature = NAN;
    ids[0] = 1;
    ck_assert_int_eq(generate(m, &r, &g, &err), -1);
    model_close(m);
    engine_remove(folder);
}
END_TEST

static int count_then_stop(void *ctx, uint32_t completion, int32_t id, float logp) {
    (void)completion;
    (void)id;
    (void)logp;
    return ++*(int *)ctx == 5;
}

START_TEST(generation_can_be_stopped) {
    char *folder = first_folder();
    struct model *m = engine_open(folder, MODEL_LM, false);
    int32_t ids[] = {5, 6};
    uint32_t offset[] = {0, 2};
    int calls = 0;
    struct error err = {0};
    struct generation g;
    struct generate_request r = {.prompts = 1,
                                 .offset = offset,
                                 .ids = ids,
                                 .group = 1,
                                 .max_tokens = 20,
                                 .top_p = 1,
                                 .ignore_eos = true,
                                 .progress = count_then_stop,
                                 .progress_ctx = &calls};

    must(generate(m, &r, &g, &err), &err);
    ck_assert_int_eq(calls, 5);
    ck_assert_uint_eq(g.offset[1], 5);
    generation_free(&g);
    r.prompts = 0;
    must(generate(m, &r, &g, &err), &err);
    ck_assert_uint_eq(g.count, 0);
    generation_free(&g);
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* Weights of bfloat16 and float16 files: a frozen model computes with them as they are, a trainable one in float32. */
START_TEST(half_weights_give_the_same_numbers) {
    json_t *c = json_deep_copy(json_object_get(json_array_get(json_object_get(golden, "cases"), 0), "config"));
    uint32_t offset[9];
    int32_t ids[64];
    float a[64], b[64];
    struct packed batch = rows_of(json_object_get(golden, "rows"), offset, ids);
    struct error err = {0};
    char *config, *folder;
    struct pass *p;

    json_object_set_new(c, "torch_dtype", json_string(_i ? "float16" : "bfloat16"));
    config = json_dumps(c, 0);
    folder = engine_model(config, true);
    struct model *frozen = engine_open(folder, MODEL_LM, false), *trained = engine_open(folder, MODEL_LM, true);
    ck_assert_uint_eq(model_param(frozen, 0)->w.dtype, _i ? REIN_F16 : REIN_BF16);
    ck_assert_uint_eq(model_param(trained, 0)->w.dtype, REIN_F32);
    must(pass_create(frozen, &p, &err), &err);
    engine_logprobs(p, &batch, NULL, a);
    pass_free(p);
    must(pass_create(trained, &p, &err), &err);
    engine_logprobs(p, &batch, NULL, b);
    pass_free(p);
    for (uint32_t i = 0; i < offset[batch.count]; i++)
        same(a[i], b[i]);
    model_close(frozen);
    model_close(trained);
    engine_remove(folder);
    json_decref(c);
    free(config);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("engine");
    TCase *all = tcase_create("engine");
    int rc;

    golden = json_load_file(SOURCE_DIR "/tests/golden/engine.json", 0, NULL);
    if (!golden)
        return 1;
    tcase_set_timeout(all, 120);
    tcase_add_loop_test(all, families_equal_transformers, 0, (int)json_array_size(json_object_get(golden, "cases")));
    tcase_add_loop_test(all, gradient_equals_differences, 0, KINDS);
    tcase_add_test(all, rows_do_not_see_each_other);
    tcase_add_loop_test(all, sampling_records_what_training_recomputes, 0, KINDS);
    tcase_add_test(all, generation_respects_the_context);
    tcase_add_test(all, generation_can_be_stopped);
    tcase_add_loop_test(all, half_weights_give_the_same_numbers, 0, 2);
    suite_add_tcase(suite, all);
    rc = tap_run(suite);
    json_decref(golden);
    return rc;
}
