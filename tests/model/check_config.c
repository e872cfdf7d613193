/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "model/config.h"
#include "model/json_read.h"
#include "tap.h"

#include <rein/backend.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SIZES                                                                                                          \
    "\"vocab_size\": 512, \"hidden_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "                 \
    "\"intermediate_size\": 172, \"max_position_embeddings\": 256"
#define LLAMA "\"model_type\": \"llama\", " SIZES

#define GPT2                                                                                                           \
    "{\"model_type\": \"gpt2\", \"vocab_size\": 40, \"n_embd\": 64, "                                                  \
    "\"n_layer\": 3, \"n_head\": 4, \"n_positions\": 32, \"n_ctx\": 32"

static int parse(const char *text, struct model_config *c, struct error *err) {
    json_t *root = json_read_text(text, strlen(text), "config.json", err);
    int rc;

    memset(c, 0, sizeof(*c));
    if (root == NULL)
        return -1;
    rc = config_parse(root, "config.json", c, err);
    json_decref(root);
    return rc;
}

static void must_parse(const char *text, struct model_config *c) {
    struct error err = {0};
    const int rc = parse(text, c, &err);
    ck_assert_msg(rc == 0, "%s: %s", text, err.text);
}

START_TEST(both_styles_mean_the_same) {
    static const char *const texts[] = {
        "{" LLAMA
        ", \"head_dim\": 16, \"num_key_value_heads\": 2, \"rope_theta\": 500000.0, \"torch_dtype\": \"bfloat16\","
        "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}, \"eos_token_id\": [2, 7, 2], \"bos_token_id\": 1}",
        "{" LLAMA
        ", \"num_key_value_heads\": 2, \"dtype\": \"bfloat16\", \"rope_parameters\": {\"rope_type\": \"linear\", "
        "\"factor\": 2.0, \"rope_theta\": 500000.0}, \"eos_token_id\": [2, 7], \"bos_token_id\": 1, \"pad_token_id\": "
        "-1,"
        "\"layer_types\": [\"full_attention\", \"full_attention\"], \"architectures\": [\"LlamaForCausalLM\"]}",
    };

    for (int i = 0; i < 2; i++) {
        struct model_config c;
        must_parse(texts[i], &c);
        ck_assert_str_eq(c.family->name, "llama");
        ck_assert_int_eq(c.vocabulary, 512);
        ck_assert_int_eq(c.kv_heads, 2);
        ck_assert_int_eq(c.head_dim, 16);
        ck_assert(c.rope == ROPE_LINEAR && c.rope_factor == 2.0f && c.rope_theta == 500000.0f);
        ck_assert(c.dtype == REIN_BF16 && c.activation == REIN_ACT_SILU && !c.tied && c.window == 0);
        ck_assert(c.neos == 2 && c.eos[0] == 2 && c.eos[1] == 7 && c.bos == 1 && c.pad == -1);
        ck_assert(c.labels == 0 && c.norm_eps == 1e-6f);
        /* 2*512*64 + 2*(2*64 + 64*64 + 2*64*32 + 64*64 + 3*64*172) + 64 */
        ck_assert_uint_eq(config_parameters(&c), 65536 + 2 * (128 + 4096 + 4096 + 4096 + 33024) + 64);
        config_free(&c);
    }
}
END_TEST

START_TEST(families_differ_where_they_should) {
    struct model_config c;

    must_parse("{\"model_type\": \"qwen2\", " SIZES ", \"sliding_window\": 99, \"attention_bias\": false}", &c);
    ck_assert(c.qkv_bias && !c.out_bias && c.window == 0);
    config_free(&c);
    must_parse("{\"model_type\": \"qwen2\", " SIZES ", \"sliding_window\": 99, \"use_sliding_window\": true, "
               "\"max_window_layers\": 0}",
               &c);
    ck_assert_int_eq(c.window, 99);
    config_free(&c);
    must_parse("{\"model_type\": \"qwen2\", " SIZES ", \"sliding_window\": 99, \"use_sliding_window\": true}", &c);
    ck_assert_int_eq(c.window, 0); /* max_window_layers is 28: no layer slides */
    config_free(&c);
    must_parse("{\"model_type\": \"mistral\", " SIZES "}", &c);
    ck_assert_int_eq(c.window, 4096);
    config_free(&c);
    must_parse("{\"model_type\": \"mistral\", " SIZES ", \"sliding_window\": null}", &c);
    ck_assert_int_eq(c.window, 0);
    config_free(&c);
    must_parse("{\"model_type\": \"gemma\", " SIZES ", \"hidden_act\": \"gelu\"}", &c);
    ck_assert(c.activation == REIN_ACT_GELU_TANH && c.tied && c.head_dim == 256 && c.family->norm_offset == 1.0f);
    config_free(&c);
    /* hidden_activation for transformers 4, hidden_act for 5 */
    must_parse("{\"model_type\": \"gemma\", " SIZES ", \"hidden_act\": \"gelu_pytorch_tanh\", \"hidden_activation\": "
               "\"gelu_new\", \"head_dim\": 16}",
               &c);
    ck_assert(c.activation == REIN_ACT_GELU_TANH && c.head_dim == 16);
    config_free(&c);
    must_parse("{\"model_type\": \"mistral\", " SIZES ", \"sliding_window\": 7, \"layer_types\": "
               "[\"sliding_attention\", \"sliding_attention\"]}",
               &c);
    ck_assert_int_eq(c.window, 7);
    config_free(&c);
    must_parse("{\"model_type\": \"qwen2\", " SIZES ", \"sliding_window\": 7, \"use_sliding_window\": true, "
               "\"layer_types\": [\"full_attention\", \"full_attention\"], \"max_window_layers\": 0}",
               &c);
    ck_assert_int_eq(c.window, 0); /* layer_types wins */
    config_free(&c);
    must_parse(GPT2 "}", &c);
    ck_assert(c.hidden == 64 && c.intermediate == 256 && c.heads == 4 && c.kv_heads == 4 && c.head_dim == 16);
    ck_assert(c.layers == 3 && c.positions == 32 && c.norm_eps == 1e-5f && c.tied && c.qkv_bias && c.out_bias);
    ck_assert(c.mlp_bias && c.activation == REIN_ACT_GELU_TANH && c.window == 0);
    /* wte, wpe, ln_f, and per layer two norms, c_attn, c_proj, c_fc, c_proj with their biases */
    ck_assert_uint_eq(config_parameters(&c),
                      40 * 64 + 32 * 64 + 128 + 3 * (256 + 3 * 64 * 65 + 64 * 65 + 256 * 65 + 64 * 257));
    config_free(&c);
    must_parse(GPT2 ", \"n_inner\": 100, \"activation_function\": \"gelu\", \"layer_norm_epsilon\": 1e-6, "
                    "\"scale_attn_weights\": true, \"tie_word_embeddings\": false}",
               &c);
    ck_assert(c.intermediate == 100 && c.activation == REIN_ACT_GELU && c.norm_eps == 1e-6f && !c.tied);
    config_free(&c);
    must_parse(GPT2 ", \"architectures\": [\"GPT2Model\"]}", &c); /* the trunk alone */
    ck_assert_int_eq(c.labels, 0);
    config_free(&c);
    must_parse("{\"model_type\": \"qwen3\", " SIZES ", \"attention_bias\": true}", &c);
    ck_assert(c.family->qk_norm && c.qkv_bias && c.out_bias && c.head_dim == 128);
    config_free(&c);
    must_parse("{" LLAMA ", \"mlp_bias\": true, \"attention_bias\": true, \"tie_word_embeddings\": true,"
               "\"architectures\": [\"LlamaForSequenceClassification\"], \"id2label\": {\"0\": \"LABEL_0\"}}",
               &c);
    ck_assert(c.mlp_bias && c.qkv_bias && c.out_bias && c.tied && c.labels == 1);
    config_free(&c);
}
END_TEST

static const struct {
    const char *text, *says;
} refused[] = {
    {"[]", "must be a JSON object"},
    {"{\"a\": 1, \"\\u0061\": 2}", "duplicate"},
    {"{" LLAMA, "not valid JSON"},
    {"{" SIZES "}", "'model_type' is missing"},
    {"{\"model_type\": 3, " SIZES "}", "must be a string"},
    {"{\"model_type\": \"lama\", " SIZES "}", "did you mean 'llama'"},
    {"{\"model_type\": \"mamba\", " SIZES "}", "supported are llama, mistral"},
    {"{" LLAMA ", \"quantization_config\": {}}", "quantised"},
    {"{\"model_type\": \"llama\", \"hidden_sise\": 64, \"vocab_size\": 3}", "did you mean 'hidden_sise'"},
    {"{" LLAMA ", \"head_dim\": 15}", "must be even"},
    {"{" LLAMA ", \"head_dim\": 16.0}", "whole number"},
    {"{" LLAMA ", \"head_dim\": -16}", "not between"},
    {"{" LLAMA ", \"num_key_value_heads\": 3}", "not a multiple of num_key_value_heads"},
    {"{" LLAMA ", \"num_key_value_heads\": 0}", "not between"},
    {"{" LLAMA ", \"num_key_value_heads\": \"2\"}", "whole number"},
    {"{\"model_type\": \"llama\", \"vocab_size\": 9223372036854775807, \"hidden_size\": 64}", "not between"},
    {"{\"model_type\": \"llama\", \"vocab_size\": 92233720368547758070, \"hidden_size\": 64}", "not valid JSON"},
    {"{\"model_type\": \"llama\", \"vocab_size\": 5, \"hidden_size\": 65, \"num_hidden_layers\": 1, "
     "\"num_attention_heads\": 4, \"intermediate_size\": 1, \"max_position_embeddings\": 1}",
     "not a multiple of num_att"},
    {"{\"model_type\": \"llama\", \"vocab_size\": 5, \"hidden_size\": 64, \"num_hidden_layers\": 1, "
     "\"num_attention_heads\": 4096, \"head_dim\": 4096, \"intermediate_size\": 1, \"max_position_embeddings\": 1}",
     "more than"},
    {"{" LLAMA ", \"rms_norm_eps\": -1}", "not between"},
    {"{" LLAMA ", \"rms_norm_eps\": \"x\"}", "must be a number"},
    {"{" LLAMA ", \"rope_theta\": 0}", "not between"},
    {"{" LLAMA ", \"rope_scaling\": 3}", "must be an object"},
    {"{" LLAMA ", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}}", "'yarn' is not supported"},
    {"{" LLAMA ", \"rope_scaling\": {\"type\": \"linear\"}}", "'factor' is missing"},
    {"{" LLAMA ", \"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4}}",
     "greater than"},
    {"{" LLAMA ", \"partial_rotary_factor\": 0.5}", "partial_rotary_factor"},
    {"{" LLAMA ", \"hidden_act\": \"relu2\"}", "'relu2' is not supported"},
    {"{" LLAMA ", \"tie_word_embeddings\": 1}", "true or false"},
    {"{" LLAMA ", \"eos_token_id\": 512}", "outside the vocabulary"},
    {"{" LLAMA ", \"eos_token_id\": [1, \"2\"]}", "list of them"},
    {"{" LLAMA ", \"eos_token_id\": [0, 1, 2, 3, 4, 5, 6, 7, 8]}", "more than 8"},
    {"{" LLAMA ", \"bos_token_id\": 600}", "not between"},
    {"{" LLAMA ", \"pad_token_id\": -2}", "not between"},
    {"{" LLAMA ", \"torch_dtype\": \"float64\"}", "'float64' is not supported"},
    {"{" LLAMA ", \"architectures\": [\"LlamaForTokenClassification\"]}", "neither"},
    {"{" LLAMA ", \"architectures\": [\"LlamaForSequenceClassification\"]}", "2 labels"},
    {"{" LLAMA ", \"architectures\": \"x\"}", "list of one name"},
    {"{" LLAMA ", \"architectures\": [\"GPT2Model\"]}", "neither"},
    {"{" LLAMA ", \"layer_types\": [\"full_attention\"]}", "one entry for each"},
    {"{" LLAMA ", \"layer_types\": [\"full_attention\", 3]}", "layer_types[1]"},
    {"{" LLAMA ", \"layer_types\": [\"sliding_attention\", \"sliding_attention\"]}", "not known"},
    {"{\"model_type\": \"mistral\", " SIZES ", \"layer_types\": [\"sliding_attention\", \"full_attention\"]}",
     "different kinds"},
    {"{\"model_type\": \"mistral\", " SIZES ", \"sliding_window\": 0}", "not between"},
    {"{\"model_type\": \"qwen2\", " SIZES ", \"sliding_window\": 9, \"use_sliding_window\": true, "
     "\"max_window_layers\": 1}",
     "some layers only"},
    {"{\"model_type\": \"gemma\", " SIZES ", \"use_bidirectional_attention\": true}", "use_bidirectional_attention"},
    {"{\"model_type\": \"gemma\", " SIZES ", \"hidden_act\": \"silu\"}", "versions of transformers differ"},
    {"{\"model_type\": \"gemma\", " SIZES ", \"hidden_activation\": \"gelu\"}", "versions of transformers differ"},
    {"{\"model_type\": \"gemma\", " SIZES ", \"hidden_act\": \"mish\", \"hidden_activation\": \"mish\"}", "'mish'"},
    {"{\"model_type\": \"mistral\", " SIZES ", \"layer_types\": [\"full_attention\", \"full_attention\"]}",
     "asks for full attention, but sliding_window is 4096"},
    {"{\"model_type\": \"qwen2\", " SIZES ", \"layer_types\": [\"sliding_attention\", \"sliding_attention\"]}",
     "sliding_window is not in force"},
    {"{" LLAMA ", \"rope_theta\": 1e4, \"rope_parameters\": {\"rope_theta\": 1e5}}", "rope_theta is 100000, but 10000"},
    {"{" LLAMA ", \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1e5}}}", "own for 'full_attention'"},
    {"{" LLAMA
     ", \"original_max_position_embeddings\": 64, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, "
     "\"original_max_position_embeddings\": 32}}",
     "original_max_position_embeddings is 32, but 64"},
    {GPT2 ", \"scale_attn_weights\": false}", "scale_attn_weights: false is not supported"},
    {GPT2 ", \"scale_attn_by_inverse_layer_idx\": true}", "scale_attn_by_inverse_layer_idx: true is not"},
    {GPT2 ", \"add_cross_attention\": true}", "add_cross_attention: true is not supported"},
    {GPT2 ", \"activation_function\": \"relu\"}", "activation_function 'relu' is not supported"},
    {"{\"model_type\": \"gpt2\", " SIZES "}", "'n_embd' is missing"},
    {"{\"model_type\": \"gpt2\", \"vocab_size\": 5, \"n_embd\": 65, \"n_layer\": 1, \"n_head\": 4, \"n_positions\": 8}",
     "n_embd 65 is not a multiple of n_head 4"},
    {GPT2 ", \"architectures\": [\"GPT2DoubleHeadsModel\"]}", "neither GPT2LMHeadModel nor GPT2ForSequence"},
};

START_TEST(mistakes_are_refused) {
    struct model_config c;
    struct error err = {0};
    const int rc = parse(refused[_i].text, &c, &err);

    config_free(&c);
    ck_assert_msg(rc == -1, "accepted: %s", refused[_i].text);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_msg(strstr(err.text, refused[_i].says) != NULL, "'%s' does not say '%s'", err.text, refused[_i].says);
    ck_assert_msg(strncmp(err.text, "config.json", 11) == 0, "%s", err.text);
}
END_TEST

/* tests/peer/make_rope_golden.py; one unit in the last place is torch's pow. */
START_TEST(rope_equals_transformers) {
    struct error err = {0};
    json_t *cases = json_read_file(SOURCE_DIR "/tests/model/rope.json", &err), *one;
    size_t k;

    ck_assert_msg(cases != NULL, "%s", err.text);
    ck_assert_uint_ge(json_array_size(cases), 7);
    json_array_foreach(cases, k, one) {
        const json_t *want = json_object_get(one, "frequencies");
        struct model_config c;
        float got[64], scale;
        ck_assert_int_eq(config_parse(json_object_get(one, "config"), "golden", &c, &err), 0);
        ck_assert_uint_eq(json_array_size(want), (size_t)c.head_dim / 2);
        config_rope(&c, got, &scale);
        ck_assert(scale == 1.0f);
        for (size_t i = 0; i < json_array_size(want); i++) {
            const double w = json_number_value(json_array_get(want, i));
            ck_assert_msg(fabs((double)got[i] - w) <= 1.2e-7 * w, "case %zu, %zu: %.9g, not %.9g", k, i, (double)got[i],
                          w);
        }
        config_free(&c);
    }
    json_decref(cases);
}
END_TEST

static char *folder(void) {
    static char path[64];
    snprintf(path, sizeof(path), "/tmp/rein-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
    return path;
}

static void put(const char *dir, const char *name, const char *text) {
    char *path = file_join(dir, name);
    ck_assert_int_eq(file_write(path, text, strlen(text), NULL), 0);
    free(path);
}

START_TEST(saving_keeps_what_it_does_not_know) {
    struct error err = {0};
    struct model_config c, again, copy;
    char *dir = folder();

    put(dir, "config.json",
        "{" LLAMA ", \"dtype\": \"float16\", \"secret\": {\"x\": [1, 0.1]}, \"eos_token_id\": 2, "
        "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 1e5}, \"num_labels\": 3}");
    put(dir, "generation_config.json", "{\"eos_token_id\": [9, 4]}");
    ck_assert_msg(config_load(dir, &c, &err) == 0, "%s", err.text);
    ck_assert(c.neos == 2 && c.eos[0] == 9 && c.eos[1] == 4);
    ck_assert_int_eq(config_copy(&c, &copy, &err), 0);
    config_free(&c);
    copy.pad = 17;
    ck_assert_msg(config_save(&copy, true, dir, &err) == 0, "%s", err.text);
    ck_assert_msg(config_load(dir, &again, &err) == 0, "%s", err.text);
    ck_assert(again.labels == 1 && again.pad == 17 && again.rope_theta == 1e5f && again.dtype == REIN_F16);
    ck_assert(json_equal(json_object_get(again.json, "secret"), json_object_get(copy.json, "secret")));
    ck_assert_ptr_null(json_object_get(again.json, "torch_dtype"));
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(again.json, "architectures"), 0)),
                     "LlamaForSequenceClassification");
    ck_assert_msg(config_save(&again, false, dir, &err) == 0, "%s", err.text);
    config_free(&again);
    ck_assert_msg(config_load(dir, &again, &err) == 0, "%s", err.text);
    ck_assert(again.labels == 0 && json_object_get(again.json, "num_labels") == NULL);
    config_free(&again);
    config_free(&copy);
    put(dir, "generation_config.json", "{\"eos_token_id\": 5000}");
    ck_assert_int_eq(config_load(dir, &c, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "generation_config.json: eos_token_id 5000 is outside"));
    file_remove_tree(dir, NULL);
}
END_TEST

START_TEST(a_config_without_json_survives_saving) {
    struct error err = {0};
    struct model_config c, again;
    char *dir = folder();

    must_parse(
        "{" LLAMA ", \"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-5, \"eos_token_id\": 2, \"attention_bias\": true,"
        "\"tie_word_embeddings\": true, \"rope_theta\": 12345.5, \"rope_scaling\": {\"rope_type\": \"llama3\", "
        "\"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}}",
        &c);
    config_free(&c);
    ck_assert_msg(config_save(&c, false, dir, &err) == 0, "%s", err.text);
    ck_assert_msg(config_load(dir, &again, &err) == 0, "%s", err.text);
    ck_assert_double_eq(json_number_value(json_object_get(again.json, "rms_norm_eps")), 1e-5);
    config_free(&again);
    ck_assert_msg(memcmp(&c, &again, sizeof(c)) == 0, "not the same");
    file_remove_tree(dir, NULL);
}
END_TEST

START_TEST(the_real_ones_load) {
    static const char *const names[] = {
        "tiny-llama",         "tiny-llama-rm",           "tiny-mistral", "tiny-qwen2",       "stories260k",
        "stories-qwen2-tiny", "tiny-qwen2-sharded-bf16", "tiny-gpt2",    "stories-gpt2-tiny"};
    const char *data = getenv("REIN_TEST_DATA");

    if (data == NULL) {
        printf("# SKIP REIN_TEST_DATA is not set\n");
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct error err = {0};
        struct model_config four, five;
        char path[4096];
        json_t *root;
        snprintf(path, sizeof(path), "%s/models/%s", data, names[i]);
        ck_assert_msg(config_load(path, &four, &err) == 0, "%s", err.text);
        snprintf(path, sizeof(path), "%s/models/%s/config.v5.json", data, names[i]);
        root = json_read_file(path, &err);
        if (root != NULL) {
            ck_assert_msg(config_parse(root, path, &five, &err) == 0, "%s", err.text);
            config_free(&four);
            config_free(&five);
            ck_assert_mem_eq(&four, &five, sizeof(four));
        }
        json_decref(root);
        config_free(&four);
    }
}
END_TEST

int main(void) {
    Suite *s = suite_create("config");
    TCase *t = tcase_create("config");

    tcase_add_test(t, both_styles_mean_the_same);
    tcase_add_test(t, families_differ_where_they_should);
    tcase_add_loop_test(t, mistakes_are_refused, 0, (int)(sizeof(refused) / sizeof(refused[0])));
    tcase_add_test(t, rope_equals_transformers);
    tcase_add_test(t, saving_keeps_what_it_does_not_know);
    tcase_add_test(t, a_config_without_json_survives_saving);
    tcase_add_test(t, the_real_ones_load);
    suite_add_tcase(s, t);
    return tap_run(s);
}
