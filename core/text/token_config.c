/* SPDX-License-Identifier: MIT */
#include "text/token_config.h"

#include "base/mem.h"
#include "text/fields.h"
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

void token_config_init(struct token_config *c) {
    *c = (struct token_config){.bos_id = -1, .eos_id = -1, .pad_id = -1};
}

void token_config_free(struct token_config *c) {
    free(c->bos);
    free(c->eos);
    free(c->pad);
    free(c->chat_template);
    token_config_init(c);
}

static int load(const char *json, size_t length, const char *name, json_t **out, struct error *err) {
    json_error_t why;

    *out = json_loadb(json, length, 0, &why);
    if (*out == NULL)
        return error_at(err, name, (size_t)(why.line > 0 ? why.line : 0), (size_t)(why.column > 0 ? why.column : 0),
                        "%s", why.text);
    if (!json_is_object(*out)) {
        error_input(err, "%s: must be an object, not %s", name, field_kind(*out));
        json_decref(*out);
        return -1;
    }
    return 0;
}

static int keep(char **to, const char *text, struct error *err) {
    if (*to != NULL || text == NULL)
        return 0;
    *to = mem_strdup(text);
    return *to == NULL ? error_nomem(err, "a tokenizer's configuration") : 0;
}

/* "<s>" or {"content": "<s>", ...} or null */
static int read_token(const json_t *root, const char *key, char **out, struct error *err) {
    const json_t *value = json_object_get(root, key);

    if (json_is_object(value))
        value = json_object_get(value, "content");
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return error_input(err, "'%s' must be a token, not %s", key, field_kind(value));
    return keep(out, json_string_value(value), err);
}

/* A string, or a list of {name, template} of which "default" counts. */
static int read_template(const json_t *root, char **out, struct error *err) {
    const json_t *value = json_object_get(root, "chat_template");

    if (json_is_array(value)) {
        const json_t *chosen = NULL;
        for (size_t i = 0; i < json_array_size(value); i++) {
            const json_t *item = json_array_get(value, i);
            const char *name = json_string_value(json_object_get(item, "name"));
            if (name == NULL || !json_is_string(json_object_get(item, "template")))
                return error_input(err, "'chat_template' must be a string or a list of {name, template}");
            if (strcmp(name, "default") == 0)
                chosen = json_object_get(item, "template");
        }
        value = chosen;
    }
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return error_input(err, "'chat_template' must be a string or a list, not %s", field_kind(value));
    return keep(out, json_string_value(value), err);
}

int token_config_read(struct token_config *c, const char *json, size_t length, const char *name, struct error *err) {
    json_t *root;
    int rc;

    if (load(json, length, name, &root, err) != 0)
        return -1;
    rc = read_token(root, "bos_token", &c->bos, err);
    if (rc == 0)
        rc = read_token(root, "eos_token", &c->eos, err);
    if (rc == 0)
        rc = read_token(root, "pad_token", &c->pad, err);
    if (rc == 0)
        rc = read_template(root, &c->chat_template, err);
    json_decref(root);
    return rc == 0 ? 0 : error_prefix(err, "%s", name);
}

/* A number, or a list of which the first counts. */
static int read_id(const json_t *root, const char *key, int32_t *out, struct error *err) {
    const json_t *value = json_object_get(root, key);

    if (json_is_array(value))
        value = json_array_get(value, 0);
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > VOCAB_LARGEST_ID)
        return error_input(err, "'%s' must be a token's id", key);
    *out = (int32_t)json_integer_value(value);
    return 0;
}

int token_config_generation(struct token_config *c, const char *json, size_t length, const char *name,
                            struct error *err) {
    json_t *root;
    int rc;

    if (load(json, length, name, &root, err) != 0)
        return -1;
    rc = read_id(root, "bos_token_id", &c->bos_id, err);
    if (rc == 0)
        rc = read_id(root, "eos_token_id", &c->eos_id, err);
    if (rc == 0)
        rc = read_id(root, "pad_token_id", &c->pad_id, err);
    json_decref(root);
    return rc == 0 ? 0 : error_prefix(err, "%s", name);
}
