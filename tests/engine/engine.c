/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include "base/mem.h"
#include "dirty.h"
#include "model/tensors.h"
#include "model/param.h"
#include "model/weights.h"
#include "plugin/loader.h"
#include "plugin/params.h"
#include "ref/ref.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* REIN_TEST_BACKEND names another backend, found as rein finds it. */
static const struct rein_plugin *wanted_plugin(const void **config) {
    static struct registry *registry;
    static struct arena arena;
    const char *name = getenv("REIN_TEST_BACKEND");
    const struct module *module;
    struct error err = {0};
    struct params table;

    *config = NULL;
    if (!name)
        return &ref_plugin;
    must(registry_create(NULL, &registry, &err), &err);
    module = registry_find(registry, REIN_KIND_BACKEND, name, &err);
    ck_assert_msg(module != NULL, "%s", err.text);
    table = params_of(module->plugin);
    *config = params_bind(&table, NULL, NULL, &arena, &err);
    ck_assert_msg(*config != NULL || table.config_size == 0, "%s", err.text);
    return module->plugin;
}

struct backend *engine_backend(void) {
    static struct backend *b;
    struct error err = {0};
    const void *config;

    if (!b) {
        const struct rein_plugin *plugin = wanted_plugin(&config);
        must(backend_open(plugin, config, NULL, &b, &err), &err);
        dirty_memory(b);
    }
    return b;
}

float engine_slack(void) {
    return engine_backend()->plugin == &ref_plugin ? 0.0f : 2e-5f;
}

char *engine_data(const char *name) {
    const char *base = getenv("REIN_TEST_DATA");
    char *path = base ? file_join(base, name) : NULL;

    if (!path || !file_exists(path)) {
        printf("# SKIP %s: %s\n", name, base ? "not there" : "REIN_TEST_DATA is not set");
        free(path);
        return NULL;
    }
    return path;
}

void arrays_open(struct arrays *a, const char *path) {
    struct error err = {0};
    uint64_t length;

    must(file_map_open(path, &a->map, &err), &err);
    memcpy(&length, a->map.data, sizeof(length));
    a->header = json_loadb((const char *)a->map.data + 8, length, 0, NULL);
    ck_assert_ptr_nonnull(a->header);
    a->data = a->map.data + 8 + length;
}

void arrays_close(struct arrays *a) {
    json_decref(a->header);
    file_map_close(&a->map);
}

static const void *find(const struct arrays *a, const char *name, const char *type, size_t size, size_t *count) {
    json_t *entry = json_object_get(a->header, name), *offsets = json_object_get(entry, "data_offsets");
    size_t begin = (size_t)json_integer_value(json_array_get(offsets, 0));
    size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));

    if (!entry)
        return NULL;
    ck_assert_str_eq(json_string_value(json_object_get(entry, "dtype")), type);
    *count = (end - begin) / size;
    return a->data + begin;
}

const float *arrays_f32(const struct arrays *a, const char *name, size_t *count) {
    size_t n;

    return find(a, name, "F32", 4, count ? count : &n);
}

int64_t *arrays_i64(const struct arrays *a, const char *name, size_t *count) {
    const void *from = find(a, name, "I64", 8, count);
    int64_t *out;

    ck_assert_ptr_nonnull(from);
    out = malloc(*count * sizeof(*out) + 1);
    memcpy(out, from, *count * sizeof(*out));
    return out;
}

static uint32_t hash(const char *name, uint64_t i) {
    uint32_t h = 2166136261u;

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    h += (uint32_t)i * 2654435761u;
    h = (h ^ (h >> 16)) * 0x7feb352du;
    h = (h ^ (h >> 15)) * 0x846ca68bu;
    return h ^ (h >> 16);
}

float engine_weight(const char *name, uint64_t i) {
    float x = (float)((int32_t)(hash(name, i) >> 21) - 1024) / 4096.0f;

    return (strstr(name, "norm") || strstr(name, "ln_")) && strstr(name, "weight") ? 1.0f + x : x;
}

double engine_direction(const char *name, uint64_t i) {
    return hash(name, i + 1000003u) & 1 ? 1.0 : -1.0;
}

/* How many of the n parameters are parts of the first one's tensor. */
static size_t parts_of(struct model_param *const *p, size_t n) {
    size_t k = 1;

    while (k < n && strcmp(p[k]->place.tensor, p[0]->place.tensor) == 0)
        k++;
    return k;
}

static struct tensor_out describe(struct model_param *const *p, size_t parts, uint32_t dtype) {
    struct tensor_out out = {.name = p[0]->place.tensor, .dtype = dtype, .rank = p[0]->decay ? 2 : 1};
    const int turned = p[0]->place.transposed;

    out.shape[turned] = 0;
    for (size_t k = 0; k < parts; k++)
        out.shape[turned] += p[0]->decay ? p[k]->w.rows : p[k]->w.cols;
    if (p[0]->decay)
        out.shape[!turned] = p[0]->w.cols;
    return out;
}

static void write_weights(const char *folder, const struct model_config *c, const char *prefix) {
    struct trunk plan = {.config = *c};
    struct tensors_writer *w;
    struct error err = {0};
    struct tensor_out *list;
    char *path = file_join(folder, "model.safetensors");
    size_t n = 0;

    must(weights_plan(&plan, c->labels == 0, &err), &err);
    list = calloc(plan.nparams + 1, sizeof(*list));
    for (size_t i = 0, k; i < plan.nparams; i += k) {
        k = parts_of(plan.params + i, plan.nparams - i);
        list[n++] = describe(plan.params + i, k, c->dtype);
    }
    if (c->labels)
        list[n++] = (struct tensor_out){.name = "score.weight", .dtype = c->dtype, .rank = 2, .shape = {1, c->hidden}};
    must(tensors_create(path, list, n, &w, &err), &err);
    for (size_t i = 0; i < n; i++) {
        uint64_t count = (uint64_t)(list[i].shape[0] * (list[i].rank == 2 ? list[i].shape[1] : 1));
        float *x = malloc(count * sizeof(*x));
        char name[128];
        snprintf(name, sizeof(name), "%s%s", prefix, list[i].name);
        for (uint64_t j = 0; j < count; j++)
            x[j] = engine_weight(name, j);
        must(tensors_put(w, x, count, REIN_F32, &err), &err);
        free(x);
    }
    must(tensors_finish(w, NULL, &err), &err);
    for (size_t i = 0; i < plan.nparams; i++) {
        free(plan.params[i]->place.tensor);
        free(plan.params[i]->name);
        free(plan.params[i]);
    }
    free(plan.params);
    free(plan.layers);
    free(list);
    free(path);
}

char *engine_model(const char *config, bool weights) {
    return engine_model_apart(config, weights ? "" : NULL);
}

char *engine_model_apart(const char *config, const char *prefix) {
    char *folder = mem_strdup("/tmp/rein-engine-XXXXXX"), *path;
    struct model_config c;
    struct error err = {0};

    ck_assert_ptr_nonnull(mkdtemp(folder));
    path = file_join(folder, "config.json");
    must(file_write(path, config, strlen(config), &err), &err);
    free(path);
    if (prefix) {
        must(config_load(folder, &c, &err), &err);
        write_weights(folder, &c, prefix);
        config_free(&c);
    }
    return folder;
}

void engine_remove(char *folder) {
    file_remove_tree(folder, NULL);
    free(folder);
}

void engine_write(const char *folder, const char *name, const char *text) {
    char *path = file_join(folder, name);
    struct error err = {0};

    must(file_write(path, text, strlen(text), &err), &err);
    free(path);
}

void engine_tokenizer(const char *folder, int tokens) {
    json_t *vocabulary = json_object(), *root;
    char *text;

    for (int i = 0; i < tokens; i++)
        json_object_set_new(vocabulary, (char[]){(char)('!' + i), '\0'}, json_integer(i));
    root = json_pack("{s:s,s:[],s:n,s:{s:s,s:b,s:b,s:b},s:n,s:{s:s,s:b,s:b,s:b},s:{s:s,s:n,s:n,s:b,s:b,s:o,s:[]}}",
                     "version", "1.0", "added_tokens", "normalizer", "pre_tokenizer", "type", "ByteLevel",
                     "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1, "post_processor", "decoder", "type",
                     "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1, "model", "type", "BPE",
                     "dropout", "unk_token", "fuse_unk", 0, "byte_fallback", 0, "vocab", vocabulary, "merges");
    ck_assert_ptr_nonnull(root);
    text = json_dumps(root, 0);
    engine_write(folder, "tokenizer.json", text);
    free(text);
    json_decref(root);
}

struct model *engine_open(const char *path, enum model_head head, bool trainable) {
    struct model_source source = {.path = path, .head = head, .trainable = trainable};
    struct error err = {0};
    struct model *m;

    must(model_open(engine_backend(), &source, &m, &err), &err);
    engine_zero_grad(m);
    return m;
}

void engine_zero_grad(struct model *m) {
    struct error err = {0};

    for (size_t i = 0; i < model_params(m); i++) {
        struct model_param *p = model_param(m, i);

        p->stale = p->grad != NULL;
        must(param_fresh_grad(model_backend(m), p, &err), &err);
    }
}

struct model_param *engine_param(struct model *m, const char *name) {
    for (size_t i = 0; i < model_params(m); i++)
        if (strcmp(model_param(m, i)->name, name) == 0)
            return model_param(m, i);
    return NULL;
}

float *engine_download(struct model *m, const void *device, size_t count) {
    float *x = malloc(count * sizeof(*x));
    struct error err = {0};

    must(backend_download(model_backend(m), x, device, count * sizeof(*x), &err), &err);
    return x;
}

void engine_upload(struct model *m, void *device, const float *x, size_t count) {
    struct error err = {0};

    must(backend_upload(model_backend(m), device, x, count * sizeof(*x), &err), &err);
    must(backend_sync(model_backend(m), &err), &err); /* x may go */
}

float *engine_gradient(struct model *m, const struct model_param *p) {
    return engine_download(m, p->grad, (size_t)(p->w.rows * p->w.cols));
}

float *engine_tensor_gradient(struct model *m, size_t *index, const char **name, size_t *count) {
    struct model_param *list[3];
    size_t parts = 0, have = model_params(m) - *index;
    struct tensor_out shape;
    int64_t first = 0;
    float *all;

    for (size_t k = 0; k < 3 && k < have; k++)
        list[k] = model_param(m, *index + k);
    parts = parts_of(list, have < 3 ? have : 3);
    shape = describe(list, parts, REIN_F32);
    *name = shape.name;
    *count = (size_t)(shape.shape[0] * (shape.rank == 2 ? shape.shape[1] : 1));
    *index += parts;
    all = malloc(*count * sizeof(*all));
    for (size_t k = 0; k < parts; k++) {
        const int64_t rows = list[k]->decay ? list[k]->w.rows : list[k]->w.cols,
                      cols = list[k]->decay ? list[k]->w.cols : 1;
        float *g = engine_gradient(m, list[k]);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++)
                all[list[k]->place.transposed ? c * shape.shape[1] + first + r : (first + r) * cols + c] =
                    g[r * cols + c];
        first += rows;
        free(g);
    }
    return all;
}

void engine_near(const float *a, const float *b, size_t n, const char *what, const char *name) {
    double most = 0, apart = 0;

    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(isfinite(a[i]) && isfinite(b[i]), "%s: %s is not finite", what, name);
        most = fmax(most, fabs((double)a[i]));
        apart = fmax(apart, fabs((double)a[i] - b[i]));
    }
    ck_assert_msg(apart <= 1e-5 * most + 3e-7, "%s: %s is %g apart of %g", what, name, apart, most);
}

double engine_logprobs(struct pass *p, const struct packed *batch, const float *d_logp, float *logp) {
    struct error err = {0};

    must(pass_forward(p, batch, d_logp != NULL, &err), &err);
    return engine_read_logprobs(p, batch, d_logp, logp);
}

double engine_read_logprobs(struct pass *p, const struct packed *batch, const float *d_logp, float *logp) {
    uint32_t n = batch->offset[batch->count], k = 0;
    int32_t *rows = malloc(n * sizeof(*rows) + 1), *targets = malloc(n * sizeof(*targets) + 1);
    float *lp = malloc(n * sizeof(*lp) + 1), *d = malloc(n * sizeof(*d) + 1);
    struct error err = {0};
    double sum = 0;

    for (uint32_t s = 0; s < batch->count; s++)
        for (uint32_t i = batch->offset[s] + 1; i < batch->offset[s + 1]; i++) {
            rows[k] = (int32_t)i - 1;
            d[k] = d_logp ? d_logp[i] : 0;
            targets[k++] = batch->ids[i];
        }
    struct pass_targets t = {.n = k, .rows = rows, .targets = targets, .temperature = 1.0};
    must(pass_logprobs(p, &t, lp, NULL, NULL, &err), &err);
    if (d_logp) {
        must(pass_logprobs_backward(p, &t, d, NULL, &err), &err);
        must(pass_backward(p, &err), &err);
    }
    for (uint32_t i = 0; logp && i < n; i++)
        logp[i] = 0;
    for (uint32_t i = 0; i < k; i++) {
        sum += (double)d[i] * lp[i];
        if (logp)
            logp[rows[i] + 1] = lp[i];
    }
    free(rows);
    free(targets);
    free(lp);
    free(d);
    return sum;
}
