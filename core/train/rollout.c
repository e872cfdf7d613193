/* SPDX-License-Identifier: MIT */
#include "train/rollout.h"

#include "base/buffer.h"
#include "base/mem.h"
#include "model/generate.h"
#include "text/template.h"
#include "train/data.h"
#include "train/signals.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EOS = CONFIG_MAX_EOS + 2 };

struct watch {
    const struct report_sink *sink;
    uint64_t done, total;
};

static int on_token(void *ctx, uint32_t completion, int32_t id, float logp) {
    struct watch *w = ctx;

    (void)completion;
    (void)id;
    (void)logp;
    if (w->sink && w->sink->progress)
        w->sink->progress(w->sink->ctx, "sampling", ++w->done, w->total);
    return signals_pending();
}

static void add_eos(int32_t *list, uint32_t *count, int32_t id) {
    if (id < 0 || *count == MAX_EOS)
        return;
    for (uint32_t i = 0; i < *count; i++)
        if (list[i] == id)
            return;
    list[(*count)++] = id;
}

/* The model's own, and the end of a turn when prompts are conversations. */
static uint32_t find_eos(const struct rollout_request *q, int32_t *list) {
    const struct model_config *c = model_config(q->actor);
    const struct tokenizer *t = model_tokenizer(q->actor);
    const struct chat_template *chat = NULL;
    uint32_t count = 0;
    bool turns = q->stage->data.chat != NULL;

    for (uint32_t i = 0; i < c->neos; i++)
        add_eos(list, &count, c->eos[i]);
    if (t == NULL)
        return count;
    add_eos(list, &count, tokenizer_eos(t));
    for (uint32_t i = 0; i < q->count && !turns; i++)
        turns = q->prompts->units[q->units[i]].messages != NULL;
    if (!turns)
        return count;
    if (q->stage->data.chat != NULL)
        chat = q->stage->data.chat;
    else if (template_recognise(t, &chat, NULL) != 0)
        chat = NULL;
    if (chat != NULL)
        add_eos(list, &count, template_end_of_turn(chat, t));
    return count;
}

/* Prompts one after the other, as generate() takes them. */
static int pack_prompts(const struct rollout_request *q, struct ids *ids, uint32_t *offset, struct error *err) {
    for (uint32_t i = 0; i < q->count; i++) {
        const struct data_row *row = &q->prompts->rows[q->prompts->units[q->units[i]].first];

        if (row->length == 0)
            return error_input(err, "%s:%llu: the prompt has no tokens", q->prompts->path,
                               (unsigned long long)q->prompts->units[q->units[i]].line);
        if (ids_append(ids, row->ids, row->length, err) != 0)
            return -1;
        offset[i + 1] = (uint32_t)ids->count;
    }
    return 0;
}

static int sample(const struct rollout_request *q, const struct ids *ids, const uint32_t *offset,
                  struct generation *out, struct error *err) {
    const struct rollout_config *c = &q->stage->rollout;
    struct watch watch = {.sink = q->sink, .total = (uint64_t)q->count * q->group * q->max_tokens};
    int32_t eos[MAX_EOS];
    const struct generate_request g = {
        .prompts = q->count, .offset = offset, .ids = ids->data, .group = q->group, .max_tokens = q->max_tokens,
        .temperature = q->temperature, .top_p = 1, .eos = eos, .neos = find_eos(q, eos),
        .stop = c->stop.items, .nstop = (uint32_t)c->stop.count, .seed = q->seed, .step = q->step,
        .values = q->critic, .trace = q->trace, .slots = (uint32_t)c->slots, .progress = on_token,
        .progress_ctx = &watch};

    if (generate(q->actor, &g, out, err) != 0)
        return -1;
    if (signals_check(err) == 0)
        return 0;
    generation_free(out);
    return -1;
}

static int fill_samples(const struct rollout_request *q, const struct ids *ids, const uint32_t *offset,
                        const struct generation *g, struct samples *s, struct error *err) {
    uint32_t *lengths = mem_array(g->count, sizeof(*lengths)), *prompts = mem_array(g->count, sizeof(*prompts));
    int rc = -1;

    if (lengths == NULL || prompts == NULL) {
        error_nomem(err, "rollout");
        goto out;
    }
    for (uint32_t r = 0; r < g->count; r++) {
        prompts[r] = offset[r / q->group + 1] - offset[r / q->group];
        lengths[r] = prompts[r] + g->offset[r + 1] - g->offset[r];
    }
    if (samples_create(g->count, lengths, prompts, s, err) != 0)
        goto out;
    s->logp_old = samples_array(s->tokens, err);
    s->ended = mem_zeros(g->count, 1);
    if (g->value != NULL)
        s->value_old = samples_array(s->tokens, err);
    if (s->logp_old == NULL || s->ended == NULL || (g->value != NULL && s->value_old == NULL)) {
        samples_free(s);
        error_nomem(err, "rollout");
        goto out;
    }
    memcpy(s->ended, g->ended, g->count);
    memcpy(s->logp_old, g->logp, s->tokens * sizeof(*s->logp_old));
    if (g->value != NULL)
        memcpy(s->value_old, g->value, s->tokens * sizeof(*s->value_old));
    for (uint32_t r = 0; r < g->count; r++) {
        int32_t *to = s->own + (s->ids[r] - s->own);

        memcpy(to, ids->data + offset[r / q->group], prompts[r] * sizeof(*to));
        memcpy(to + prompts[r], g->ids + g->offset[r], (lengths[r] - prompts[r]) * sizeof(*to));
    }
    rc = 0;
out:
    free(lengths);
    free(prompts);
    return rc;
}

static char *decode(const struct tokenizer *t, const int32_t *ids, size_t count) {
    struct buffer b = {0};

    if (t != NULL)
        tokenizer_decode(t, ids, count, true, &b);
    return buffer_take(&b);
}

/* The prompt's messages and the completion as the assistant's turn. */
static char *with_turn(const char *messages, const char *completion) {
    json_t *list = json_loads(messages, 0, NULL), *turn;
    char *text;

    turn = json_pack("{s:s, s:s}", "role", "assistant", "content", completion);
    if (list == NULL || turn == NULL) {
        json_decref(list);
        json_decref(turn);
        return NULL;
    }
    json_array_append_new(list, turn);
    text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

static int fill_texts(const struct rollout_request *q, struct rollout *out, struct error *err) {
    const struct tokenizer *t = model_tokenizer(q->actor);
    const struct samples *s = &out->samples;

    out->prompt = mem_zeros(s->rows, sizeof(*out->prompt));
    out->completion = mem_zeros(s->rows, sizeof(*out->completion));
    out->messages = mem_zeros(s->rows, sizeof(*out->messages));
    out->columns = mem_zeros(s->rows, sizeof(*out->columns));
    if (!out->prompt || !out->completion || !out->messages || !out->columns)
        return error_nomem(err, "rollout");
    for (uint32_t r = 0; r < s->rows; r++) {
        const struct data_unit *u = &q->prompts->units[q->units[r / q->group]];

        out->prompt[r] = decode(t, s->ids[r], s->first[r]);
        out->completion[r] = decode(t, s->ids[r] + s->first[r], s->length[r] - s->first[r]);
        out->columns[r] = u->columns;
        if (!out->prompt[r] || !out->completion[r])
            return error_nomem(err, "rollout");
        if (u->messages == NULL)
            continue;
        out->messages[r] = with_turn(u->messages, out->completion[r]);
        if (out->messages[r] == NULL)
            return error_nomem(err, "rollout");
    }
    return 0;
}

int rollout_sample(const struct rollout_request *q, struct rollout *out, struct error *err) {
    struct ids ids = {0};
    struct generation g = {0};
    uint32_t *offset = mem_zeros((size_t)q->count + 1, sizeof(*offset));
    int rc = -1;

    *out = (struct rollout){.prompts = q->count, .group = q->group};
    if (offset == NULL) {
        error_nomem(err, "rollout");
        goto out;
    }
    if (pack_prompts(q, &ids, offset, err) != 0 || sample(q, &ids, offset, &g, err) != 0)
        goto out;
    rc = fill_samples(q, &ids, offset, &g, &out->samples, err);
    generation_free(&g);
    if (rc == 0)
        rc = fill_texts(q, out, err);
    if (rc != 0)
        rollout_free(out);
out:
    ids_free(&ids);
    free(offset);
    return rc;
}

static void free_texts(char **list, uint32_t count) {
    for (uint32_t i = 0; list != NULL && i < count; i++)
        free(list[i]);
    free(list);
}

void rollout_free(struct rollout *r) {
    const uint32_t rows = r->prompts * r->group;

    free_texts(r->prompt, rows);
    free_texts(r->completion, rows);
    free_texts(r->messages, rows);
    free(r->columns);
    samples_free(&r->samples);
    *r = (struct rollout){0};
}
