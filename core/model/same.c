/* SPDX-License-Identifier: MIT
 * Do the files of two models hold one trunk? Are they what they were?
 */
#include "model/adapted.h"
#include "model/tensors.h"
#include "model/trunk.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* What may differ: it is of the head, or for people. */
static int strip(json_t *o) {
    static const char *const keys[] = {"id2label",
                                       "label2id",
                                       "num_labels",
                                       "problem_type",
                                       "pad_token_id",
                                       "_name_or_path",
                                       "transformers_version",
                                       "rein_heads",
                                       "rein_score_mean",
                                       "rein_score_deviation"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        json_object_del(o, keys[i]);
    return o ? 0 : -1;
}

static bool same_config(const struct model_config *a, const struct model_config *b) {
    json_t *x = a->json ? json_deep_copy(a->json) : NULL, *y = b->json ? json_deep_copy(b->json) : NULL;
    const bool same = strip(x) == 0 && strip(y) == 0 && json_equal(x, y);

    json_decref(x);
    json_decref(y);
    return same;
}

static bool same_tensor(const struct tensors *a, const struct tensors *b, const char *name) {
    const struct tensor_info *x = tensors_find(a, name), *y = tensors_find(b, name);
    const void *p = x ? tensors_data(a, x) : NULL, *q = y ? tensors_data(b, y) : NULL;

    return p && q && x->dtype == y->dtype && x->bytes == y->bytes && memcmp(p, q, (size_t)x->bytes) == 0;
}

static int compare_tensors(const struct trunk *t, const char *path, bool *same, struct error *err) {
    struct tensors *mine, *theirs;

    if (tensors_open(t->path, &mine, err))
        return -1;
    if (tensors_open(path, &theirs, err)) {
        tensors_close(mine);
        return -1;
    }
    *same = true;
    for (size_t i = 0; i < t->nparams && *same; i++)
        *same = same_tensor(mine, theirs, t->params[i]->place.tensor + t->params[i]->place.skip);
    tensors_close(mine);
    tensors_close(theirs);
    return 0;
}

int model_same_files(const struct model *m, const struct model_source *source, bool *same, struct error *err) {
    const struct trunk *t = m->trunk;
    struct tokenizer *tokenizer = NULL;
    struct model_config config;
    int rc = 0;

    *same = false;
    if (m->lora || peft_is_adapter(source->path)) /* frozen trunks of one file are shared when they are opened */
        return 0;
    if (t->trainable || m->random != source->random || (m->head == MODEL_LM) != (source->head == MODEL_LM))
        return 0;
    if (strcmp(t->path, source->path) == 0) {
        *same = true;
        return 0;
    }
    if (source->random || t->from_gguf)
        return 0;
    if (model_check(source, &config, &tokenizer, err))
        return -1;
    if (same_config(&t->config, &config) && tokenizer_same(t->tokenizer, tokenizer))
        rc = compare_tensors(t, source->path, same, err);
    config_free(&config);
    tokenizer_free(tokenizer);
    return rc;
}

/* Takes `o`, which may be NULL without memory. */
static int json_sum(json_t *o, uint32_t *sum, struct error *err) {
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    json_decref(o);
    if (!text)
        return error_nomem(err, "a model's configuration");
    *sum += (uint32_t)crc32_z(0, (const void *)text, strlen(text));
    free(text);
    return 0;
}

static int config_sum(const struct sources *s, uint32_t *sum, struct error *err) {
    struct model_config c;
    json_t *o;

    if (s->file && tensors_is_gguf(s->file))
        return json_sum(tensors_metadata(s->file), sum, err);
    if (config_load(s->trunk.path, &c, err))
        return -1;
    o = c.json ? json_deep_copy(c.json) : NULL;
    if (o)
        strip(o);
    config_free(&c);
    return json_sum(o, sum, err);
}

int model_sum(const struct model_source *source, uint32_t *out, struct error *err) {
    struct sources s;
    int rc;

    *out = 0;
    if (sources_open(source, &s, err))
        return -1;
    rc = config_sum(&s, out, err);
    if (rc == 0 && s.file)
        *out += tensors_sum(s.file);
    if (rc == 0 && s.peft) {
        *out += tensors_sum(s.peft->tensors);
        rc = json_sum(json_pack("[I, f, b]", (json_int_t)s.peft->rank, s.peft->alpha, (int)s.peft->rslora), out, err);
    }
    sources_close(&s);
    return rc;
}
