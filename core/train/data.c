/* SPDX-License-Identifier: MIT */
#include "train/data.h"

#include "base/log.h"
#include "text/template.h"
#include "train/room.h"

#include <string.h>

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

uint32_t data_epochs(const struct stage *s, const struct rein_needs *needs) {
    return s->train.epochs > 0 ? (uint32_t)s->train.epochs : needs->epochs > 0 ? needs->epochs : 1;
}

uint32_t data_micro(const struct stage *s) {
    const int64_t rollout = s->rollout.prompts * s->rollout.group;
    int64_t micro = s->train.micro_batch;

    if (micro == 0 && !s->on_policy)
        micro = s->train.batch;
    else if (micro == 0)
        micro = s->train.minibatch > 0 ? s->train.minibatch : rollout;
    return micro < INT32_MAX ? (uint32_t)micro : INT32_MAX;
}

/* The batches that a run will make, in its order. */
static int measure(const struct data_request *r, const struct dataset *d, uint64_t seed, uint64_t *steps,
                   struct stage_extent *e, struct error *err) {
    const struct stage *s = r->stage;
    const bool rollouts = d->kind == REIN_DATA_PROMPTS;
    struct room_plan p = {.stage = s, .micro = data_micro(s), .max_tokens = data_max_tokens(s, r->needs),
                          .epochs = data_epochs(s, r->needs)};
    struct samples samples = {0};
    struct order order = {0};
    int rc = samples_from_dataset(d, r->needs->needs, &samples, err);

    if (rc == 0)
        rc = order_open(seed, (uint32_t)d->nunits, rollouts ? 1 : (uint32_t)s->train.batch, s->train.shuffle != 0, &order, err);
    if (rc == 0) {
        if (*steps == 0)
            *steps = s->train.steps > 0 ? (uint64_t)s->train.steps : p.epochs * order_steps(&order);
        p.steps = *steps;
        rc = rollouts ? room_of_rollouts(&p, d, &order, e, err) : room_of_samples(&p, &samples, &order, e, err);
        if (rc == 0 && !rollouts && s->reference.present)
            rc = room_of_samples(&p, &samples, NULL, e, err);
    }
    order_close(&order);
    samples_free(&samples);
    return rc;
}

static int measure_eval(const struct data_request *r, const struct dataset *d, struct stage_extent *e, struct error *err) {
    const struct room_plan p = {.stage = r->stage, .micro = data_micro(r->stage)};
    struct samples samples = {0};
    int rc = samples_from_dataset(d, r->needs->needs, &samples, err);

    if (d->kind == REIN_DATA_PROMPTS) {
        e->eval_prompts = (uint32_t)d->nunits;
        e->eval_prompt = d->longest;
    } else if (rc == 0)
        rc = room_of_samples(&p, &samples, NULL, e, err);
    samples_free(&samples);
    return rc;
}

/* steps NULL: data for evaluations. */
static int check_one(const struct data_request *r, const char *path, uint64_t seed, uint64_t *steps,
                     struct stage_extent *extent, struct error *err) {
    struct dataset d = {0};
    int rc;

    if (data_load(r, path, &d, err) != 0)
        return -1;
    warn_of_one_label(&d);
    rc = steps ? measure(r, &d, seed, steps, extent, err) : measure_eval(r, &d, extent, err);
    dataset_free(&d);
    return rc;
}

int data_check(const struct stage *s, const struct model_config *c, const struct tokenizer *t, uint64_t seed,
               struct stage_extent *extent, struct error *err) {
    uint64_t steps = 0;

    *extent = (struct stage_extent){.prompt = 0};
    for (size_t i = 0; i < s->nalgorithms; i++) {
        const struct data_request r = {
            .stage = s, .needs = &s->algorithms[i].needs, .config = c, .tokenizer = t, .strict = true};

        if (check_one(&r, data_path(s, &s->algorithms[i]), seed + DATA_SEED_STEP * i, &steps, extent, err) != 0)
            return -1;
        if (i == 0 && s->eval_path != NULL && check_one(&r, s->eval_path, 0, NULL, extent, err) != 0)
            return -1;
    }
    return 0;
}
