/* SPDX-License-Identifier: MIT */
#include "model/config_head.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool ends_with(const char *text, const char *tail) {
    const size_t a = strlen(text), b = strlen(tail);
    return a >= b && strcmp(text + a - b, tail) == 0;
}

/* "LlamaModel": the trunk alone, which is a language model when its head is tied. */
static bool is_bare(const struct model_family *f, const char *architecture) {
    const size_t n = strlen(f->classification) - strlen("ForSequenceClassification");

    return strncmp(architecture, f->classification, n) == 0 && strcmp(architecture + n, "Model") == 0;
}

/* A number, or a list of one for each head. */
static int read_heads(struct json_reader *r, const char *key, int64_t heads, double *out) {
    const json_t *list = json_object_get(r->object, key);

    for (int64_t k = 0; k < heads; k++) {
        const json_t *one = json_is_array(list) ? json_array_get(list, (size_t)k) : list;

        if (!json_is_number(one) || !isfinite(json_number_value(one)) ||
            (json_is_array(list) ? json_array_size(list) != (size_t)heads : heads != 1))
            return json_reader_fail(r, "key '%s' must hold a number for each of %lld heads", key, (long long)heads);
        out[k] = json_number_value(one);
    }
    return 0;
}

static int read_standard(struct json_reader *r, struct model_config *out) {
    struct model_standard *s = &out->standard;

    if (!json_object_get(r->object, "rein_score_mean") && !json_object_get(r->object, "rein_score_deviation"))
        return 0;
    if (read_heads(r, "rein_score_mean", out->labels, s->mean) != 0 ||
        read_heads(r, "rein_score_deviation", out->labels, s->deviation) != 0)
        return -1;
    for (int64_t k = 0; k < out->labels; k++)
        if (!(s->deviation[k] > 0))
            return json_reader_fail(r, "key 'rein_score_deviation' must be above 0");
    s->known = true;
    return 0;
}

int config_read_head(struct json_reader *r, struct model_config *out) {
    const json_t *list = json_object_get(r->object, "architectures");
    const json_t *labels = json_object_get(r->object, "id2label");
    const char *architecture;
    int64_t count, heads;

    out->labels = 0;
    if (list == NULL || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) != 1 || !json_is_string(json_array_get(list, 0)))
        return json_reader_fail(r, "key 'architectures' must be a list of one name");
    architecture = json_string_value(json_array_get(list, 0));
    if (strcmp(architecture, out->family->causal) == 0 || ends_with(architecture, "ForCausalLM") ||
        is_bare(out->family, architecture))
        return 0;
    if (!ends_with(architecture, "ForSequenceClassification"))
        return json_reader_fail(r, "architecture '%s' is neither %s nor %s", architecture, out->family->causal,
                                out->family->classification);
    count =
        json_reader_int(r, "num_labels", 1, 1 << 20, json_is_object(labels) ? (int64_t)json_object_size(labels) : 2);
    if (r->failed)
        return -1;
    heads = json_reader_int(r, "rein_heads", 1, CONFIG_MAX_HEADS, 1);
    if (r->failed)
        return -1;
    if (count != heads && heads == 1)
        return json_reader_fail(r, "a classifier with %lld labels; a reward model has one", (long long)count);
    if (count != heads)
        return json_reader_fail(r, "num_labels is %lld, rein_heads %lld", (long long)count, (long long)heads);
    out->labels = heads;
    return read_standard(r, out);
}

static json_t *heads_of(const double *x, int64_t heads) {
    json_t *list;

    if (heads == 1)
        return json_real(x[0]);
    list = json_array();
    for (int64_t k = 0; k < heads; k++)
        json_array_append_new(list, json_real(x[k]));
    return list;
}

static int set_labels(json_t *o, int64_t count) {
    json_t *names = json_object(), *ids = json_object();

    for (int64_t k = 0; k < count; k++) {
        char id[24], name[32];

        snprintf(id, sizeof(id), "%lld", (long long)k);
        snprintf(name, sizeof(name), "LABEL_%lld", (long long)k);
        json_object_set_new(names, id, json_string(name));
        json_object_set_new(ids, name, json_integer(k));
    }
    return json_object_set_new(o, "id2label", names) | json_object_set_new(o, "label2id", ids) |
           json_object_set_new(o, "num_labels", json_integer(count));
}

int config_write_head(json_t *o, const struct model_config *c, bool score_head) {
    static const char *const ours[] = {"rein_heads", "rein_score_mean", "rein_score_deviation"};
    const int64_t heads = c->labels > 0 ? c->labels : 1;
    int rc = json_object_set_new(o, "architectures",
                                 json_pack("[s]", score_head ? c->family->classification : c->family->causal));

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        json_object_del(o, ours[i]);
    if (!score_head) {
        json_object_del(o, "id2label");
        json_object_del(o, "label2id");
        json_object_del(o, "num_labels");
        json_object_del(o, "problem_type");
        return rc;
    }
    rc |= set_labels(o, heads);
    if (heads > 1)
        rc |= json_object_set_new(o, "rein_heads", json_integer(heads));
    if (c->standard.known) {
        rc |= json_object_set_new(o, "rein_score_mean", heads_of(c->standard.mean, heads));
        rc |= json_object_set_new(o, "rein_score_deviation", heads_of(c->standard.deviation, heads));
    }
    return rc;
}
