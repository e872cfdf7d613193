/* SPDX-License-Identifier: MIT */
#include "model/dtype.h"
#include "model/gradients.h"
#include "model/param.h"
#include "model/transformer.h"
#include "model/weights.h"

static uint64_t bytes_of(const struct model_param *p, uint32_t in_file, bool trainable, uint32_t dtype) {
    return param_count(p) * dtype_width(param_dtype(p, in_file, trainable, dtype));
}

static void count_param(const struct model_param *p, bool trainable, uint32_t in_file, uint32_t dtype,
                        struct model_memory *out) {
    const uint64_t n = param_count(p), width = dtype_width(param_dtype(p, in_file, trainable, dtype));

    out->parameters += n;
    out->weights += n * width;
    if (!trainable || p->frozen)
        return;
    out->trained += n;
    out->training += n * (width == 4 ? 12 : 16);
    out->moments += n * 8;
}

/* What lies in the file as it is used, and how much of that is there at once when every layer is given back. */
static void count_mapped(const struct trunk *t, uint32_t in_file, uint32_t dtype, struct model_memory *out) {
    uint64_t around = 0, layer = 0, most = 0;

    for (size_t i = 0; i < t->nparams; i++) {
        const struct model_param *p = t->params[i];

        if (i > 0 && p->layer != t->params[i - 1]->layer)
            layer = 0;
        if (param_dtype(p, in_file, false, dtype) != in_file || p->place.transposed)
            continue;
        *(p->layer < 0 ? &around : &layer) += bytes_of(p, in_file, false, dtype);
        most = layer > most ? layer : most;
        out->mapped += bytes_of(p, in_file, false, dtype);
    }
    out->passing = around + most;
}

int model_estimate(const struct model_config *c, const struct model_source *source, struct model_memory *out,
                   struct error *err) {
    const uint32_t in_file = c->dtype && !source->random ? c->dtype : REIN_F32;
    const struct model_param head = {.w = {.rows = 1, .cols = c->hidden}, .decay = true};
    struct trunk t = {.config = *c, .trainable = source->trainable};
    size_t unused;
    int rc = weights_plan(&t, source->head == MODEL_LM, err) || trunk_freeze(&t, source, &unused, err) ? -1 : 0;

    *out = (struct model_memory){0};
    for (size_t i = 0; i < t.nparams; i++)
        count_param(t.params[i], t.trainable, in_file, source->dtype, out);
    if (!source->trainable && !source->random)
        count_mapped(&t, in_file, source->dtype, out);
    if (source->head != MODEL_LM)
        count_param(&head, source->trainable, in_file, 0, out);
    trunk_unplan(&t);
    return rc;
}

int model_overlaid(const struct model_config *c, const struct model_source *source, uint64_t n, bool recompute,
                   uint64_t *saved, struct error *err) {
    const enum keep keep = recompute ? KEEP_INPUTS : KEEP_ALL;
    struct trunk t = {.config = *c, .trainable = source->trainable};
    size_t unused;
    int rc = weights_plan(&t, source->head == MODEL_LM, err) || trunk_freeze(&t, source, &unused, err) ? -1 : 0;

    *saved = 0;
    if (rc == 0 && t.trainable && gradients_over(&t, n, keep) < UINT64_MAX / 2)
        *saved = work_bytes(c, n, keep).kept + gradients_bytes(&t) - gradients_over(&t, n, keep);
    trunk_unplan(&t);
    return rc;
}
