/* SPDX-License-Identifier: MIT */
#include "train/room.h"

#include "base/mem.h"
#include "model/generate.h"

#include <stdlib.h>

/* A micro-batch: rows that the model reads, and tokens that it predicts. */
struct load {
    uint64_t rows, tokens;
    uint32_t sequences;
};

static void widen(struct load *most, const struct load *x) {
    most->rows = x->rows > most->rows ? x->rows : most->rows;
    most->tokens = x->tokens > most->tokens ? x->tokens : most->tokens;
    most->sequences = x->sequences > most->sequences ? x->sequences : most->sequences;
}

static uint32_t begin_alike(const struct samples *s, uint32_t a, uint32_t b) {
    uint32_t n = s->length[a] < s->length[b] ? s->length[a] : s->length[b], i = 0;

    while (i < n && s->ids[a][i] == s->ids[b][i])
        i++;
    return i < PASS_SHARE_LEAST ? 0 : i;
}

/* What a unit adds to its micro-batch: what its rows share with its first is computed once, unless each draws apart. */
static struct load load_of(const struct samples *s, uint32_t unit, bool share) {
    const uint32_t first = s->unit[unit], end = s->unit[unit + 1];
    struct load x = {.sequences = end - first};

    for (uint32_t r = first; r < end; r++) {
        x.rows += s->length[r] - (share && r > first ? begin_alike(s, first, r) : 0);
        x.tokens += samples_row_tokens(s, r);
    }
    return x;
}

/* The largest micro-batch of so many units in a row. */
static void measure(const struct load *of, const uint32_t *units, uint32_t count, uint32_t micro, struct load *most) {
    for (uint32_t at = 0; at < count; at += micro) {
        struct load sum = {0};

        for (uint32_t i = at; i < count && i - at < micro; i++) {
            const struct load *x = &of[units ? units[i] : i];

            sum.rows += x->rows;
            sum.tokens += x->tokens;
            sum.sequences += x->sequences;
        }
        widen(most, &sum);
    }
}

/* Of all steps to come: their order is known. With order NULL: of one pass over the samples as they lie. */
static int measure_samples(const struct run *r, const struct samples *s, struct order *order, struct load *most,
                           struct error *err) {
    struct load *of = mem_array(s->units, sizeof(*of));

    if (of == NULL)
        return error_nomem(err, "batches");
    for (uint32_t u = 0; u < s->units; u++)
        of[u] = load_of(s, u, r->stage->model.dropout == 0 || order == NULL);
    if (order == NULL)
        measure(of, NULL, s->units, r->micro, most);
    for (uint64_t step = 0; order != NULL && step < r->total; step++) {
        uint32_t count;
        const uint32_t *units = order_at(order, step, &count);

        measure(of, units, count, r->micro, most);
    }
    free(of);
    return 0;
}

/* Rollouts are not known yet: prompts as long as the longest, or too short to be shared, and completions to the last
 * token. */
static struct load rollout_load(const struct run *r, uint32_t longest) {
    const struct stage *s = r->stage;
    const uint64_t all = (uint64_t)s->rollout.prompts * (uint64_t)s->rollout.group;
    const uint64_t rows = r->micro < all ? r->micro : all;
    const uint64_t prompts = rows < (uint64_t)s->rollout.prompts ? rows : (uint64_t)s->rollout.prompts;

    return (struct load){.rows = prompts * longest + rows * (r->max_tokens + PASS_SHARE_LEAST - 1),
                         .tokens = rows * r->max_tokens,
                         .sequences = (uint32_t)rows};
}

static int room_to_sample(const struct run *r, uint32_t longest, struct error *err) {
    const struct rollout_config *c = &r->stage->rollout;
    struct generate_request q = {.prompts = (uint32_t)c->prompts,
                                 .group = (uint32_t)c->group,
                                 .max_tokens = r->max_tokens,
                                 .slots = (uint32_t)c->slots};

    if (generate_reserve(r->trainer.actor, &q, longest, err) != 0)
        return -1;
    q.prompts = (uint32_t)r->eval_data.nunits;
    q.group = 1;
    return q.prompts == 0 ? 0 : generate_reserve(r->trainer.actor, &q, r->eval_data.longest, err);
}

int room_make(struct run *r, struct error *err) {
    struct trainer *t = &r->trainer;
    struct load trained = {0}, passing = {0};

    for (size_t i = 0; i < r->count; i++)
        if (r->stage->on_policy && i == r->main) {
            const struct load x = rollout_load(r, r->data[i].longest);

            widen(&trained, &x);
            if (room_to_sample(r, r->data[i].longest, err) != 0)
                return -1;
        } else if (measure_samples(r, &r->samples[i], &r->orders[i], &trained, err) != 0 ||
                   (t->reference != NULL && measure_samples(r, &r->samples[i], NULL, &passing, err) != 0))
            return -1;
    if (r->eval.rows > 0 && measure_samples(r, &r->eval, NULL, &passing, err) != 0)
        return -1;
    widen(&passing, &trained);
    const bool scores = model_head(t->actor) == MODEL_SCORE, valued = t->critic != NULL && t->shared;
    const struct pass_size actor = {.kept = trained.rows,
                                    .passing = passing.rows,
                                    .targets = scores ? 0 : passing.tokens,
                                    .scores = scores   ? passing.sequences
                                              : valued ? passing.tokens
                                                       : 0,
                                    .heads = model_heads(t->actor)};
    const struct pass_size critic = {
        .kept = trained.rows, .passing = passing.rows, .scores = passing.tokens, .heads = 1};
    const struct pass_size reference = {.passing = passing.rows, .targets = passing.tokens};

    if (pass_reserve(t->actor_pass, &actor, err) != 0 ||
        (t->critic_pass != NULL && pass_reserve(t->critic_pass, &critic, err) != 0))
        return -1;
    return t->reference_pass != NULL ? pass_reserve(t->reference_pass, &reference, err) : 0;
}
