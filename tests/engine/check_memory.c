/* SPDX-License-Identifier: MIT
 * What a model takes: weights that stay in the mapped file, narrower ones, masters, and parts that do not train.
 */
#include "engine.h"
#include "model/param.h"
#include "model/tensors.h"
#include "tap.h"
#include "train/optimizer.h"

#include <math.h>
#include <rein/half.h>
#include <stdio.h>
#include <string.h>

#define CONFIG(tied, more)                                                                                             \
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":61,\"hidden_size\":16"          \
    ",\"intermediate_size\":20,\"num_hidden_layers\":3,\"num_attention_heads\":2,\"num_key_value_heads\":1,"           \
    "\"max_position_embeddings\":32,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"tie_word_embeddings\":" tied        \
    ",\"eos_token_id\":2,\"bos_token_id\":1" more "}"
#define GPT2                                                                                                           \
    "{\"model_type\":\"gpt2\",\"architectures\":[\"GPT2LMHeadModel\"],\"vocab_size\":61,\"n_embd\":16,\"n_layer\":3,"  \
    "\"n_head\":2,\"n_positions\":32,\"eos_token_id\":2,\"bos_token_id\":1}"

static const int32_t ids[] = {1, 9, 30, 4, 4, 58, 12};
static const uint32_t offset[] = {0, 5, 7};
static const struct packed batch = {2, offset, ids};
static const float d_logp[] = {0, 0.5f, -0.25f, 1, 0.125f, 0, -0.75f};
static struct error err;

static struct model *open_as(const struct model_source *source) {
    struct model *m;

    must(model_open(engine_backend(), source, &m, &err), &err);
    engine_zero_grad(m);
    return m;
}

static void backward(struct model *m, float logp[7]) {
    struct pass *p;

    must(pass_create(m, &p, &err), &err);
    engine_logprobs(p, &batch, d_logp, logp);
    pass_free(p);
}

static void forward(struct model *m, float logp[7]) {
    struct pass *p;

    must(pass_create(m, &p, &err), &err);
    engine_logprobs(p, &batch, NULL, logp);
    pass_free(p);
}

static void *values(struct model *m, const struct model_param *p) {
    void *x = param_values(model_backend(m), p, &err);

    ck_assert_ptr_nonnull(x);
    return x;
}

/* ---- freezing ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *config, *patterns[4];
    size_t count;
    int64_t first;
    const char *frozen, *trained; /* one of each */
} freezes[] = {
    {CONFIG("false", ""), {"embedding", "layers.0-1"}, 2, 2, "model.layers.1.mlp.up_proj.weight", "lm_head.weight"},
    {CONFIG("false", ""), {"layers.0"}, 1, -1, "model.layers.0.input_layernorm.weight", "model.embed_tokens.weight"},
    {CONFIG("false", ""), {"*.mlp.*", "norms", "embed*"}, 3, 0, "model.norm.weight", "model.layers.0.self_attn.q_proj.weight"},
    {CONFIG("false", ""), {"embedding", "layers.0-2"}, 2, 3, "model.embed_tokens.weight", "lm_head.weight"},
    {CONFIG("false", ""), {"lm_head", "model.layers.[01].self_attn.*"}, 2, -1, "lm_head.weight", "model.layers.1.mlp.up_proj.weight"},
    {CONFIG("true", ""), {"embedding"}, 1, 0, "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"},
    {GPT2, {"biases", "embedding", "layers.0"}, 3, 1, "transformer.wpe.weight", "transformer.h.1.mlp.c_fc.weight"},
    {GPT2, {"*.weight"}, 1, 0, "transformer.h.1.mlp.c_fc.weight", "transformer.h.0.mlp.c_fc.bias"},
};

static bool same_bytes(const char *a, const char *b) {
    char *x = file_join(a, "model.safetensors"), *y = file_join(b, "model.safetensors");
    struct file_map p, q;
    bool same;

    must(file_map_open(x, &p, &err), &err);
    must(file_map_open(y, &q, &err), &err);
    same = p.length == q.length && memcmp(p.data, q.data, p.length) == 0;
    file_map_close(&p);
    file_map_close(&q);
    free(x);
    free(y);
    return same;
}

/* Every parameter with a gradient has that of the run in which all train, to the bit; the rest has none. */
START_TEST(freezing_leaves_the_rest_as_it_was) {
    char *folder = engine_model(freezes[_i].config, true), *saved = engine_model("{}", false);
    const struct model_source source = {
        .path = folder, .trainable = true, .freeze = freezes[_i].patterns, .nfreeze = freezes[_i].count};
    struct model *whole = engine_open(folder, MODEL_LM, true), *part = open_as(&source);
    float logp[7], again[7];
    size_t trained = 0;

    ck_assert_int_eq(part->trunk->first_trained, freezes[_i].first);
    ck_assert_ptr_null(engine_param(part, freezes[_i].frozen)->grad);
    ck_assert_ptr_nonnull(engine_param(part, freezes[_i].trained)->grad);
    backward(whole, logp);
    backward(part, again);
    ck_assert_mem_eq(logp, again, sizeof(logp));
    for (size_t i = 0; i < model_params(whole); i++) {
        const struct model_param *p = model_param(whole, i), *q = model_param(part, i);
        float *g, *h;

        if (!q->grad)
            continue;
        g = engine_gradient(whole, p);
        h = engine_gradient(part, q);
        ck_assert_msg(memcmp(g, h, (size_t)param_count(p) * sizeof(*g)) == 0, "%s", p->name);
        free(g);
        free(h);
        trained++;
    }
    ck_assert(trained > 0 && trained < model_params(whole));
    must(model_save(part, saved, NULL, &err), &err);
    ck_assert(same_bytes(folder, saved)); /* nothing was updated, and nothing is missing */
    model_close(whole);
    model_close(part);
    engine_remove(folder);
    engine_remove(saved);
}
END_TEST

static const struct {
    const char *config, *pattern, *message;
} wrong[] = {
    {CONFIG("false", ""), "embeding", "'embeding' names no parameter of this model (did you mean 'embedding'?)"},
    {CONFIG("false", ""), "layers.2-3", "layers 0 to 2"},
    {CONFIG("false", ""), "layers.2-1", "layers 0 to 2"},
    {CONFIG("false", ""), "layers.1.mlp.up_proj.wieght", "did you mean 'layers.1.mlp.up_proj.weight'?"},
    {CONFIG("false", ""), "*.c_attn.*", "one is called model.layers.0.self_attn.o_proj.weight"},
    {CONFIG("true", ""), "lm_head", "'embedding' freezes both"},
    {CONFIG("false", ""), "*", "nothing is left to train"},
    {CONFIG("false", ""), "biases", "names no parameter"},
    {CONFIG("false", ""), "score.weight", "names no parameter"},
};

START_TEST(patterns_must_name_something) {
    char *folder = engine_model(wrong[_i].config, true);
    const struct model_source source = {.path = folder, .trainable = true, .freeze = &wrong[_i].pattern, .nfreeze = 1};
    struct model_config c;
    struct model *m;
    size_t which;

    ck_assert_int_eq(model_open(engine_backend(), &source, &m, &err), -1);
    ck_assert_msg(strstr(err.text, wrong[_i].message) != NULL, "%s", err.text);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    must(config_load(folder, &c, &err), &err);
    err = (struct error){0};
    ck_assert_int_eq(model_check_freeze(&c, &source, &which, &err), -1);
    ck_assert_msg(strstr(err.text, wrong[_i].message) != NULL, "%s", err.text);
    ck_assert_uint_eq(which, strcmp(wrong[_i].pattern, "*") == 0 ? 1 : 0);
    config_free(&c);
    engine_remove(folder);
}
END_TEST

/* Of a model with a head, all but the head may be frozen, not all. A critic's head may have either name in its file. */
static const struct {
    enum model_head head;
    const char *pattern, *message;
} wrong_heads[] = {
    {MODEL_SCORE, "score.weight", "nothing is left to train"},
    {MODEL_VALUE, "score.weight", "nothing is left to train"},
    {MODEL_VALUE, "value.*", "nothing is left to train"},
    {MODEL_SCORE, "value.weight", "'value.weight' names no parameter"},
    {MODEL_SCORE, "norms", NULL},
    {MODEL_VALUE, "norms", NULL},
};

START_TEST(a_frozen_head_leaves_nothing) {
    char *folder = engine_model(CONFIG("true", ""), true);
    const char *patterns[] = {"trunk", wrong_heads[_i].pattern};
    const struct model_source source = {
        .path = folder, .head = wrong_heads[_i].head, .trainable = true, .freeze = patterns, .nfreeze = 2};
    struct model_config c;
    size_t which;
    int rc;

    must(config_load(folder, &c, &err), &err);
    rc = model_check_freeze(&c, &source, &which, &err);
    ck_assert_int_eq(rc, wrong_heads[_i].message ? -1 : 0);
    if (rc)
        ck_assert_msg(strstr(err.text, wrong_heads[_i].message) != NULL, "%s", err.text);
    config_free(&c);
    engine_remove(folder);
}
END_TEST

/* A trunk that does not train is as any frozen model's: only the head has a gradient. */
START_TEST(a_head_alone_can_train) {
    static const char *const patterns[] = {"trunk"};
    char *folder = engine_model(CONFIG("false", ""), true);
    const struct model_source source = {
        .path = folder, .head = MODEL_SCORE, .trainable = true, .freeze = patterns, .nfreeze = 1};
    struct model *m = open_as(&source), *whole = engine_open(folder, MODEL_SCORE, true);
    static const int32_t last[] = {4, 6};
    static const float d[] = {1, -0.5f};
    struct model *both[] = {m, whole};
    float *g[2];

    for (int k = 0; k < 2; k++) {
        struct pass *p;
        float out[2];

        must(pass_create(both[k], &p, &err), &err);
        must(pass_forward(p, &batch, true, &err), &err);
        must(pass_scores(p, both[k], 2, last, out, &err), &err);
        must(pass_scores_backward(p, both[k], 2, last, d, &err), &err);
        must(pass_backward(p, &err), &err);
        g[k] = engine_gradient(both[k], engine_param(both[k], "score.weight"));
        pass_free(p);
    }
    ck_assert_mem_eq(g[0], g[1], 16 * sizeof(float));
    for (size_t i = 0; i + 1 < model_params(m); i++)
        ck_assert_ptr_null(model_param(m, i)->grad);
    free(g[0]);
    free(g[1]);
    model_close(m);
    model_close(whole);
    engine_remove(folder);
}
END_TEST

/* ---- frozen models ----------------------------------------------------------------------------------------------- */

START_TEST(frozen_weights_stay_in_the_file) {
    char *folder = engine_model(CONFIG("false", ",\"dtype\":\"bfloat16\""), true), *moved = engine_model("{}", false);
    struct model_source source = {.path = folder};
    struct model *a = open_as(&source), *b = open_as(&source), *wide, *score, *after;
    float x[7], y[7];

    for (size_t i = 0; i < model_params(a); i++) {
        const struct model_param *p = model_param(a, i);
        ck_assert_int_eq(p->mapped, p->decay && engine_backend()->host_memory);
        ck_assert_uint_eq(p->w.dtype, p->decay ? REIN_BF16 : REIN_F32);
    }
    ck_assert(model_same_trunk(a, b));
    source.dtype = REIN_F32;
    wide = open_as(&source);
    ck_assert(!model_same_trunk(a, wide));
    forward(a, x);
    forward(wide, y);
    for (int i = 0; i < 7; i++)
        ck_assert_float_le(fabsf(x[i] - y[i]), 1e-5f);
    source = (struct model_source){.path = folder, .head = MODEL_SCORE};
    score = open_as(&source); /* a trunk with a language model head serves a score head too */
    ck_assert(model_same_trunk(a, score));
    /* another file of the same name is another model, and the old one lives on */
    must(model_save(wide, moved, NULL, &err), &err);
    ck_assert(same_bytes(folder, moved));
    char *from = file_join(moved, "model.safetensors"), *to = file_join(folder, "model.safetensors");
    ck_assert_int_eq(rename(from, to), 0);
    source = (struct model_source){.path = folder};
    after = open_as(&source);
    ck_assert(!model_same_trunk(a, after));
    forward(b, y);
    ck_assert_mem_eq(x, y, sizeof(x));
    free(from);
    free(to);
    model_close(a);
    model_close(score);
    model_close(wide);
    model_close(after);
    forward(b, y); /* the last view keeps the file */
    ck_assert_mem_eq(x, y, sizeof(x));
    model_close(b);
    engine_remove(folder);
    engine_remove(moved);
}
END_TEST

/* Bytes of the mapped model.safetensors of this folder that count as this process's memory. */
static size_t resident(const char *folder) {
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[4096];
    size_t sum = 0, kilobytes;
    bool ours = false;

    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f) != NULL)
        if (strstr(line, ".safetensors") != NULL)
            ours = strstr(line, folder) != NULL;
        else if (ours && sscanf(line, "Rss: %zu kB", &kilobytes) == 1) {
            sum += kilobytes * 1024;
            ours = false;
        }
    fclose(f);
    return sum;
}

/* Layer by layer, the rest when it is over; the numbers are the same, and a model that something else uses stays. */
START_TEST(weights_are_given_back) {
    char *folder = engine_model("{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":2048,"
                                "\"hidden_size\":128,\"intermediate_size\":512,\"num_hidden_layers\":4,"
                                "\"num_attention_heads\":2,\"max_position_embeddings\":32,\"rms_norm_eps\":1e-5,"
                                "\"tie_word_embeddings\":true,\"eos_token_id\":2,\"bos_token_id\":1}", true);
    const struct model_source source = {.path = folder};
    const size_t whole = 4 << 20, embedding = 2048 * 128 * 4, around = 256 << 10; /* the kernel maps neighbours, too */
    struct model *m = open_as(&source);
    struct pass *p;
    float x[7], y[7];

    must(pass_create(m, &p, &err), &err);
    engine_logprobs(p, &batch, NULL, x);
    if (engine_backend()->host_memory)
        ck_assert_uint_ge(resident(folder), whole);
    pass_leave(p, true);
    engine_logprobs(p, &batch, NULL, y);
    ck_assert_mem_eq(x, y, sizeof(x));
    ck_assert_uint_le(resident(folder), embedding + around);
    pass_leave(p, false);
    ck_assert_uint_le(resident(folder), around);
    engine_logprobs(p, &batch, NULL, y);
    ck_assert_mem_eq(x, y, sizeof(x));
    model_stay(m);
    pass_leave(p, true);
    engine_logprobs(p, &batch, NULL, y);
    pass_leave(p, false);
    if (engine_backend()->host_memory)
        ck_assert_uint_ge(resident(folder), whole);
    pass_free(p);
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* Held narrower than the file has them: rounded to nearest even, vectors left alone; saved as the file has them. */
START_TEST(frozen_weights_can_be_narrower) {
    const uint32_t dtype = _i ? REIN_F16 : REIN_BF16;
    char *folder = engine_model(CONFIG("true", ""), true), *saved = engine_model("{}", false);
    const struct model_source source = {.path = folder, .dtype = dtype};
    struct model *m = open_as(&source);

    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *p = model_param(m, i);
        void *x = values(m, p);

        ck_assert_uint_eq(p->w.dtype, p->decay ? dtype : REIN_F32);
        for (uint64_t k = 0; p->decay && k < param_count(p); k++) {
            const float value = engine_weight(p->name, k);
            ck_assert_uint_eq(((uint16_t *)x)[k], _i ? rein_to_f16(value) : rein_to_bf16(value));
        }
        free(x);
    }
    must(model_save(m, saved, NULL, &err), &err);
    ck_assert(same_bytes(folder, saved));
    model_close(m);
    engine_remove(folder);
    engine_remove(saved);
}
END_TEST

/* ---- training in bfloat16 ---------------------------------------------------------------------------------------- */

START_TEST(masters_learn_and_weights_follow) {
    enum { STEPS = 5, WATCHED = 40 };
    char *folder = engine_model(CONFIG("false", ""), true), *saved = engine_model("{}", false);
    const struct model_source source = {.path = folder, .trainable = true, .dtype = REIN_BF16};
    const struct optimizer_options options = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1};
    struct model *m = open_as(&source);
    struct model_param *p = engine_param(m, "model.layers.1.mlp.up_proj.weight");
    const size_t n = (size_t)param_count(p);
    double w[WATCHED], first[WATCHED] = {0}, second[WATCHED] = {0};
    struct optimizer *o;
    uint16_t *narrow;
    float *g, *master = malloc(n * sizeof(*master));

    ck_assert_ptr_nonnull(p->master);
    ck_assert_ptr_null(engine_param(m, "model.norm.weight")->master);
    must(model_save(m, saved, NULL, &err), &err); /* before a step: what was read, not what it was rounded to */
    ck_assert(same_bytes(folder, saved));
    must(optimizer_create(engine_backend(), &options, &o, &err), &err);
    for (size_t i = 0; i < model_params(m); i++)
        must(optimizer_add(o, model_param(m, i), 0.01, 0, &err), &err);
    for (int i = 0; i < WATCHED; i++)
        w[i] = engine_weight(p->name, (uint64_t)i);
    for (int t = 1; t <= STEPS; t++) {
        double norm;

        optimizer_zero_grad(o);
        backward(m, NULL);
        g = engine_gradient(m, p);
        for (int i = 0; i < WATCHED; i++) { /* torch.optim.AdamW on the float32 copy */
            first[i] = 0.9 * first[i] + 0.1 * g[i];
            second[i] = 0.99 * second[i] + 0.01 * g[i] * g[i];
            w[i] -= 0.01 * 0.1 * w[i];
            w[i] -= 0.01 * first[i] / (1 - pow(0.9, t)) / (sqrt(second[i] / (1 - pow(0.99, t))) + 1e-8);
        }
        free(g);
        must(optimizer_norm(o, OPTIMIZER_ALL, &norm, &err), &err);
        must(optimizer_step(o, OPTIMIZER_ALL, 1, norm, &err), &err);
        model_touch(m);
        must(backend_download(engine_backend(), master, p->master, n * sizeof(*master), &err), &err);
        narrow = values(m, p);
        for (size_t i = 0; i < n; i++)
            ck_assert_uint_eq(narrow[i], rein_to_bf16(master[i])); /* bfloat16 weights are the rounded masters */
        for (int i = 0; i < WATCHED; i++)
            ck_assert_msg(fabs(w[i] - (double)master[i]) < 2e-6, "step %d: %g %g", t, w[i], (double)master[i]);
        free(narrow);
    }
    optimizer_free(o);
    free(master);
    model_close(m);
    engine_remove(folder);
    engine_remove(saved);
}
END_TEST

START_TEST(nothing_trains_in_float16) {
    char *folder = engine_model(CONFIG("false", ""), true);
    const struct model_source source = {.path = folder, .trainable = true, .dtype = REIN_F16};
    struct model *m;

    ck_assert_int_eq(model_open(engine_backend(), &source, &m, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "float16"));
    engine_remove(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("memory");
    TCase *all = tcase_create("memory");

    tcase_add_loop_test(all, freezing_leaves_the_rest_as_it_was, 0, (int)(sizeof(freezes) / sizeof(freezes[0])));
    tcase_add_loop_test(all, patterns_must_name_something, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
    tcase_add_loop_test(all, a_frozen_head_leaves_nothing, 0, (int)(sizeof(wrong_heads) / sizeof(wrong_heads[0])));
    tcase_add_test(all, a_head_alone_can_train);
    tcase_add_test(all, frozen_weights_stay_in_the_file);
    tcase_add_test(all, weights_are_given_back);
    tcase_add_loop_test(all, frozen_weights_can_be_narrower, 0, 2);
    tcase_add_test(all, masters_learn_and_weights_follow);
    tcase_add_test(all, nothing_trains_in_float16);
    suite_add_tcase(suite, all);
    return tap_run(suite);
}
