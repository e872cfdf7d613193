/* SPDX-License-Identifier: MIT
 * What every family's files must come through: saving, the naming of a bare trunk, tying, padded vocabularies.
 */
#include "engine.h"
#include "model/tensors.h"
#include "model/param.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *golden;

static json_t *case_at(int i) {
    return json_array_get(json_object_get(golden, "cases"), (size_t)i);
}

static const char *name_at(int i) {
    return json_string_value(json_object_get(case_at(i), "name"));
}

static int find_case(const char *name) {
    for (int i = 0; case_at(i); i++)
        if (strcmp(name_at(i), name) == 0)
            return i;
    ck_abort_msg("no case %s", name);
}

/* config.json of a case, with another dtype and vocabulary when they are given. */
static char *folder_of(int i, const char *dtype, int vocabulary) {
    json_t *c = json_deep_copy(json_object_get(case_at(i), "config"));
    char *text, *folder;

    if (dtype)
        json_object_set_new(c, "torch_dtype", json_string(dtype));
    if (vocabulary)
        json_object_set_new(c, "vocab_size", json_integer(vocabulary));
    text = json_dumps(c, 0);
    folder = engine_model(text, true);
    free(text);
    json_decref(c);
    return folder;
}

static bool is_classifier(int i) {
    return json_object_get(case_at(i), "scores") != NULL;
}

static const int32_t ids[] = {1, 9, 30, 4, 4, 58, 12, 33, 2, 40, 7, 7};
static const uint32_t offset[] = {0, 8, 12};
static const struct packed batch = {2, offset, ids};

/* Log-probabilities, or scores at the ends of the rows. */
static void outputs(struct model *m, float out[12]) {
    const int32_t last[] = {7, 11};
    struct error err = {0};
    struct pass *p;

    memset(out, 0, 12 * sizeof(*out));
    must(pass_create(m, &p, &err), &err);
    if (model_head(m) == MODEL_LM) {
        engine_logprobs(p, &batch, NULL, out);
    } else {
        must(pass_forward(p, &batch, false, &err), &err);
        must(pass_scores(p, m, 2, last, out, &err), &err);
    }
    pass_free(p);
}

static bool same_tensor(const struct tensors *a, const struct tensors *b, const struct tensor_info *x,
                        const struct tensor_info *y) {
    struct error err = {0};
    float *u, *v;
    bool same = x->rank == y->rank && x->dtype == y->dtype && x->elements == y->elements &&
                memcmp(x->shape, y->shape, x->rank * sizeof(*x->shape)) == 0;

    if (!same)
        return false;
    u = malloc(x->elements * sizeof(*u));
    v = malloc(x->elements * sizeof(*v));
    must(tensors_read(a, x, 0, x->elements, REIN_F32, u, &err), &err);
    must(tensors_read(b, y, 0, y->elements, REIN_F32, v, &err), &err);
    same = memcmp(u, v, x->elements * sizeof(*u)) == 0;
    free(u);
    free(v);
    return same;
}

/* Read, written, the same tensors to the bit, and a config.json that means the same. */
START_TEST(files_survive_reading_and_writing) {
    const int i = _i / 2;
    const bool score = is_classifier(i);
    char *folder = folder_of(i, _i % 2 ? "bfloat16" : NULL, 0), *saved = engine_model("{}", false);
    struct model *m = engine_open(folder, score ? MODEL_SCORE : MODEL_LM, _i % 4 < 2);
    struct model_config before, after;
    struct tensors *a, *b;
    struct error err = {0};
    float x[12], y[12];

    printf("# %s\n", name_at(i));
    outputs(m, x);
    must(model_save(m, saved, NULL, &err), &err);
    model_close(m);
    must(tensors_open(folder, &a, &err), &err);
    must(tensors_open(saved, &b, &err), &err);
    ck_assert_uint_eq(tensors_count(a), tensors_count(b));
    for (size_t k = 0; k < tensors_count(a); k++) {
        const struct tensor_info *one = tensors_at(a, k), *other = tensors_find(b, one->name);
        ck_assert_msg(other != NULL && same_tensor(a, b, one, other), "%s", one->name);
    }
    tensors_close(a);
    tensors_close(b);
    must(config_load(folder, &before, &err), &err);
    must(config_load(saved, &after, &err), &err);
    config_free(&before);
    config_free(&after);
    before.pad = after.pad; /* a classifier may get one */
    ck_assert_mem_eq(&before, &after, sizeof(before));
    m = engine_open(saved, score ? MODEL_SCORE : MODEL_LM, false);
    outputs(m, y);
    for (int k = 0; k < 12; k++) /* of bfloat16 weights the first were computed in float32 */
        same(x[k], y[k]);
    model_close(m);
    engine_remove(folder);
    engine_remove(saved);
}
END_TEST

/* The same weights named as a bare trunk names them, beside what old files hold that is no weight. */
static void write_bare(const char *folder, const char *prefix, const char *extra) {
    char *path = file_join(folder, "model.safetensors"), *moved = file_join(folder, "old.safetensors");
    struct tensors *from;
    struct tensors_writer *w;
    struct error err = {0};
    struct tensor_out list[64];
    float zero = 0;
    size_t n;

    ck_assert_int_eq(rename(path, moved), 0);
    must(tensors_open(moved, &from, &err), &err);
    n = tensors_count(from);
    for (size_t k = 0; k < n; k++) {
        const struct tensor_info *t = tensors_at(from, k);
        list[k] = (struct tensor_out){.name = t->name, .dtype = t->dtype, .rank = t->rank};
        if (strncmp(t->name, prefix, strlen(prefix)) == 0)
            list[k].name += strlen(prefix);
        memcpy(list[k].shape, t->shape, sizeof(t->shape));
    }
    list[n] = (struct tensor_out){.name = extra, .dtype = REIN_F32, .rank = 1, .shape = {1}};
    must(tensors_create(path, list, n + 1, &w, &err), &err);
    for (size_t k = 0; k < n; k++) {
        const struct tensor_info *t = tensors_at(from, k);
        float *x = malloc(t->elements * sizeof(*x));
        must(tensors_read(from, t, 0, t->elements, REIN_F32, x, &err), &err);
        must(tensors_put(w, x, t->elements, REIN_F32, &err), &err);
        free(x);
    }
    must(tensors_put(w, &zero, 1, REIN_F32, &err), &err);
    must(tensors_finish(w, NULL, &err), &err);
    tensors_close(from);
    remove(moved);
    free(path);
    free(moved);
}

static const struct {
    const char *name, *prefix, *extra, *embedding;
} bare[] = {
    {"gpt2", "transformer.", "h.0.attn.bias", "transformer.wte.weight"},
    {"gpt2, own head, n_inner, erf", "transformer.", "h.1.attn.masked_bias", "transformer.wte.weight"},
    {"gpt2, score", "transformer.", "h.0.attn.bias", "transformer.wte.weight"},
    {"llama", "model.", "layers.0.self_attn.rotary_emb.inv_freq", "model.embed_tokens.weight"},
    {"gemma", "model.", "layers.1.self_attn.rotary_emb.inv_freq", "model.embed_tokens.weight"},
};

START_TEST(both_namings_are_read) {
    const int i = find_case(bare[_i].name);
    const enum model_head head = is_classifier(i) ? MODEL_SCORE : MODEL_LM;
    char *folder = folder_of(i, NULL, 0), *saved = engine_model("{}", false);
    struct model *m = engine_open(folder, head, false);
    struct model_source source = {.path = folder};
    struct error err = {0};
    struct tensors *file;
    float x[12], y[12];

    outputs(m, x);
    model_close(m);
    write_bare(folder, bare[_i].prefix, bare[_i].extra);
    m = engine_open(folder, head, true);
    outputs(m, y);
    ck_assert_mem_eq(x, y, sizeof(x));
    must(model_save(m, saved, NULL, &err), &err);
    model_close(m);
    must(tensors_open(saved, &file, &err), &err);
    ck_assert_ptr_nonnull(tensors_find(file, bare[_i].embedding)); /* as transformers writes them */
    tensors_close(file);
    write_bare(folder, "", "h.0.attn.strange"); /* anything else is refused */
    ck_assert_int_eq(model_open(engine_backend(), &source, &m, &err), -1);
    ck_assert_msg(strstr(err.text, "h.0.attn.strange [1] has no place") != NULL ||
                      (head == MODEL_SCORE && strstr(err.text, "reward model") != NULL),
                  "%s", err.text);
    engine_remove(folder);
    engine_remove(saved);
}
END_TEST

/* Tied: one parameter, counted once, written once. Untied: two. And the estimate counts what there is. */
START_TEST(tied_embeddings_are_one) {
    const bool score = is_classifier(_i);
    char *folder = folder_of(_i, NULL, 0), *saved = engine_model("{}", false);
    struct model *m = engine_open(folder, score ? MODEL_SCORE : MODEL_LM, true);
    const struct model_config *c = model_config(m);
    struct model_memory memory;
    struct error err = {0};
    struct tensors *file;
    uint64_t count = 0, embeddings = 0;

    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *p = model_param(m, i);
        count += (uint64_t)(p->w.rows * p->w.cols);
        embeddings += p->w.rows == c->vocabulary;
        for (size_t k = 0; k < i; k++)
            ck_assert(model_param(m, k) != p);
    }
    ck_assert_uint_eq(embeddings, c->tied || score ? 1 : 2);
    must(model_estimate(c, &(struct model_source){.head = model_head(m), .trainable = true}, &memory, &err), &err);
    ck_assert_uint_eq(memory.weights, 4 * count);
    ck_assert_uint_eq(memory.training, 12 * count);
    if (!score)
        ck_assert_uint_eq(config_parameters(c), count);
    must(model_save(m, saved, NULL, &err), &err);
    must(tensors_open(saved, &file, &err), &err);
    ck_assert_int_eq(tensors_find(file, "lm_head.weight") != NULL, !c->tied && !score);
    tensors_close(file);
    model_close(m);
    engine_remove(folder);
    engine_remove(saved);
}
END_TEST

/* A reward model and its copy hold one trunk, however the family's tensors are laid out. */
START_TEST(a_copy_has_the_same_trunk) {
    const enum model_head head = is_classifier(_i) ? MODEL_SCORE : MODEL_LM;
    char *one = folder_of(_i, NULL, 0), *two = folder_of(_i, NULL, 0);
    struct model *m = engine_open(one, head, false);
    const struct model_source source = {.path = two, .head = head};
    struct error err = {0};
    bool same;

    must(model_same_files(m, &source, &same, &err), &err);
    ck_assert(same);
    model_close(m);
    engine_remove(one);
    engine_remove(two);
}
END_TEST

/* Where elements of a part lie: rows 3 and 4 of 9, of 4 columns. */
START_TEST(parts_have_their_place) {
    struct model_param p = {.decay = true, .place = {.first = 3, .rows = 9}, .w = {.rows = 2, .cols = 4}};

    ck_assert_uint_eq(param_file_index(&p, 0), 12);
    ck_assert_uint_eq(param_file_index(&p, 7), 19);
    ck_assert(!param_is_whole(&p));
    p.place.transposed = true; /* stored as [4][9] */
    ck_assert_uint_eq(param_file_index(&p, 0), 3);
    ck_assert_uint_eq(param_file_index(&p, 1), 12);
    ck_assert_uint_eq(param_file_index(&p, 4), 4);
    p = (struct model_param){.place = {.first = 3, .rows = 9}, .w = {.rows = 1, .cols = 2}};
    ck_assert_uint_eq(param_file_index(&p, 1), 4);
}
END_TEST

/* Weight decay skips exactly the vectors: biases and norm weights. */
START_TEST(biases_and_norms_do_not_decay) {
    const int i = find_case("gpt2");
    char *folder = folder_of(i, NULL, 0);
    struct model *m = engine_open(folder, MODEL_LM, true);
    size_t decayed = 0, kept = 0;

    for (size_t k = 0; k < model_params(m); k++) {
        const struct model_param *p = model_param(m, k);
        const bool vector = strstr(p->name, ".bias") != NULL || strstr(p->name, "ln_") != NULL;
        ck_assert_msg(p->decay == !vector, "%s", p->name);
        decayed += p->decay;
        kept += !p->decay;
    }
    ck_assert_uint_eq(decayed, 2 + 2 * 6); /* wte, wpe; q, k, v, c_proj, c_fc, c_proj */
    ck_assert_uint_eq(kept, 2 + 2 * (4 + 6));
    ck_assert_ptr_nonnull(engine_param(m, "transformer.h.1.attn.c_attn.k.bias"));
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* The largest id of 400 tokens drawn, and whether their log-probabilities are those of a full pass. */
static int32_t largest_drawn(struct model *m, double temperature) {
    struct generate_request r = {.prompts = 1,
                                 .offset = (uint32_t[]){0, 3},
                                 .ids = ids,
                                 .group = 10,
                                 .max_tokens = 40,
                                 .temperature = temperature,
                                 .top_p = 1,
                                 .ignore_eos = true,
                                 .seed = 5};
    struct error err = {0};
    struct generation g;
    struct pass *p;
    int32_t most = 0, row[43], at[40];
    float logp[40];

    must(generate(m, &r, &g, &err), &err);
    must(pass_create(m, &p, &err), &err);
    for (uint32_t c = 0; c < 10; c++) {
        uint32_t span[] = {0, 43};
        struct packed one = {1, span, row};
        struct pass_targets t = {40, at, row + 3, temperature > 0 ? temperature : 1};
        memcpy(row, ids, 3 * sizeof(*row));
        memcpy(row + 3, g.ids + 40 * c, 40 * sizeof(*row));
        for (int k = 0; k < 40; k++) {
            at[k] = k + 2;
            most = row[k + 3] > most ? row[k + 3] : most;
        }
        must(pass_forward(p, &one, false, &err), &err);
        must(pass_logprobs(p, &t, logp, NULL, NULL, &err), &err);
        for (int k = 0; k < 40; k++)
            ck_assert_float_eq_tol(logp[k], g.logp[40 * c + (uint32_t)k], 2e-5);
    }
    pass_free(p);
    generation_free(&g);
    return most;
}

/* Rows of the embedding past the tokenizer's tokens: kept, trained, written, and never drawn. */
START_TEST(padding_of_a_vocabulary_is_never_drawn) {
    char *folder = folder_of(find_case("qwen2, tied"), NULL, 96);
    struct model *m = engine_open(folder, MODEL_LM, false);
    struct model_source source = {0};
    struct error err = {0};

    ck_assert_int_gt(largest_drawn(m, 2.0), 90); /* without a tokenizer nobody knows what is padding */
    model_close(m);
    engine_tokenizer(folder, 40);
    m = engine_open(folder, MODEL_LM, false);
    ck_assert_int_eq(largest_drawn(m, 2.0), 39);
    ck_assert_int_lt(largest_drawn(m, 0.5), 40);
    model_close(m);
    engine_remove(folder);
    /* more tokens than rows */
    folder = folder_of(find_case("gpt2"), NULL, 0);
    engine_tokenizer(folder, 62);
    source.path = folder;
    ck_assert_int_eq(model_open(engine_backend(), &source, &m, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "the tokenizer has 62 tokens, the model's vocabulary only 61"));
    engine_remove(folder);
}
END_TEST

/* generation_config.json's end of text wins; without a BOS nothing is put in front. */
START_TEST(gpt2_has_no_bos_and_its_own_eos) {
    char *folder = folder_of(find_case("gpt2"), NULL, 0);
    struct error err = {0};
    struct model *m;
    const int32_t *prefix;

    engine_tokenizer(folder, 61);
    engine_write(folder, "tokenizer_config.json",
                 "{\"bos_token\": \"A\", \"eos_token\": \"A\", \"add_prefix_space\": false}");
    engine_write(folder, "generation_config.json", "{\"bos_token_id\": 32, \"eos_token_id\": [32, 5]}");
    m = engine_open(folder, MODEL_LM, false);
    ck_assert(model_config(m)->neos == 2 && model_config(m)->eos[0] == 32 && model_config(m)->eos[1] == 5);
    ck_assert_uint_eq(tokenizer_prefix(model_tokenizer(m), &prefix), 0);
    ck_assert_int_eq(tokenizer_eos(model_tokenizer(m)), 32);
    struct generate_request r = {.prompts = 1,
                                 .offset = (uint32_t[]){0, 3},
                                 .ids = ids,
                                 .group = 30,
                                 .max_tokens = 50,
                                 .temperature = 3,
                                 .top_p = 1,
                                 .eos = model_config(m)->eos,
                                 .neos = 2,
                                 .seed = 5};
    struct generation g;
    size_t ended[2] = {0, 0};
    must(generate(m, &r, &g, &err), &err);
    for (uint32_t c = 0; c < g.count; c++) {
        const int32_t end = g.ids[g.offset[c + 1] - 1];
        ck_assert_int_eq(g.ended[c], end == 32 || end == 5);
        ended[0] += end == 32;
        ended[1] += end == 5;
    }
    ck_assert(ended[0] > 0 && ended[1] > 0);
    generation_free(&g);
    model_close(m);
    engine_remove(folder);
}
END_TEST

/* A row gives the same bits whether 0, 3 or 17 tokens of others stand in front: there is no padding to leak. */
START_TEST(neighbours_change_nothing) {
    char *folder = folder_of(_i, NULL, 0);
    struct model *m = engine_open(folder, MODEL_LM, false);
    const uint32_t pads[] = {0, 3, 17};
    float first[8] = {0}, logp[32];
    struct error err = {0};
    struct pass *p;

    must(pass_create(m, &p, &err), &err);
    for (int k = 0; k < 3; k++) {
        uint32_t span[] = {0, pads[k], pads[k] + 8};
        int32_t row[32];
        struct packed both = {2, span, row};
        for (uint32_t i = 0; i < pads[k]; i++)
            row[i] = (int32_t)(i * 7 % 60);
        memcpy(row + pads[k], ids, 8 * sizeof(*row));
        if (k == 0) {
            both.count = 1;
            span[1] = 8;
        }
        engine_logprobs(p, &both, NULL, logp);
        if (k == 0)
            memcpy(first, logp, sizeof(first));
        for (int i = 0; i < 8; i++)
            same(first[i], logp[pads[k] + (uint32_t)i]);
    }
    ck_assert(first[3] != 0 && first[3] != first[4]);
    pass_free(p);
    model_close(m);
    engine_remove(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("families");
    TCase *all = tcase_create("families");
    int n, language, rc;

    golden = json_load_file(SOURCE_DIR "/tests/golden/engine.json", 0, NULL);
    if (!golden)
        return 1;
    n = (int)json_array_size(json_object_get(golden, "cases"));
    for (language = 0; language < n && !is_classifier(language); language++)
        ;
    tcase_set_timeout(all, 120);
    tcase_add_loop_test(all, files_survive_reading_and_writing, 0, 2 * n);
    tcase_add_loop_test(all, both_namings_are_read, 0, (int)(sizeof(bare) / sizeof(bare[0])));
    tcase_add_loop_test(all, tied_embeddings_are_one, 0, n);
    tcase_add_loop_test(all, a_copy_has_the_same_trunk, 0, n);
    tcase_add_test(all, parts_have_their_place);
    tcase_add_test(all, biases_and_norms_do_not_decay);
    tcase_add_test(all, padding_of_a_vocabulary_is_never_drawn);
    tcase_add_test(all, gpt2_has_no_bos_and_its_own_eos);
    tcase_add_loop_test(all, neighbours_change_nothing, 0, language);
    suite_add_tcase(suite, all);
    rc = tap_run(suite);
    json_decref(golden);
    return rc;
}
