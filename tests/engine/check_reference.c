/* SPDX-License-Identifier: MIT
 * The engine against transformers' numbers for the tiny models under $REIN_TEST_DATA/models.
 */
#include "engine.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The padded inputs of ref.safetensors as ragged rows. */
struct inputs {
    struct arrays ref;
    size_t rows, width;
    uint32_t offset[17];
    int32_t *ids;
    struct packed batch;
};

static void inputs_open(struct inputs *in, const char *folder) {
    char *path = file_join(folder, "ref.safetensors");
    int64_t *ids, *mask;
    size_t n;

    arrays_open(&in->ref, path);
    ids = arrays_i64(&in->ref, "input_ids", &n);
    mask = arrays_i64(&in->ref, "attention_mask", &n);
    in->rows = (size_t)json_integer_value(
        json_array_get(json_object_get(json_object_get(in->ref.header, "input_ids"), "shape"), 0));
    in->width = n / in->rows;
    in->ids = malloc(n * sizeof(*in->ids));
    for (size_t r = 0; r < in->rows; r++) {
        uint32_t k = in->offset[r];
        for (size_t i = 0; i < in->width; i++)
            if (mask[r * in->width + i])
                in->ids[k++] = (int32_t)ids[r * in->width + i];
        in->offset[r + 1] = k;
    }
    in->batch = (struct packed){(uint32_t)in->rows, in->offset, in->ids};
    free(ids);
    free(mask);
    free(path);
}

static void inputs_close(struct inputs *in) {
    arrays_close(&in->ref);
    free(in->ids);
}

/* The largest difference, relative to the largest value of the array. */
static double distance(const float *a, const float *b, size_t n) {
    double most = 0, worst = 0;

    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)b[i]));
        worst = fmax(worst, fabs((double)a[i] - b[i]));
    }
    return worst / fmax(most, 1e-12);
}

static void check_gradients(struct model *m, const struct arrays *ref) {
    double worst = 0;

    for (size_t i = 0; i < model_params(m);) {
        size_t n, count;
        const char *tensor;
        float *have = engine_tensor_gradient(m, &i, &tensor, &count);
        char name[160];
        const float *want;
        double d;

        snprintf(name, sizeof(name), "grad.%s", tensor);
        want = arrays_f32(ref, name, &n);
        ck_assert_msg(want && n == count, "%s", name);
        d = distance(have, want, n);
        ck_assert_msg(d < 1e-4, "%s: %g", name, d);
        worst = fmax(worst, d);
        free(have);
    }
    printf("# gradients of %zu tensors, largest relative difference %.2g\n", model_params(m), worst);
}

static const char *const models[] = {"models/tiny-llama", "models/tiny-qwen2", "models/tiny-mistral",
                                     "models/tiny-gpt2"};
static const char *const reward_models[] = {"models/tiny-llama-rm"};

START_TEST(forward_equals_transformers) {
    char *folder = engine_data(models[_i]);
    struct inputs in = {0};
    struct error err = {0};
    struct pass *p;
    double worst = 0, loss = 0;

    if (!folder)
        return;
    inputs_open(&in, folder);
    struct model *m = engine_open(folder, MODEL_LM, false);
    size_t h = (size_t)model_config(m)->hidden, n = in.offset[in.rows];
    float *hidden = malloc(n * h * sizeof(float)), *logp = malloc(n * sizeof(float));
    const float *want = arrays_f32(&in.ref, "token_logprobs", NULL),
                *want_hidden = arrays_f32(&in.ref, "hidden_last", NULL);

    must(pass_create(m, &p, &err), &err);
    engine_logprobs(p, &in.batch, NULL, logp);
    must(pass_hidden(p, hidden, &err), &err);
    for (size_t r = 0; r < in.rows; r++) {
        double sum = 0;
        for (size_t i = 0; in.offset[r] + i < in.offset[r + 1]; i++) {
            size_t at = in.offset[r] + i;
            ck_assert(distance(hidden + at * h, want_hidden + (r * in.width + i) * h, h) < 1e-4);
            if (i == 0)
                continue;
            worst = fmax(worst, fabs((double)logp[at] - want[r * (in.width - 1) + i - 1]));
            sum += logp[at];
        }
        ck_assert_double_eq_tol(sum, arrays_f32(&in.ref, "seq_logprob", NULL)[r], 1e-3);
        loss -= sum;
    }
    ck_assert_double_lt(worst, 1e-4);
    ck_assert_double_eq_tol(loss / (double)(n - in.rows), arrays_f32(&in.ref, "loss", NULL)[0], 1e-5);
    printf("# %s: log-probabilities differ by at most %.2g\n", models[_i], worst);
    pass_free(p);
    model_close(m);
    free(hidden);
    free(logp);
    inputs_close(&in);
    free(folder);
}
END_TEST

/* Every logit of some rows: log p of each token, and the best. */
START_TEST(logits_equal_transformers) {
    char *folder = engine_data(models[_i]);
    struct inputs in = {0};
    struct error err = {0};
    struct pass *p;

    if (!folder)
        return;
    inputs_open(&in, folder);
    struct model *m = engine_open(folder, MODEL_LM, false);
    size_t v = (size_t)model_config(m)->vocabulary;
    const float *logits = arrays_f32(&in.ref, "logits", NULL);
    int32_t rows[3] = {0, (int32_t)in.offset[1] - 1, (int32_t)in.offset[2]}, targets[3], best[3];
    const float *z[3] = {logits, logits + (in.offset[1] - 1) * v, logits + 2 * in.width * v};
    float logp[3], entropy[3];

    must(pass_create(m, &p, &err), &err);
    must(pass_forward(p, &in.batch, false, &err), &err);
    for (size_t j = 0; j < v; j += 7) {
        struct pass_targets t = {3, rows, targets, 0.7};
        targets[0] = targets[1] = targets[2] = (int32_t)j;
        must(pass_logprobs(p, &t, logp, entropy, best, &err), &err);
        for (int r = 0; r < 3; r++) {
            double sum = 0, mean = 0, lse;
            size_t most = 0;
            for (size_t k = 0; k < v; k++) {
                sum += exp(z[r][k] / 0.7);
                mean += exp(z[r][k] / 0.7) * z[r][k] / 0.7;
                most = z[r][k] > z[r][most] ? k : most;
            }
            lse = log(sum);
            ck_assert_double_eq_tol(logp[r], z[r][j] / 0.7 - lse, 1e-4);
            ck_assert_double_eq_tol(entropy[r], lse - mean / sum, 1e-4);
            ck_assert_int_eq(best[r], (int)most);
        }
    }
    pass_free(p);
    model_close(m);
    inputs_close(&in);
    free(folder);
}
END_TEST

/* transformers given the rows padded at the left, with the positions that go with it: the same logits, and ours. */
START_TEST(left_padding_changes_nothing) {
    char *folder = engine_data(models[_i]);
    struct inputs in = {0};
    struct error err = {0};
    double worst = 0;
    struct pass *p;

    if (!folder)
        return;
    inputs_open(&in, folder);
    struct model *m = engine_open(folder, MODEL_LM, false);
    const size_t v = (size_t)model_config(m)->vocabulary, n = in.offset[in.rows];
    const float *left = arrays_f32(&in.ref, "logits_left", NULL);
    float *logp = malloc(n * sizeof(float));
    must(pass_create(m, &p, &err), &err);
    engine_logprobs(p, &in.batch, NULL, logp);
    for (size_t r = 0; r < in.rows; r++) {
        const size_t length = in.offset[r + 1] - in.offset[r], pad = in.width - length;
        for (size_t i = 1; i < length; i++) {
            const float *z = left + (r * in.width + pad + i - 1) * v;
            double sum = 0;
            for (size_t k = 0; k < v; k++)
                sum += exp(z[k]);
            worst = fmax(worst, fabs(logp[in.offset[r] + i] - (z[in.ids[in.offset[r] + i]] - log(sum))));
        }
    }
    ck_assert_double_lt(worst, 1e-4);
    free(logp);
    pass_free(p);
    model_close(m);
    inputs_close(&in);
    free(folder);
}
END_TEST

START_TEST(gradients_equal_transformers) {
    char *folder = engine_data(models[_i]);
    struct inputs in = {0};
    struct error err = {0};
    struct pass *p;
    float d[512];

    if (!folder)
        return;
    inputs_open(&in, folder);
    struct model *m = engine_open(folder, MODEL_LM, true);
    uint32_t n = in.offset[in.rows];
    for (uint32_t i = 0; i < n; i++)
        d[i] = -1.0f / (float)(n - in.rows);
    must(pass_create(m, &p, &err), &err);
    engine_logprobs(p, &in.batch, d, NULL);
    check_gradients(m, &in.ref);
    /* gradients add up, and go away */
    float *once = engine_gradient(m, model_param(m, 3)), *twice;
    engine_logprobs(p, &in.batch, d, NULL);
    twice = engine_gradient(m, model_param(m, 3));
    ck_assert_float_eq_tol(twice[5], 2 * once[5], 1e-6f * fabsf(once[5]) + 1e-12f);
    free(once);
    free(twice);
    engine_zero_grad(m);
    engine_logprobs(p, &in.batch, d, NULL);
    check_gradients(m, &in.ref);
    pass_free(p);
    model_close(m);
    inputs_close(&in);
    free(folder);
}
END_TEST

START_TEST(ten_adamw_steps_equal_pytorch) {
    char *folder = engine_data(models[_i]);
    struct inputs in = {0};
    struct error err = {0};
    struct pass *p;
    float d[512], *moments[512][2];

    if (!folder)
        return;
    inputs_open(&in, folder);
    struct model *m = engine_open(folder, MODEL_LM, true);
    struct backend *b = model_backend(m);
    uint32_t n = in.offset[in.rows];
    const float *want = arrays_f32(&in.ref, "adamw_losses", NULL);
    for (uint32_t i = 0; i < n; i++)
        d[i] = -1.0f / (float)(n - in.rows);
    for (size_t i = 0; i < model_params(m); i++)
        for (int k = 0; k < 2; k++)
            moments[i][k] = calloc((size_t)(model_param(m, i)->w.rows * model_param(m, i)->w.cols), sizeof(float));
    must(pass_create(m, &p, &err), &err);
    for (int step = 1; step <= 10; step++) {
        double loss;
        engine_zero_grad(m);
        loss = engine_logprobs(p, &in.batch, d, NULL);
        ck_assert_double_eq_tol(loss, want[step - 1], 1e-4);
        for (size_t i = 0; i < model_params(m); i++) {
            struct model_param *q = model_param(m, i);
            struct rein_adamw a = {.size = sizeof(a),
                                   .dtype = REIN_F32,
                                   .n = q->w.rows * q->w.cols,
                                   .step = step,
                                   .p = q->w.data,
                                   .g = q->grad,
                                   .m = moments[i][0],
                                   .v = moments[i][1],
                                   .lr = 1e-3,
                                   .beta1 = 0.9,
                                   .beta2 = 0.999,
                                   .eps = 1e-8,
                                   .weight_decay = 0.01,
                                   .grad_scale = 1};
            ck_assert_int_eq(b->k.adamw(b->dev, &a), REIN_OK);
        }
        model_touch(m);
    }
    for (size_t i = 0; i < model_params(m); i++) {
        free(moments[i][0]);
        free(moments[i][1]);
    }
    pass_free(p);
    model_close(m);
    inputs_close(&in);
    free(folder);
}
END_TEST

/* Greedy text token for token, the rows together and one at a time. */
START_TEST(greedy_equals_transformers) {
    char *folder = engine_data(models[_i]);
    struct inputs in = {0};
    struct error err = {0};

    if (!folder)
        return;
    inputs_open(&in, folder);
    struct model *m = engine_open(folder, MODEL_LM, false);
    for (uint32_t slots = 0; slots <= 2; slots++) {
        struct generate_request r = {.prompts = (uint32_t)in.rows,
                                     .offset = in.offset,
                                     .ids = in.ids,
                                     .group = 1,
                                     .max_tokens = 24,
                                     .top_p = 1,
                                     .ignore_eos = true,
                                     .slots = slots};
        struct generation g;
        must(generate(m, &r, &g, &err), &err);
        for (uint32_t k = 0; k < in.rows; k++) {
            char name[32];
            size_t n;
            uint32_t prompt = in.offset[k + 1] - in.offset[k];
            snprintf(name, sizeof(name), "greedy_%u", k);
            int64_t *want = arrays_i64(&in.ref, name, &n);
            ck_assert_uint_eq(n, prompt + 24);
            ck_assert_uint_eq(g.offset[k + 1] - g.offset[k], 24);
            for (uint32_t i = 0; i < 24; i++)
                ck_assert_int_eq(g.ids[g.offset[k] + i], want[prompt + i]);
            free(want);
        }
        generation_free(&g);
    }
    model_close(m);
    inputs_close(&in);
    free(folder);
}
END_TEST

START_TEST(scores_equal_transformers) {
    char *folder = engine_data(reward_models[_i]);
    struct inputs in = {0};
    struct error err = {0};
    struct pass *p;
    float scores[3], d[3];
    int32_t last[3];
    double loss;

    if (!folder)
        return;
    inputs_open(&in, folder);
    struct model *m = engine_open(folder, MODEL_SCORE, true);
    for (int r = 0; r < 3; r++)
        last[r] = (int32_t)in.offset[r + 1] - 1;
    must(pass_create(m, &p, &err), &err);
    must(pass_forward(p, &in.batch, true, &err), &err);
    must(pass_scores(p, m, 3, last, scores, &err), &err);
    for (int r = 0; r < 3; r++)
        ck_assert_double_eq_tol(scores[r], arrays_f32(&in.ref, "scores", NULL)[r], 1e-4);
    double a = 1 / (1 + exp((double)scores[0] - scores[1])), c = 1 / (1 + exp((double)scores[1] - scores[2]));
    loss = -log(1 - a) - log(1 - c);
    ck_assert_double_eq_tol(loss, arrays_f32(&in.ref, "bt_loss", NULL)[0], 1e-4);
    d[0] = (float)-a;
    d[1] = (float)(a - c);
    d[2] = (float)c;
    must(pass_scores_backward(p, m, 3, last, d, &err), &err);
    must(pass_backward(p, &err), &err);
    check_gradients(m, &in.ref);
    pass_free(p);
    model_close(m);
    inputs_close(&in);
    free(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("engine against transformers");
    TCase *all = tcase_create("reference");
    int n = (int)(sizeof(models) / sizeof(models[0])), k = (int)(sizeof(reward_models) / sizeof(reward_models[0]));

    tcase_set_timeout(all, 120);
    tcase_add_loop_test(all, forward_equals_transformers, 0, n);
    tcase_add_loop_test(all, logits_equal_transformers, 0, n);
    tcase_add_loop_test(all, left_padding_changes_nothing, 0, n);
    tcase_add_loop_test(all, gradients_equal_transformers, 0, n);
    tcase_add_loop_test(all, ten_adamw_steps_equal_pytorch, 0, n);
    tcase_add_loop_test(all, greedy_equals_transformers, 0, n);
    tcase_add_loop_test(all, scores_equal_transformers, 0, k);
    suite_add_tcase(suite, all);
    return tap_run(suite);
}
