/* SPDX-License-Identifier: MIT */
#include "model/pass_state.h"

#include "base/mem.h"
#include "model/dtype.h"
#include "model/lora.h"
#include "model/param.h"
#include "model/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int pass_create(struct model *m, struct pass **out, struct error *err) {
    struct pass *p = mem_zeros(1, sizeof(*p));

    *out = p;
    if (!p)
        return error_nomem(err, "pass");
    p->trunk = m->trunk;
    p->trunk->references++;
    p->least = PASS_SHARE_LEAST;
    p->lora = m->lora;
    if (p->lora)
        p->lora->references++;
    for (size_t i = 0; i < p->trunk->nparams; i++)
        p->lodges |= p->trunk->params[i]->lodges;
    p->layers = mem_zeros(p->trunk->nlayers, sizeof(*p->layers));
    if (!p->layers) {
        pass_free(p);
        *out = NULL;
        return error_nomem(err, "pass");
    }
    return 0;
}

void pass_free(struct pass *p) {
    if (!p)
        return;
    backend_free(p->trunk->backend, p->kept);
    backend_free(p->trunk->backend, p->gradients);
    free(p->layers);
    pass_rows_free(&p->head, p->trunk->backend);
    pass_rows_free(&p->score, p->trunk->backend);
    packing_free(&p->packing);
    free(p->read);
    free(p->sequence_keys);
    free(p->keys);
    free(p->head_keys);
    free(p->head_positions);
    lora_leave(p->lora, p->trunk);
    trunk_release(p->trunk);
    free(p);
}

bool pass_runs(const struct pass *p, const struct model *m) {
    return p->trunk == m->trunk && p->lora == m->lora;
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

void pass_share(struct pass *p, uint32_t least) {
    p->least = least;
}

/* Is there anything in the trunk that rows with the same beginning would draw apart? */
static bool perturbed(const struct pass *p) {
    return p->perturb.kind != REIN_PERTURB_NONE && p->perturb.site != REIN_SITE_HEAD;
}

int pass_take_batch(struct pass *p, const struct packed *batch, struct error *err) {
    struct packing *k = &p->packing;

    if (packing_make(k, batch, perturbed(p) ? 0 : p->least, err))
        return -1;
    p->flow = (struct flow){
        .n = k->n,
        .ids = k->ids,
        .positions = k->positions,
        .segments = k->segments,
        .nsegments = k->nsegments,
        .leaving = p->leaving,
    };
    return 0;
}

int pass_perturb(struct pass *p, const struct pass_perturb *how, uint32_t count, struct error *err) {
    p->perturb = (struct pass_perturb){.kind = REIN_PERTURB_NONE};
    if (!how || how->kind == REIN_PERTURB_NONE)
        return 0;
    if (mem_grow((void **)&p->sequence_keys, &p->sequence_capacity, count, sizeof(*p->sequence_keys)))
        return error_nomem(err, "keys");
    if (count)
        memcpy(p->sequence_keys, how->keys, count * sizeof(*p->sequence_keys));
    p->perturb = *how;
    p->perturb.keys = NULL;
    return 0;
}

/* A key for every row of a perturbed trunk, where none is shared, from those of the sequences. */
static int spread_keys(struct pass *p, struct error *err) {
    const struct packing *k = &p->packing;

    p->flow.perturb = perturbed(p) ? &p->perturb : NULL;
    if (!p->flow.perturb)
        return 0;
    if (mem_grow((void **)&p->keys, &p->keys_capacity, (size_t)p->flow.n, sizeof(*p->keys)))
        return error_nomem(err, "keys");
    for (uint32_t s = 0; s < k->count; s++)
        for (uint32_t i = k->offset[s]; i < k->offset[s + 1]; i++)
            p->keys[k->where[i]] = p->sequence_keys[s];
    p->perturb.keys = p->keys;
    return 0;
}

void pass_recompute(struct pass *p, bool on) {
    if (p->recompute != on)
        p->planned = 0; /* the room is for other arrays */
    p->recompute = on;
}

void pass_leave(struct pass *p, bool on) {
    if (p->leaving && !on)
        weights_forget(p->trunk, -1);
    p->leaving = on && !p->trunk->stays;
}

static bool trains(const struct pass *p) {
    return p->trunk->trainable || (p->lora && p->lora->trainable);
}

enum keep pass_kept_by(const struct pass *p, bool keep) {
    if (!keep || !trains(p)) /* nothing flows back through a frozen trunk */
        return KEEP_NOTHING;
    return p->recompute ? KEEP_INPUTS : KEEP_ALL;
}

int pass_lay_out(struct pass *p, enum keep keep, struct error *err) {
    const struct model_config *c = &p->trunk->config;
    const uint64_t n = (uint64_t)p->flow.n;
    void *scratch = backend_scratch(p->trunk->backend, (size_t)work_bytes(c, n, keep).scratch, p, err);

    if (!scratch)
        return error_prefix(err, "workspace for %llu tokens", (unsigned long long)n);
    p->work.layers = p->layers;
    work_lay_out(&p->work, c, n, keep, p->kept, scratch);
    return 0;
}

/* A number that changes with any weight that a pass goes through. */
static uint64_t weights_of(const struct pass *p) {
    uint64_t sum = 0;

    for (size_t i = 0; i < p->trunk->nparams; i++)
        sum += p->trunk->params[i]->w.generation;
    for (size_t i = 0; p->lora && i < p->lora->nparams; i++)
        sum += p->lora->params[i]->w.generation;
    return sum;
}

int pass_ready(struct pass *p, struct error *err) {
    struct trunk *t = p->trunk;

    if (p->work.keep != KEEP_NOTHING &&
        backend_zero(t->backend, p->work.dx, (size_t)(p->flow.n * t->config.hidden) * sizeof(float), err))
        return -1;
    if (backend_sync(t->backend, err))
        return -1;
    p->forward = true;
    p->reached = false;
    p->targets = 0;
    p->weights = weights_of(p);
    return 0;
}

int pass_forward(struct pass *p, const struct packed *batch, bool keep, struct error *err) {
    const enum keep how = pass_kept_by(p, keep);
    struct trunk *t = p->trunk;

    p->forward = false;
    if (check_batch(t, batch, err) || pass_take_batch(p, batch, err) || spread_keys(p, err) ||
        pass_reserve_kept(p, (uint64_t)p->flow.n, how, err) || pass_lay_out(p, how, err) ||
        adapted_forward(t, p->lora, &p->work, &p->flow, err))
        return -1;
    return pass_ready(p, err);
}

/* Are the hidden states of the last forward pass there? */
static bool has_hidden(const struct pass *p) {
    return p->forward && (p->work.keep != KEEP_NOTHING || backend_scratch_held(p->trunk->backend, p));
}

static bool has_kept(const struct pass *p) {
    return p->forward && p->work.keep != KEEP_NOTHING;
}

bool pass_holds(const struct pass *p, const struct packed *batch) {
    return has_kept(p) && !p->reached && !p->flow.perturb && !perturbed(p) && p->weights == weights_of(p) &&
           packing_is_of(&p->packing, batch);
}

/* Packed rows, which a head reads, to computed ones: p->read, until the next head. */
static int find_rows(struct pass *p, uint32_t n, const int32_t *rows, struct error *err) {
    const struct packing *k = &p->packing;

    if (!has_hidden(p))
        return error_run(err, "a head was asked for before a forward pass");
    if (mem_grow((void **)&p->read, &p->read_capacity, n, sizeof(*p->read)))
        return error_nomem(err, "rows of the head");
    for (uint32_t i = 0; i < n; i++) {
        if (rows[i] < 0 || (uint32_t)rows[i] >= k->offset[k->count] || (i && rows[i] <= rows[i - 1]))
            return error_run(err, "row %d of the batch cannot be read: rows must increase and be below %u", rows[i],
                             k->offset[k->count]);
        p->read[i] = k->where[rows[i]];
    }
    return 0;
}

/* r->x = hidden[p->read] */
static int gather(struct pass *p, struct rows *r, uint32_t n, struct error *err) {
    struct backend *b = p->trunk->backend;
    int64_t h = p->trunk->config.hidden;
    struct rein_gather a = {
        .size = sizeof(a),
        .n = n,
        .cols = h,
        .ldx = h,
        .ldout = h,
        .rows = p->read,
        .x = p->work.hidden,
        .out = r->x,
    };

    return backend_check(b, b->k.gather(b->dev, &a), "gather", err);
}

/* The gradient of hidden[p->read] += r->dx. Several sequences may read one row (a prompt's last predicts the first token of each
 * completion): each call has rows that increase, so that it has none twice, and the order of the sums is that of i. */
static int scatter(struct pass *p, struct rows *r, uint32_t n, struct error *err) {
    struct backend *b = p->trunk->backend;
    int64_t h = p->trunk->config.hidden;

    p->reached = true;
    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && p->read[end] > p->read[end - 1];)
            end++;
        struct rein_gather a = {
            .size = sizeof(a),
            .scatter = 1,
            .n = end - i,
            .cols = h,
            .ldx = h,
            .ldout = h,
            .rows = p->read + i,
            .x = r->dx + i * h,
            .out = p->work.dx,
        };

        if (backend_check(b, b->k.gather(b->dev, &a), "gather", err))
            return -1;
    }
    return 0;
}

static int check_targets(struct pass *p, const struct pass_targets *t, struct error *err) {
    int64_t vocabulary = p->trunk->config.vocabulary;

    if (!p->trunk->lm_head)
        return error_input(err, "%s: was opened without its language model head", p->trunk->path);
    if (!(t->temperature > 0))
        return error_run(err, "log-probabilities need a temperature above 0");
    for (uint32_t i = 0; i < t->n; i++)
        if (t->targets[i] < 0 || t->targets[i] >= vocabulary)
            return error_input(err, "token id %d is outside the model's vocabulary of %lld", t->targets[i],
                               (long long)vocabulary);
    return find_rows(p, t->n, t->rows, err);
}

int pass_logprobs(struct pass *p, const struct pass_targets *t, float *logp, float *entropy, int32_t *best,
                  struct error *err) {
    struct backend *b = p->trunk->backend;
    struct rows *r = &p->head;
    size_t bytes = t->n * sizeof(float);

    if (check_targets(p, t, err) || pass_rows_reserve(p, r, t->n, 1, err) || gather(p, r, t->n, err))
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
    if (t->n != p->targets || !has_kept(p) || (d_entropy && !p->entropy))
        return error_run(err, "gradients of log-probabilities need the same pass_logprobs, after a kept forward pass");
    if (backend_upload(b, r->d_out, d_logp, bytes, err) ||
        (d_entropy && backend_upload(b, r->d_entropy, d_entropy, bytes, err)))
        return -1;
    if (param_fresh_grad(b, p->trunk->lm_head, err))
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
    if (backend_check(b, b->k.head_dx(b->dev, &a), "head_dx", err) || scatter(p, r, t->n, err))
        return -1;
    return backend_sync(b, err);
}

/* The keys and positions of the packed rows that a head reads: of each sequence's own, where it shares them too. */
static int head_keys(struct pass *p, uint32_t n, const int32_t *rows, struct error *err) {
    const uint32_t *offset = p->packing.offset;

    if (mem_grow((void **)&p->head_keys, &p->head_capacity, n, sizeof(*p->head_keys)) ||
        mem_grow((void **)&p->head_positions, &p->head_positions_capacity, n, sizeof(*p->head_positions)))
        return error_nomem(err, "keys");
    for (uint32_t i = 0, s = 0; i < n; i++) {
        while ((uint32_t)rows[i] >= offset[s + 1])
            s++;
        p->head_keys[i] = p->sequence_keys[s];
        p->head_positions[i] = rows[i] - (int32_t)offset[s];
    }
    return 0;
}

static bool head_drops(const struct pass *p) {
    return p->perturb.kind == REIN_PERTURB_DROPOUT && p->perturb.site != PASS_SITE_ADAPTER;
}

/* x through the dropout of the head's input, or a gradient back through it; in place. */
static int head_drop(struct pass *p, uint32_t n, float *x, struct error *err) {
    struct perturb_call call = {&p->perturb, n, p->head_keys, p->head_positions, place_head(p->trunk), x, x};

    return run_perturb(p->trunk, &call, err);
}

/* r->x = what the head reads */
static int head_input(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, struct error *err) {
    struct rows *r = &p->score;

    if (!pass_runs(p, m) || !m->head_param)
        return error_run(err, "the pass is not over the trunk of a view with a score or value head");
    if (find_rows(p, n, rows, err) || pass_rows_reserve(p, r, n, (size_t)m->head_param->w.rows, err) ||
        gather(p, r, n, err))
        return -1;
    return head_drops(p) && (head_keys(p, n, rows, err) || head_drop(p, n, r->x, err)) ? -1 : 0;
}

/* One head's scores by weights w + rate rms(w) z, with z of each row's own. */
static void noisy_head(const struct pass *p, const float *w, uint32_t head, uint32_t heads, uint32_t n, const float *x,
                       float *out) {
    const size_t h = (size_t)p->trunk->config.hidden;
    double squares = 0, deviation;

    for (size_t c = 0; c < h; c++)
        squares += (double)w[c] * w[c];
    deviation = p->perturb.rate * sqrt(squares / (double)h);
    for (uint32_t i = 0; i < n; i++) {
        double sum = 0, z[4];

        for (size_t c = 0; c < h; c++) {
            if (c % 4 == 0) {
                uint32_t word[4];
                rein_philox(p->head_keys[i], (uint32_t)(c / 4), (uint32_t)p->head_positions[i],
                            place_head(p->trunk) + head, p->perturb.kind, word);
                rein_normals(word, z);
            }
            sum += (w[c] + deviation * z[c % 4]) * x[i * h + c];
        }
        out[(size_t)i * heads + head] = (float)sum;
    }
}

/* On the host: next to a pass through the trunk it is nothing. */
static int noisy_scores(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, float *out,
                        struct error *err) {
    const struct rein_weight *w = &m->head_param->w;
    const size_t h = (size_t)w->cols, heads = (size_t)w->rows;
    float *x = mem_array((size_t)n * h, sizeof(*x)), *weights = mem_array(heads * h, sizeof(*weights));
    void *values = param_values(p->trunk->backend, m->head_param, err);
    int rc = -1;

    if (!x || !weights)
        error_nomem(err, "head");
    else if (values && head_keys(p, n, rows, err) == 0 &&
             backend_download(p->trunk->backend, x, p->score.x, n * h * sizeof(*x), err) == 0) {
        dtype_convert(values, w->dtype, weights, REIN_F32, heads * h);
        for (size_t k = 0; k < heads; k++)
            noisy_head(p, weights + k * h, (uint32_t)k, (uint32_t)heads, n, x, out);
        rc = 0;
    }
    free(x);
    free(weights);
    free(values);
    return rc;
}

int pass_head_scores(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, float *out, struct error *err) {
    struct rows *r = &p->score;

    if (head_input(p, m, n, rows, err))
        return -1;
    if (p->perturb.kind == REIN_PERTURB_NOISE && p->perturb.site == REIN_SITE_HEAD)
        return noisy_scores(p, m, n, rows, out, err);
    if (run_linear(p->trunk, m->head_param, NULL, n, r->x, r->out, 0, err))
        return -1;
    return backend_download(p->trunk->backend, out, r->out, n * (size_t)m->head_param->w.rows * sizeof(float), err);
}

int pass_scores(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, float *out, struct error *err) {
    const uint32_t heads = model_heads(m);
    float *each;
    int rc;

    if (heads < 2)
        return pass_head_scores(p, m, n, rows, out, err);
    each = mem_array((size_t)n * heads, sizeof(*each));
    rc = each ? pass_head_scores(p, m, n, rows, each, err) : error_nomem(err, "scores");
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        double sum = 0;

        for (uint32_t k = 0; k < heads; k++)
            sum += (double)each[(size_t)i * heads + k];
        out[i] = (float)(sum / heads);
    }
    free(each);
    return rc;
}

int pass_scores_backward(struct pass *p, struct model *m, uint32_t n, const int32_t *rows, const float *d_out,
                         struct error *err) {
    struct backend *b = p->trunk->backend;
    struct rows *r = &p->score;

    if (head_input(p, m, n, rows, err) ||
        backend_upload(b, r->d_out, d_out, n * (size_t)m->head_param->w.rows * sizeof(float), err))
        return -1;
    if (m->head_param->grad && run_linear_dw(p->trunk, m->head_param, NULL, n, r->d_out, r->x, err))
        return -1;
    if (has_kept(p) && (run_linear_dx(p->trunk, m->head_param, n, r->d_out, r->dx, 0, err) ||
                             (head_drops(p) && head_drop(p, n, r->dx, err)) || scatter(p, r, n, err)))
        return -1;
    return backend_sync(b, err);
}

int pass_backward(struct pass *p, struct error *err) {
    if (!trains(p))
        return 0;
    if (!has_kept(p))
        return error_run(err, "a backward pass needs a kept forward pass");
    p->forward = false; /* its activations are used up */
    if (pass_lay_out(p, p->work.keep, err) || adapted_backward(p->trunk, p->lora, &p->work, &p->flow, err))
        return -1;
    return backend_sync(p->trunk->backend, err);
}

int pass_hidden(struct pass *p, float *out, struct error *err) {
    const struct packing *k = &p->packing;
    size_t h = (size_t)p->trunk->config.hidden, bytes = h * sizeof(float);
    float *x;
    int rc;

    if (!has_hidden(p))
        return error_run(err, "hidden states were asked for before a forward pass");
    x = mem_array((size_t)k->n, bytes);
    if (!x)
        return error_nomem(err, "hidden states");
    rc = backend_download(p->trunk->backend, x, p->work.hidden, (size_t)k->n * bytes, err);
    for (uint32_t i = 0; rc == 0 && i < k->offset[k->count]; i++)
        memcpy(out + i * h, x + (size_t)k->where[i] * h, bytes);
    free(x);
    return rc;
}
