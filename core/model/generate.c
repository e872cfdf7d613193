/* SPDX-License-Identifier: MIT */
#include "model/generate.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STOP = 64 };

static int check_request(const struct model *m, const struct generate_request *r, struct error *err) {
    const struct model_config *c = &m->trunk->config;

    if (!m->trunk->lm_head)
        return error_input(err, "%s: has no language model head to generate with", m->trunk->path);
    if (r->group < 1 || r->max_tokens < 1 || r->nstop > MAX_STOP)
        return error_input(
            err, "generation needs at least one token, one completion a prompt, and at most %d stop strings", MAX_STOP);
    if (!(r->temperature >= 0) || !isfinite(r->temperature))
        return error_input(err, "temperature: %g is not a number of at least 0", r->temperature);
    if (!(r->top_p > 0 && r->top_p <= 1) || r->top_k < 0)
        return error_input(err, "top_p must lie above 0 and be at most 1, top_k must be at least 0");
    if (r->values && (r->values->trunk != m->trunk || !r->values->head_param || model_heads(r->values) != 1))
        return error_run(err, "values can be had from a view with one head on the sampled model's trunk alone");
    if (r->trace && !pass_runs(r->trace, m))
        return error_run(err, "what is sampled from a model can be recorded by a pass over it alone");
    if (r->nstop && !m->trunk->tokenizer)
        return error_input(err, "%s: stop strings need a tokenizer", m->trunk->path);
    for (uint32_t i = 0; i < r->prompts; i++) {
        uint32_t n = prompt_length(r, i);

        if (n == 0)
            return error_input(err, "prompt %u has no token", i + 1);
        if (c->positions > 0 && n >= c->positions)
            return error_input(err, "prompt %u has %u tokens and leaves no room in the model's context of %lld", i + 1,
                               n, (long long)c->positions);
    }
    for (uint32_t i = 0; i < r->offset[r->prompts]; i++)
        if (r->ids[i] < 0 || r->ids[i] >= c->vocabulary)
            return error_input(err, "token id %d is outside the model's vocabulary of %lld", r->ids[i],
                               (long long)c->vocabulary);
    return 0;
}

/* Prompts. */

static int64_t place_row(const struct sampler *d, uint32_t place) {
    return (int64_t)place * d->prompt_rows;
}

static int64_t slot_row(const struct sampler *d, uint32_t slot) {
    return (int64_t)d->nplaces * d->prompt_rows + (int64_t)slot * d->slot_rows;
}

/* Prompts in places, one after the other, as sequences to be packed: what they begin with alike is computed once. */
static int pack_prompts(struct sampler *d, const uint32_t *places, uint32_t count, struct error *err) {
    const struct generate_request *r = d->request;
    struct packed batch = {.count = count, .offset = d->starts};
    size_t n = 0;

    for (uint32_t i = 0; i < count; i++)
        n += prompt_length(r, d->places[places[i]].prompt);
    if (sampler_reserve(d, n, err)) /* a prompt has a token at least */
        return -1;
    for (uint32_t i = 0, at = 0; i < count; i++) {
        const uint32_t prompt = d->places[places[i]].prompt, length = prompt_length(r, prompt);

        memcpy(d->ids + at, r->ids + r->offset[prompt], length * sizeof(*d->ids));
        d->starts[i] = at;
        d->starts[i + 1] = at += length;
    }
    batch.ids = d->ids;
    return packing_make(&d->packing, &batch, PASS_SHARE_LEAST, err);
}

/* Where the rows of prompt i go: its own, and a copy of those that it shares, so that its place is whole. */
static void place_prompt(struct sampler *d, uint32_t i, uint32_t place, struct flow *f) {
    const struct packing *k = &d->packing;
    const int32_t *where = k->where + k->offset[i];
    const uint32_t shared = k->shared[i], length = k->offset[i + 1] - k->offset[i];
    const int64_t row = place_row(d, place);

    if (shared > 0)
        d->runs[d->cache.nruns++] = (struct cache_run){where[0], row, shared};
    if (shared == length)
        return;
    d->runs[d->cache.nruns++] = (struct cache_run){where[shared], row + shared, length - shared};
    d->segments[f->nsegments++] = (struct rein_segment){.q_begin = where[shared],
                                                        .q_rows = (int32_t)(length - shared),
                                                        .kv_begin = (int32_t)row,
                                                        .kv_rows = (int32_t)length};
}

/* Runs prompts through the model: keys and values to their places, the last hidden state to prompt_hidden. */
static int prefill(struct sampler *d, const uint32_t *places, uint32_t count, struct error *err) {
    const struct packing *k = &d->packing;
    const int64_t h = d->trunk->config.hidden;

    if (pack_prompts(d, places, count, err))
        return -1;
    struct flow f = {.n = k->n, .ids = k->ids, .positions = k->positions, .segments = d->segments, .cache = &d->cache};
    d->cache.runs = d->runs;
    d->cache.nruns = 0;
    for (uint32_t i = 0; i < count; i++)
        place_prompt(d, i, places[i], &f);
    if (sampler_run(d, &f, err))
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        const int64_t last = k->where[k->offset[i + 1] - 1];
        const uint32_t first = d->request->offset[d->places[places[i]].prompt],
                       length = k->offset[i + 1] - k->offset[i];

        for (uint32_t j = 0; d->trace.pass && j < length; j++)
            d->trace.prompt[first + j] = (int32_t)d->trace.first + k->where[k->offset[i] + j];

        if (backend_copy(d->backend, d->prompt_hidden + (int64_t)places[i] * h, d->work.hidden + last * h,
                         (size_t)h * sizeof(float), err))
            return -1;
    }
    return backend_sync(d->backend, err);
}

static uint32_t free_place(const struct sampler *d) {
    uint32_t i = 0;

    while (i + 1 < d->nplaces && d->places[i].taken)
        i++;
    return i;
}

static uint32_t find_place(const struct sampler *d, uint32_t prompt) {
    uint32_t i = 0;

    while (i + 1 < d->nplaces && !(d->places[i].taken && d->places[i].prompt == prompt))
        i++;
    return i;
}

/* Sampling. */

static bool is_eos(const struct generate_request *r, int32_t id) {
    for (uint32_t i = 0; i < r->neos; i++)
        if (r->eos[i] == id)
            return true;
    return false;
}

static bool contains(const char *text, size_t length, const char *what, size_t size) {
    for (size_t i = 0; i + size <= length; i++)
        if (memcmp(text + i, what, size) == 0)
            return true;
    return false;
}

/* Adds a token's text and looks for a stop string that ends in it. */
static int meets_stop(struct sampler *d, struct slot *s, int32_t id, bool *met, struct error *err) {
    const struct generate_request *r = d->request;
    const struct tokenizer *t = d->trunk->tokenizer;
    size_t length = 0, before = s->text.length;
    const char *bytes;

    *met = false;
    if (!r->nstop || tokenizer_is_special(t, id))
        return 0;
    bytes = tokenizer_token_bytes(t, id, &length);
    buffer_add(&s->text, bytes, length);
    if (s->text.failed)
        return error_nomem(err, "text of a completion");
    for (uint32_t i = 0; i < r->nstop; i++) {
        size_t stop = strlen(r->stop[i]);
        size_t from = before + 1 > stop ? before + 1 - stop : 0;

        if (stop && contains(s->text.data + from, s->text.length - from, r->stop[i], stop))
            *met = true;
    }
    return 0;
}

static void finish(struct sampler *d, struct slot *s, bool ended) {
    struct place *p = &d->places[s->place];

    d->ended[s->completion] = ended;
    s->running = false;
    if (--p->unfinished == 0)
        p->taken = false;
}

/* Takes one drawn token into its completion. */
static int accept(struct sampler *d, struct slot *s, int32_t id, float logp, float value, struct error *err) {
    const struct generate_request *r = d->request;
    uint32_t c = s->completion;
    uint64_t at = d->begin[c] + d->length[c]++;
    bool met;

    d->result_ids[at] = id;
    d->result_logp[at] = logp;
    if (d->result_value)
        d->result_value[at] = value;
    s->count++;
    if (meets_stop(d, s, id, &met, err))
        return -1;
    if (r->progress && r->progress(r->progress_ctx, c, id, logp))
        d->stopped = true;
    if (met || (!r->ignore_eos && is_eos(r, id)))
        finish(d, s, true);
    else if (d->begin[c] + d->length[c] == d->begin[c + 1])
        finish(d, s, false);
    return 0;
}

/* What the head of `values` says of the hidden states that the next tokens are drawn from: a pass of its own less. */
static int read_values(struct sampler *d, const float *hidden, uint32_t n, struct error *err) {
    struct model *m = d->request->values;

    memset(d->out_value, 0, n * sizeof(*d->out_value));
    if (!m)
        return 0;
    return run_linear(d->trunk, m->head_param, NULL, n, hidden, d->drawn_value, 0, err) ||
                   backend_download(d->backend, d->out_value, d->drawn_value, n * sizeof(float), err)
               ? -1
               : 0;
}

/* Draws the next token of slots active[0 .. n] from their hidden states. */
static int draw(struct sampler *d, const float *hidden, uint32_t n, struct error *err) {
    const struct generate_request *r = d->request;
    struct backend *b = d->backend;
    struct rein_sample a = {
        .size = sizeof(a),
        .greedy = r->temperature == 0,
        .w = &d->trunk->lm_head->w,
        .n = n,
        .ldh = d->trunk->config.hidden,
        .hidden = hidden,
        .inv_temperature = r->temperature == 0 ? 1.0f : (float)(1.0 / r->temperature),
        .top_p = (float)r->top_p,
        .top_k = r->top_k,
        .u = d->u,
        .banned = d->banned,
        .ids = d->drawn_ids,
        .logp = d->drawn_logp,
    };

    for (uint32_t i = 0; i < n; i++) {
        const struct slot *s = &d->slots[d->active[i]];

        d->u[i] = rng_uniform(r->seed, RNG_SAMPLE, r->step, s->completion, s->count);
    }
    if (read_values(d, hidden, n, err) || backend_check(b, b->k.sample(b->dev, &a), "sample", err) ||
        backend_download(b, d->out_ids, d->drawn_ids, n * sizeof(int32_t), err) ||
        backend_download(b, d->out_logp, d->drawn_logp, n * sizeof(float), err))
        return -1;
    for (uint32_t i = 0; i < n && !d->stopped; i++) {
        if (d->out_ids[i] < 0 || d->out_ids[i] >= d->trunk->config.vocabulary || isnan(d->out_logp[i]))
            return error_run(err, "the model's output is not a number: its weights or the backend are broken");
        if (accept(d, &d->slots[d->active[i]], d->out_ids[i], d->out_logp[i], d->out_value[i], err))
            return -1;
    }
    return 0;
}

/* Starting completions. */

static int clear_slot(struct sampler *d, uint32_t slot, struct error *err) {
    int64_t width = d->cache.width, first = slot_row(d, slot);

    for (int64_t l = 0; l < d->trunk->config.layers; l++) {
        int64_t at = (l * d->cache.rows + first) * width;
        size_t bytes = (size_t)(d->slot_rows * width) * sizeof(float);

        if (backend_zero(d->backend, d->cache.k + at, bytes, err) ||
            backend_zero(d->backend, d->cache.v + at, bytes, err))
            return -1;
    }
    return 0;
}

/* Gives free slots the next completions, and computes prompts that are new, in batches of bounded size. */
static int start(struct sampler *d, uint32_t count, uint32_t *started, struct error *err) {
    const struct generate_request *r = d->request;
    uint32_t *fresh = mem_array(d->nplaces, sizeof(*fresh)), nfresh = 0;
    uint64_t tokens = 0;
    int rc = fresh ? 0 : error_nomem(err, "prompts");

    *started = 0;
    for (uint32_t i = 0; rc == 0 && i < d->nslots && d->next < count; i++) {
        struct slot *s = &d->slots[i];
        uint32_t prompt = d->next / r->group;

        if (s->running)
            continue;
        if (d->next % r->group == 0) {
            uint32_t place = free_place(d);

            if (nfresh && tokens + prompt_length(r, prompt) > PREFILL_TOKENS) {
                rc = prefill(d, fresh, nfresh, err);
                nfresh = 0;
                tokens = 0;
            }
            d->places[place] = (struct place){true, prompt, r->group};
            fresh[nfresh++] = place;
            tokens += prompt_length(r, prompt);
        }
        s->running = true;
        s->completion = d->next++;
        s->place = find_place(d, prompt);
        s->count = 0;
        buffer_clear(&s->text);
        d->active[(*started)++] = i;
        if (rc == 0)
            rc = clear_slot(d, i, err);
    }
    if (rc == 0 && nfresh)
        rc = prefill(d, fresh, nfresh, err);
    free(fresh);
    return rc;
}

/* Fills the free slots and draws the first token of each new completion, which may already be its last. */
static int refill(struct sampler *d, uint32_t count, struct error *err) {
    struct backend *b = d->backend;
    int64_t h = d->trunk->config.hidden;
    uint32_t n;

    for (;;) {
        if (start(d, count, &n, err))
            return -1;
        if (n == 0 || d->stopped)
            return 0;
        if (sampler_reserve(d, n, err))
            return -1;
        for (uint32_t i = 0; i < n; i++)
            d->rows[i] = (int32_t)d->slots[d->active[i]].place;
        struct rein_gather a = {.size = sizeof(a),
                                .n = n,
                                .cols = h,
                                .ldx = h,
                                .ldout = h,
                                .rows = d->rows,
                                .x = d->prompt_hidden,
                                .out = d->first_hidden};
        if (backend_check(b, b->k.gather(b->dev, &a), "gather", err) || draw(d, d->first_hidden, n, err))
            return -1;
    }
}

/* One token of every running completion. */
static int step(struct sampler *d, uint32_t *running, struct error *err) {
    const struct generate_request *r = d->request;
    uint32_t n = 0;

    if (sampler_reserve(d, d->nslots, err))
        return -1;
    for (uint32_t i = 0; i < d->nslots; i++) {
        const struct slot *s = &d->slots[i];
        uint32_t c = s->completion, prompt = prompt_length(r, c / r->group);

        if (!s->running)
            continue;
        d->active[n] = i;
        d->ids[n] = d->result_ids[d->begin[c] + s->count - 1];
        d->positions[n] = (int32_t)(prompt + s->count - 1);
        d->targets[n] = (int32_t)(slot_row(d, i) + s->count - 1);
        d->segments[n] = (struct rein_segment){
            .q_begin = (int32_t)n,
            .q_rows = 1,
            .prefix_begin = (int32_t)place_row(d, s->place),
            .prefix_rows = (int32_t)prompt,
            .kv_begin = (int32_t)slot_row(d, i),
            .kv_rows = (int32_t)s->count,
        };
        n++;
    }
    *running = n;
    if (n == 0)
        return 0;
    d->cache.runs = NULL;
    d->cache.targets = d->targets;
    struct flow f = {
        .n = n, .ids = d->ids, .positions = d->positions, .segments = d->segments, .nsegments = n, .cache = &d->cache};
    if (sampler_run(d, &f, err))
        return -1;
    for (uint32_t i = 0; d->trace.pass && i < n; i++) {
        const struct slot *s = &d->slots[d->active[i]];

        d->trace.drawn[d->begin[s->completion] + s->count - 1] = (int32_t)(d->trace.first + i);
    }
    return draw(d, d->work.hidden, n, err);
}

static int pack_results(struct sampler *d, uint32_t count, struct generation *out, struct error *err) {
    uint64_t total = 0;

    for (uint32_t c = 0; c < count; c++)
        total += d->length[c];
    out->count = count;
    out->offset = mem_array((size_t)count + 1, sizeof(*out->offset));
    out->ids = mem_array(total, sizeof(*out->ids));
    out->logp = mem_array(total, sizeof(*out->logp));
    if (d->result_value)
        out->value = mem_array(total, sizeof(*out->value));
    if (!out->offset || !out->ids || !out->logp || (d->result_value && !out->value)) {
        generation_free(out);
        return error_nomem(err, "completions");
    }
    out->ended = d->ended;
    d->ended = NULL;
    out->offset[0] = 0;
    for (uint32_t c = 0; c < count; c++) {
        memcpy(out->ids + out->offset[c], d->result_ids + d->begin[c], d->length[c] * sizeof(*out->ids));
        memcpy(out->logp + out->offset[c], d->result_logp + d->begin[c], d->length[c] * sizeof(*out->logp));
        if (out->value)
            memcpy(out->value + out->offset[c], d->result_value + d->begin[c], d->length[c] * sizeof(*out->value));
        out->offset[c + 1] = out->offset[c] + d->length[c];
    }
    return 0;
}

/* The prompts with their completions as sequences, and where their rows were recorded. */
static int close_trace(struct sampler *d, const struct generation *g, struct error *err) {
    const struct generate_request *r = d->request;
    uint64_t total = g->offset[g->count];
    uint32_t *offset;
    int32_t *ids, *rows;
    int rc;

    for (uint32_t c = 0; c < g->count; c++)
        total += prompt_length(r, c / r->group);
    if (total > INT32_MAX)
        return 0; /* nor would a forward pass take them */
    offset = mem_array((size_t)g->count + 1, sizeof(*offset));
    ids = mem_array(total, sizeof(*ids));
    rows = mem_array(total, sizeof(*rows));
    rc = offset && ids && rows ? 0 : error_nomem(err, "activations of sampling");
    for (uint32_t c = 0, at = 0; rc == 0 && c < g->count; c++) {
        const uint32_t prompt = prompt_length(r, c / r->group), first = r->offset[c / r->group];
        const uint32_t drawn = g->offset[c + 1] - g->offset[c];

        offset[c] = at;
        memcpy(ids + at, r->ids + first, prompt * sizeof(*ids));
        memcpy(rows + at, d->trace.prompt + first, prompt * sizeof(*rows));
        at += prompt;
        memcpy(ids + at, g->ids + g->offset[c], drawn * sizeof(*ids));
        memcpy(rows + at, d->trace.drawn + d->begin[c], (drawn - 1) * sizeof(*rows));
        offset[c + 1] = at += drawn;
    }
    if (rc == 0)
        rc = trace_close(&d->trace, &(struct packed){g->count, offset, ids}, rows, err);
    free(offset);
    free(ids);
    free(rows);
    return rc;
}

int generate(struct model *m, const struct generate_request *r, struct generation *out, struct error *err) {
    struct sampler d = {.trunk = m->trunk, .lora = m->lora, .backend = m->trunk->backend, .request = r};
    uint64_t total = (uint64_t)r->prompts * r->group;
    uint32_t count = (uint32_t)total, running = 1;
    int rc;

    memset(out, 0, sizeof(*out));
    if (check_request(m, r, err))
        return -1;
    if (total > INT32_MAX)
        return error_input(err, "%llu completions at once are too many", (unsigned long long)total);
    if (count == 0)
        return pack_results(&d, 0, out, err);
    rc = sampler_open(&d, count, err);
    if (rc == 0 && r->temperature > 0) /* greedy text is the argmax of all, as everybody else's */
        rc = trunk_padding(d.trunk, &d.banned, err);
    while (rc == 0 && running && !d.stopped)
        rc = refill(&d, count, err) || (!d.stopped && step(&d, &running, err));
    if (rc == 0)
        rc = pack_results(&d, count, out, err);
    if (rc == 0 && d.trace.pass && !d.stopped && close_trace(&d, out, err)) {
        generation_free(out);
        rc = -1;
    }
    sampler_free(&d);
    return rc ? -1 : 0;
}

void generation_free(struct generation *g) {
    free(g->offset);
    free(g->ids);
    free(g->logp);
    free(g->value);
    free(g->ended);
    memset(g, 0, sizeof(*g));
}
