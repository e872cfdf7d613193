/* SPDX-License-Identifier: MIT
 * Adapters against PEFT's numbers (tests/golden/lora.json), and what must hold of them.
 */
#include "base/mem.h"
#include "engine.h"
#include "model/lora.h"
#include "model/peft.h"
#include "model/tensors.h"
#include "tap.h"
#include "train/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *golden;

enum { CASES = 6, LONGEST = 64 };

/* A case of the golden file: base and adapter in folders, and the rows. */
struct lora_case {
    json_t *json;
    char *base, *folder;
    bool score;
    uint32_t offset[8];
    int32_t ids[LONGEST];
    struct packed batch;
};

static char *dumped(json_t *x) {
    char *text = json_dumps(x, 0);

    ck_assert_ptr_nonnull(text);
    return text;
}

static void write_adapter(const char *folder, json_t *shapes) {
    char *path = file_join(folder, "adapter_model.safetensors");
    struct tensor_out *list = calloc(json_object_size(shapes) + 1, sizeof(*list));
    struct tensors_writer *w;
    struct error err = {0};
    const char *name;
    json_t *shape;
    size_t n = 0;

    json_object_foreach(shapes, name, shape) list[n++] =
        (struct tensor_out){.name = name, .dtype = REIN_F32, .rank = 2,
                            .shape = {json_integer_value(json_array_get(shape, 0)), json_integer_value(json_array_get(shape, 1))}};
    must(tensors_create(path, list, n, &w, &err), &err);
    for (size_t i = 0; i < n; i++)
        for (int64_t k = 0; k < list[i].shape[0] * list[i].shape[1]; k++) {
            float x = engine_weight(list[i].name, (uint64_t)k);
            must(tensors_put(w, &x, 1, REIN_F32, &err), &err);
        }
    must(tensors_finish(w, NULL, &err), &err);
    free(list);
    free(path);
}

static void case_open(struct lora_case *c, size_t number) {
    json_t *rows = json_object_get(golden, "rows"), *settings;
    char *text;

    *c = (struct lora_case){.json = json_array_get(json_object_get(golden, "cases"), number)};
    ck_assert_ptr_nonnull(c->json);
    text = dumped(json_object_get(c->json, "config"));
    c->base = engine_model(text, true);
    free(text);
    c->folder = mem_strdup("/tmp/rein-lora-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(c->folder));
    settings = json_copy(json_object_get(c->json, "adapter"));
    json_object_set_new(settings, "base_model_name_or_path", json_string(c->base));
    c->score = strcmp(json_string_value(json_object_get(settings, "task_type")), "SEQ_CLS") == 0;
    text = dumped(settings);
    engine_write(c->folder, "adapter_config.json", text);
    free(text);
    json_decref(settings);
    write_adapter(c->folder, json_object_get(c->json, "shapes"));
    for (size_t r = 0; r < json_array_size(rows); r++) {
        json_t *row = json_array_get(rows, r);
        c->offset[r + 1] = c->offset[r] + (uint32_t)json_array_size(row);
        for (size_t i = 0; i < json_array_size(row); i++)
            c->ids[c->offset[r] + i] = (int32_t)json_integer_value(json_array_get(row, i));
    }
    c->batch = (struct packed){(uint32_t)json_array_size(rows), c->offset, c->ids};
}

static void case_close(struct lora_case *c) {
    engine_remove(c->base);
    engine_remove(c->folder);
}

static struct model *open_view(const char *path, const struct lora_case *c, bool trainable) {
    return engine_open(path, c->score ? MODEL_SCORE : MODEL_LM, trainable);
}

static float token_weight(uint32_t row, uint32_t i) {
    return (float)((int)((row * 5 + i * 7) % 9) - 4) / 8;
}

/* Log-probabilities per token (the first of a row 0), or a score per row; with gradients when asked. */
static void run(const struct lora_case *c, struct model *m, struct pass *p, bool backward, float *out) {
    float d[LONGEST];
    int32_t last[8];
    struct error err = {0};

    if (!c->score) {
        for (uint32_t r = 0; r < c->batch.count; r++)
            for (uint32_t i = c->offset[r]; i < c->offset[r + 1]; i++)
                d[i] = token_weight(r, i - c->offset[r]);
        engine_logprobs(p, &c->batch, backward ? d : NULL, out);
        return;
    }
    for (uint32_t r = 0; r < c->batch.count; r++) {
        last[r] = (int32_t)c->offset[r + 1] - 1;
        d[r] = token_weight(r, 3);
    }
    must(pass_forward(p, &c->batch, backward, &err), &err);
    must(pass_scores(p, m, c->batch.count, last, out, &err), &err);
    if (backward) {
        must(pass_scores_backward(p, m, c->batch.count, last, d, &err), &err);
        must(pass_backward(p, &err), &err);
    }
}

static void check_outputs(const struct lora_case *c, const char *key, const float *have) {
    json_t *want = json_object_get(c->json, key);

    for (uint32_t r = 0; r < c->batch.count; r++) {
        json_t *row = json_array_get(want, r);
        if (c->score)
            ck_assert_double_eq_tol((double)have[r], json_real_value(row), 2e-5);
        for (uint32_t i = 1; !c->score && i < c->offset[r + 1] - c->offset[r]; i++)
            ck_assert_double_eq_tol((double)have[c->offset[r] + i], json_real_value(json_array_get(row, i - 1)), 2e-5);
    }
}

/* Projection and length of every trained tensor, by its name in PEFT's file. */
static void check_tensors(const struct lora_case *c, const char *key, struct model *m, bool gradient) {
    json_t *want = json_object_get(c->json, key), *pair;
    const char *name;

    json_object_foreach(want, name, pair) {
        const double length = json_real_value(json_array_get(pair, 1));
        double projection = 0, squares = 0;
        uint64_t found = 0;

        for (size_t i = 0; i < model_params(m); i++) {
            struct model_param *p = model_param(m, i);
            const int64_t n = p->w.rows * p->w.cols;
            float *x;

            if (strcmp(p->place.tensor, name) != 0)
                continue;
            x = engine_download(m, gradient ? p->grad : p->w.data, (size_t)n);
            for (int64_t k = 0; k < n; k++) {
                projection += (double)x[k] * engine_direction(name, (uint64_t)(p->place.first * p->w.cols + k));
                squares += (double)x[k] * (double)x[k];
            }
            found += (uint64_t)n;
            free(x);
        }
        ck_assert_msg(found > 0, "%s: no %s", json_string_value(json_object_get(c->json, "name")), name);
        ck_assert_msg(fabs(projection - json_real_value(json_array_get(pair, 0))) <= 2e-5 * fmax(length * 8, 1e-3) &&
                          fabs(sqrt(squares) - length) <= 2e-5 * fmax(length, 1e-3),
                      "%s, %s: %g %g, not %g %g", key, name, projection, sqrt(squares),
                      json_real_value(json_array_get(pair, 0)), length);
    }
}

START_TEST(equals_peft) {
    struct lora_case c;
    struct error err = {0};
    struct pass *p;
    float out[LONGEST];
    const double lr = json_real_value(json_object_get(golden, "lr"));
    const struct optimizer_options options = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
                                              .weight_decay = json_real_value(json_object_get(golden, "weight_decay"))};
    struct optimizer *o;
    double norm;

    case_open(&c, (size_t)_i);
    struct model *m = open_view(c.folder, &c, true);
    must(pass_create(m, &p, &err), &err);
    must(optimizer_create(model_backend(m), &options, &o, &err), &err);
    for (size_t i = 0; i < model_params(m); i++)
        must(optimizer_add(o, model_param(m, i), lr, 0, &err), &err);
    ck_assert_uint_gt(o->count, 0);
    for (int64_t step = 0; step < json_integer_value(json_object_get(golden, "steps")); step++) {
        optimizer_zero_grad(o);
        run(&c, m, p, true, out);
        if (step == 0) {
            check_outputs(&c, "on", out);
            check_tensors(&c, "gradients", m, true);
        }
        for (size_t i = 0; i < model_params(m); i++) { /* the step is uphill: PEFT's objective is minimised */
            struct model_param *w = model_param(m, i);
            ck_assert(w->grad == NULL || strstr(w->place.tensor, "lora_") || strstr(w->place.tensor, "score"));
        }
        must(optimizer_norm(o, OPTIMIZER_ALL, &norm, &err), &err);
        must(optimizer_step(o, OPTIMIZER_ALL, 1, norm, &err), &err);
        model_touch(m);
    }
    check_tensors(&c, "after", m, false);
    run(&c, m, p, false, out);
    check_outputs(&c, "later", out);
    optimizer_free(o);
    pass_free(p);
    model_close(m);
    case_close(&c);
}
END_TEST

/* The reference beside an adapted policy: one trunk, and to the bit what the base alone gives. */
START_TEST(off_is_the_base) {
    struct lora_case c;
    struct error err = {0};
    struct pass *on, *off, *alone;
    float with[LONGEST], without[LONGEST], base[LONGEST];

    case_open(&c, (size_t)_i);
    struct model *m = open_view(c.folder, &c, true);
    struct model *reference = open_view(c.base, &c, false);
    ck_assert(model_same_trunk(m, reference));
    must(pass_create(m, &on, &err), &err);
    must(pass_create(reference, &off, &err), &err);
    run(&c, m, on, true, with);
    run(&c, reference, off, false, without);
    if (!c.score) /* PEFT's disabled adapter keeps its saved head */
        check_outputs(&c, "off", without);
    run(&c, m, on, false, with);
    check_outputs(&c, "on", with);
    pass_free(on);
    pass_free(off);
    model_close(m);
    model_close(reference);
    m = open_view(c.base, &c, false);
    must(pass_create(m, &alone, &err), &err);
    run(&c, m, alone, false, base);
    ck_assert_mem_eq(base, without, (c.score ? c.batch.count : c.offset[c.batch.count]) * sizeof(float));
    pass_free(alone);
    model_close(m);
    case_close(&c);
}
END_TEST

static void outputs_of(const char *path, const struct lora_case *c, float *out) {
    struct model *m = open_view(path, c, false);
    struct error err = {0};
    struct pass *p;

    must(pass_create(m, &p, &err), &err);
    run(c, m, p, false, out);
    pass_free(p);
    model_close(m);
}

/* Written again, and merged. */
START_TEST(written_and_merged) {
    struct lora_case c;
    struct error err = {0};
    float first[LONGEST], again[LONGEST];
    char *copy, *whole;
    bool has;

    case_open(&c, (size_t)_i);
    const uint32_t n = c.score ? c.batch.count : c.offset[c.batch.count];
    copy = file_join(c.folder, "copy");
    whole = file_join(c.folder, "whole");
    struct model *m = open_view(c.folder, &c, false);
    must(model_save(m, copy, NULL, &err), &err);
    must(model_save_merged(m, whole, NULL, &err), &err);
    model_close(m);
    ck_assert(peft_is_adapter(copy) && !peft_is_adapter(whole));
    must(model_has_score(copy, NULL, &has, &err), &err);
    ck_assert_int_eq(has, c.score);
    outputs_of(c.folder, &c, first);
    outputs_of(copy, &c, again);
    ck_assert_mem_eq(first, again, n * sizeof(float));
    outputs_of(whole, &c, again);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_float_eq_tol(first[i], again[i], 2e-6f * 10);
    free(copy);
    free(whole);
    case_close(&c);
}
END_TEST

/* The base's file once more, in another dtype. */
static void rewrite(const char *folder, uint32_t dtype) {
    char *path = file_join(folder, "model.safetensors");
    struct tensor_out list[64];
    struct tensors *from;
    struct tensors_writer *w;
    struct error err = {0};
    size_t n;

    must(tensors_open(folder, &from, &err), &err);
    n = tensors_count(from);
    ck_assert_uint_le(n, 64);
    for (size_t i = 0; i < n; i++) {
        const struct tensor_info *info = tensors_at(from, i);
        list[i] = (struct tensor_out){info->name, dtype, info->rank, {info->shape[0], info->rank > 1 ? info->shape[1] : 0}};
    }
    must(tensors_create(path, list, n, &w, &err), &err);
    for (size_t i = 0; i < n; i++) {
        const struct tensor_info *info = tensors_at(from, i);
        float *x = malloc(info->elements * sizeof(*x));

        must(tensors_read(from, info, 0, info->elements, REIN_F32, x, &err), &err);
        must(tensors_put(w, x, info->elements, REIN_F32, &err), &err);
        free(x);
    }
    must(tensors_finish(w, NULL, &err), &err);
    tensors_close(from);
    free(path);
}

/* What the base's numbers cannot hold is not written; in float32 it would be. */
START_TEST(sums_too_large_are_not_written) {
    struct lora_case c;
    struct error err = {0};
    char *whole, *text;
    json_t *o;

    case_open(&c, 0);
    whole = file_join(c.folder, "whole");
    o = json_deep_copy(json_object_get(c.json, "adapter"));
    json_object_set_new(o, "base_model_name_or_path", json_string(c.base));
    json_object_set_new(o, "lora_alpha", json_real(1e8));
    text = dumped(o);
    engine_write(c.folder, "adapter_config.json", text);
    if (_i)
        rewrite(c.base, REIN_F16);
    struct model *m = open_view(c.folder, &c, false);
    ck_assert_int_eq(model_save_merged(m, whole, NULL, &err), _i ? -1 : 0);
    ck_assert_int_eq(file_exists(whole) || file_is_folder(whole), !_i);
    ck_assert_msg(!_i || strstr(err.text, "holds a number that is too large for F16") != NULL, "%s", err.text);
    model_close(m);
    free(text);
    free(whole);
    json_decref(o);
    case_close(&c);
}
END_TEST

/* A new adapter changes nothing, has gradients for B alone, and is the same for the same seed. */
START_TEST(new_adapter) {
    struct lora_case c;
    struct error err = {0};
    const struct lora_options lora = {.rank = 3, .alpha = 12};
    float base[LONGEST], adapted[LONGEST];
    double a = 0, b = 0;

    case_open(&c, (size_t)_i);
    const struct model_source source = {.path = c.base, .head = c.score ? MODEL_SCORE : MODEL_LM, .trainable = true,
                                        .head_seed = 5, .lora = &lora};
    struct model *m;
    struct pass *p;
    must(model_open(engine_backend(), &source, &m, &err), &err);
    must(pass_create(m, &p, &err), &err);
    run(&c, m, p, true, adapted);
    outputs_of(c.base, &c, base);
    ck_assert_mem_eq(base, adapted, (c.score ? c.batch.count : c.offset[c.batch.count]) * sizeof(float));
    for (size_t i = 0; i < model_params(m); i++) {
        struct model_param *w = model_param(m, i);
        float *g, *x;

        if (!w->grad || !strstr(w->name, "lora_"))
            continue;
        g = engine_gradient(m, w);
        x = engine_download(m, w->w.data, (size_t)(w->w.rows * w->w.cols));
        for (int64_t k = 0; k < w->w.rows * w->w.cols; k++)
            *(strstr(w->name, "lora_A") ? &a : &b) += fabs((double)g[k]);
        if (strstr(w->name, "lora_A"))
            for (int64_t k = 0; k < w->w.rows * w->w.cols; k++)
                ck_assert(fabs((double)x[k]) <= 1 / sqrt((double)w->w.cols) && x[k] != 0);
        free(g);
        free(x);
    }
    ck_assert_double_eq(a, 0);
    ck_assert_double_gt(b, 0);
    pass_free(p);
    model_close(m);
    case_close(&c);
}
END_TEST

/* What sampling says of its tokens is what a pass over them says, adapter on. */
START_TEST(sampling_agrees) {
    struct lora_case c;
    struct error err = {0};
    struct generation g;
    struct pass *p;
    int32_t ids[LONGEST];
    float logp[LONGEST];

    case_open(&c, (size_t)_i);
    if (!c.score) {
        struct model *m = open_view(c.folder, &c, true);
        const struct generate_request r = {.prompts = 1, .offset = c.offset, .ids = c.ids, .group = 2, .max_tokens = 9,
                                           .temperature = 1, .top_p = 1, .ignore_eos = true, .seed = 4};
        must(generate(m, &r, &g, &err), &err);
        must(pass_create(m, &p, &err), &err);
        for (uint32_t k = 0; k < 2; k++) {
            const uint32_t prompt = c.offset[1], offset[] = {0, prompt + 9};
            const struct packed batch = {1, offset, ids};

            memcpy(ids, c.ids, prompt * sizeof(*ids));
            memcpy(ids + prompt, g.ids + g.offset[k], 9 * sizeof(*ids));
            engine_logprobs(p, &batch, NULL, logp);
            for (uint32_t i = 0; i < 9; i++)
                ck_assert_float_eq_tol(logp[prompt + i], g.logp[g.offset[k] + i], 1e-5f);
        }
        generation_free(&g);
        pass_free(p);
        model_close(m);
    }
    case_close(&c);
}
END_TEST

static double objective(const struct lora_case *c, struct pass *p, bool backward) {
    float d[LONGEST], logp[LONGEST];
    double sum = 0;

    for (uint32_t r = 0; r < c->batch.count; r++)
        for (uint32_t i = c->offset[r]; i < c->offset[r + 1]; i++)
            d[i] = token_weight(r, i - c->offset[r]);
    engine_logprobs(p, &c->batch, backward ? d : NULL, logp);
    for (uint32_t i = 0; i < c->offset[c->batch.count]; i++)
        sum += (double)d[i] * (double)logp[i];
    return sum;
}

/* Dropout of what adapters read: the gradients are those of the function with these draws. */
START_TEST(dropout_by_differences) {
    static const uint64_t keys[] = {11, 12, 13, 14};
    const struct pass_perturb how = {.kind = REIN_PERTURB_DROPOUT, .site = PASS_SITE_ADAPTER, .rate = 0.25, .keys = keys};
    struct lora_case c;
    struct error err = {0};
    struct pass *p;
    double plain, dropped;

    case_open(&c, (size_t)_i);
    struct model *m = open_view(c.folder, &c, true);
    must(pass_create(m, &p, &err), &err);
    plain = objective(&c, p, false);
    must(pass_perturb(p, &how, c.batch.count, &err), &err);
    dropped = objective(&c, p, true);
    ck_assert_double_gt(fabs(dropped - plain), 1e-3);
    for (size_t i = 0; i < model_params(m); i++) {
        struct model_param *w = model_param(m, i);
        float *x = w->w.data, *g, *was, h = 1.0f / 256;
        double up, down;

        if (!w->grad)
            continue;
        g = engine_gradient(m, w);
        const int64_t k = w->w.cols + 1, at = k < w->w.rows * w->w.cols ? k : 0;
        was = engine_download(m, x + at, 1);
        engine_upload(m, x + at, &(float){*was + h}, 1);
        model_touch(m);
        up = objective(&c, p, false);
        engine_upload(m, x + at, &(float){*was - h}, 1);
        model_touch(m);
        down = objective(&c, p, false);
        engine_upload(m, x + at, was, 1);
        model_touch(m);
        ck_assert_msg(fabs((up - down) / (2 * (double)h) - (double)g[at]) < 2e-3 + 2e-2 * fabs((double)g[at]), "%s: %g, not %g",
                      w->name, (up - down) / (2 * (double)h), (double)g[at]);
        free(g);
        free(was);
    }
    pass_free(p);
    model_close(m);
    case_close(&c);
}
END_TEST

/* What is wrong with a folder is said; nothing is read past it. */
static const struct {
    const char *key, *value, *said;
} wrongs[] = {
    {"r", "0", "'r'"},
    {"r", "5", "has shape"},
    {"r", "1000000", "has shape"},
    {"lora_alpha", "\"six\"", "lora_alpha"},
    {"peft_type", "\"IA3\"", "must be LORA"},
    {"use_dora", "true", "use_dora"},
    {"bias", "\"all\"", "bias"},
    {"rank_pattern", "{\"q_proj\": 2}", "rank_pattern"},
    {"modules_to_save", "[\"embed_tokens\"]", "embed_tokens"},
    {"init_lora_weights", "\"pissa\"", "pissa"},
    {"base_model_name_or_path", "\"somewhere/else\"", "somewhere/else"},
    {"base_model_name_or_path", "null", "names no base"},
};

START_TEST(wrong_folders) {
    struct lora_case c;
    struct error err = {0};
    struct tokenizer *t;
    struct model_config config;
    char *path, *text;
    json_t *o;

    case_open(&c, 0);
    path = file_join(c.folder, "adapter_config.json");
    o = json_load_file(path, 0, NULL);
    json_object_set_new(o, wrongs[_i].key, json_loads(wrongs[_i].value, JSON_DECODE_ANY, NULL));
    text = dumped(o);
    engine_write(c.folder, "adapter_config.json", text);
    const struct model_source source = {.path = c.folder};
    ck_assert_int_eq(model_check(&source, &config, &t, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_msg(strstr(err.text, wrongs[_i].said) != NULL, "%s", err.text);
    free(text);
    free(path);
    json_decref(o);
    case_close(&c);
}
END_TEST

/* Tensors that are missing, or have no place. */
START_TEST(wrong_tensors) {
    static const char *const name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
    struct lora_case c;
    struct error err = {0};
    struct tokenizer *t;
    struct model_config config;

    case_open(&c, 0);
    json_t *shapes = json_deep_copy(json_object_get(c.json, "shapes"));
    if (_i)
        json_object_set_new(shapes, "base_model.model.model.layers.7.mlp.up_proj.lora_A.weight", json_pack("[i, i]", 4, 24));
    else
        json_object_del(shapes, name);
    write_adapter(c.folder, shapes);
    const struct model_source source = {.path = c.folder};
    ck_assert_int_eq(model_check(&source, &config, &t, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_msg(strstr(err.text, _i ? "has no place" : "is missing") != NULL, "%s", err.text);
    json_decref(shapes);
    case_close(&c);
}
END_TEST

static const struct {
    const char *target;
    double alpha;
    const char *said;
} refused[] = {
    {"q_porj", 8, "no linear layer 'q_porj' (did you mean 'q_proj'?)"},
    {"upproj", 8, "(did you mean 'up_proj'?)"},
    {"lm_head", 8, "those are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"},
    {"q_proj", 0, "lora.alpha: with 0"},
};

START_TEST(wrong_options) {
    const char *target = refused[_i].target;
    const struct lora_options o = {.rank = 2, .alpha = refused[_i].alpha, .targets = {.items = &target, .count = 1}};
    struct model_config config;
    struct lora_case c;
    struct error err = {0};

    case_open(&c, 0);
    ck_assert_int_eq(config_load(c.base, &config, &err), 0);
    ck_assert_int_eq(lora_check(&o, &config, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_msg(strstr(err.text, refused[_i].said) != NULL, "%s", err.text);
    config_free(&config);
    case_close(&c);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("lora");
    TCase *t = tcase_create("lora");
    int rc;

    golden = json_load_file(SOURCE_DIR "/tests/golden/lora.json", 0, NULL);
    if (golden == NULL || json_array_size(json_object_get(golden, "cases")) != CASES)
        return 1;
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, equals_peft, 0, CASES);
    tcase_add_loop_test(t, off_is_the_base, 0, CASES);
    tcase_add_loop_test(t, written_and_merged, 0, CASES);
    tcase_add_loop_test(t, sums_too_large_are_not_written, 0, 2);
    tcase_add_loop_test(t, new_adapter, 0, CASES);
    tcase_add_loop_test(t, sampling_agrees, 0, CASES);
    tcase_add_loop_test(t, dropout_by_differences, 0, CASES - 1);
    tcase_add_loop_test(t, wrong_folders, 0, (int)(sizeof(wrongs) / sizeof(wrongs[0])));
    tcase_add_loop_test(t, wrong_tensors, 0, 2);
    tcase_add_loop_test(t, wrong_options, 0, (int)(sizeof(refused) / sizeof(refused[0])));
    suite_add_tcase(suite, t);
    rc = tap_run(suite);
    json_decref(golden);
    return rc;
}
