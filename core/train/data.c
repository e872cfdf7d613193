/* SPDX-License-Identifier: MIT */
#include "train/data.h"

#include "base/log.h"
#include "text/template.h"

enum { DEFAULT_MAX_TOKENS = 128 };

uint32_t data_max_tokens(const struct stage *s, const struct rein_needs *needs) {
    if (s->rollout.max_tokens > 0)
        return (uint32_t)s->rollout.max_tokens;
    return needs->max_tokens > 0 ? needs->max_tokens : DEFAULT_MAX_TOKENS;
}

double data_temperature(const struct stage *s, const struct rein_needs *needs) {
    if (s->rollout.temperature > 0)
        return s->rollout.temperature;
    return needs->temperature > 0 ? needs->temperature : 1;
}

const char *data_path(const struct stage *s, const struct stage_algorithm *a) {
    return a->data ? a->data : s->train_path;
}

/* An unknown template is an error only when there are message lists to render; dataset_load complains then. */
static const struct chat_template *find_template(const struct data_request *r) {
    const struct chat_template *own = NULL;
    struct error why = {0};

    if (r->stage->data.chat != NULL)
        return r->stage->data.chat;
    if (r->tokenizer == NULL || template_recognise(r->tokenizer, &own, &why) == 0)
        return own;
    log_debug("%s", why.text);
    return NULL;
}

int data_load(const struct data_request *r, const char *path, struct dataset *out, struct error *err) {
    const struct stage *s = r->stage;
    const uint32_t context = r->config->positions > 0 ? (uint32_t)r->config->positions : 0;
    const bool prompts = (r->needs->data & REIN_DATA_PROMPTS) != 0;
    struct dataset_options options = {
        .tokenizer = r->tokenizer, .chat = find_template(r), .template_strings = s->data.chat != NULL, .kinds = r->needs->data,
        .eos = s->data.eos != 0, .max_length = context, .context = context, .strict_prompts = r->strict,
        .vocabulary = (size_t)r->config->vocabulary, .limit = (size_t)s->data.limit};

    if (s->data.max_length > 0 && (context == 0 || s->data.max_length < (int64_t)context))
        options.max_length = (uint32_t)s->data.max_length;
    if (prompts && context > 0) {
        const uint32_t longest = data_max_tokens(s, r->needs);

        if (longest >= context)
            return error_input(err, "stage %s: completions of up to %u tokens leave no room for a prompt in the model's "
                                    "context of %u", s->name, longest, context);
        options.prompt_room = context - longest;
    }
    if (dataset_load(path, &options, out, err) != 0)
        return -1;
    if (out->nunits == 0) {
        dataset_free(out);
        return error_input(err, "%s: every row is too long for this model", path);
    }
    if (out->dropped > 0 && !r->strict)
        log_warn("%s: %zu rows are too long and were dropped; %zu are left", path, out->dropped, out->nunits);
    return 0;
}

static void warn_of_one_label(const struct dataset *d) {
    size_t good = 0;

    for (size_t u = 0; u < d->nunits; u++)
        good += d->units[u].label != 0;
    if (d->kind == REIN_DATA_LABELLED && (good == 0 || good == d->nunits))
        log_warn("%s: every label is %s: nothing to tell good completions from bad ones by", d->path,
                 good ? "true" : "false");
}

static int check_one(const struct data_request *r, const char *path, struct error *err) {
    struct dataset d = {0};
    struct samples samples = {0};
    int rc;

    if (data_load(r, path, &d, err) != 0)
        return -1;
    warn_of_one_label(&d);
    rc = samples_from_dataset(&d, r->needs->needs, &samples, err);
    samples_free(&samples);
    dataset_free(&d);
    return rc;
}

int data_check(const struct stage *s, const struct model_config *c, const struct tokenizer *t, struct error *err) {
    for (size_t i = 0; i < s->nalgorithms; i++) {
        const struct data_request r = {
            .stage = s, .needs = &s->algorithms[i].needs, .config = c, .tokenizer = t, .strict = true};

        if (check_one(&r, data_path(s, &s->algorithms[i]), err) != 0)
            return -1;
        if (i == 0 && s->eval_path != NULL && check_one(&r, s->eval_path, err) != 0)
            return -1;
    }
    return 0;
}
