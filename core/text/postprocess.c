/* SPDX-License-Identifier: MIT */
#include "text/postprocess.h"

#include "text/fields.h"

#include <string.h>

enum { DEEPEST_SEQUENCE = 8, MOST_IDS = 64 };

struct around {
    struct ids prefix, suffix;
};

static int add_id(const json_t *id, size_t size, struct ids *out, struct error *err) {
    if (!json_is_integer(id) || json_integer_value(id) < 0 || (unsigned long long)json_integer_value(id) >= size)
        return error_input(err, "an id of the post_processor is not in the vocabulary");
    if (out->count >= MOST_IDS)
        return error_input(err, "the post_processor adds more than %d ids", MOST_IDS);
    return ids_add(out, (int32_t)json_integer_value(id), err);
}

static int add_special(const json_t *template, const char *name, size_t size, struct ids *out, struct error *err) {
    const json_t *token = name == NULL ? NULL : json_object_get(json_object_get(template, "special_tokens"), name);
    const json_t *ids = json_object_get(token, "ids");

    if (!json_is_array(ids))
        return error_input(err, "the post_processor has no 'ids' for the special token '%.40s'", name ? name : "");
    for (size_t i = 0; i < json_array_size(ids); i++)
        if (add_id(json_array_get(ids, i), size, out, err) != 0)
            return -1;
    return 0;
}

static int parse_template(const json_t *json, size_t size, struct around *out, struct error *err) {
    const json_t *single = json_object_get(json, "single");
    struct ids *to = &out->prefix;

    if (!json_is_array(single))
        return error_input(err, "the post_processor 'TemplateProcessing' needs a list 'single'");
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i), *special = json_object_get(item, "SpecialToken");
        if (special != NULL) {
            if (add_special(json, json_string_value(json_object_get(special, "id")), size, to, err) != 0)
                return -1;
        } else {
            const char *id = json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
            if (id == NULL || strcmp(id, "A") != 0 || to == &out->suffix)
                return error_input(err, "'single' of the post_processor must hold special tokens and one sequence A");
            to = &out->suffix;
        }
    }
    return to == &out->suffix ? 0 : error_input(err, "'single' of the post_processor lacks the sequence A");
}

/* {"sep": ["</s>", 2], "cls": ["<s>", 0]} */
static int parse_pair(const json_t *json, size_t size, struct around *out, struct error *err) {
    if (add_id(json_array_get(json_object_get(json, "cls"), 1), size, &out->prefix, err) != 0)
        return -1;
    return add_id(json_array_get(json_object_get(json, "sep"), 1), size, &out->suffix, err);
}

static int parse(const json_t *json, int depth, size_t size, struct around *out, struct error *err);

/* Each processor wraps what those before it gave. */
static int parse_sequence(const json_t *json, int depth, size_t size, struct around *out, struct error *err) {
    const json_t *list = json_object_get(json, "processors");
    int rc = 0;

    if (!json_is_array(list))
        return error_input(err, "the post_processor 'Sequence' needs a list 'processors'");
    if (depth >= DEEPEST_SEQUENCE)
        return error_input(err, "post_processors are nested more than %d deep", DEEPEST_SEQUENCE);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        struct around one = {{0}, {0}};
        rc = parse(json_array_get(list, i), depth + 1, size, &one, err);
        if (rc == 0)
            rc = ids_append(&one.prefix, out->prefix.data, out->prefix.count, err);
        if (rc == 0)
            rc = ids_append(&out->suffix, one.suffix.data, one.suffix.count, err);
        if (rc == 0 && (one.prefix.count > MOST_IDS || out->suffix.count > MOST_IDS))
            rc = error_input(err, "the post_processor adds more than %d ids", MOST_IDS);
        ids_free(&out->prefix);
        ids_free(&one.suffix);
        out->prefix = one.prefix;
    }
    return rc;
}

static int parse(const json_t *json, int depth, size_t size, struct around *out, struct error *err) {
    const char *type;

    if (field_type(json, "the post_processor", &type, err) != 0)
        return -1;
    if (strcmp(type, "Sequence") == 0)
        return parse_sequence(json, depth, size, out, err);
    if (strcmp(type, "ByteLevel") == 0)
        return 0; /* only moves offsets */
    if (strcmp(type, "TemplateProcessing") == 0)
        return parse_template(json, size, out, err);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return parse_pair(json, size, out, err);
    return error_input(err, "the post_processor '%s' is not supported", type);
}

int postprocess_parse(const json_t *json, size_t size, struct ids *prefix, struct ids *suffix, struct error *err) {
    struct around out = {{0}, {0}};
    int rc = 0;

    if (json != NULL && !json_is_null(json))
        rc = parse(json, 0, size, &out, err);
    if (rc != 0) {
        ids_free(&out.prefix);
        ids_free(&out.suffix);
    }
    *prefix = out.prefix;
    *suffix = out.suffix;
    return rc;
}
