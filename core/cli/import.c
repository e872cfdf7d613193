/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "model/config.h"
#include "model/dtype.h"
#include "model/tensors.h"
#include "text/tokenizer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Everything is read and checked before anything is written. */
struct import {
    const char *from, *to;
    uint32_t dtype;
    struct tensors *tensors;
    struct model_config config;
    char *tokenizer, *settings;      /* texts of tokenizer.json and tokenizer_config.json */
    const struct tensor_info **list; /* what is written */
    size_t count;
};

/* The tensors must be the model's, no more and no fewer; rope_freqs is in the config. */
static int choose_tensors(struct import *m, struct error *err) {
    const char *prefix = m->config.family->names->prefix;
    uint64_t sum = 0;

    m->list = mem_array(tensors_count(m->tensors), sizeof(*m->list));
    if (m->list == NULL)
        return error_nomem(err, m->from);
    for (size_t i = 0; i < tensors_count(m->tensors); i++) {
        const struct tensor_info *t = tensors_at(m->tensors, i);
        if (strcmp(t->name, "rope_freqs.weight") == 0)
            continue;
        if (strncmp(t->name, prefix, strlen(prefix)) != 0 && strncmp(t->name, "lm_head.", 8) != 0)
            return error_input(err, "%s: tensor '%s' does not belong to a model of type %s", m->from, t->name,
                               m->config.family->name);
        m->list[m->count++] = t;
        sum += t->elements;
    }
    if (sum != config_parameters(&m->config))
        return error_input(err,
                           "%s: the tensors hold %" PRIu64 " parameters, but the metadata describe a model of %" PRIu64,
                           m->from, sum, config_parameters(&m->config));
    return 0;
}

static int read_source(struct import *m, struct error *err) {
    struct tokenizer *check;

    if (tensors_open(m->from, &m->tensors, err) != 0)
        return -1;
    if (!tensors_is_gguf(m->tensors))
        return error_input(err, "%s: not a GGUF file", m->from);
    if (tensors_config(m->tensors, &m->config, err) != 0 ||
        tensors_tokenizer(m->tensors, &m->tokenizer, &m->settings, err) != 0 || choose_tensors(m, err) != 0)
        return -1;
    if (tokenizer_parse(m->tokenizer, strlen(m->tokenizer), m->settings, strlen(m->settings), m->from, &check, err) !=
        0)
        return -1;
    tokenizer_free(check);
    m->config.dtype = m->dtype;
    return 0;
}

static int write_tensor(struct import *m, struct tensors_writer *w, const struct tensor_info *t, struct error *err) {
    enum { CHUNK = 1 << 20 };
    float *values = mem_array(CHUNK, sizeof(*values));
    int rc = values ? 0 : error_nomem(err, t->name);

    for (uint64_t first = 0; rc == 0 && first < t->elements; first += CHUNK) {
        const uint64_t n = t->elements - first < CHUNK ? t->elements - first : CHUNK;
        rc = tensors_read(m->tensors, t, first, n, REIN_F32, values, err);
        if (rc == 0)
            rc = tensors_put(w, values, n, REIN_F32, err);
    }
    free(values);
    return rc;
}

static int write_weights(struct import *m, const char *folder, struct error *err) {
    struct tensor_out *out = mem_zeros(m->count, sizeof(*out));
    char *path = file_join(folder, "model.safetensors");
    struct tensors_writer *w = NULL;
    int rc = -1;

    if (out == NULL || path == NULL) {
        error_nomem(err, folder);
        goto done;
    }
    for (size_t i = 0; i < m->count; i++) {
        out[i].name = m->list[i]->name;
        out[i].dtype = m->dtype;
        out[i].rank = m->list[i]->rank;
        memcpy(out[i].shape, m->list[i]->shape, sizeof(out[i].shape));
    }
    if (tensors_create(path, out, m->count, &w, err) != 0)
        goto done;
    for (size_t i = 0; i < m->count; i++)
        if (write_tensor(m, w, m->list[i], err) != 0) {
            tensors_abandon(w);
            goto done;
        }
    rc = tensors_finish(w, NULL, err);
done:
    free(out);
    free(path);
    return rc;
}

static int write_text(const char *folder, const char *name, const char *text, struct error *err) {
    char *path = file_join(folder, name);
    const int rc = path ? file_write(path, text, strlen(text), err) : error_nomem(err, name);

    free(path);
    return rc;
}

static int write_generation(const struct model_config *c, const char *folder, struct error *err) {
    struct buffer b = {0};
    int rc;

    buffer_text(&b, "{");
    if (c->bos >= 0)
        buffer_printf(&b, "\n  \"bos_token_id\": %d", c->bos);
    if (c->pad >= 0)
        buffer_printf(&b, "%s\n  \"pad_token_id\": %d", b.length > 1 ? "," : "", c->pad);
    for (uint32_t i = 0; i < c->neos; i++) {
        if (i == 0)
            buffer_printf(&b, "%s\n  \"eos_token_id\": [", b.length > 1 ? "," : "");
        buffer_printf(&b, "%s%d%s", i ? ", " : "", c->eos[i], i + 1 == c->neos ? "]" : "");
    }
    buffer_text(&b, "\n}\n");
    rc = b.failed ? error_nomem(err, folder) : write_text(folder, "generation_config.json", b.data, err);
    buffer_free(&b);
    return rc;
}

/* Writes a folder beside `to` and renames it into place, so that `to` appears whole or not at all. */
static int write_folder(struct import *m, struct error *err) {
    char *parent = NULL, *temporary = NULL;
    struct buffer name = {0};
    size_t length = strlen(m->to);
    int rc = -1;

    while (length > 1 && m->to[length - 1] == '/')
        length--;
    buffer_printf(&name, "%.*s.tmp-%ld", (int)length, m->to, (long)getpid());
    temporary = buffer_take(&name);
    parent = temporary ? file_dirname(temporary) : NULL;
    if (parent == NULL) {
        error_nomem(err, m->to);
        goto out;
    }
    if (!file_is_folder(parent)) {
        error_input(err, "%s: the folder %s does not exist", m->to, parent);
        goto out;
    }
    if (file_make_folder(temporary, err) != 0)
        goto out;
    if (config_save(&m->config, false, temporary, err) == 0 && write_generation(&m->config, temporary, err) == 0 &&
        write_text(temporary, "tokenizer.json", m->tokenizer, err) == 0 &&
        write_text(temporary, "tokenizer_config.json", m->settings, err) == 0 &&
        write_weights(m, temporary, err) == 0) {
        rc = rename(temporary, m->to) == 0 ? 0 : error_errno_run(err, m->to, "cannot rename into place");
        if (rc == 0)
            rc = file_sync_folder(parent, err);
    }
    if (rc != 0)
        file_remove_tree(temporary, NULL);
out:
    free(parent);
    free(temporary);
    return rc;
}

static int run(const struct command *self, int argc, char **argv) {
    static const struct {
        const char *name;
        uint32_t dtype;
    } dtypes[] = {{"f32", REIN_F32}, {"bf16", REIN_BF16}, {"f16", REIN_F16}};
    const char *words[2], *dtype = "f32";
    const struct cli_option options[] = {{"--dtype", CLI_TEXT, &dtype, "TYPE", "f32 (default), bf16 or f16"}, {0}};
    struct import m = {0};
    struct cli_common common;
    struct error err = {0};
    int rc = cli_parse(self, argc, argv, options, &common, words, 2, 2);

    if (rc != CLI_GO)
        return rc;
    m.from = words[0];
    m.to = words[1];
    for (size_t i = 0; i < 3; i++)
        if (strcmp(dtype, dtypes[i].name) == 0)
            m.dtype = dtypes[i].dtype;
    if (m.dtype == 0)
        return cli_usage(self, "--dtype '%s' is not one of f32, bf16 and f16", dtype);
    if (!file_folder_is_empty(m.to))
        rc = error_input(&err, "%s: is not an empty folder", m.to);
    else
        rc = read_source(&m, &err) == 0 ? write_folder(&m, &err) : -1;
    if (rc == 0)
        log_info("%s: %zu tensors, %" PRIu64 " parameters as %s", m.to, m.count, config_parameters(&m.config), dtype);
    tensors_close(m.tensors);
    config_free(&m.config);
    free(m.tokenizer);
    free(m.settings);
    free(m.list);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_import = {
    "import",
    "IN.gguf OUT",
    "Turns a GGUF file into a Hugging Face folder.",
    "OUT gets config.json, generation_config.json, model.safetensors and the tokenizer's files, and must be empty or "
    "not\n"
    "exist. Quantised blocks are written as their values; --dtype bf16 and f16 round them to nearest even.",
    0,
    run,
};
