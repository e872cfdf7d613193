/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *golden_open(const char *name) {
    json_t *golden;
    char path[512];

    snprintf(path, sizeof(path), SOURCE_DIR "/tests/golden/trainers/%s.json", name);
    golden = json_load_file(path, 0, NULL);
    ck_assert_ptr_nonnull(golden);
    return golden;
}

double golden_number(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);

    ck_assert_msg(json_is_number(value), "no %s", name);
    return json_number_value(value);
}

static void copy(const char *folder, const char *name) {
    char *from = file_join(SOURCE_DIR "/conf/demo/model", name), *to = file_join(folder, name);
    struct error err = {0};

    must(file_copy(from, to, &err), &err);
    free(from);
    free(to);
}

char *golden_model(const json_t *golden, const char *prefix, bool score) {
    json_t *config = json_deep_copy(json_object_get(golden, "config"));
    char *text, *folder;

    if (score) {
        json_object_set_new(config, "architectures", json_pack("[s]", "LlamaForSequenceClassification"));
        json_object_set_new(config, "num_labels", json_integer(1));
        json_object_set_new(config, "pad_token_id", json_integer(495));
    }
    text = json_dumps(config, 0);
    folder = engine_model_apart(text, prefix);
    copy(folder, "tokenizer.json");
    copy(folder, "tokenizer_config.json");
    free(text);
    json_decref(config);
    return folder;
}

void compare_number(double ours, double theirs, double scale, double tolerance, double *worst, const char *what, ...) {
    const double error = scale > 0 ? fabs(ours - theirs) / scale : fabs(ours - theirs);
    char text[256];
    va_list args;

    va_start(args, what);
    vsnprintf(text, sizeof(text), what, args);
    va_end(args);
    ck_assert_msg(error <= tolerance, "%s: %.9g, TRL: %.9g (off by %.3g, allowed %.3g)", text, ours, theirs, error,
                  tolerance);
    *worst = fmax(*worst, error);
}

/* ppo.json says whose tensor it is; the policy's weights began as those of the tensor's bare name. */
static float first_weight(const char *name, uint64_t i) {
    return engine_weight(strncmp(name, "policy.", 7) == 0 ? name + 7 : name, i);
}

void compare_tensor(const char *name, const char *prefix, const json_t *digest, const float *x, size_t count,
                    double tolerance, struct worst *w) {
    const json_t *values = json_object_get(digest, "values");
    const size_t stride = (size_t)golden_number(digest, "stride");
    const double most = golden_number(digest, "most"), length = golden_number(digest, "change");
    double squares = 0, projection = 0;
    char full[192];

    snprintf(full, sizeof(full), "%s%s", prefix, name);
    ck_assert_uint_eq(json_array_size(values), (count + stride - 1) / stride);
    for (size_t i = 0; i < count; i++) {
        const double change = (double)x[i] - (double)first_weight(full, i);

        squares += change * change;
        projection += change * engine_direction(full, i);
        if (i % stride == 0)
            compare_number((double)x[i], json_number_value(json_array_get(values, i / stride)), most, tolerance,
                           &w->values, "%s[%zu]", full, i);
    }
    compare_number(sqrt(squares), length, length, tolerance, &w->changes, "change of %s", full);
    compare_number(projection, golden_number(digest, "projection"), length, tolerance, &w->changes,
                   "projected change of %s", full);
}

/* Every tensor of the model has its counterpart and the other way round. */
static const json_t *find(const json_t *digests, const char *prefix, const struct model_param *p) {
    const json_t *found;
    char name[192];

    snprintf(name, sizeof(name), "%s%s", prefix, p->name);
    found = json_object_get(digests, name);
    ck_assert_msg(found != NULL, "no %s", name);
    return found;
}

static size_t with_prefix(const json_t *digests, const char *prefix) {
    const char *name;
    json_t *value;
    size_t n = 0;

    json_object_foreach((json_t *)digests, name, value) n += strncmp(name, prefix, strlen(prefix)) == 0;
    return n;
}

void compare_gradients(struct model *m, const char *prefix, const json_t *digests, double scale, double tolerance,
                       struct worst *w) {
    double largest = 0;

    ck_assert_uint_eq(with_prefix(digests, prefix), model_params(m));
    for (size_t i = 0; i < model_params(m); i++)
        largest = fmax(largest, json_number_value(json_array_get(find(digests, prefix, model_param(m, i)), 1)));
    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *p = model_param(m, i);
        const json_t *digest = find(digests, prefix, p);
        const size_t count = (size_t)(p->w.rows * p->w.cols);
        float *g = engine_gradient(m, p);
        double squares = 0, projection = 0;
        char name[192];

        snprintf(name, sizeof(name), "%s%s", prefix, p->name);

        for (size_t k = 0; k < count; k++) {
            squares += (double)g[k] * (double)g[k];
            projection += (double)g[k] * engine_direction(name, k);
        }
        compare_number(scale * sqrt(squares), json_number_value(json_array_get(digest, 1)), largest, tolerance,
                       &w->gradients, "gradient of %s", name);
        compare_number(scale * projection, json_number_value(json_array_get(digest, 0)), largest, tolerance,
                       &w->gradients, "projected gradient of %s", name);
        free(g);
    }
}

void compare_model(struct model *m, const char *prefix, const json_t *digests, double tolerance, struct worst *w) {
    ck_assert_uint_eq(with_prefix(digests, prefix), model_params(m));
    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *p = model_param(m, i);
        const size_t count = (size_t)(p->w.rows * p->w.cols);
        float *x = malloc(count * sizeof(*x) + 1);
        struct error err = {0};

        must(backend_download(model_backend(m), x, p->w.data, count * sizeof(*x), &err), &err);
        compare_tensor(p->name, prefix, find(digests, prefix, p), x, count, tolerance, w);
        free(x);
    }
}
