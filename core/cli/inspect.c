/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "cli/cli.h"
#include "cli/inspect_checkpoint.h"
#include "cli/show.h"
#include "model/config.h"
#include "model/dtype.h"
#include "model/peft.h"
#include "model/tensors.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a path holds; each part may be missing. */
struct contents {
    const char *path;
    struct tensors *tensors;
    struct model_config config;
    struct tokenizer *tokenizer;
    struct peft *adapter; /* its tensors are `tensors` */
};

static bool is_in(const char *folder, const char *name) {
    char *path = file_join(folder, name);
    const bool there = path != NULL && file_exists(path);

    free(path);
    return there;
}

static int open_folder(struct contents *c, struct error *err) {
    const bool weights = is_in(c->path, "model.safetensors") || is_in(c->path, "model.safetensors.index.json");

    if (peft_is_adapter(c->path)) {
        if (peft_look(c->path, &c->adapter, err) != 0)
            return -1;
        c->tensors = c->adapter->tensors;
    } else if (!weights && !is_in(c->path, "config.json"))
        return error_input(err, "%s: has neither config.json nor model.safetensors", c->path);
    if (is_in(c->path, "config.json") && config_load(c->path, &c->config, err) != 0)
        return -1;
    if (is_in(c->path, "tokenizer.json") && tokenizer_load(c->path, &c->tokenizer, err) != 0)
        return -1;
    return weights && c->tensors == NULL ? tensors_open(c->path, &c->tensors, err) : 0;
}

static int open_gguf(struct contents *c, struct error *err) {
    char *json, *settings;
    int rc;

    if (tensors_config(c->tensors, &c->config, err) != 0 || tensors_tokenizer(c->tensors, &json, &settings, err) != 0)
        return -1;
    rc = tokenizer_parse(json, strlen(json), settings, strlen(settings), c->path, &c->tokenizer, err);
    free(json);
    free(settings);
    return rc;
}

static int open_contents(struct contents *c, struct error *err) {
    if (file_is_folder(c->path))
        return open_folder(c, err);
    if (tensors_open(c->path, &c->tensors, err) != 0)
        return -1;
    return tensors_is_gguf(c->tensors) ? open_gguf(c, err) : 0;
}

static void close_contents(struct contents *c) {
    if (c->adapter != NULL)
        peft_close(c->adapter);
    else
        tensors_close(c->tensors);
    config_free(&c->config);
    tokenizer_free(c->tokenizer);
}

static const char *format_of(const struct contents *c) {
    if (c->tensors == NULL)
        return "folder without weights";
    if (c->adapter != NULL)
        return "adapter";
    if (tensors_is_gguf(c->tensors))
        return "gguf";
    return file_is_folder(c->path) ? "huggingface" : "safetensors";
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

static json_t *id_json(int32_t id) {
    return id < 0 ? json_null() : json_integer(id);
}

/* Of the file: config_parameters counts no score head. */
static uint64_t parameters_of(const struct model_config *c) {
    return config_parameters(c) + (uint64_t)c->labels * (uint64_t)c->hidden;
}

static json_t *config_json(const struct model_config *c) {
    json_t *eos = json_array();

    for (uint32_t i = 0; i < c->neos; i++)
        json_array_append_new(eos, json_integer(c->eos[i]));
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:f, s:f, s:s, s:o, s:o, s:o}",
        "model_type", c->family->name, "head", c->labels ? "score" : "lm", "score_heads", (json_int_t)c->labels,
        "vocabulary", (json_int_t)c->vocabulary, "hidden", (json_int_t)c->hidden, "layers", (json_int_t)c->layers,
        "heads", (json_int_t)c->heads, "kv_heads", (json_int_t)c->kv_heads, "head_dim", (json_int_t)c->head_dim,
        "intermediate", (json_int_t)c->intermediate, "positions", (json_int_t)c->positions, "window",
        (json_int_t)c->window, "tied", (int)c->tied, "parameters", (json_int_t)parameters_of(c), "rope_theta",
        (double)c->rope_theta, "norm_eps", (double)c->norm_eps, "dtype", dtype_name(c->dtype), "bos", id_json(c->bos),
        "eos", eos, "pad", id_json(c->pad));
}

static const char *base_of(const struct peft *p) {
    return json_string_value(json_object_get(p->config, "base_model_name_or_path"));
}

static json_t *adapter_json(const struct peft *p) {
    return json_pack("{s:I, s:f, s:b, s:b, s:s?}", "rank", (json_int_t)p->rank, "alpha", p->alpha, "rslora",
                     (int)p->rslora, "score_head", peft_score(p) != NULL, "base", base_of(p));
}

static int print_json(const struct contents *c, struct error *err) {
    json_t *o = json_object();
    char *text = NULL;
    int rc = 0;

    rc |= json_object_set_new(o, "path", json_string(c->path));
    rc |= json_object_set_new(o, "format", json_string(format_of(c)));
    rc |= json_object_set_new(o, "parameters", json_integer((json_int_t)show_elements(c->tensors)));
    if (c->adapter != NULL)
        rc |= json_object_set_new(o, "adapter", adapter_json(c->adapter));
    if (c->config.family != NULL)
        rc |= json_object_set_new(o, "config", config_json(&c->config));
    if (c->tokenizer != NULL)
        rc |= json_object_set_new(
            o, "tokenizer",
            json_pack("{s:I, s:o, s:o, s:o, s:b}", "size", (json_int_t)tokenizer_size(c->tokenizer), "bos",
                      id_json(tokenizer_bos(c->tokenizer)), "eos", id_json(tokenizer_eos(c->tokenizer)), "pad",
                      id_json(tokenizer_pad(c->tokenizer)), "chat_template",
                      tokenizer_chat_template(c->tokenizer) != NULL));
    if (c->tensors != NULL)
        rc |= json_object_set_new(o, "metadata", tensors_metadata(c->tensors));
    rc |= json_object_set_new(o, "tensors", show_tensors_json(c->tensors));
    if (rc == 0)
        text = json_dumps(o, JSON_INDENT(2));
    json_decref(o);
    if (text == NULL)
        return error_nomem(err, c->path); /* or a path that is not UTF-8, which JSON cannot hold */
    printf("%s\n", text);
    free(text);
    return 0;
}

/* ---- for people ------------------------------------------------------------------------------------------------- */

static void print_config(const struct model_config *c) {
    static const char *const ropes[] = {"", ", linear", ", llama3"};
    char heads[48] = "";

    if (c->labels > 1)
        snprintf(heads, sizeof(heads), " with %" PRId64 " score heads", c->labels);
    printf("model       %s%s: %" PRId64 " layers, hidden %" PRId64 ", %" PRId64 " heads (%" PRId64
           " for keys) of %" PRId64 ", MLP %" PRId64 "\n",
           c->family->name, c->labels == 1 ? " with a score head" : heads, c->layers, c->hidden, c->heads, c->kv_heads,
           c->head_dim, c->intermediate);
    printf("            vocabulary %" PRId64 ", context %" PRId64 ", ", c->vocabulary, c->positions);
    if (c->family->learned_positions)
        printf("learned positions");
    else
        printf("rope %g%s", (double)c->rope_theta, ropes[c->rope]);
    printf(", %s embeddings", c->tied ? "tied" : "separate");
    if (c->window > 0)
        printf(", window %" PRId64, c->window);
    printf("\n            %" PRIu64 " parameters", parameters_of(c));
    for (uint32_t i = 0; i < c->neos; i++)
        printf("%s%d", i ? ", " : ", end of text ", c->eos[i]);
    printf("\n");
}

static void print_tokenizer(const struct tokenizer *t) {
    const struct {
        const char *what;
        int32_t id;
    } ids[] = {{"bos", tokenizer_bos(t)}, {"eos", tokenizer_eos(t)}, {"pad", tokenizer_pad(t)}};

    printf("tokenizer   %zu tokens", tokenizer_size(t));
    for (size_t i = 0; i < 3; i++) {
        const char *text = ids[i].id >= 0 ? tokenizer_token_text(t, ids[i].id) : NULL;
        if (ids[i].id < 0)
            continue;
        printf(", %s %d", ids[i].what, ids[i].id);
        if (text != NULL) {
            fputs(" ", stdout);
            show_safe(text, 40);
        }
    }
    printf("%s\n", tokenizer_chat_template(t) ? ", with a chat template" : "");
}

static void print_adapter(const struct peft *p) {
    const char *base = base_of(p);

    printf("adapter     LoRA of rank %" PRId64 ", alpha %g%s%s\n", p->rank, p->alpha, p->rslora ? " / sqrt(rank)" : "",
           peft_score(p) ? ", with a score head" : "");
    fputs("base        ", stdout);
    show_safe(base ? base : "not named", 300);
    fputs("\n", stdout);
}

static void print_metadata(json_t *metadata) {
    const char *key;
    json_t *value;

    json_object_foreach(metadata, key, value) {
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        fputs("  ", stdout);
        show_safe(key, 80);
        fputs(" = ", stdout);
        show_safe(json_is_string(value) ? json_string_value(value) : text ? text : "?", 100);
        fputs("\n", stdout);
        free(text);
    }
}

static void print_text(const struct contents *c) {
    json_t *metadata = c->tensors ? tensors_metadata(c->tensors) : NULL;

    printf("format      %s\n", format_of(c));
    if (c->adapter != NULL)
        print_adapter(c->adapter);
    if (c->config.family != NULL)
        print_config(&c->config);
    if (c->tokenizer != NULL)
        print_tokenizer(c->tokenizer);
    if (json_object_size(metadata) > 0) {
        printf("metadata\n");
        print_metadata(metadata);
    }
    json_decref(metadata);
    if (c->tensors != NULL) {
        printf("tensors     %zu, %" PRIu64 " elements\n", tensors_count(c->tensors), show_elements(c->tensors));
        show_tensors(c->tensors);
    }
}

static int run(const struct command *self, int argc, char **argv) {
    struct contents contents = {0};
    struct cli_common common;
    struct error err = {0};
    int rc = cli_parse(self, argc, argv, NULL, &common, &contents.path, 1, 1);

    if (rc != CLI_GO)
        return rc;
    if (inspect_is_checkpoint(contents.path))
        return inspect_checkpoint(contents.path, common.json, &err) ? cli_fail(&err) : 0;
    rc = open_contents(&contents, &err);
    if (rc == 0 && common.json)
        rc = print_json(&contents, &err);
    else if (rc == 0)
        print_text(&contents);
    close_contents(&contents);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_inspect = {
    "inspect",
    "PATH",
    "Shows what a model's files hold.",
    "PATH is a Hugging Face folder, an adapter's folder, a .safetensors or a .gguf file, or a checkpoint. Every tensor is listed with its "
    "type\n"
    "and shape, under Hugging Face's names. The files are checked, but no weight is read.",
    CLI_JSON,
    run,
};
