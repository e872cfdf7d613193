/* SPDX-License-Identifier: MIT */
#include "model/pass.h"

#include "base/mem.h"
#include "model/transformer.h"

#include <stdlib.h>

/* Device arrays for n gathered rows, in one allocation. */
struct rows {
    void *slab;
    size_t capacity;
    uint64_t bytes;
    float *x, *dx;              /* [n][hidden] */
    float *out, *lse, *entropy; /* [n] */
    float *d_out, *d_entropy;   /* [n] */
    int32_t *best;              /* [n] */
};

struct pass {
    struct trunk *trunk;
    struct work work[2];  /* without and with what the backward pass needs */
    struct work *current; /* of the last forward, or NULL */
    bool entropy;         /* the last pass_logprobs computed it */
    uint32_t targets;     /* how many it had */
    struct flow flow;
    int32_t *ids, *positions; /* host copies, since the batch is the caller's */
    struct rein_segment *segments;
    size_t ids_capacity, positions_capacity, segments_capacity;
    struct rows head, score; /* apart, since lse and entropy wait for the backward pass */
};

int pass_create(struct model *m, struct pass **out, struct error *err) {
    struct pass *p = mem_zeros(1, sizeof(*p));

    *out = p;
    if (!p)
        return error_nomem(err, "pass");
    p->trunk = m->trunk;
    p->trunk->references++;
    return 0;
}

static void rows_free(struct rows *r, struct backend *b) {
    backend_free(b, r->slab);
    *r = (struct rows){0};
}

void pass_free(struct pass *p) {
    if (!p)
        return;
    work_free(&p->work[0], p->trunk);
    work_free(&p->work[1], p->trunk);
    rows_free(&p->head, p->trunk->backend);
    rows_free(&p->score, p->trunk->backend);
    free(p->ids);
    free(p->positions);
    free(p->segments);
    trunk_release(p->trunk);
    free(p);
}

uint64_t pass_bytes(const struct pass *p) {
    return p->work[0].bytes + p->work[1].bytes + p->head.bytes + p->score.bytes;
}

static int rows_reserve(struct pass *p, struct rows *r, size_t n, struct error *err) {
    struct backend *b = p->trunk->backend;
    size_t hidden = (size_t)p->trunk->config.hidden, columns, bytes;
    float *f;

    if (r->slab && n <= r->capacity)
        return 0;
    rows_free(r, b);
    n = (n + 15) / 16 * 16;
    if (!size_mul(hidden, 2, &columns) || !size_add(columns, 6, &columns) || !size_mul(n, columns, &bytes) ||
        !size_mul(bytes, sizeof(float), &bytes))
        return error_nomem(err, "rows of the head");
    r->slab = backend_alloc(b, bytes, 1, err);
    if (!r->slab)
        return -1;
    r->capacity = n;
    r->bytes = bytes;
    f = r->slab;
    r->x = f;
    r->dx = f + n * hidden;
    f += 2 * n * hidden;
    r->out = f;
    r->lse = f + n;
    r->entropy = f + 2 * n;
    r->d_out = f + 3 * n;
    r->d_entropy = f + 4 * n;
    r->best = (int32_t *)(void *)(f + 5 * n);
    return 0;
}

static int check_batch(const struct trunk *t, const struct packed *batch, struct error *err) {
    const struct model_config *c = &t->config;

    if (batch->offset[batch->count] > INT32_MAX)
        return error_input(err, "%u tokens in one batch are too many", batch->offset[batch->count]);
    for (uint32_t s = 0; s < batch->count; s++) {
        uint32_t length = batch->offset[s + 1] - batch->offset[s];

        if (c->positions > 0 && length > c->positions)
            return error_input(err, "a sequence of %u tokens does not fit the model's context of %lld", length,
                               (long long)c->positions);
    }
    for (uint32_t i = 0; i < batch->offset[batch->count]; i++)
        if (batch->ids[i] < 0 || batch->ids[i] >= c->vocabulary)
            return error_input(err, "token id %d is outside the model's vocabulary of %lld", batch->ids[i],
                               (long long)c->vocabulary);
    return 0;
}

/* Copies the batch, and makes positions and segments. */
static int take_batch(struct pass *p, const struct packed *batch, struct error *err) {
    uint32_t n = batch->offset[batch->count];

    if (mem_grow((void **)&p->ids, &p->ids_capacity, n, sizeof(*p->ids)) ||
        mem_grow((void **)&p->positions, &p->positions_capacity, n, sizeof(*p->positions)) ||
        mem_grow((void **)&p->segments, &p->segments_capacity, batch->count, sizeof(*p->segments)))
        return error_nomem(err, "batch");
    for (uint32_t s = 0; s < batch->count; s++) {
        uint32_t begin = batch->offset[s], length = batch->offset[s + 1] - begin;

        p->segments[s] = (struct rein_segment){
            .q_begin = (int32_t)begin,
            .q_rows = (int32_t)length,
            .kv_begin = (int32_t)begin,
            .kv_rows = (int32_t)length,
        };
        for (uint32_t i = 0; i < length; i++) {
            p->ids[begin + i] = batch->ids[begin + i];
            p->positions[begin + i] = (int32_t)i;
        }
    }
    p->flow = (struct flow){
        .n = n,
        .ids = p->ids,
        .positions = p->positions,
        .segments = p->segments,
        .nsegments = batch->count,
    };
    return 0;
}

int pass_forward(struct pass *p, const struct packed *batch, bool keep, struct error *err) {
    struct trunk *t = p->trunk;
    struct work *w;

    keep = keep && t->trainable; /* nothing flows back through a frozen trunk */
    w = &p->work[keep];
    p->current = NULL;
    p->targets = 0;
    if (check_batch(t, batch, err) || take_batch(p, batch, err) || work_reserve(w, t, p->flow.n, keep, err) ||
        transformer_forward(t, w, &p->flow, err))
        return -1;
    if (keep && backend_zero(t->backend, w->dhidden, (size_t)(p->flow.n * t->config.hidden) * sizeof(float), err))
        return -1;
    if (backend_sync(t->backend, err))
        return -1;
    p->current = w;
    return 0;
}

static int check_rows(const struct pass *p, uint32_t n, const int32_t *rows, struct error *err) {
    if (!p->current)
        return error_run(err, "a head was asked for before a forward pass");
    for (uint32_t i = 0; i < n; i++)
        if (rows[i] < 0 || rows[i] >= p->flow.n || (i && rows[i] <= rows[i - 1]))
            return error_run(err, "row %d of the batch cannot be read: rows must increase and be below %lld", rows[i],
                             (long long)p->flow.n);
    return 0;
}

/* r->x = hidden[rows] */
static int gather(struct pass *p, struct rows *r, uint32_t n, const int32_t *rows, struct error *err) {
    struct backend *b = p->trunk->backend;
    int64_t h = p->trunk->config.hidden;
    struct rein_gather a = {
        .size = sizeof(a),
        .n = n,
        .cols = h,
        .ldx = h,
        .ldout = h,
        .rows = rows,
        .x = p->current->hidden,
        .out = r->x,
    };

    return backend_check(b, b->k.gather(b->dev, &a), "gather", err);
}

/* dhidden[rows] += r->dx */
static int scatter(struct pass *p, struct rows *r, uint32_t n, const int32_t *rows, struct error *err) {
    struct backend *b = p->trunk->backend;
    int64_t h = p->trunk->config.hidden;
    struct rein_gather a = {
        .size = sizeof(a),
        .scatter = 1,
        .n = n,
        .cols = h,
        .ldx = h,
        .ldout = h,
        .rows = rows,
        .x = r->dx,
        .out = p->current->dhidden,
    };

    return backend_check(b, b->k.gather(b->dev, &a), "gather", err);
}

static int check_targets(const struct pass *p, const struct pass_targets *t, struct error *err) {
    int64_t vocabulary = p->trunk->config.vocabulary;

    if (!p->trunk->lm_head)
        return error_input(err, "%s: was opened without its language model head", p->trunk->path);
    if (!(t->temperature > 0))
        return error_run(err, "log-probabilities need a temperature above 0");
    for (uint32_t i = 0; i < t->n; i++)
        if (t->targets[i] < 0 || t->targets[i] >= vocabulary)
            return error_input(err, "token id %d is outside the model's vocabulary of %lld", t->targets[i],
                               (long long)vocabulary);
    return check_rows(p, t->n, t->rows, err);
}

int pass_logprobs(struct pass *p, const struct pass_targets *t, float *logp, float *entropy, int32_t *best,
                  struct error *err) {
    struct backend *b = p->trunk->backend;
    struct rows *r = &p->head;
    size_t bytes = t->n * sizeof(float);

    if (check_targets(p, t, err) || rows_reserve(p, r, t->n, err) || gather(p, r, t->n, t->rows, err))
        return -1;
    struct rein_head a = {
        .size = sizeof(a),
        .w = &p->trunk->lm_head->w,
        .n = t->n,
        .ldh = p->trunk->config.hidden,
        .hidden = r->x,
        .targets = t->targets,
        .inv_temperature = (float)(1.0 / t->temperature),
        .logp = r->out,
        .lse = r->lse,
        .entropy = entropy ? r->entropy : NULL,
        .best = best ? r->best : NULL,
    };
    if (backend_check(b, b->k.head(b->dev, &a), "head", err) || backend_download(b, logp, r->out, bytes, err) ||
        (entropy && backend_download(b, entropy, r->entropy, bytes, err)) ||
        (best && backend_download(b, best, r->best, bytes, err)))
        return -1;
    p->targets = t->n;
    p->entropy = entropy != NULL;
    return 0;
}

int pass_logprobs_backward(struct pass *p, const struct pass_targets *t, const float *d_logp, const float *d_entropy,
                           struct error *err) {
    struct backend *b = p->trunk->backend;
    struct rows *r = &p->head;
    size_t bytes = t->n * sizeof(float);
    int64_t h = p->trunk->config.hidden;

    if (check_targets(p, t, err))
        return -1;
    if (t->n != p->targets || !p->current->keep || (d_entropy && !p->entropy))
        return error_run(err, "gradients of log-probabilities need the same pass_logprobs, after a kept forward pass");
    if (backend_upload(b, r->d_out, d_logp, bytes, err) ||
        (d_entropy && backend_upload(b, r->d_entropy, d_entropy, bytes, err)))
        return -1;
    struct rein_head_dx a = {
        .size = sizeof(a),
        .w = &p->trunk->lm_head->w,
        .n = t->n,
        .ldh = h,
        .lddh = h,
        .lddw = h,
        .hidden = r->x,
        .targets = t->targets,
        .inv_temperature = (float)(1.0 / t->temperature),
        .lse = r->lse,
        .entropy = d_entropy ? r->entropy : NULL,
        .d_logp = r->d_out,
        .d_entropy = d_entropy ? r->d_entropy : NULL,
        .dhidden = r->dx,
        .dw = p->trunk->lm_head->grad,
    };
    if (backend_check(b, b->k.head_dx(b->dev, &a), "head_dx", err) || scatter(p, r, t->n, t->rows, err))
        return -1;
    return backend_sync(b, err);
}

static int check_view(const struct pass *p, const struct model *m, struct error *err) {
    if (m->trunk != p->trunk || !m->head_param)
        return error_run(err, "the pass is not over the trunk of a view with a score or value head");
    return 0;
}

int pass_scores(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, float *out, struct error *err) {
    struct rows *r = &p->score;

    if (check_view(p, m, err) || check_rows(p, n, rows, err) || rows_reserve(p, r, n, err) ||
        gather(p, r, n, rows, err) || run_linear(p->trunk, m->head_param, NULL, n, r->x, r->out, 0, err))
        return -1;
    return backend_download(p->trunk->backend, out, r->out, n * sizeof(float), err);
}

int pass_scores_backward(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, const float *d_out,
                         struct error *err) {
    struct backend *b = p->trunk->backend;
    struct rows *r = &p->score;

    if (check_view(p, m, err) || check_rows(p, n, rows, err) || rows_reserve(p, r, n, err) ||
        gather(p, r, n, rows, err) || backend_upload(b, r->d_out, d_out, n * sizeof(float), err))
        return -1;
    if (m->head_param->grad && run_linear_dw(p->trunk, m->head_param, NULL, n, r->d_out, r->x, err))
        return -1;
    if (p->current->keep &&
        (run_linear_dx(p->trunk, m->head_param, n, r->d_out, r->dx, 0, err) || scatter(p, r, n, rows, err)))
        return -1;
    return backend_sync(b, err);
}

int pass_backward(struct pass *p, struct error *err) {
    if (!p->trunk->trainable)
        return 0;
    if (!p->current || !p->current->keep)
        return error_run(err, "a backward pass needs a kept forward pass");
    if (transformer_backward(p->trunk, p->current, &p->flow, err) || backend_sync(p->trunk->backend, err))
        return -1;
    p->current = NULL; /* its activations are used up */
    return 0;
}

int pass_hidden(struct pass *p, float *out, struct error *err) {
    if (!p->current)
        return error_run(err, "hidden states were asked for before a forward pass");
    return backend_download(p->trunk->backend, out, p->current->hidden,
                            (size_t)(p->flow.n * p->trunk->config.hidden) * sizeof(float), err);
}
