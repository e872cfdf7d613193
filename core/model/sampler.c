/* SPDX-License-Identifier: MIT */
#include "model/sampler.h"

#include "base/mem.h"

#include <stdlib.h>

#define CACHE_LIMIT ((uint64_t)2 << 30) /* bytes of cache when the request leaves the number of slots open */

/* Tokens that a completion of this prompt may have: the context ends somewhere. */
static uint32_t completion_limit(const struct sampler *d, uint32_t prompt) {
    int64_t room = d->trunk->config.positions;

    if (room <= 0)
        return d->request->max_tokens;
    room -= prompt_length(d->request, prompt);
    return room < d->request->max_tokens ? (uint32_t)room : d->request->max_tokens;
}

static int alloc_results(struct sampler *d, uint32_t count, struct error *err) {
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
    if (d->request->values && (d->result_value = mem_array(d->begin[count], sizeof(*d->result_value))) == NULL)
        return error_nomem(err, "values");
    return d->result_ids && d->result_logp ? 0 : error_nomem(err, "completions");
}

/* Floats of one half (keys or values) of a cache for so many slots; UINT64_MAX when it cannot be. */
static uint64_t cache_floats(const struct sampler *d, const struct model_config *c, uint32_t slots, uint64_t *rows) {
    uint64_t places = slots < d->request->prompts ? slots : d->request->prompts, floats;

    *rows = places * d->prompt_rows + (uint64_t)slots * d->slot_rows;
    if (*rows > INT32_MAX ||
        __builtin_mul_overflow(*rows, (uint64_t)(c->layers * c->kv_heads * c->head_dim), &floats) ||
        floats > SIZE_MAX / 16)
        return UINT64_MAX;
    return floats;
}

/* Rows of the largest batch that goes through the trunk: prompts together, or a token of every slot. */
static uint64_t batch_rows(const struct sampler *d, uint32_t slots) {
    uint64_t prompts = d->prompt_tokens, most = d->prompt_rows > PREFILL_TOKENS ? d->prompt_rows : PREFILL_TOKENS;

    most = prompts < most ? prompts : most;
    return most > slots ? most : slots;
}

/* Everything but the cache and the work space, in floats. */
static uint64_t small_floats(const struct sampler *d, const struct model_config *c, uint32_t slots) {
    const uint64_t places = slots < d->request->prompts ? slots : d->request->prompts;

    return ((places + slots) * (uint64_t)c->hidden + 3 * (uint64_t)slots + 15) / 16 * 16;
}

static int take_scratch(struct sampler *d, uint32_t slots, uint64_t rows, uint64_t floats, struct error *err) {
    const struct model_config *c = &d->trunk->config;
    const uint64_t places = slots < d->request->prompts ? slots : d->request->prompts, h = (uint64_t)c->hidden;
    const uint64_t work = work_bytes(c, batch_rows(d, slots), KEEP_NOTHING).scratch;
    const uint64_t small = small_floats(d, c, slots);
    float *f;

    floats = (floats + 15) / 16 * 16;
    if (work > SIZE_MAX / 8 || small > SIZE_MAX / 64)
        return error_nomem(err, "workspace of generation");
    f = backend_scratch(d->backend, (size_t)((2 * floats + small) * sizeof(float) + work), d, err);
    if (!f)
        return -1;
    d->cache = (struct kv_cache){.k = f, .v = f + floats, .rows = (int64_t)rows, .width = c->kv_heads * c->head_dim};
    d->prompt_hidden = f + 2 * floats;
    d->first_hidden = d->prompt_hidden + places * h;
    d->drawn_logp = d->first_hidden + (uint64_t)slots * h;
    d->drawn_value = d->drawn_logp + slots;
    d->drawn_ids = (int32_t *)(void *)(d->drawn_value + slots);
    d->work_memory = f + 2 * floats + small;
    d->nslots = slots;
    d->nplaces = (uint32_t)places;
    return 0;
}

static bool beyond_limit(const struct generate_request *r, uint64_t floats) {
    return !r->slots && floats * 8 > CACHE_LIMIT;
}

/* Of as many slots as there is room for. */
static int alloc_cache(struct sampler *d, uint32_t count, struct error *err) {
    const struct generate_request *r = d->request;
    uint32_t slots = r->slots && r->slots < count ? r->slots : count;
    uint64_t rows, floats;

    for (;; slots = (slots + 1) / 2) {
        bool last = slots == 1;

        floats = cache_floats(d, &d->trunk->config, slots, &rows);
        if (floats == UINT64_MAX && last)
            return error_nomem(err, "cache of keys and values");
        if (floats == UINT64_MAX || (!last && beyond_limit(r, floats)))
            continue;
        if (take_scratch(d, slots, rows, floats, last ? err : NULL) == 0)
            return 0;
        if (last)
            return error_prefix(err, "cache of keys and values");
    }
}

static void measure_prompts(struct sampler *d) {
    const struct generate_request *r = d->request;

    d->prompt_tokens = r->offset[r->prompts];
    for (uint32_t i = 0; i < r->prompts; i++) {
        uint32_t n = prompt_length(r, i), limit = completion_limit(d, i);

        d->prompt_rows = n > d->prompt_rows ? n : d->prompt_rows;
        d->slot_rows = limit > d->slot_rows ? limit : d->slot_rows;
    }
}

static int alloc_slots(struct sampler *d, struct error *err) {
    d->work.layers = mem_zeros(d->trunk->nlayers, sizeof(*d->work.layers));
    d->places = mem_zeros(d->nplaces, sizeof(*d->places));
    d->starts = mem_zeros((size_t)d->nplaces + 1, sizeof(*d->starts));
    d->slots = mem_zeros(d->nslots, sizeof(*d->slots));
    d->active = mem_zeros(d->nslots, sizeof(*d->active));
    return d->work.layers && d->places && d->starts && d->slots && d->active ? 0
                                                                             : error_nomem(err, "slots of generation");
}

int sampler_run(struct sampler *d, const struct flow *f, struct error *err) {
    if (!trace_lay_out(&d->trace, &d->work, f->n, d->work_memory))
        work_lay_out(&d->work, &d->trunk->config, (uint64_t)f->n, KEEP_NOTHING, NULL, d->work_memory);
    return adapted_forward(d->trunk, d->lora, &d->work, f, err);
}

static void free_batch(struct sampler *d) {
    free(d->ids);
    free(d->positions);
    free(d->targets);
    free(d->out_ids);
    free(d->rows);
    free(d->segments);
    free(d->runs);
    free(d->u);
    free(d->out_logp);
    free(d->out_value);
}

int sampler_reserve(struct sampler *d, size_t n, struct error *err) {
    if (n <= d->batch_capacity)
        return 0;
    free_batch(d);
    d->batch_capacity = 0;
    d->ids = mem_array(n, sizeof(*d->ids));
    d->positions = mem_array(n, sizeof(*d->positions));
    d->targets = mem_array(n, sizeof(*d->targets));
    d->out_ids = mem_array(n, sizeof(*d->out_ids));
    d->rows = mem_array(n, sizeof(*d->rows));
    d->segments = mem_array(n, sizeof(*d->segments));
    d->runs = mem_array(n, 2 * sizeof(*d->runs));
    d->u = mem_array(n, sizeof(*d->u));
    d->out_logp = mem_array(n, sizeof(*d->out_logp));
    d->out_value = mem_array(n, sizeof(*d->out_value));
    if (!d->ids || !d->positions || !d->targets || !d->out_ids || !d->rows || !d->segments || !d->runs || !d->u ||
        !d->out_logp || !d->out_value)
        return error_nomem(err, "batch of generation");
    d->batch_capacity = n;
    return 0;
}

void sampler_free(struct sampler *d) {
    for (uint32_t i = 0; d->slots && i < d->nslots; i++)
        buffer_free(&d->slots[i].text);
    trace_free(&d->trace);
    free(d->work.layers);
    free(d->places);
    free(d->starts);
    packing_free(&d->packing);
    free(d->slots);
    free(d->active);
    free(d->banned);
    free_batch(d);
    free(d->begin);
    free(d->length);
    free(d->ended);
    free(d->result_ids);
    free(d->result_logp);
    free(d->result_value);
}

int sampler_open(struct sampler *d, uint32_t count, struct error *err) {
    measure_prompts(d);
    if (alloc_results(d, count, err) || alloc_cache(d, count, err) || alloc_slots(d, err))
        return -1;
    return d->request->trace ? trace_open(&d->trace, d->request->trace, d->prompt_tokens, d->begin[count], err) : 0;
}

uint64_t generate_bytes(const struct model_config *c, const struct generate_request *r, uint32_t longest) {
    const struct sampler d = {.request = r, .prompt_rows = longest, .prompt_tokens = (uint64_t)r->prompts * longest,
                              .slot_rows = r->max_tokens};
    const uint64_t count = (uint64_t)r->prompts * r->group;
    uint32_t slots = r->slots && r->slots < count ? r->slots : count < INT32_MAX ? (uint32_t)count : INT32_MAX;
    uint64_t rows, floats;

    while (((floats = cache_floats(&d, c, slots, &rows)) == UINT64_MAX || beyond_limit(r, floats)) && slots > 1)
        slots = (slots + 1) / 2;
    if (slots == 0 || floats == UINT64_MAX)
        return slots == 0 ? 0 : UINT64_MAX;
    return (2 * floats + small_floats(&d, c, slots)) * sizeof(float) +
           work_bytes(c, batch_rows(&d, slots), KEEP_NOTHING).scratch;
}

int generate_reserve(struct model *m, const struct generate_request *r, uint32_t longest, struct error *err) {
    struct sampler d = {.trunk = m->trunk, .backend = m->trunk->backend, .request = r, .prompt_rows = longest,
                        .prompt_tokens = (uint64_t)r->prompts * longest, .slot_rows = r->max_tokens};
    uint64_t count = (uint64_t)r->prompts * r->group;

    return count > 0 && count <= INT32_MAX ? alloc_cache(&d, (uint32_t)count, err) : 0;
}
