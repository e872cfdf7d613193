/* SPDX-License-Identifier: MIT */
#include "model/generate.h"

#include "base/buffer.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/transformer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PREFILL_TOKENS = 1024, MAX_STOP = 64 };
#define CACHE_LIMIT ((uint64_t)2 << 30) /* bytes of cache when the request leaves the number of slots open */

/* Where a prompt's keys and values lie while any of its completions runs. */
struct place {
    bool taken;
    uint32_t prompt, unfinished; /* completions of its group that have not ended */
};

struct slot {
    bool running;
    uint32_t completion, place, count; /* tokens drawn so far */
    struct buffer text;                /* since the completion's start, when there are stop strings */
};

struct decoder {
    struct trunk *trunk;
    struct backend *backend;
    const struct generate_request *request;
    struct work work;
    struct kv_cache cache;
    /* rows of the cache: nplaces * prompt_rows, then nslots * slot_rows */
    uint32_t nplaces, nslots, prompt_rows, slot_rows;
    struct place *places;
    struct slot *slots;
    uint32_t next; /* completion to be started */
    bool stopped;
    float *prompt_hidden; /* device [nplaces][hidden]: at each prompt's last token */
    float *first_hidden;  /* device [nslots][hidden] */
    uint8_t *banned;      /* [vocabulary] ids that no token has, or NULL */
    int32_t *drawn_ids;   /* device [nslots] */
    float *drawn_logp;    /* device [nslots] */
    /* host, one element a row of a batch */
    int32_t *ids, *positions, *targets, *out_ids, *rows;
    struct rein_segment *segments;
    struct cache_run *runs;
    double *u;
    float *out_logp;
    size_t batch_capacity;
    uint32_t *active; /* [nslots]: the slots that are the rows of the current batch */
    /* results, at limit offsets until they are packed */
    uint64_t *begin;  /* [count + 1] */
    uint32_t *length; /* [count] */
    int32_t *result_ids;
    float *result_logp;
    uint8_t *ended;
};

static uint32_t prompt_length(const struct generate_request *r, uint32_t prompt) {
    return r->offset[prompt + 1] - r->offset[prompt];
}

/* Tokens that a completion of this prompt may have: the context ends somewhere. */
static uint32_t completion_limit(const struct decoder *d, uint32_t prompt) {
    int64_t room = d->trunk->config.positions;

    if (room <= 0)
        return d->request->max_tokens;
    room -= prompt_length(d->request, prompt);
    return room < d->request->max_tokens ? (uint32_t)room : d->request->max_tokens;
}

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

/* Memory. */

static int alloc_results(struct decoder *d, uint32_t count, struct error *err) {
    d->begin = mem_zeros((size_t)count + 1, sizeof(*d->begin));
    d->length = mem_zeros(count, sizeof(*d->length));
    d->ended = mem_zeros(count, 1);
    if (!d->begin || !d->length || !d->ended)
        return error_nomem(err, "completions");
    for (uint32_t c = 0; c < count; c++)
        d->begin[c + 1] = d->begin[c] + completion_limit(d, c / d->request->group);
    if (d->begin[count] > UINT32_MAX)
        return error_input(err, "%llu tokens in one generation are too many", (unsigned long long)d->begin[count]);
    d->result_ids = mem_array(d->begin[count], sizeof(*d->result_ids));
    d->result_logp = mem_array(d->begin[count], sizeof(*d->result_logp));
    return d->result_ids && d->result_logp ? 0 : error_nomem(err, "completions");
}

/* Floats of one half (keys or values) of a cache for so many slots; UINT64_MAX when it cannot be. */
static uint64_t cache_floats(const struct decoder *d, uint32_t slots, uint64_t *rows) {
    const struct model_config *c = &d->trunk->config;
    uint64_t places = slots < d->request->prompts ? slots : d->request->prompts, floats;

    *rows = places * d->prompt_rows + (uint64_t)slots * d->slot_rows;
    if (*rows > INT32_MAX ||
        __builtin_mul_overflow(*rows, (uint64_t)(c->layers * c->kv_heads * c->head_dim), &floats) ||
        floats > SIZE_MAX / 8)
        return UINT64_MAX;
    return floats;
}

static int alloc_cache(struct decoder *d, uint32_t count, struct error *err) {
    const struct generate_request *r = d->request;
    uint32_t slots = r->slots && r->slots < count ? r->slots : count;
    uint64_t rows, floats;

    for (uint32_t i = 0; i < r->prompts; i++) {
        uint32_t n = prompt_length(r, i), limit = completion_limit(d, i);

        d->prompt_rows = n > d->prompt_rows ? n : d->prompt_rows;
        d->slot_rows = limit > d->slot_rows ? limit : d->slot_rows;
    }
    for (;; slots = (slots + 1) / 2) {
        bool last = slots == 1;

        floats = cache_floats(d, slots, &rows);
        if (floats == UINT64_MAX && last)
            return error_nomem(err, "cache of keys and values");
        if (floats == UINT64_MAX || (!r->slots && !last && floats * 8 > CACHE_LIMIT))
            continue;
        d->cache.k = backend_alloc(d->backend, (size_t)floats * 2, sizeof(float), last ? err : NULL);
        if (d->cache.k)
            break;
        if (last)
            return error_prefix(err, "cache of keys and values");
    }
    d->cache.v = d->cache.k + floats;
    d->cache.rows = (int64_t)rows;
    d->cache.width = d->trunk->config.kv_heads * d->trunk->config.head_dim;
    d->nslots = slots;
    d->nplaces = slots < r->prompts ? slots : r->prompts;
    return 0;
}

static int alloc_slots(struct decoder *d, struct error *err) {
    size_t h = (size_t)d->trunk->config.hidden;

    d->places = mem_zeros(d->nplaces, sizeof(*d->places));
    d->slots = mem_zeros(d->nslots, sizeof(*d->slots));
    d->active = mem_zeros(d->nslots, sizeof(*d->active));
    if (!d->places || !d->slots || !d->active)
        return error_nomem(err, "slots of generation");
    d->prompt_hidden = backend_alloc(d->backend, d->nplaces * h, sizeof(float), err);
    d->first_hidden = backend_alloc(d->backend, d->nslots * h, sizeof(float), err);
    d->drawn_ids = backend_alloc(d->backend, d->nslots, sizeof(int32_t), err);
    d->drawn_logp = backend_alloc(d->backend, d->nslots, sizeof(float), err);
    return d->prompt_hidden && d->first_hidden && d->drawn_ids && d->drawn_logp ? 0 : -1;
}

static int reserve_batch(struct decoder *d, size_t n, struct error *err) {
    if (n <= d->batch_capacity)
        return 0;
    free(d->ids);
    free(d->positions);
    free(d->targets);
    free(d->out_ids);
    free(d->rows);
    free(d->segments);
    free(d->runs);
    free(d->u);
    free(d->out_logp);
    d->batch_capacity = 0;
    d->ids = mem_array(n, sizeof(*d->ids));
    d->positions = mem_array(n, sizeof(*d->positions));
    d->targets = mem_array(n, sizeof(*d->targets));
    d->out_ids = mem_array(n, sizeof(*d->out_ids));
    d->rows = mem_array(n, sizeof(*d->rows));
    d->segments = mem_array(n, sizeof(*d->segments));
    d->runs = mem_array(n, sizeof(*d->runs));
    d->u = mem_array(n, sizeof(*d->u));
    d->out_logp = mem_array(n, sizeof(*d->out_logp));
    if (!d->ids || !d->positions || !d->targets || !d->out_ids || !d->rows || !d->segments || !d->runs || !d->u ||
        !d->out_logp)
        return error_nomem(err, "batch of generation");
    d->batch_capacity = n;
    return 0;
}

static void decoder_free(struct decoder *d) {
    struct backend *b = d->backend;

    work_free(&d->work, d->trunk);
    backend_free(b, d->cache.k);
    backend_free(b, d->prompt_hidden);
    backend_free(b, d->first_hidden);
    backend_free(b, d->drawn_ids);
    backend_free(b, d->drawn_logp);
    for (uint32_t i = 0; d->slots && i < d->nslots; i++)
        buffer_free(&d->slots[i].text);
    free(d->places);
    free(d->slots);
    free(d->active);
    free(d->banned);
    free(d->ids);
    free(d->positions);
    free(d->targets);
    free(d->out_ids);
    free(d->rows);
    free(d->segments);
    free(d->runs);
    free(d->u);
    free(d->out_logp);
    free(d->begin);
    free(d->length);
    free(d->ended);
    free(d->result_ids);
    free(d->result_logp);
}

/* Prompts. */

static int64_t place_row(const struct decoder *d, uint32_t place) {
    return (int64_t)place * d->prompt_rows;
}

static int64_t slot_row(const struct decoder *d, uint32_t slot) {
    return (int64_t)d->nplaces * d->prompt_rows + (int64_t)slot * d->slot_rows;
}

/* Runs prompts through the model: keys and values to their places, the last hidden state to prompt_hidden. */
static int prefill(struct decoder *d, const uint32_t *places, uint32_t count, struct error *err) {
    const struct generate_request *r = d->request;
    struct backend *b = d->backend;
    int64_t h = d->trunk->config.hidden, n = 0;

    for (uint32_t i = 0; i < count; i++)
        n += prompt_length(r, d->places[places[i]].prompt);
    if (reserve_batch(d, (size_t)n, err) || work_reserve(&d->work, d->trunk, n, false, err))
        return -1;
    n = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t prompt = d->places[places[i]].prompt, length = prompt_length(r, prompt);
        int32_t row = (int32_t)place_row(d, places[i]);

        d->segments[i] = (struct rein_segment){
            .q_begin = (int32_t)n, .q_rows = (int32_t)length, .kv_begin = row, .kv_rows = (int32_t)length};
        d->runs[i] = (struct cache_run){n, row, length};
        for (uint32_t j = 0; j < length; j++) {
            d->ids[n + j] = r->ids[r->offset[prompt] + j];
            d->positions[n + j] = (int32_t)j;
        }
        n += length;
    }
    d->cache.runs = d->runs;
    d->cache.nruns = count;
    struct flow f = {.n = n,
                     .ids = d->ids,
                     .positions = d->positions,
                     .segments = d->segments,
                     .nsegments = count,
                     .cache = &d->cache};
    if (transformer_forward(d->trunk, &d->work, &f, err))
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        int64_t last = d->runs[i].from + d->runs[i].count - 1;

        if (backend_copy(b, d->prompt_hidden + (int64_t)places[i] * h, d->work.hidden + last * h,
                         (size_t)h * sizeof(float), err))
            return -1;
    }
    return backend_sync(b, err);
}

static uint32_t free_place(const struct decoder *d) {
    uint32_t i = 0;

    while (i + 1 < d->nplaces && d->places[i].taken)
        i++;
    return i;
}

static uint32_t find_place(const struct decoder *d, uint32_t prompt) {
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
static int meets_stop(struct decoder *d, struct slot *s, int32_t id, bool *met, struct error *err) {
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

static void finish(struct decoder *d, struct slot *s, bool ended) {
    struct place *p = &d->places[s->place];

    d->ended[s->completion] = ended;
    s->running = false;
    if (--p->unfinished == 0)
        p->taken = false;
}

/* Takes one drawn token into its completion. */
static int accept(struct decoder *d, struct slot *s, int32_t id, float logp, struct error *err) {
    const struct generate_request *r = d->request;
    uint32_t c = s->completion;
    uint64_t at = d->begin[c] + d->length[c]++;
    bool met;

    d->result_ids[at] = id;
    d->result_logp[at] = logp;
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

/* Draws the next token of slots active[0 .. n] from their hidden states. */
static int draw(struct decoder *d, const float *hidden, uint32_t n, struct error *err) {
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
    if (backend_check(b, b->k.sample(b->dev, &a), "sample", err) ||
        backend_download(b, d->out_ids, d->drawn_ids, n * sizeof(int32_t), err) ||
        backend_download(b, d->out_logp, d->drawn_logp, n * sizeof(float), err))
        return -1;
    for (uint32_t i = 0; i < n && !d->stopped; i++) {
        if (d->out_ids[i] < 0 || d->out_ids[i] >= d->trunk->config.vocabulary || isnan(d->out_logp[i]))
            return error_run(err, "the model's output is not a number: its weights or the backend are broken");
        if (accept(d, &d->slots[d->active[i]], d->out_ids[i], d->out_logp[i], err))
            return -1;
    }
    return 0;
}

/* Starting completions. */

static int clear_slot(struct decoder *d, uint32_t slot, struct error *err) {
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
static int start(struct decoder *d, uint32_t count, uint32_t *started, struct error *err) {
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
static int refill(struct decoder *d, uint32_t count, struct error *err) {
    struct backend *b = d->backend;
    int64_t h = d->trunk->config.hidden;
    uint32_t n;

    for (;;) {
        if (start(d, count, &n, err))
            return -1;
        if (n == 0 || d->stopped)
            return 0;
        if (reserve_batch(d, n, err))
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
static int step(struct decoder *d, uint32_t *running, struct error *err) {
    const struct generate_request *r = d->request;
    uint32_t n = 0;

    if (reserve_batch(d, d->nslots, err))
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
    if (work_reserve(&d->work, d->trunk, n, false, err) || transformer_forward(d->trunk, &d->work, &f, err))
        return -1;
    return draw(d, d->work.hidden, n, err);
}

static int pack_results(struct decoder *d, uint32_t count, struct generation *out, struct error *err) {
    uint64_t total = 0;

    for (uint32_t c = 0; c < count; c++)
        total += d->length[c];
    out->count = count;
    out->offset = mem_array((size_t)count + 1, sizeof(*out->offset));
    out->ids = mem_array(total, sizeof(*out->ids));
    out->logp = mem_array(total, sizeof(*out->logp));
    if (!out->offset || !out->ids || !out->logp) {
        generation_free(out);
        return error_nomem(err, "completions");
    }
    out->ended = d->ended;
    d->ended = NULL;
    out->offset[0] = 0;
    for (uint32_t c = 0; c < count; c++) {
        memcpy(out->ids + out->offset[c], d->result_ids + d->begin[c], d->length[c] * sizeof(*out->ids));
        memcpy(out->logp + out->offset[c], d->result_logp + d->begin[c], d->length[c] * sizeof(*out->logp));
        out->offset[c + 1] = out->offset[c] + d->length[c];
    }
    return 0;
}

int generate(struct model *m, const struct generate_request *r, struct generation *out, struct error *err) {
    struct decoder d = {.trunk = m->trunk, .backend = m->trunk->backend, .request = r};
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
    rc = alloc_results(&d, count, err) || alloc_cache(&d, count, err) || alloc_slots(&d, err);
    if (rc == 0 && r->temperature > 0) /* greedy text is the argmax of all, as everybody else's */
        rc = trunk_padding(d.trunk, &d.banned, err);
    while (rc == 0 && running && !d.stopped)
        rc = refill(&d, count, err) || (!d.stopped && step(&d, &running, err));
    if (rc == 0)
        rc = pack_results(&d, count, out, err);
    decoder_free(&d);
    return rc ? -1 : 0;
}

void generation_free(struct generation *g) {
    free(g->offset);
    free(g->ids);
    free(g->logp);
    free(g->ended);
    memset(g, 0, sizeof(*g));
}
