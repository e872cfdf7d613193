/* SPDX-License-Identifier: MIT */
#include "train/harness.h"

#include "pipeline/lora_read.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "dirty.h"
#include "plugin/host.h"
#include "report/record.h"
#include "report/sink.h"
#include "train/signals.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char config[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 496, \"hidden_size\": 16,"
    "\"intermediate_size\": 32, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1,"
    "\"head_dim\": 8, \"hidden_act\": \"silu\", \"max_position_embeddings\": 64, \"initializer_range\": 0.2,"
    "\"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"tie_word_embeddings\": false, \"bos_token_id\": null,"
    "\"eos_token_id\": 0, \"torch_dtype\": \"float32\"}\n";

const char *harness_file(const struct harness *h, const char *name, const char *text) {
    static char path[256];
    struct error err = {0};

    snprintf(path, sizeof(path), "%s/%s", h->folder, name);
    if (file_write(path, text, strlen(text), &err) != 0)
        fprintf(stderr, "%s\n", err.text);
    return path;
}

static int copy_tokenizer(const struct harness *h, const char *name, struct error *err) {
    char from[512], to[256];

    snprintf(from, sizeof(from), "%s/conf/demo/model/%s", SOURCE_DIR, name);
    snprintf(to, sizeof(to), "%s/%s", h->model, name);
    return file_copy(from, to, err);
}

int harness_use(struct harness *h, const char *backend) {
    const struct module *module = registry_find(h->registry, REIN_KIND_BACKEND, backend, NULL);
    struct arena arena = {0}; /* open() takes what it needs of the config */
    struct backend *b = NULL;
    struct params table;
    const void *bound;

    if (module == NULL)
        return -1;
    table = params_of(module->plugin);
    bound = params_bind(&table, NULL, NULL, &arena, NULL);
    if ((bound != NULL || table.config_size == 0) && backend_open(module->plugin, bound, NULL, &b, NULL) == 0) {
        backend_close(h->backend);
        h->backend = b;
        dirty_memory(b);
    }
    arena_free(&arena);
    return b != NULL ? 0 : -1;
}

int harness_open(struct harness *h) {
    struct error err = {0};

    *h = (struct harness){.folder = "/tmp/rein-train-XXXXXX"};
    log_set_level(getenv("REIN_TEST_LOG") ? LOG_DEBUG : LOG_ERROR);
    if (mkdtemp(h->folder) == NULL)
        return -1;
    snprintf(h->model, sizeof(h->model), "%s/model", h->folder);
    if (file_make_folder(h->model, &err) != 0 || copy_tokenizer(h, "tokenizer.json", &err) != 0 ||
        copy_tokenizer(h, "tokenizer_config.json", &err) != 0)
        goto fail;
    harness_file(h, "model/config.json", config);
    if (registry_create(BUILD_DIR "/modules", &h->registry, &err) != 0)
        goto fail;
    if (harness_use(h, "ref") == 0)
        return 0;
    snprintf(err.text, sizeof(err.text), "no backend");
fail:
    fprintf(stderr, "%s\n", err.text);
    harness_close(h);
    return -1;
}

void harness_data(struct harness *h) {
    static const char *const words[] = {"the", "shop", "is", "open", "we", "sell", "tea", "and", "bread"};
    struct buffer sft = {0}, pairs = {0}, prompts = {0};

    for (int i = 0; i < 12; i++) {
        buffer_printf(&sft, "{\"prompt\": \"%s %s\", \"completion\": \" %s %s %s\"}\n", words[i % 9], words[(i + 1) % 9],
                      words[(i + 2) % 9], words[(i + 3) % 9], words[(i + 4) % 9]);
        buffer_printf(&pairs, "{\"prompt\": \"%s %s\", \"chosen\": \" tea and bread\", \"rejected\": \" shop %s\"}\n",
                      words[i % 9], words[(i + 5) % 9], words[i % 9]);
        buffer_printf(&prompts, "{\"prompt\": \"%s %s\"}\n", words[i % 9], words[(i + 1) % 9]);
    }
    snprintf(h->sft, sizeof(h->sft), "%s", harness_file(h, "sft.jsonl", sft.data));
    snprintf(h->pairs, sizeof(h->pairs), "%s", harness_file(h, "pairs.jsonl", pairs.data));
    snprintf(h->prompts, sizeof(h->prompts), "%s", harness_file(h, "prompts.jsonl", prompts.data));
    buffer_free(&sft);
    buffer_free(&pairs);
    buffer_free(&prompts);
}

void harness_close(struct harness *h) {
    backend_close(h->backend);
    registry_free(h->registry);
    file_remove_tree(h->folder, NULL);
}

static int bind(const struct params *table, const struct node *mapping, void *to, struct fixture *f, struct error *err) {
    static const char *const reserved[] = {"use", "name", "weight", "data", NULL};
    void *block = params_bind(table, mapping, reserved, &f->arena, err);

    if (block == NULL)
        return -1;
    memcpy(to, block, table->config_size);
    return 0;
}

static const char *text_of(const struct node *mapping, const char *key) {
    const struct node *n = mapping ? node_get(mapping, key) : NULL;

    return n ? n->text : NULL;
}

static int bind_algorithm(const struct harness *h, struct fixture *f, const struct node *n, struct error *err) {
    static const char *const reserved[] = {"use", "name", "weight", "data", NULL};
    struct stage_algorithm *a = &f->stage.algorithms[f->stage.nalgorithms];
    const struct module *m = registry_find(h->registry, REIN_KIND_ALGORITHM, text_of(n, "use"), err);
    const struct rein_algorithm_ops *ops;
    struct host_instance *host;
    struct params table;
    void *self = NULL;
    int rc;

    if (m == NULL)
        return -1;
    table = params_of(m->plugin);
    a->plugin = m->plugin;
    a->config = params_bind(&table, n, reserved, &f->arena, err);
    a->weight = text_of(n, "weight") ? strtod(text_of(n, "weight"), NULL) : 1;
    a->data = text_of(n, "data");
    if (a->config == NULL || (host = host_create(m->plugin, NULL, err)) == NULL)
        return -1;
    ops = m->plugin->ops;
    a->needs.size = sizeof(a->needs);
    rc = host_check(host, ops->create(&host->table, a->config, &self), "create", err);
    if (rc == 0) {
        rc = host_check(host, ops->describe(self, &a->needs), "describe", err);
        ops->destroy(self);
    }
    host_free(host);
    f->stage.on_policy |= (a->needs.data & REIN_DATA_PROMPTS) != 0;
    f->stage.nalgorithms++;
    return rc;
}

static int bind_reward(const struct harness *h, struct fixture *f, const struct node *n, struct error *err) {
    static const char *const reserved[] = {"use", "name", "weight", "data", NULL};
    struct stage_reward *r = &f->stage.rewards[f->stage.nrewards];
    const struct module *m = registry_find(h->registry, REIN_KIND_REWARD, text_of(n, "use"), err);
    struct params table;

    if (m == NULL)
        return -1;
    table = params_of(m->plugin);
    *r = (struct stage_reward){.plugin = m->plugin, .weight = 1, .name = text_of(n, "name")};
    if (r->name == NULL)
        r->name = m->plugin->name;
    if (text_of(n, "weight"))
        r->weight = strtod(text_of(n, "weight"), NULL);
    r->config = params_bind(&table, n, reserved, &f->arena, err);
    f->stage.nrewards++;
    return r->config ? 0 : -1;
}

static int bind_models(const struct harness *h, struct fixture *f, const struct node *root) {
    const char *critic = text_of(root, "critic"), *scored = text_of(root, "scored");
    struct stage *s = &f->stage;

    f->tiny = (struct model_source){.path = h->model, .random = true, .seed = 5, .trainable = true};
    s->model = (struct model_use){.present = true, .from = "tiny", .source = f->tiny};
    if (text_of(root, "from")) {
        s->model.source.path = text_of(root, "from");
        s->model.source.random = false;
    }
    if (text_of(root, "head"))
        s->model.source.head = MODEL_SCORE;
    if (text_of(node_get(root, "model"), "dropout"))
        s->model.dropout = strtod(text_of(node_get(root, "model"), "dropout"), NULL);
    if (text_of(root, "dtype"))
        s->model.source.dtype = strcmp(text_of(root, "dtype"), "bf16") == 0 ? REIN_BF16 : REIN_F32;
    s->model.bootstrap = text_of(node_get(root, "model"), "bootstrap") != NULL;
    if (node_get(root, "lora")) {
        s->model.source.lora = params_bind(&lora_params, node_get(root, "lora"), NULL, &f->arena, NULL);
        if (s->model.source.lora == NULL)
            return -1;
    }
    if (text_of(root, "reference")) {
        s->reference = s->model;
        s->reference.source.lora = NULL;
    }
    if (critic != NULL) {
        s->critic = s->model;
        s->critic.source.head = MODEL_VALUE;
        s->critic.lr = 1e-2;
        s->critic.share = strcmp(critic, "share") == 0;
        if (s->critic.share)
            s->critic.source = (struct model_source){.head = MODEL_VALUE};
        if (text_of(root, "critic_warmup"))
            s->critic.warmup_steps = atoi(text_of(root, "critic_warmup"));
    }
    if (scored != NULL) {
        s->scored[0] = (struct stage_scored){.name = "judge", .use = s->model};
        s->scored[0].use.source = (struct model_source){.path = scored, .head = MODEL_SCORE};
        s->nscored = 1;
    }
    return 0;
}

static int fill(const struct harness *h, struct fixture *f, struct error *err) {
    const struct node *root = f->doc.root, *list = node_get(root, "algorithms"), *rewards = node_get(root, "rewards");
    struct stage *s = &f->stage;

    for (size_t i = 0; list != NULL && i < list->count; i++)
        if (bind_algorithm(h, f, list->items[i], err) != 0)
            return -1;
    if (list == NULL && bind_algorithm(h, f, node_get(root, "algorithm"), err) != 0)
        return -1;
    for (size_t i = 0; rewards != NULL && i < rewards->count; i++)
        if (bind_reward(h, f, rewards->items[i], err) != 0)
            return -1;
    if (bind(&train_params, node_get(root, "train"), &s->train, f, err) != 0 ||
        bind(&rollout_params, node_get(root, "rollout"), &s->rollout, f, err) != 0 ||
        bind(&data_params, node_get(root, "data"), &s->data, f, err) != 0 ||
        bind(&checkpoint_params, node_get(root, "checkpoint"), &s->checkpoint, f, err) != 0)
        return -1;
    s->train_path = s->data.train;
    s->eval_path = s->data.eval;
    return bind_models(h, f, root);
}

int fixture_open(const struct harness *h, const char *name, const char *yaml, struct fixture *out) {
    struct error err = {0};

    *out = (struct fixture){0};
    snprintf(out->output, sizeof(out->output), "%s/%s", h->folder, name);
    out->stage.output = out->output;
    out->stage.name = strrchr(out->output, '/') + 1;
    if (yaml_parse(yaml, strlen(yaml), name, &out->doc, &err) == 0 && fill(h, out, &err) == 0)
        return 0;
    fprintf(stderr, "%s\n", err.text);
    fixture_close(out);
    return -1;
}

void fixture_close(struct fixture *f) {
    arena_free(&f->arena);
    yaml_free(&f->doc);
}

/* A sink that passes everything on to the files, and sends the signal that the test asked for. */
struct tripwire {
    struct report_sink files, sink;
    const struct harness *h;
    uint64_t calls;
};

static int trip_begin(void *ctx, const char *stage, const char *folder, uint64_t total, int append, uint64_t step,
                      struct error *err) {
    struct tripwire *t = ctx;

    if (t->h->allocations != NULL)
        t->h->allocations[0] = t->h->backend->allocations;
    return t->files.begin(t->files.ctx, stage, folder, total, append, step, err);
}

static int trip_step(void *ctx, uint64_t step, int eval, const struct report_value *values, size_t count,
                     struct error *err) {
    struct tripwire *t = ctx;

    if (t->h->allocations != NULL && !eval)
        t->h->allocations[step] = t->h->backend->allocations;
    if (step == t->h->stop_step && !eval)
        signals_raise(true);
    return t->files.step(t->files.ctx, step, eval, values, count, err);
}

static int trip_sample(void *ctx, const struct report_sample *s, struct error *err) {
    struct tripwire *t = ctx;

    return t->files.sample(t->files.ctx, s, err);
}

static void trip_progress(void *ctx, const char *what, uint64_t done, uint64_t total) {
    struct tripwire *t = ctx;

    (void)what;
    (void)done;
    (void)total;
    if (++t->calls == t->h->stop_progress)
        signals_raise(true);
}

static int trip_end(void *ctx, struct error *err) {
    struct tripwire *t = ctx;

    return t->files.end(t->files.ctx, err);
}

int fixture_run(const struct harness *h, struct fixture *f, uint64_t seed, bool resume, struct error *err) {
    struct tripwire t = {.h = h, .sink = {.ctx = &t, .begin = trip_begin, .step = trip_step, .sample = trip_sample,
                                          .progress = trip_progress, .end = trip_end}};
    const struct stage_env env = {.backend = h->backend, .seed = seed, .resume = resume, .sink = &t.sink};
    int rc;

    if (record_open(&t.files, err) != 0)
        return -1;
    rc = stage_run(&f->stage, &env, err);
    if (h->calls != NULL)
        *h->calls = t.calls;
    record_close(&t.files);
    signals_raise(false);
    return rc;
}

static char *read_output(const struct fixture *f, const char *file, size_t *length) {
    char *path = file_join(f->output, file), *text = file_read(path, 1 << 26, length, NULL);

    free(path);
    return text;
}

static void each_line(const struct fixture *f, void (*visit)(void *, json_t *), void *ctx) {
    size_t length;
    char *text = read_output(f, "metrics.jsonl", &length), *save = NULL;

    for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
        json_t *object = json_loads(line, 0, NULL);

        visit(ctx, object);
        json_decref(object);
    }
    free(text);
}

struct gather {
    const char *name;
    double *out;
    size_t count, capacity;
};

static void gather(void *ctx, json_t *object) {
    struct gather *g = ctx;
    const json_t *value = json_object_get(object, g->name);

    if (json_is_number(value) && g->count < g->capacity)
        g->out[g->count++] = json_number_value(value);
}

size_t fixture_metric(const struct fixture *f, const char *name, double *out, size_t capacity) {
    struct gather g = {name, out, 0, capacity};

    each_line(f, gather, &g);
    return g.count;
}

static void without_times(void *ctx, json_t *object) {
    char *text;

    for (size_t i = 0; record_time_name(i); i++)
        json_object_del(object, record_time_name(i));
    text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    buffer_text(ctx, text);
    buffer_text(ctx, "\n");
    free(text);
}

char *fixture_metrics_text(const struct fixture *f) {
    struct buffer b = {0};

    each_line(f, without_times, &b);
    return buffer_take(&b);
}

uint32_t fixture_crc(const struct fixture *f, const char *file) {
    size_t length = 0;
    char *data = read_output(f, file, &length);
    const uLong crc = data ? crc32_z(crc32(0L, Z_NULL, 0), (const void *)data, length) : 0;

    free(data);
    return (uint32_t)crc;
}
