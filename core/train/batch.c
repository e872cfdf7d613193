/* SPDX-License-Identifier: MIT */
#include "train/batch.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static bool taken(const struct samples *s, uint32_t r, enum batch_rows which) {
    return which == BATCH_ALL || (s->role != NULL && s->role[r] == REIN_ROLE_KL) == (which == BATCH_MISMATCHED);
}

void batch_norms(const struct samples *s, const uint32_t *units, uint32_t count, struct batch_norms *out) {
    uint64_t tokens = 0, rows = 0;
    uint32_t longest = 0;

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t r = s->unit[units[i]]; r < s->unit[units[i] + 1]; r++) {
            const uint32_t n = samples_row_tokens(s, r);

            if (!taken(s, r, BATCH_LOSS))
                continue;
            tokens += samples_unmasked(s, r);
            longest = n > longest ? n : longest;
            rows++;
        }
    *out = (struct batch_norms){
        .tokens = (double)tokens, .rows = (double)rows, .units = (double)count, .max_tokens = longest};
}

/* Arrays of one kind grow together: one capacity, checked once. */
struct array {
    void *slot;
    size_t element;
};

static int grow(const struct array *arrays, size_t count, size_t *capacity, size_t need) {
    if (need <= *capacity)
        return 0;
    need += need / 4;
    for (size_t i = 0; i < count; i++) {
        void *now, *bigger;

        memcpy(&now, arrays[i].slot, sizeof(now));
        bigger = mem_resize(now, need, arrays[i].element);
        if (bigger == NULL)
            return -1;
        memcpy(arrays[i].slot, &bigger, sizeof(bigger));
    }
    *capacity = need;
    return 0;
}

static int reserve(struct batch *b, size_t rows, size_t tokens, size_t ids, size_t family) {
    const struct array per_row[] = {
        {&b->sequence, 4}, {&b->last, 4},   {&b->offset, 4}, {&b->unit, 4},   {&b->score, 4}, {&b->d_score, 4},
        {&b->role, 1},     {&b->label, 1},  {&b->ended, 1},  {&b->rank, 4},   {&b->reward, 4}, {&b->margin, 4},
    };
    const struct array per_token[] = {
        {&b->rows, 4},     {&b->targets, 4},   {&b->logp, 4},    {&b->entropy, 4},  {&b->value, 4},
        {&b->best, 4},     {&b->d_logp, 4},    {&b->d_value, 4}, {&b->d_entropy, 4}, {&b->mask, 1},
        {&b->logp_old, 4}, {&b->logp_ref, 4},  {&b->value_old, 4}, {&b->advantage, 4}, {&b->return_, 4},
    };
    const struct array per_id[] = {{&b->ids, 4}};
    const struct array per_family[] = {{&b->family, 4}};

    /* one more row than there are, for the closing offset */
    return grow(per_row, sizeof(per_row) / sizeof(*per_row), &b->row_capacity, rows + 1) == 0 &&
                   grow(per_token, sizeof(per_token) / sizeof(*per_token), &b->token_capacity, tokens + 1) == 0 &&
                   grow(per_id, 1, &b->id_capacity, ids + 1) == 0 &&
                   grow(per_family, 1, &b->family_capacity, family + 1) == 0
               ? 0
               : -1;
}

void batch_free(struct batch *b) {
    void *const all[] = {b->sequence, b->ids,      b->rows,      b->targets,   b->last,    b->offset,    b->unit,
                         b->logp,     b->entropy,  b->value,     b->score,     b->best,    b->d_logp,    b->d_entropy,
                         b->d_value,  b->d_score,  b->mask,      b->role,      b->label,   b->ended,     b->rank,
                         b->logp_old, b->logp_ref, b->value_old, b->advantage, b->return_, b->reward,    b->family,
                         b->margin};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]);
    *b = (struct batch){0};
}

/* Copies row `r`'s stretch of a per-token array behind what is there already. */
static void gather(float *to, const float *from, uint32_t at, const struct samples *s, uint32_t r) {
    if (from != NULL)
        memcpy(to + at, from + s->offset[r], samples_row_tokens(s, r) * sizeof(*to));
}

static void add_tokens(struct batch *b, const struct samples *s, uint32_t r, uint32_t at, uint32_t packed) {
    const uint32_t n = samples_row_tokens(s, r), first = s->first[r];

    for (uint32_t t = 0; t < n; t++) {
        b->rows[at + t] = (int32_t)(packed + first + t - 1);
        b->targets[at + t] = s->ids[r][first + t];
    }
    if (s->mask != NULL)
        memcpy(b->mask + at, s->mask + s->offset[r], n);
    gather(b->logp_old, s->logp_old, at, s, r);
    gather(b->logp_ref, s->logp_ref, at, s, r);
    gather(b->value_old, s->value_old, at, s, r);
    gather(b->advantage, s->advantage, at, s, r);
    gather(b->return_, s->return_, at, s, r);
}

static void add_row(struct batch *b, const struct samples *s, uint32_t r, uint32_t row) {
    if (s->role != NULL)
        b->role[row] = s->role[r];
    if (s->label != NULL)
        b->label[row] = s->label[r];
    if (s->ended != NULL)
        b->ended[row] = s->ended[r];
    if (s->rank != NULL)
        b->rank[row] = s->rank[r];
    if (s->margin != NULL)
        b->margin[row] = s->margin[r];
    if (s->reward != NULL)
        b->reward[row] = s->reward[r];
}

static void describe(struct batch *b, const struct samples *s, const struct batch_norms *norms, uint32_t rows,
                     uint32_t units, uint32_t tokens) {
    b->view = (struct rein_batch){
        .size = sizeof(b->view), .rows = rows, .units = units, .tokens = tokens, .members = s->members,
        .offset = b->offset, .unit = b->unit,
        .mask = s->mask ? b->mask : NULL,
        .logp_old = s->logp_old ? b->logp_old : NULL,
        .logp_ref = s->logp_ref ? b->logp_ref : NULL,
        .value_old = s->value_old ? b->value_old : NULL,
        .advantage = s->advantage ? b->advantage : NULL,
        .return_ = s->return_ ? b->return_ : NULL,
        .reward = s->reward ? b->reward : NULL,
        .family = s->family ? b->family : NULL,
        .margin = s->margin ? b->margin : NULL,
        .rank = s->rank ? b->rank : NULL,
        .role = s->role ? b->role : NULL,
        .label = s->label ? b->label : NULL,
        .ended = s->ended ? b->ended : NULL,
        .norm_tokens = norms->tokens, .norm_rows = norms->rows, .norm_units = norms->units,
        .max_tokens = norms->max_tokens,
    };
    b->packed = (struct packed){.count = rows, .offset = b->sequence, .ids = b->ids};
}

int batch_build(struct batch *b, const struct samples *s, const uint32_t *units, uint32_t count, enum batch_rows which,
                const struct batch_norms *norms, struct error *err) {
    size_t rows = 0, tokens = 0, ids = 0;
    uint32_t row = 0, at = 0, packed = 0;

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t r = s->unit[units[i]]; r < s->unit[units[i] + 1]; r++) {
            if (!taken(s, r, which))
                continue;
            rows++;
            tokens += samples_row_tokens(s, r);
            ids += s->length[r];
        }
    if (ids > INT32_MAX)
        return error_input(err, "a micro-batch of %zu tokens is too large: lower train.micro_batch", ids);
    if (reserve(b, rows, tokens, ids, rows * s->members) != 0)
        return error_nomem(err, "a micro-batch");
    for (uint32_t i = 0; i < count; i++) {
        b->unit[i] = row;
        for (uint32_t r = s->unit[units[i]]; r < s->unit[units[i] + 1]; r++) {
            if (!taken(s, r, which))
                continue;
            b->offset[row] = at;
            b->sequence[row] = packed;
            memcpy(b->ids + packed, s->ids[r], s->length[r] * sizeof(*b->ids));
            add_tokens(b, s, r, at, packed);
            add_row(b, s, r, row);
            for (uint32_t k = 0; k < s->members && s->family; k++)
                b->family[k * rows + row] = s->family[(size_t)k * s->rows + r];
            at += samples_row_tokens(s, r);
            packed += s->length[r];
            b->last[row++] = (int32_t)packed - 1;
        }
    }
    b->unit[count] = row;
    b->offset[row] = at;
    b->sequence[row] = packed;
    describe(b, s, norms, row, count, at);
    return 0;
}
