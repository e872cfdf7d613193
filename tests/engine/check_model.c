/* SPDX-License-Identifier: MIT
 * Models as files and as views: saving, copies, shared trunks, and what is refused.
 */
#include "engine.h"
#include "model/tensors.h"
#include "model/transformer.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CONFIG(layers, hidden, more)                                                                                   \
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":61,\"hidden_size\":" #hidden    \
    ",\"intermediate_size\":20,\"num_hidden_layers\":" #layers                                                         \
    ",\"num_attention_heads\":2,\"num_key_value_heads\":1,\"max_position_embeddings\":32,\"rms_norm_eps\":1e-5,"       \
    "\"rope_theta\":10000.0,\"tie_word_embeddings\":false,\"initializer_range\":0.3,\"eos_token_id\":2,"               \
    "\"bos_token_id\":1" more "}"
#define PLAIN CONFIG(2, 16, "")

static const int32_t ids[] = {1, 9, 30, 4, 4, 58, 12};
static const uint32_t offset[] = {0, 5, 7};
static const struct packed batch = {2, offset, ids};
static const int32_t last[] = {4, 6};

static void logprobs(struct model *m, float out[7]) {
    struct error err = {0};
    struct pass *p;

    must(pass_create(m, &p, &err), &err);
    engine_logprobs(p, &batch, NULL, out);
    pass_free(p);
}

static void scores(struct model *m, float out[2]) {
    struct error err = {0};
    struct pass *p;

    must(pass_create(m, &p, &err), &err);
    must(pass_forward(p, &batch, false, &err), &err);
    must(pass_scores(p, m, 2, last, out, &err), &err);
    pass_free(p);
}

static json_t *config_of(const char *folder) {
    char *path = file_join(folder, "config.json");
    json_t *root = json_load_file(path, 0, NULL);

    ck_assert_ptr_nonnull(root);
    free(path);
    return root;
}

START_TEST(saved_models_come_back) {
    const char *config = _i ? CONFIG(2, 16, ",\"torch_dtype\":\"bfloat16\",\"made_up\":[1,2]") : PLAIN;
    char *folder = engine_model(config, true), *saved = engine_model("{}", false);
    struct model *m = engine_open(folder, MODEL_LM, true), *back;
    struct error err = {0};
    struct tensors *file;
    float before[7], after[7];
    json_t *root;

    ((float *)engine_param(m, "model.layers.1.mlp.up_proj.weight")->w.data)[3] = 0.5f; /* exact in bfloat16 too */
    model_touch(m);
    logprobs(m, before);
    must(model_save(m, saved, NULL, &err), &err);
    back = engine_open(saved, MODEL_LM, false);
    logprobs(back, after);
    for (int i = 0; i < 7; i++)
        ck_assert_float_eq(before[i], after[i]);
    must(tensors_open(saved, &file, &err), &err);
    ck_assert_uint_eq(tensors_count(file), model_params(m));
    ck_assert_uint_eq(tensors_find(file, "model.norm.weight")->dtype, _i ? REIN_BF16 : REIN_F32);
    ck_assert_uint_eq(tensors_find(file, "model.norm.weight")->rank, 1);
    tensors_close(file);
    root = config_of(saved);
    ck_assert(json_object_get(root, "made_up") || !_i);
    json_decref(root);
    model_close(back);
    model_close(m);
    engine_remove(folder);
    engine_remove(saved);
}
END_TEST

/* A classifier: no lm_head, one label, a pad token that no data holds. */
START_TEST(score_heads_are_saved_as_classifiers) {
    char *folder = engine_model(PLAIN, true), *saved = engine_model("{}", false);
    struct model_source source = {.path = folder, .head = MODEL_SCORE, .trainable = true, .head_seed = 3};
    uint8_t avoid[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x17}; /* all but 59 of 61 */
    float before[2], after[2];
    struct error err = {0};
    struct model *m, *back;
    struct tensors *file;
    json_t *root;

    must(model_open(engine_backend(), &source, &m, &err), &err);
    engine_zero_grad(m);
    ck_assert_ptr_null(engine_param(m, "lm_head.weight"));
    scores(m, before);
    ck_assert(before[0] != 0 && before[0] != before[1]);
    must(model_save(m, saved, avoid, &err), &err);
    back = engine_open(saved, MODEL_SCORE, false);
    scores(back, after);
    ck_assert_float_eq(before[0], after[0]);
    ck_assert_float_eq(before[1], after[1]);
    must(tensors_open(saved, &file, &err), &err);
    ck_assert_ptr_null(tensors_find(file, "lm_head.weight"));
    ck_assert_ptr_nonnull(tensors_find(file, "score.weight"));
    tensors_close(file);
    root = config_of(saved);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(root, "architectures"), 0)),
                     "LlamaForSequenceClassification");
    ck_assert_int_eq(json_integer_value(json_object_get(root, "pad_token_id")), 59);
    json_decref(root);
    model_close(back);
    /* as a value head it keeps the score's weights; a reward model has no language model head */
    back = engine_open(saved, MODEL_VALUE, false);
    scores(back, after);
    ck_assert_float_eq(before[1], after[1]);
    model_close(back);
    source = (struct model_source){.path = saved};
    ck_assert_int_eq(model_open(engine_backend(), &source, &back, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "reward model"));
    model_close(m);
    engine_remove(folder);
    engine_remove(saved);
}
END_TEST

START_TEST(frozen_copies_stay) {
    char *folder = engine_model(PLAIN, true);
    struct model *m = engine_open(folder, MODEL_LM, true), *copy;
    struct error err = {0};
    float before[7], after[7];

    logprobs(m, before);
    must(model_clone_frozen(m, &copy, &err), &err);
    ck_assert(!model_same_trunk(m, copy));
    ((float *)model_param(m, 0)->w.data)[30 * 16] += 1;
    model_touch(m);
    logprobs(copy, after);
    for (int i = 0; i < 7; i++)
        ck_assert_float_eq(before[i], after[i]);
    logprobs(m, after);
    ck_assert_float_ne(before[3], after[3]);
    for (size_t i = 0; i < model_params(copy); i++)
        ck_assert_ptr_null(model_param(copy, i)->grad);
    model_close(m);
    logprobs(copy, after);
    ck_assert_float_eq(before[3], after[3]);
    model_close(copy);
    engine_remove(folder);
}
END_TEST

/* A critic on the policy's trunk: zero at first; its gradient reaches the trunk and adds to the policy's. */
START_TEST(views_share_a_trunk) {
    char *folder = engine_model(PLAIN, true);
    struct model *policy = engine_open(folder, MODEL_LM, true), *critic;
    struct model_param *q = engine_param(policy, "model.layers.0.self_attn.q_proj.weight");
    const float d_logp[] = {1, 1}, d_value[] = {0.5f, -1};
    const int32_t rows[] = {2, 5}, targets[] = {4, 12};
    struct pass_targets t = {2, rows, targets, 1.0};
    float value[2], logp[2], *g[3];
    struct error err = {0};
    struct pass *p;

    must(model_share(policy, MODEL_VALUE, NULL, &critic, &err), &err);
    ck_assert(model_same_trunk(policy, critic));
    ck_assert_uint_eq(model_params(critic), model_params(policy) + 1);
    scores(critic, value);
    ck_assert(value[0] == 0 && value[1] == 0);
    for (int i = 0; i < 16; i++)
        ((float *)engine_param(critic, "score.weight")->w.data)[i] = engine_weight("value", (uint64_t)i);
    model_touch(critic);
    must(pass_create(policy, &p, &err), &err);
    for (int which = 0; which < 3; which++) {
        engine_zero_grad(critic);
        must(pass_forward(p, &batch, true, &err), &err);
        must(pass_logprobs(p, &t, logp, NULL, NULL, &err), &err);
        must(pass_scores(p, critic, 2, last, value, &err), &err);
        if (which != 1)
            must(pass_logprobs_backward(p, &t, d_logp, NULL, &err), &err);
        if (which != 2)
            must(pass_scores_backward(p, critic, 2, last, d_value, &err), &err);
        must(pass_backward(p, &err), &err);
        g[which] = engine_gradient(policy, q); /* of both, of the critic, of the policy */
    }
    for (int i = 0; i < 16 * 16; i++)
        ck_assert_float_eq_tol(g[0][i], g[1][i] + g[2][i], 1e-5);
    ck_assert(g[1][7] != 0 && g[2][7] != 0);
    ck_assert_int_eq(pass_backward(p, &err), -1); /* its activations are gone */
    for (int which = 0; which < 3; which++)
        free(g[which]);
    model_close(policy);
    scores(critic, value);
    ck_assert_float_ne(value[0], 0);
    pass_free(p);
    model_close(critic);
    engine_remove(folder);
}
END_TEST

START_TEST(random_models_depend_on_the_seed_alone) {
    char *folder = engine_model(PLAIN, false);
    struct model_source source = {.path = folder, .random = true, .seed = 7, .trainable = true};
    struct error err = {0};
    struct model *a, *b, *c;
    double squares = 0;

    must(model_open(engine_backend(), &source, &a, &err), &err);
    must(model_open(engine_backend(), &source, &b, &err), &err);
    source.seed = 8;
    must(model_open(engine_backend(), &source, &c, &err), &err);
    const float *x = model_param(a, 0)->w.data, *y = model_param(b, 0)->w.data, *z = model_param(c, 0)->w.data;
    ck_assert_mem_eq(x, y, 61 * 16 * sizeof(float));
    ck_assert_mem_ne(x, z, 61 * 16 * sizeof(float));
    for (int i = 0; i < 61 * 16; i++)
        squares += (double)x[i] * x[i];
    ck_assert_double_eq_tol(sqrt(squares / (61 * 16)), 0.3, 0.03);
    ck_assert_float_eq(((float *)engine_param(a, "model.norm.weight")->w.data)[5], 1.0f);
    model_close(a);
    model_close(b);
    model_close(c);
    engine_remove(folder);
}
END_TEST

/* Another config.json on the same weights. */
static const struct {
    const char *config;
    const char *says[2];
} wrong[] = {
    {CONFIG(3, 16, ""), {"model.layers.2.input_layernorm.weight [16] is missing", "model.safetensors"}},
    {CONFIG(1, 16, ""), {"has no place", "model.layers.1."}},
    {CONFIG(2, 20, ""), {"model.embed_tokens.weight has shape [61, 16]", "[61, 20]"}},
    {CONFIG(2, 16, ",\"attention_bias\":true"), {"self_attn.q_proj.bias", "is missing"}},
    {CONFIG(1000000000, 16, ""), {"num_hidden_layers", ""}},
};

START_TEST(wrong_weights_are_refused) {
    char *folder = engine_model(PLAIN, true);
    struct model_source source = {.path = folder};
    struct error err = {0};
    struct model *m;

    engine_write(folder, "config.json", wrong[_i].config);
    ck_assert_int_eq(model_open(engine_backend(), &source, &m, &err), -1);
    ck_assert_ptr_null(m);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    for (int k = 0; k < 2; k++)
        ck_assert_msg(strstr(err.text, wrong[_i].says[k]) != NULL, "%s", err.text);
    engine_remove(folder);
}
END_TEST

START_TEST(wrong_batches_are_refused) {
    char *folder = engine_model(PLAIN, true);
    struct model *m = engine_open(folder, MODEL_LM, false);
    int32_t bad[33] = {1, 61}, rows[] = {1, 1}, targets[] = {3, 3};
    uint32_t span[] = {0, 2};
    struct packed b = {1, span, bad};
    struct pass_targets t = {2, rows, targets, 1.0};
    struct error err = {0};
    struct pass *p;
    float out[2];

    must(pass_create(m, &p, &err), &err);
    ck_assert_int_eq(pass_logprobs(p, &t, out, NULL, NULL, &err), -1); /* before a forward pass */
    ck_assert_int_eq(pass_forward(p, &b, false, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "61"));
    bad[1] = -1;
    ck_assert_int_eq(pass_forward(p, &b, false, &err), -1);
    bad[1] = 0;
    span[1] = 33;
    ck_assert_int_eq(pass_forward(p, &b, false, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "33 tokens"));
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    span[1] = 2;
    must(pass_forward(p, &b, true, &err), &err);
    ck_assert_int_eq(pass_logprobs(p, &t, out, NULL, NULL, &err), -1); /* the same row twice */
    rows[0] = 0;
    targets[1] = 61;
    ck_assert_int_eq(pass_logprobs(p, &t, out, NULL, NULL, &err), -1);
    targets[1] = 60;
    must(pass_logprobs(p, &t, out, NULL, NULL, &err), &err);
    ck_assert_int_eq(pass_scores(p, m, 1, rows, out, &err), -1); /* no such head */
    ck_assert_int_eq(pass_logprobs_backward(p, &t, out, NULL, &err), -1); /* frozen */
    pass_free(p);
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* Repeated batches need no more memory, and what is needed is what was estimated. */
START_TEST(workspace_grows_to_the_largest_batch) {
    char *folder = engine_model(PLAIN, true);
    struct model *m = engine_open(folder, MODEL_LM, true);
    const float d[7] = {0};
    const struct model_source source = {.trainable = true};
    struct model_memory estimate;
    struct work_bytes work;
    struct error err = {0};
    struct pass *p;
    uint64_t bytes;

    must(pass_create(m, &p, &err), &err);
    ck_assert_uint_eq(pass_bytes(p), 0);
    engine_logprobs(p, &batch, d, NULL);
    bytes = pass_bytes(p);
    ck_assert_uint_gt(bytes, 0);
    engine_logprobs(p, &batch, d, NULL);
    ck_assert_uint_eq(pass_bytes(p), bytes);
    must(model_estimate(model_config(m), &source, &estimate, &err), &err);
    work = work_bytes(model_config(m), 7, KEEP_ALL);
    ck_assert_uint_ge(bytes, work.kept);
    ck_assert_uint_lt(bytes, work.kept + 64 * 40 * 4);
    ck_assert_uint_eq(estimate.weights, 4 * config_parameters(model_config(m)));
    pass_free(p);
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* Of what lies in its file a pass that leaves its layers needs one at a time, and all that is around them. _i: vectors
 * of bfloat16 are converted. */
START_TEST(a_layer_passes_at_a_time) {
    const char *config = _i ? CONFIG(3, 16, ",\"torch_dtype\":\"bfloat16\"") : CONFIG(3, 16, "");
    const uint64_t vectors = _i ? 0 : 16, width = _i ? 2 : 4, around = (2 * 61 * 16 + vectors) * width,
                   layer = (2 * 16 * 16 + 2 * 8 * 16 + 3 * 20 * 16 + 2 * vectors) * width;
    char *folder = engine_model(config, false);
    struct model_source source = {.path = folder};
    struct model_memory memory;
    struct model_config c;
    struct error err = {0};

    must(config_load(folder, &c, &err), &err);
    must(model_estimate(&c, &source, &memory, &err), &err);
    ck_assert_uint_eq(memory.mapped, around + 3 * layer);
    ck_assert_uint_eq(memory.passing, around + layer);
    source.random = true; /* drawn into memory of its own */
    must(model_estimate(&c, &source, &memory, &err), &err);
    ck_assert_uint_eq(memory.mapped, 0);
    config_free(&c);
    engine_remove(folder);
}
END_TEST

START_TEST(stop_strings_end_a_completion) {
    char *folder = engine_model(PLAIN, true), text[16] = "", stop[3];
    const char *stops[] = {"never met", stop};
    struct error err = {0};
    struct generation g;
    struct model *m;

    engine_tokenizer(folder, 61);
    m = engine_open(folder, MODEL_LM, false);
    struct generate_request r = {.prompts = 1, .offset = offset, .ids = ids, .group = 1, .max_tokens = 10,
                                 .temperature = 1.5, .top_p = 1, .ignore_eos = true, .seed = 2};
    must(generate(m, &r, &g, &err), &err);
    for (int i = 0; i < 10; i++)
        text[i] = (char)('!' + g.ids[i]);
    generation_free(&g);
    memcpy(stop, text + 4, 2);
    stop[2] = '\0';
    r.stop = stops;
    r.nstop = 2;
    must(generate(m, &r, &g, &err), &err);
    ck_assert_uint_eq(g.offset[1], (uint32_t)(strstr(text, stop) - text) + 2);
    ck_assert_int_eq(g.ended[0], 1);
    generation_free(&g);
    model_close(m);
    /* and a tokenizer with more tokens than the model is refused */
    engine_tokenizer(folder, 70);
    struct model_source source = {.path = folder};
    ck_assert_int_eq(model_open(engine_backend(), &source, &m, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "70 tokens"));
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    engine_remove(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("models");
    TCase *all = tcase_create("models");

    tcase_add_loop_test(all, saved_models_come_back, 0, 2);
    tcase_add_test(all, score_heads_are_saved_as_classifiers);
    tcase_add_test(all, frozen_copies_stay);
    tcase_add_test(all, views_share_a_trunk);
    tcase_add_test(all, random_models_depend_on_the_seed_alone);
    tcase_add_loop_test(all, wrong_weights_are_refused, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
    tcase_add_test(all, wrong_batches_are_refused);
    tcase_add_test(all, workspace_grows_to_the_largest_batch);
    tcase_add_loop_test(all, a_layer_passes_at_a_time, 0, 2);
    tcase_add_test(all, stop_strings_end_a_completion);
    suite_add_tcase(suite, all);
    return tap_run(suite);
}
