/* SPDX-License-Identifier: MIT */
#include "train/room.h"

#include "base/mem.h"
#include "model/generate.h"
#include "model/packing.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_COMPARED = 4096 }; /* sequences of a rollout */

/* For packing micro-batches as a pass will. */
struct bench {
    struct packing packing;
    uint32_t *offset;
    int32_t *ids;
    size_t offset_capacity, ids_capacity;
};

static void bench_free(struct bench *b) {
    packing_free(&b->packing);
    free(b->offset);
    free(b->ids);
}

static void widen(struct stage_load *most, const struct stage_load *x) {
    most->rows = x->rows > most->rows ? x->rows : most->rows;
    most->tokens = x->tokens > most->tokens ? x->tokens : most->tokens;
    most->sequences = x->sequences > most->sequences ? x->sequences : most->sequences;
}

/* What these units are together; `rows` as many as they have. */
static struct stage_load load_of(const struct samples *s, const uint32_t *units, uint32_t at, uint32_t count) {
    struct stage_load x = {0};

    for (uint32_t i = at; i < at + count; i++) {
        const uint32_t unit = units ? units[i] : i;

        for (uint32_t r = s->unit[unit]; r < s->unit[unit + 1]; r++) {
            x.rows += s->length[r];
            x.tokens += samples_row_tokens(s, r);
            x.sequences++;
        }
    }
    return x;
}

/* Of those rows, the ones that are computed. */
static int packed_rows(struct bench *b, const struct samples *s, const uint32_t *units, uint32_t at, uint32_t count,
                       struct stage_load *x, struct error *err) {
    uint32_t sequence = 0, end = 0;

    if (x->rows > INT32_MAX ||
        mem_grow((void **)&b->offset, &b->offset_capacity, (size_t)x->sequences + 1, sizeof(*b->offset)) != 0 ||
        mem_grow((void **)&b->ids, &b->ids_capacity, (size_t)x->rows, sizeof(*b->ids)) != 0)
        return error_nomem(err, "batches");
    for (uint32_t i = at; i < at + count; i++) {
        const uint32_t unit = units ? units[i] : i;

        for (uint32_t r = s->unit[unit]; r < s->unit[unit + 1]; r++) {
            b->offset[sequence++] = end;
            memcpy(b->ids + end, s->ids[r], s->length[r] * sizeof(*b->ids));
            end += s->length[r];
        }
    }
    b->offset[sequence] = end;
    if (packing_make(&b->packing, &(struct packed){sequence, b->offset, b->ids}, PASS_SHARE_LEAST, err) != 0)
        return -1;
    x->rows = (uint64_t)b->packing.n;
    return 0;
}

/* The largest micro-batch of so many units in a row. share: what its rows begin with alike is computed once. */
static int measure(struct bench *b, const struct room_plan *p, const struct samples *s, const uint32_t *units,
                   uint32_t count, bool share, struct stage_load *most, struct error *err) {
    for (uint32_t at = 0; at < count; at += p->micro) {
        const uint32_t n = count - at < p->micro ? count - at : p->micro;
        struct stage_load x = load_of(s, units, at, n);

        if (share && x.rows > most->rows && packed_rows(b, s, units, at, n, &x, err) != 0)
            return -1;
        widen(most, &x);
    }
    return 0;
}

/* Rows under dropout draw apart. */
static bool draws_apart(const struct stage *s) {
    const struct lora_options *lora = s->model.source.lora;

    return s->model.dropout > 0 || (lora && lora->dropout > 0);
}

int room_of_samples(const struct room_plan *p, const struct samples *s, struct order *order, struct stage_extent *out,
                    struct error *err) {
    struct bench b = {0};
    int rc = 0;

    if (order == NULL)
        rc = measure(&b, p, s, NULL, s->units, true, &out->passing, err);
    for (uint64_t step = 0; rc == 0 && order != NULL && step < p->steps; step++) {
        uint32_t count;
        const uint32_t *units = order_at(order, step, &count);

        rc = measure(&b, p, s, units, count, !draws_apart(p->stage), &out->trained, err);
    }
    bench_free(&b);
    return rc;
}

static int longer(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x > y ? -1 : x < y;
}

/* A rollout's prompts, and how many of them can meet in a micro-batch. Which completions do is drawn, unless the whole
 * rollout is learnt from at once. */
struct prompts {
    const struct dataset *data;
    uint32_t *units, *length; /* [count] */
    uint32_t count, group, rows, meet;
};

static uint32_t meeting(const struct room_plan *p, uint64_t all, uint32_t rows) {
    const struct stage *s = p->stage;
    const uint64_t group = (uint64_t)s->rollout.group;
    uint64_t n = (rows + group - 1) / group;

    if (s->train.minibatch > 0 && (uint64_t)s->train.minibatch < all)
        n = rows;
    else if (rows % group != 0 && group % rows != 0)
        n++;
    return (uint32_t)(n < (uint64_t)s->rollout.prompts ? n : (uint64_t)s->rollout.prompts);
}

/* Rows of all prompts when each of them is computed once, but for those that are too short to be shared. */
static uint64_t rows_at_most(const struct prompts *q) {
    uint64_t rows = 0;

    for (uint32_t i = 0; i < q->count; i++)
        rows += (uint64_t)q->length[i] * (q->length[i] < PASS_SHARE_LEAST ? q->group : 1);
    return rows;
}

/* As they are packed, each with its completions, which part at once: prompts may begin alike, but what a group shares
 * goes before. */
static int rows_of_all(struct bench *b, const struct prompts *q, uint64_t *rows, struct error *err) {
    const size_t count = (size_t)q->count * q->group;
    uint32_t end = 0;

    if (mem_grow((void **)&b->offset, &b->offset_capacity, count + 1, sizeof(*b->offset)) != 0 ||
        mem_grow((void **)&b->ids, &b->ids_capacity, count * ((size_t)q->data->longest + 1), sizeof(*b->ids)) != 0)
        return error_nomem(err, "batches");
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t prompt = i / q->group;

        b->offset[i] = end;
        memcpy(b->ids + end, q->data->rows[q->data->units[q->units[prompt]].first].ids,
               q->length[prompt] * sizeof(*b->ids));
        end += q->length[prompt];
        b->ids[end++] = -1 - (int32_t)i; /* no other row's */
    }
    b->offset[count] = end;
    if (packing_make(&b->packing, &(struct packed){(uint32_t)count, b->offset, b->ids}, PASS_SHARE_LEAST, err) != 0)
        return -1;
    *rows = (uint64_t)b->packing.n - count;
    return 0;
}

/* Of the longest that can meet. */
static uint64_t rows_of_some(const struct prompts *q) {
    uint32_t most = 0;
    uint64_t rows = 0;

    for (uint32_t i = 0; i < q->count; i++)
        if (q->length[i] < PASS_SHARE_LEAST && q->length[i] > most)
            most = q->length[i];
    qsort(q->length, q->count, sizeof(*q->length), longer);
    for (uint32_t i = 0; i < q->meet; i++)
        rows += q->length[i];
    return rows + (uint64_t)most * (q->rows - q->meet);
}

static int measure_rollout(struct bench *b, const struct room_plan *p, struct prompts *q, struct stage_extent *out,
                           struct error *err) {
    const uint64_t drawn = (uint64_t)q->count * q->group * p->max_tokens;
    struct stage_load x = {.tokens = (uint64_t)q->rows * p->max_tokens, .sequences = q->rows};
    uint64_t all;

    for (uint32_t i = 0; i < q->count; i++)
        q->length[i] = q->data->rows[q->data->units[q->units[i]].first].length;
    all = rows_at_most(q);
    /* else another rollout is larger, or it takes too long to compare all with all */
    if (all + drawn > out->rollout && (uint64_t)q->count * q->group <= MOST_COMPARED &&
        rows_of_all(b, q, &all, err) != 0)
        return -1;
    x.rows = x.tokens + (q->rows == q->count * q->group ? all : rows_of_some(q));
    widen(&out->trained, &x);
    all += drawn;
    out->rollout = all > out->rollout ? all : out->rollout;
    return 0;
}

int room_of_rollouts(const struct room_plan *p, const struct dataset *prompts, struct order *order,
                     struct stage_extent *out, struct error *err) {
    const struct stage *s = p->stage;
    const uint64_t all = (uint64_t)s->rollout.prompts * (uint64_t)s->rollout.group;
    const uint64_t minibatch =
        s->train.minibatch > 0 && (uint64_t)s->train.minibatch < all ? (uint64_t)s->train.minibatch : all;
    const uint64_t each = (all + minibatch - 1) / minibatch * p->epochs; /* steps of a rollout */
    struct prompts q = {.data = prompts, .count = (uint32_t)s->rollout.prompts, .group = (uint32_t)s->rollout.group};
    struct bench b = {0};
    int rc = 0;

    q.rows = (uint32_t)(p->micro < minibatch ? p->micro : minibatch);
    q.meet = meeting(p, all, q.rows);
    q.units = mem_array(q.count, sizeof(*q.units));
    q.length = mem_array(q.count, sizeof(*q.length));
    if (q.units == NULL || q.length == NULL)
        rc = error_nomem(err, "rollout");
    out->prompt = prompts->longest;
    for (uint64_t k = 0; rc == 0 && k * each < p->steps; k++) {
        for (uint32_t i = 0, one; i < q.count; i++)
            q.units[i] = *order_at(order, k * q.count + i, &one);
        rc = measure_rollout(&b, p, &q, out, err);
    }
    free(q.units);
    free(q.length);
    bench_free(&b);
    return rc;
}

/* Is a step one micro-batch of one algorithm? */
static bool in_one_piece(const struct stage *s, uint32_t micro) {
    const int64_t rollout = s->rollout.prompts * s->rollout.group;
    int64_t step = s->train.batch;

    if (s->on_policy)
        step = s->train.minibatch > 0 && s->train.minibatch < rollout ? s->train.minibatch : rollout;
    return s->nalgorithms == 1 && (int64_t)micro >= step;
}

struct room_passes room_of_passes(const struct stage *s, uint32_t micro, const struct stage_extent *e, uint32_t scores,
                                  bool valued) {
    const bool over = in_one_piece(s, micro);
    const uint64_t tokens = e->passing.tokens > e->trained.tokens ? e->passing.tokens : e->trained.tokens;
    const uint64_t rows = e->passing.rows > e->trained.rows ? e->passing.rows : e->trained.rows;
    const uint32_t sequences =
        e->passing.sequences > e->trained.sequences ? e->passing.sequences : e->trained.sequences;

    return (struct room_passes){
        .actor = {.over = over,
                  .kept = e->trained.rows,
                  .passing = rows,
                  .targets = scores ? 0 : tokens,
                  .scores = scores   ? sequences
                            : valued ? tokens
                                     : 0,
                  .heads = scores ? scores : 1},
        .critic = {.over = over, .kept = e->trained.rows, .passing = rows, .scores = tokens, .heads = 1},
        .reference = {.passing = rows, .targets = tokens}};
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
    const struct room_plan p = {
        .stage = r->stage, .steps = r->total, .micro = r->micro, .max_tokens = r->max_tokens, .epochs = r->epochs};
    struct trainer *t = &r->trainer;
    struct stage_extent e = {.prompt = 0};

    for (size_t i = 0; i < r->count; i++)
        if (r->stage->on_policy && i == r->main) {
            if (room_of_rollouts(&p, &r->data[i], &r->orders[i], &e, err) != 0 ||
                room_to_sample(r, r->data[i].longest, err) != 0)
                return -1;
        } else if (room_of_samples(&p, &r->samples[i], &r->orders[i], &e, err) != 0 ||
                   (t->reference != NULL && room_of_samples(&p, &r->samples[i], NULL, &e, err) != 0))
            return -1;
    if (r->eval.rows > 0 && room_of_samples(&p, &r->eval, NULL, &e, err) != 0)
        return -1;
    const struct room_passes passes =
        room_of_passes(r->stage, r->micro, &e, model_head(t->actor) == MODEL_SCORE ? model_heads(t->actor) : 0,
                       t->critic != NULL && t->shared);

    if (pass_reserve(t->actor_pass, &passes.actor, err) != 0 ||
        (t->critic_pass != NULL && pass_reserve(t->critic_pass, &passes.critic, err) != 0))
        return -1;
    return t->reference_pass != NULL ? pass_reserve(t->reference_pass, &passes.reference, err) : 0;
}
