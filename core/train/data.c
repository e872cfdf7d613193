/* SPDX-License-Identifier: MIT */
#include "train/data.h"

#include "base/log.h"
#include "model/packing.h"
#include "text/template.h"
#include "train/order.h"

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

uint32_t data_micro(const struct stage *s) {
    const int64_t rollout = s->rollout.prompts * s->rollout.group;
    int64_t micro = s->train.micro_batch;

    if (micro == 0 && !s->on_policy)
        micro = s->train.batch;
    else if (micro == 0)
        micro = s->train.minibatch > 0 ? s->train.minibatch : rollout;
    return micro < INT32_MAX ? (uint32_t)micro : INT32_MAX;
}

static void widen(struct stage_extent *e, uint64_t tokens, uint64_t targets) {
    e->tokens = tokens > e->tokens ? tokens : e->tokens;
    e->targets = targets > e->targets ? targets : e->targets;
}

/* Rows of a unit that begin with the same prompt share it. */
static void add_unit(const struct samples *s, uint32_t unit, uint64_t *tokens, uint64_t *targets) {
    for (uint32_t r = s->unit[unit]; r < s->unit[unit + 1]; r++) {
        const uint32_t first = s->first[r];
        const bool shared = r > s->unit[unit] && first >= SHARE_LEAST && first == s->first[r - 1] &&
                            memcmp(s->ids[r], s->ids[r - 1], first * sizeof(**s->ids)) == 0;

        *tokens += s->length[r] - (shared ? first : 0);
        *targets += samples_row_tokens(s, r);
    }
}

/* The micro-batches that a run will make, in its order. */
static int measure_given(const struct data_request *r, const struct samples *samples, uint64_t seed,
                         struct stage_extent *e, struct error *err) {
    enum { MOST_STEPS = 20000 };
    const struct stage *s = r->stage;
    const uint64_t epochs = s->train.epochs > 0     ? (uint64_t)s->train.epochs
                            : r->needs->epochs > 0 ? r->needs->epochs
                                                   : 1;
    const uint32_t micro = data_micro(s);
    struct order order;
    uint64_t steps;

    if (order_open(seed, samples->units, (uint32_t)s->train.batch, s->train.shuffle != 0, &order, err) != 0)
        return -1;
    steps = s->train.steps > 0 ? (uint64_t)s->train.steps : order_steps(&order) * epochs;
    for (uint64_t step = 0; step < steps && step < MOST_STEPS; step++) {
        uint32_t count;
        const uint32_t *units = order_at(&order, step, &count);

        for (uint32_t at = 0; at < count; at += micro) {
            uint64_t tokens = 0, targets = 0;

            for (uint32_t i = at; i < count && i - at < micro; i++)
                add_unit(samples, units[i], &tokens, &targets);
            widen(e, tokens, targets);
        }
    }
    order_close(&order);
    return 0;
}

/* Completions of one prompt lie side by side and share it. */
static void measure_rollouts(const struct data_request *r, const struct dataset *d, struct stage_extent *e) {
    const struct stage *s = r->stage;
    const uint64_t limit = data_max_tokens(s, r->needs), group = (uint64_t)s->rollout.group;
    const uint64_t all = (uint64_t)s->rollout.prompts * group, micro = data_micro(s) < all ? data_micro(s) : all;
    const uint64_t prompts = (micro + group - 1) / group;

    e->prompt = d->longest;
    widen(e, micro * limit + (d->longest >= SHARE_LEAST ? prompts : micro) * d->longest, micro * limit);
}

static int check_one(const struct data_request *r, const char *path, uint64_t seed, struct stage_extent *extent,
                     struct error *err) {
    struct dataset d = {0};
    struct samples samples = {0};
    int rc;

    if (data_load(r, path, &d, err) != 0)
        return -1;
    warn_of_one_label(&d);
    rc = samples_from_dataset(&d, r->needs->needs, &samples, err);
    if (rc == 0 && extent != NULL && d.kind == REIN_DATA_PROMPTS)
        measure_rollouts(r, &d, extent);
    else if (rc == 0 && extent != NULL)
        rc = measure_given(r, &samples, seed, extent, err);
    samples_free(&samples);
    dataset_free(&d);
    return rc;
}

int data_check(const struct stage *s, const struct model_config *c, const struct tokenizer *t, uint64_t seed,
               struct stage_extent *extent, struct error *err) {
    *extent = (struct stage_extent){0};
    for (size_t i = 0; i < s->nalgorithms; i++) {
        const struct data_request r = {
            .stage = s, .needs = &s->algorithms[i].needs, .config = c, .tokenizer = t, .strict = true};

        if (check_one(&r, data_path(s, &s->algorithms[i]), seed + DATA_SEED_STEP * i, extent, err) != 0)
            return -1;
        if (i == 0 && s->eval_path != NULL && check_one(&r, s->eval_path, 0, NULL, err) != 0)
            return -1;
    }
    return 0;
}
