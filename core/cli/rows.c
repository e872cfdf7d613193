/* SPDX-License-Identifier: MIT */
#include "cli/rows.h"

#include "base/mem.h"

#include <math.h>
#include <rein/algorithm.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_TOKENS = 2048 }; /* a longer row goes alone */

/* The line that a row came from, for messages. */
static uint64_t line_of(const struct dataset *d, size_t row) {
    size_t low = 0, high = d->nunits;

    while (low + 1 < high) {
        size_t middle = (low + high) / 2;
        if (d->units[middle].first <= row)
            low = middle;
        else
            high = middle;
    }
    return d->nunits ? d->units[low].line : 0;
}

static int check_lengths(const struct rows *r, const char *path, struct error *err) {
    int64_t context = model_config(r->model)->positions;

    for (size_t i = 0; i < r->data.nrows; i++)
        if (r->data.rows[i].length == 0)
            return error_at(err, path, line_of(&r->data, i), 0, "the row has no token");
        else if (context > 0 && r->data.rows[i].length > context)
            return error_at(err, path, line_of(&r->data, i), 0, "the row has %u tokens, the model's context is %lld",
                            r->data.rows[i].length, (long long)context);
    return 0;
}

static int load_data(struct rows *r, const struct rows_setup *setup, struct error *err) {
    const struct model_config *c = model_config(r->model);
    const struct chat_template *chat = NULL;
    struct dataset_options options = {
        .tokenizer = model_tokenizer(r->model),
        .template_strings = setup->template != NULL,
        .kinds = setup->kinds,
        .eos = !setup->whole,
        .context = c->positions > 0 && c->positions < UINT32_MAX ? (uint32_t)c->positions : 0,
        .vocabulary = (size_t)c->vocabulary,
    };

    if (setup->template) {
        if ((chat = template_find(setup->template, err)) == NULL)
            return -1;
    } else if (options.tokenizer && template_recognise(options.tokenizer, &chat, NULL)) {
        chat = NULL; /* unknown: message lists will be refused */
    }
    options.chat = chat;
    return dataset_load(setup->data, &options, &r->data, err) || check_lengths(r, setup->data, err) ? -1 : 0;
}

int rows_open(struct rows *r, const struct cli_common *common, const struct rows_setup *setup, struct error *err) {
    struct model_source source = {.path = setup->model, .base = setup->base};
    bool has;

    if (model_has_score(setup->model, setup->base, &has, err))
        return -1;
    if (setup->score && !has)
        return error_input(err, "%s: has no score head (score.weight): it is not a reward model", setup->model);
    if (has && (setup->score || setup->any))
        source.head = MODEL_SCORE;
    if (session_backend(common, NULL, &r->session, err) || model_open(r->session.backend, &source, &r->model, err) ||
        load_data(r, setup, err))
        return -1;
    return pass_create(r->model, &r->pass, err);
}

void rows_close(struct rows *r) {
    pass_free(r->pass);
    model_close(r->model);
    dataset_free(&r->data);
    session_close(&r->session);
    free(r->offset);
    free(r->ids);
    free(r->at);
    free(r->targets);
    free(r->values);
    memset(r, 0, sizeof(*r));
}

int rows_next(struct rows *r, struct error *err) {
    size_t first = r->first + r->batch.count, n = 0, tokens = 0;

    while (first + n < r->data.nrows && (n == 0 || tokens + r->data.rows[first + n].length <= BATCH_TOKENS))
        tokens += r->data.rows[first + n++].length;
    if (n == 0)
        return 0;
    if (mem_grow((void **)&r->offset, &r->offset_capacity, n + 1, sizeof(*r->offset)) ||
        mem_grow((void **)&r->ids, &r->ids_capacity, tokens, sizeof(*r->ids)) ||
        mem_grow((void **)&r->at, &r->at_capacity, tokens, sizeof(*r->at)) ||
        mem_grow((void **)&r->targets, &r->targets_capacity, tokens, sizeof(*r->targets)) ||
        mem_grow((void **)&r->values, &r->values_capacity, tokens, sizeof(*r->values)))
        return error_nomem(err, "batch");
    r->offset[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const struct data_row *row = &r->data.rows[first + i];

        memcpy(r->ids + r->offset[i], row->ids, row->length * sizeof(*row->ids));
        r->offset[i + 1] = r->offset[i] + row->length;
    }
    r->first = first;
    r->batch = (struct packed){(uint32_t)n, r->offset, r->ids};
    return pass_forward(r->pass, &r->batch, false, err) ? -1 : 1;
}

static int check_numbers(const struct rows *r, size_t n, struct error *err) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(r->values[i]))
            return error_run(err, "the model's output is not a number: its weights are broken");
    return 0;
}

int rows_logprobs(struct rows *r, struct error *err) {
    struct pass_targets t = {.rows = r->at, .targets = r->targets, .temperature = 1.0};

    for (uint32_t s = 0; s < r->batch.count; s++)
        for (uint32_t i = r->offset[s] + 1; i < r->offset[s + 1]; i++) {
            r->at[t.n] = (int32_t)i - 1;
            r->targets[t.n++] = r->ids[i];
        }
    if (pass_logprobs(r->pass, &t, r->values, NULL, NULL, err) || check_numbers(r, t.n, err))
        return -1;
    for (uint32_t s = r->batch.count; s-- > 0;) { /* from the end: to every token's own place */
        for (uint32_t i = r->offset[s + 1]; --i > r->offset[s];)
            r->values[i] = r->values[--t.n];
        r->values[r->offset[s]] = 0;
    }
    return 0;
}

int rows_scores(struct rows *r, struct error *err) {
    for (uint32_t s = 0; s < r->batch.count; s++)
        r->at[s] = (int32_t)r->offset[s + 1] - 1;
    if (pass_scores(r->pass, r->model, r->batch.count, r->at, r->values, err))
        return -1;
    return check_numbers(r, r->batch.count, err);
}
