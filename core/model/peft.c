/* SPDX-License-Identifier: MIT */
#include "model/peft.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/json_read.h"
#include "model/lora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool peft_is_adapter(const char *path) {
    char *file = file_is_folder(path) ? file_join(path, "adapter_config.json") : NULL;
    const bool there = file && file_exists(file);

    free(file);
    return there;
}

/* ---- adapter_config.json ------------------------------------------------ */

static bool is_neutral(const json_t *x) {
    return x == NULL || json_is_null(x) || json_is_false(x) || (json_is_object(x) && json_object_size(x) == 0) ||
           (json_is_array(x) && json_array_size(x) == 0) ||
           (json_is_string(x) && strcmp(json_string_value(x), "none") == 0);
}

/* What would make another formula of it. */
static int check_plain(struct json_reader *r) {
    static const char *const keys[] = {
        "use_dora",       "bias",          "lora_bias",        "rank_pattern",      "alpha_pattern",
        "use_qalora",     "use_bdlora",    "layer_replication", "target_parameters", "trainable_token_indices",
        "velora_config",  "arrow_config",  "kasa_config",      "monteclora_config", "alora_invocation_tokens",
        "megatron_config",
    };
    const char *init;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (!is_neutral(json_object_get(r->object, keys[i])))
            return json_reader_fail(r, "key '%s' asks for another kind of adapter than plain LoRA", keys[i]);
    init = json_string_value(json_object_get(r->object, "init_lora_weights"));
    if (init && (strncmp(init, "pissa", 5) == 0 || strcmp(init, "olora") == 0 || strcmp(init, "corda") == 0 ||
                 strcmp(init, "loftq") == 0 || strcmp(init, "lora_ga") == 0))
        return json_reader_fail(r, "key 'init_lora_weights': '%s' changed the base too; save it converted to plain LoRA",
                                init);
    return 0;
}

/* A reward model's head may be saved whole; PEFT names `classifier` beside it, whether there or not. */
static int check_saved(struct json_reader *r) {
    const json_t *list = json_object_get(r->object, "modules_to_save");

    if (is_neutral(list))
        return 0;
    if (!json_is_array(list))
        return json_reader_fail(r, "key 'modules_to_save' must be a list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));

        if (!name || (strcmp(name, "score") != 0 && strcmp(name, "classifier") != 0))
            return json_reader_fail(r, "key 'modules_to_save': only a score head may be saved beside an adapter, not '%.60s'",
                                    name ? name : "?");
    }
    return 0;
}

static int read_config(struct peft *p, const char *name, struct error *err) {
    struct json_reader r = {.object = p->config, .name = name, .err = err};
    const char *type;

    if (!json_is_object(p->config))
        return error_input(err, "%s: must be an object", name);
    type = json_reader_string(&r, "peft_type", "");
    if (!r.failed && strcmp(type, "LORA") != 0)
        return json_reader_fail(&r, "key 'peft_type' must be LORA, got '%.40s'", type);
    p->rank = json_reader_int(&r, "r", 1, 1 << 20, JSON_REQUIRED);
    p->alpha = json_reader_real(&r, "lora_alpha", -1e9, 1e9, 8);
    p->rslora = json_reader_bool(&r, "use_rslora", false);
    return r.failed || check_plain(&r) || check_saved(&r) ? -1 : 0;
}

/* ---- where the base lies ------------------------------------------------ */

static bool is_model(const char *path) {
    return file_is_folder(path) || file_exists(path);
}

/* Where it lies from an adapter of ours, when both were moved; NULL: not there, or not ours. */
static char *moved_base(const struct peft *p) {
    char *file = file_join(p->path, "config.json"), *base = NULL;
    json_t *config = file && file_exists(file) ? json_read_file(file, NULL) : NULL;
    const char *way = json_string_value(json_object_get(config, CONFIG_BASE));

    if (way && *way && *way != '/')
        base = file_join(p->path, way);
    if (base && !is_model(base)) {
        free(base);
        base = NULL;
    }
    if (base)
        log_debug("%s: its base is not where it was: taking %s", p->path, base);
    json_decref(config);
    free(file);
    return base;
}

static int find_base(struct peft *p, const char *base, struct error *err) {
    const char *named = json_string_value(json_object_get(p->config, "base_model_name_or_path"));

    if (base) {
        p->base = mem_strdup(base);
        if (!p->base)
            return error_nomem(err, p->path);
        if (!is_model(base))
            return error_input(err, "%s: its base %s is not there", p->path, base);
    } else if (named && *named) {
        p->base = file_join(p->path, named);
        if (p->base && !is_model(p->base)) {
            free(p->base);
            p->base = is_model(named) ? NULL : moved_base(p);
            if (!p->base)
                p->base = mem_strdup(named);
        }
        if (!p->base)
            return error_nomem(err, p->path);
        if (!is_model(p->base))
            return error_input(err, "%s: the adapter's base model '%.200s' is not there: say where it lies with 'base'",
                               p->path, named);
    } else
        return error_input(err, "%s: adapter_config.json names no base model: say where it lies with 'base'", p->path);
    if (peft_is_adapter(p->base))
        return error_input(err, "%s: its base %.300s is an adapter itself", p->path, p->base);
    return 0;
}

static int open_config(struct peft *p, struct error *err) {
    char *file = file_join(p->path, "adapter_config.json");
    int rc = -1;

    if (!file)
        return error_nomem(err, p->path);
    p->config = json_read_file(file, err);
    if (p->config)
        rc = read_config(p, file, err);
    free(file);
    return rc;
}

static int open_tensors(struct peft *p, struct error *err) {
    char *file = file_join(p->path, "adapter_model.safetensors"), *torch = file_join(p->path, "adapter_model.bin");
    int rc = -1;

    if (!file || !torch)
        error_nomem(err, p->path);
    else if (!file_exists(file))
        error_input(err, "%s: has no adapter_model.safetensors%s", p->path,
                    file_exists(torch) ? "; adapter_model.bin is not read, save it with safe_serialization" : "");
    else
        rc = tensors_open(file, &p->tensors, err);
    free(file);
    free(torch);
    return rc;
}

static struct peft *create(const char *path, struct error *err) {
    struct peft *p = mem_zeros(1, sizeof(*p));

    if (p && (p->path = mem_strdup(path)) != NULL)
        return p;
    free(p);
    error_nomem(err, path);
    return NULL;
}

int peft_open(const char *path, const char *base, struct peft **out, struct error *err) {
    struct peft *p = create(path, err);

    *out = NULL;
    if (!p)
        return -1;
    if (open_config(p, err) || find_base(p, base, err) || open_tensors(p, err)) {
        peft_close(p);
        return -1;
    }
    *out = p;
    return 0;
}

int peft_look(const char *path, struct peft **out, struct error *err) {
    struct peft *p = create(path, err);

    *out = NULL;
    if (!p)
        return -1;
    if (open_config(p, err) || open_tensors(p, err)) {
        peft_close(p);
        return -1;
    }
    *out = p;
    return 0;
}

void peft_close(struct peft *p) {
    if (!p)
        return;
    tensors_close(p->tensors);
    json_decref(p->config);
    free(p->path);
    free(p->base);
    free(p);
}

int peft_base(const char *path, const char *base, char **out, struct error *err) {
    struct peft *p;

    *out = NULL;
    if (!peft_is_adapter(path))
        return (*out = mem_strdup(path)) ? 0 : error_nomem(err, path);
    p = create(path, err);
    if (!p)
        return -1;
    if (open_config(p, err) == 0 && find_base(p, base, err) == 0) {
        *out = p->base;
        p->base = NULL;
    }
    peft_close(p);
    return *out ? 0 : -1;
}

/* ---- its tensors -------------------------------------------------------- */

static bool has(const struct peft *p, const char *key, const char *leaf) {
    char name[PEFT_NAME + 32];

    snprintf(name, sizeof(name), "%s.%s.weight", key, leaf);
    return tensors_find(p->tensors, name) != NULL;
}

bool peft_find(const struct peft *p, const char *prefix, const char *module, char *key, size_t size) {
    const size_t n = strlen(prefix);

    for (int bare = 0; bare < 2; bare++) { /* an adapter of the bare trunk leaves the prefix out */
        if (bare && strncmp(module, prefix, n) != 0)
            return false;
        snprintf(key, size, PEFT_PREFIX "%s", module + (bare ? n : 0));
        if (has(p, key, "lora_A") || has(p, key, "lora_B"))
            return true;
    }
    return false;
}

const char *peft_score(const struct peft *p) {
    static const char name[] = PEFT_PREFIX "score.weight";

    return tensors_find(p->tensors, name) ? name : NULL;
}

static int check_shape(const struct peft *p, const struct model_param *param, struct error *err) {
    const struct tensor_info *info = tensors_find(p->tensors, param->place.tensor);

    if (!info)
        return error_input(err, "%s: tensor %s [%lld, %lld] is missing", tensors_path(p->tensors), param->place.tensor,
                           (long long)param->place.rows, (long long)param->w.cols);
    if (info->rank == 2 && info->shape[0] == param->place.rows && info->shape[1] == param->w.cols)
        return 0;
    return error_input(err, "%s: tensor %s has shape [%lld, %lld%s], its base and rank ask for [%lld, %lld]",
                       tensors_path(p->tensors), info->name, info->rank > 0 ? (long long)info->shape[0] : 0,
                       info->rank > 1 ? (long long)info->shape[1] : 0, info->rank > 2 ? ", ..." : "",
                       (long long)param->place.rows, (long long)param->w.cols);
}

static bool is_known(const struct lora *l, const char *name) {
    for (size_t i = 0; i < l->nparams; i++)
        if (strcmp(l->params[i]->place.tensor, name) == 0)
            return true;
    return false;
}

int peft_check(const struct peft *p, const struct lora *l, const struct trunk *t, struct error *err) {
    const char *score = peft_score(p);

    for (size_t i = 0; i < l->nparams; i++)
        if (check_shape(p, l->params[i], err))
            return -1;
    for (size_t i = 0; i < tensors_count(p->tensors); i++) {
        const char *name = tensors_at(p->tensors, i)->name;

        if ((score && strcmp(name, score) == 0) || is_known(l, name))
            continue;
        return error_input(err, "%s: tensor %.300s has no place in an adapter of its base, a %s model",
                           tensors_path(p->tensors), name, t->config.family->name);
    }
    return l->nparams ? 0 : error_input(err, "%s: holds no tensor of an adapter", tensors_path(p->tensors));
}

/* ---- writing ------------------------------------------------------------ */

/* The last words of the layers' names, each once, as PEFT spells out all-linear. */
static json_t *leaves(const struct lora *l) {
    json_t *list = json_array();

    for (size_t i = 0; i < l->nparams; i++) {
        char name[PEFT_NAME], *leaf;
        bool there = false;

        snprintf(name, sizeof(name), "%s", l->params[i]->place.tensor);
        for (int k = 0; k < 2; k++) /* ".lora_A.weight" */
            if ((leaf = strrchr(name, '.')) != NULL)
                *leaf = '\0';
        leaf = strrchr(name, '.');
        for (size_t k = 0; leaf && k < json_array_size(list); k++)
            there = there || strcmp(json_string_value(json_array_get(list, k)), leaf + 1) == 0;
        if (leaf && !there)
            json_array_append_new(list, json_string(leaf + 1));
    }
    return list;
}

json_t *peft_new_config(const struct lora *l, const struct lora_options *o, bool transposed) {
    const char *const *names = o->targets.items;
    json_t *targets = o->targets.count && strcmp(names[0], "all-linear") != 0 ? json_array() : leaves(l);

    for (size_t i = 0; o->targets.count && strcmp(names[0], "all-linear") != 0 && i < o->targets.count; i++)
        json_array_append_new(targets, json_string(names[i]));
    return json_pack("{s:s, s:I, s:f, s:f, s:b, s:b, s:b, s:s, s:b, s:o}", "peft_type", "LORA", "r", (json_int_t)l->rank,
                     "lora_alpha", l->alpha, "lora_dropout", o->dropout, "use_rslora", (int)l->rslora,
                     "init_lora_weights", 1, "fan_in_fan_out", (int)transposed, "bias", "none", "inference_mode", 1, "target_modules", targets);
}

int peft_save_config(const struct lora *l, bool score, const char *folder, struct error *err) {
    char *base = realpath(l->base, NULL), *file = file_join(folder, "adapter_config.json"), *text = NULL;
    json_t *o = json_copy(l->config);
    int rc = 0;

    rc |= json_object_set_new(o, "base_model_name_or_path", json_string(base ? base : l->base));
    rc |= json_object_set_new(o, "task_type", json_string(score ? "SEQ_CLS" : "CAUSAL_LM"));
    rc |= json_object_set_new(o, "modules_to_save", score ? json_pack("[s]", "score") : json_null());
    rc |= json_object_set_new(o, "inference_mode", json_true());
    if (rc == 0)
        text = json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS);
    rc = file && text ? file_write(file, text, strlen(text), err) : error_nomem(err, "adapter_config.json");
    json_decref(o);
    free(base);
    free(file);
    free(text);
    return rc;
}
