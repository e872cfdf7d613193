/* SPDX-License-Identifier: MIT
 * Numbers that other trainers got wrong: large vocabularies, the edges of sampling, tied embeddings, a pad token that
 * is the end of text.
 */
#include "engine.h"
#include "tap.h"

#include <rein/half.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LARGE = 131072 };

/* A head of one input: the logits are the weights themselves. */
struct head {
    struct rein_weight w;
    float *x;
};

static void *device(size_t n, size_t size, const void *from) {
    struct error err = {0};
    struct backend *b = engine_backend();
    void *p = backend_alloc(b, n, size, &err);

    ck_assert_msg(p != NULL, "%s", err.text);
    if (from)
        must(backend_upload(b, p, from, n * size, &err), &err);
    must(backend_sync(b, &err), &err);
    return p;
}

static struct head make_head(const float *logits, int64_t n, uint32_t dtype) {
    const float one = 1;
    struct head h = {.w = {.size = sizeof(h.w), .dtype = dtype, .rows = n, .cols = 1, .ld = 1}};
    uint16_t *half = malloc((size_t)n * sizeof(*half));

    for (int64_t i = 0; i < n; i++)
        half[i] = rein_to_bf16(logits[i]);
    h.w.data = dtype == REIN_F32 ? device((size_t)n, 4, logits) : device((size_t)n, 2, half);
    h.x = device(1, 4, &one);
    free(half);
    return h;
}

static void free_head(struct head *h) {
    struct backend *b = engine_backend();

    if (h->w.backend_cache && b->ops->weight_release)
        b->ops->weight_release(b->dev, &h->w);
    backend_free(b, h->w.data);
    backend_free(b, h->x);
}

static void head_of(struct head *h, int32_t target, float *logp, float *lse, float *entropy) {
    struct backend *b = engine_backend();
    struct error err = {0};
    float *out = device(3, 4, NULL), host[3];
    struct rein_head a = {.size = sizeof(a),
                          .w = &h->w,
                          .n = 1,
                          .ldh = 1,
                          .hidden = h->x,
                          .targets = &target,
                          .inv_temperature = 1,
                          .logp = out,
                          .lse = out + 1,
                          .entropy = out + 2};

    must(backend_check(b, b->k.head(b->dev, &a), "head", &err), &err);
    must(backend_download(b, host, out, sizeof(host), &err), &err);
    *logp = host[0];
    *lse = host[1];
    *entropy = host[2];
    backend_free(b, out);
}

/* log sum exp over 131072 logits, whatever the dtype of the weights: to float32's last digits. */
START_TEST(logsumexp_keeps_its_digits) {
    const uint32_t dtype = _i % 2 ? REIN_BF16 : REIN_F32;
    float *logits = malloc(LARGE * sizeof(*logits)), logp, lse, entropy;
    double sum = 0, mean = 0, most = -INFINITY, want;
    struct head h;

    for (int i = 0; i < LARGE; i++) {
        logits[i] = _i < 2 ? 5.0f : (float)(i % 97) / 8 - 6 + (_i >= 4 ? 80 : 0); /* exact in bfloat16 */
        most = fmax(most, logits[i]);
    }
    if (_i >= 4)
        for (int i = 0; i < LARGE; i += 2)
            logits[i] = -80; /* far apart */
    for (int i = 0; i < LARGE; i++)
        logits[i] = rein_from_bf16(rein_to_bf16(logits[i]));
    for (int i = 0; i < LARGE; i++)
        sum += exp(logits[i] - most);
    want = most + log(sum);
    for (int i = 0; i < LARGE; i++)
        mean += exp(logits[i] - want) * logits[i];
    h = make_head(logits, LARGE, dtype);
    head_of(&h, 77, &logp, &lse, &entropy);
    ck_assert_double_eq_tol(lse, want, 2e-7 * fabs(want) + 1e-6);
    ck_assert_double_eq_tol(logp, logits[77] - want, 2e-7 * fabs(want) + 2e-6);
    ck_assert_double_eq_tol(entropy, want - mean, 2e-5);
    free_head(&h);
    free(logits);
}
END_TEST

static int32_t draw(struct head *h, double u, double top_p, int64_t top_k, bool greedy) {
    struct backend *b = engine_backend();
    struct error err = {0};
    int32_t *id = device(1, 4, NULL), out;
    float *logp = device(1, 4, NULL);
    struct rein_sample a = {.size = sizeof(a),
                            .greedy = greedy,
                            .w = &h->w,
                            .n = 1,
                            .ldh = 1,
                            .hidden = h->x,
                            .inv_temperature = 1,
                            .top_p = (float)top_p,
                            .top_k = top_k,
                            .u = &u,
                            .ids = id,
                            .logp = logp};

    must(backend_check(b, b->k.sample(b->dev, &a), "sample", &err), &err);
    must(backend_download(b, &out, id, sizeof(out), &err), &err);
    backend_free(b, id);
    backend_free(b, logp);
    return out;
}

/* The cumulative sum over a flat large vocabulary: the middle of each token's share draws that token. */
START_TEST(cumulative_sums_reach_every_token) {
    float *logits = calloc(LARGE, sizeof(*logits));
    struct head h = make_head(logits, LARGE, REIN_F32);

    for (int32_t j = 0; j < LARGE; j += j < 8 || j > LARGE - 10 ? 1 : 4093)
        ck_assert_int_eq(draw(&h, (j + 0.5) / LARGE, 1, 0, false), j);
    free_head(&h);
    free(logits);
}
END_TEST

START_TEST(draws_at_the_edges) {
    /* 1 and 3 are alike and best; 0 and 5 can not be drawn */
    const float logits[] = {-INFINITY, 2, 1, 2, 0, -1e30f};
    struct head h = make_head(logits, 6, REIN_F32);
    const double last = nextafter(1, 0);

    ck_assert_int_eq(draw(&h, 0, 1, 0, false), 1);
    ck_assert_int_eq(draw(&h, last, 1, 0, false), 4);
    for (int i = 0; i < 3; i++) { /* greedy: the lowest of equals, whatever u says */
        ck_assert_int_eq(draw(&h, i / 3.0, 1, 0, true), 1);
        ck_assert_int_eq(draw(&h, i / 3.0, 1, 1, false), 1);
        ck_assert_int_eq(draw(&h, i / 3.0, 1e-9, 0, false), 1);
        ck_assert_int_eq(draw(&h, i / 3.0, 0, 0, false), 1);
    }
    ck_assert_int_eq(draw(&h, 0.49, 1, 2, false), 1);
    ck_assert_int_eq(draw(&h, 0.51, 1, 2, false), 3);
    ck_assert_int_eq(draw(&h, last, 1, 2, false), 3);
    ck_assert_int_eq(draw(&h, last, 1, 100, false), 4);
    free_head(&h);
}
END_TEST

/* Tied: the gradient of the one matrix is what two would get together. */
START_TEST(tied_gradient_is_head_and_input) {
    static const char config[] =
        "{\"model_type\":\"llama\",\"vocab_size\":31,\"hidden_size\":16,\"intermediate_size\":20,\"num_hidden_layers\":"
        "2,"
        "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"max_position_embeddings\":32,\"rms_norm_eps\":1e-5,"
        "\"rope_theta\":10000.0,\"tie_word_embeddings\":";
    static const int32_t ids[] = {1, 9, 30, 4, 4, 8, 12};
    static const uint32_t offset[] = {0, 5, 7};
    static const float d[] = {0, 1, -0.5f, 0.25f, 1, 0, 2};
    const struct packed batch = {2, offset, ids};
    float *g[2], *head;
    struct model *m[2];

    for (int tied = 0; tied < 2; tied++) {
        struct error err = {0};
        char text[512], *folder;
        struct pass *p;
        snprintf(text, sizeof(text), "%s%s}", config, tied ? "true" : "false");
        folder = engine_model(text, true);
        m[tied] = engine_open(folder, MODEL_LM, true);
        if (!tied) {
            const struct model_param *e = engine_param(m[0], "model.embed_tokens.weight");
            struct backend *b = model_backend(m[0]);
            must(backend_copy(b, engine_param(m[0], "lm_head.weight")->w.data, e->w.data, 31 * 16 * 4, &err), &err);
            model_touch(m[0]);
        }
        must(pass_create(m[tied], &p, &err), &err);
        engine_logprobs(p, &batch, d, NULL);
        g[tied] = engine_gradient(m[tied], engine_param(m[tied], "model.embed_tokens.weight"));
        pass_free(p);
        engine_remove(folder);
    }
    head = engine_gradient(m[0], engine_param(m[0], "lm_head.weight"));
    for (int i = 0; i < 31 * 16; i++)
        ck_assert_float_eq_tol(g[1][i], g[0][i] + head[i], 2e-6);
    ck_assert_float_ne(g[0][30 * 16], 0);
    ck_assert_float_ne(head[30 * 16], 0);
    free(head);
    for (int k = 0; k < 2; k++) {
        free(g[k]);
        model_close(m[k]);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("pitfalls");
    TCase *all = tcase_create("pitfalls");

    tcase_set_timeout(all, 120);
    tcase_add_loop_test(all, logsumexp_keeps_its_digits, 0, 6);
    tcase_add_test(all, cumulative_sums_reach_every_token);
    tcase_add_test(all, draws_at_the_edges);
    tcase_add_test(all, tied_gradient_is_head_and_input);
    suite_add_tcase(suite, all);
    return tap_run(suite);
}
