/* SPDX-License-Identifier: MIT */
#include "pipeline/plan.h"

#include "base/file.h"
#include "base/log.h"
#include "model/lora.h"
#include "model/transformer.h"
#include "pipeline/columns.h"
#include "pipeline/lora_read.h"

#include <stdio.h>
#include <string.h>

/* What was learnt about a model that lies in files before the run. */
struct origin {
    struct origin *next;
    struct model_source source;
    struct model_config config;
    struct tokenizer *tokenizer;
};
struct planner {
    const struct pipeline *p;
    struct plan *plan;
    struct origin *origins;
    uint64_t limit;
    struct error *err;
};

/* ---- where a model comes from --------------------------------------------------------------- */

/* Follows stages back to files that are there now. */
static const struct model_use *first_use(const struct pipeline *p, const struct model_use *use) {
    const struct stage *s;

    while ((s = pipeline_writer(p, use)) != NULL)
        use = &s->model;
    return use;
}

static const struct node *from_node(const struct model_use *use) {
    const struct node *n = node_get(use->node, "from");

    return n ? n : use->node;
}

static bool same_base(const struct model_source *a, const struct model_source *b) {
    return a->base == b->base || (a->base && b->base && strcmp(a->base, b->base) == 0);
}

/* Reads what can be known without weights, once for each file, base of an adapter, and head. */
static int find_origin(struct planner *w, const struct model_use *use, const struct origin **out) {
    const struct model_use *first = first_use(w->p, use);
    const struct model_source *source = &first->source;
    struct origin *o;

    for (o = w->origins; o != NULL; o = o->next)
        if (strcmp(o->source.path, source->path) == 0 && (o->source.head == MODEL_LM) == (source->head == MODEL_LM) &&
            o->source.random == source->random && same_base(&o->source, source)) {
            *out = o;
            return 0;
        }
    o = arena_alloc(&w->plan->arena, sizeof(*o));
    if (o == NULL)
        return error_nomem(w->err, "plan");
    o->source = *source;
    o->source.lora = NULL; /* held against the configuration by each use */
    if (model_check(&o->source, &o->config, &o->tokenizer, w->err) != 0)
        return node_place(from_node(first), w->err);
    o->next = w->origins;
    w->origins = o;
    *out = o;
    return 0;
}

/* ---- do they fit together? ------------------------------------------------------------------- */

static int check_vocabulary(struct planner *w, const struct stage *s, const char *role, const struct model_use *use,
                            const struct origin *mine, const struct origin *policy) {
    if (mine->config.vocabulary != policy->config.vocabulary)
        return node_error(from_node(use), w->err, "stage '%s': the %s has a vocabulary of %lld tokens, the model one of %lld",
                          s->name, role, (long long)mine->config.vocabulary, (long long)policy->config.vocabulary);
    if (!mine->tokenizer || !policy->tokenizer)
        return 0;
    for (size_t i = 0; i < tokenizer_size(policy->tokenizer); i++) {
        const char *a = tokenizer_token_text(mine->tokenizer, (int32_t)i), *b = tokenizer_token_text(policy->tokenizer, (int32_t)i);
        if ((a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0))
            return node_error(from_node(use), w->err, "stage '%s': the %s has another tokenizer than the model (token %zu is "
                              "'%.40s' and '%.40s')", s->name, role, i, a ? a : "", b ? b : "");
    }
    return 0;
}

/* Heads that are there are as many as are asked for; a critic begins with one. */
static int check_heads(struct planner *w, const struct stage *s, const struct model_use *use) {
    const struct node *at = node_get(use->node, "heads");
    uint32_t heads;
    bool unused;

    if (use->share || use->source.head == MODEL_LM)
        return 0;
    pipeline_heads(w->p, use, &heads, &unused);
    if (use->source.head == MODEL_SCORE && heads > 0 && use->source.heads > 0 && heads != use->source.heads)
        return node_error(at ? at : from_node(use), w->err, "stage '%s': %s has %u score heads already, not %u", s->name,
                          use->from, heads, use->source.heads);
    if (use->source.head == MODEL_VALUE && heads > 1)
        return node_error(from_node(use), w->err, "stage '%s': %s has %u score heads; a critic begins with one", s->name,
                          use->from, heads);
    return 0;
}

/* Patterns are held against the parameters that the model will have. */
static int check_freeze(struct planner *w, const struct model_use *use, const struct origin *o) {
    const struct node *list = node_get(use->node, "freeze");
    size_t which;

    if (use->source.nfreeze == 0 || model_check_freeze(&o->config, &use->source, &which, w->err) == 0)
        return 0;
    return node_place(list && list->type == NODE_SEQUENCE && which < list->count ? list->items[which] : list, w->err);
}

static int check_lora(struct planner *w, const struct model_use *use, const struct origin *o) {
    const struct node *n = node_get(use->node, "lora"), *targets = node_get(n, "targets");
    const struct lora_options *lora = use->source.lora;

    if (!lora || lora_check(lora, &o->config, w->err) == 0)
        return 0;
    return node_place(targets && strstr(w->err->text, "targets") ? targets : n, w->err);
}

static int check_head(struct planner *w, const struct stage *s, const struct model_use *use, const struct origin *o) {
    const bool direct = first_use(w->p, use) == use;

    if (direct && use->source.head == MODEL_LM && o->config.labels > 0)
        return node_error(from_node(use), w->err, "stage '%s': %s is a classifier: it predicts no tokens", s->name,
                          use->source.path);
    if (direct && use->source.head == MODEL_SCORE && !use->source.trainable && o->config.labels < 1)
        return node_error(from_node(use), w->err, "stage '%s': %s is no reward model: it has no score head",
                          s->name, use->source.path);
    return check_heads(w, s, use) || check_freeze(w, use, o) || check_lora(w, use, o) ? -1 : 0;
}

static int check_lengths(struct planner *w, const struct stage *s, const struct model_config *c) {
    const struct node *rollout = node_get(s->node, "rollout"), *data = node_get(s->node, "data"), *at;

    if (s->on_policy && s->rollout.max_tokens >= c->positions) {
        at = node_get(rollout, "max_tokens");
        return node_error(at ? at : rollout, w->err, "stage '%s': rollout.max_tokens: %lld tokens leave no room for a prompt in "
                          "the model's context of %lld", s->name, (long long)s->rollout.max_tokens, (long long)c->positions);
    }
    at = node_get(data, "max_length");
    if (at && s->data.max_length > c->positions)
        return node_error(at, w->err, "stage '%s': data.max_length: the model's context is %lld tokens, got '%lld'", s->name,
                          (long long)c->positions, (long long)s->data.max_length);
    return 0;
}

/* ---- how much --------------------------------------------------------------------------------- */

/* The model among the stage's rewards that is read from the same files, or NULL. */
static const char *trunk_before(const struct plan_stage *ps, const struct model_use *use) {
    for (size_t i = 0; i < ps->nmodels; i++) {
        const struct plan_model *m = &ps->models[i];

        if (m->reward && use->source.head == MODEL_SCORE && !use->source.trainable && !use->source.random &&
            !m->use->source.random && strcmp(m->use->source.path, use->source.path) == 0)
            return m->use->from;
    }
    return NULL;
}

/* The options of the adapter that a model has or will have by then; NULL when it has none, or one in files. */
static const struct lora_options *adapter_options(const struct planner *w, const struct model_use *use) {
    const struct stage *s;

    while (!use->source.lora && (s = pipeline_writer(w->p, use)) != NULL)
        use = &s->model;
    return use->source.lora;
}

/* The trunk of an adapted model is frozen: whoever is read from the same files is a view on it. */
static bool on_adapted(const struct planner *w, const struct plan_stage *ps, const struct model_use *use,
                       const struct origin *o) {
    const struct stage *s = ps->stage;
    const struct origin *policy;

    return use != &s->model && lora_trains(w->p, &s->model) &&
           (!use->source.trainable || lora_trains(w->p, use)) &&
           find_origin((struct planner *)(uintptr_t)w, &s->model, &policy) == 0 &&
           strcmp(policy->source.path, o->source.path) == 0;
}

static int add_model(struct planner *w, struct plan_stage *ps, const char *role, const struct model_use *use,
                     const struct origin *o) {
    struct plan_model *m = &ps->models[ps->nmodels];
    const bool adapted = lora_trains(w->p, use);
    const struct lora_options *lora = adapted ? adapter_options(w, use) : NULL;
    const bool whole = use->source.trainable && !adapted;
    struct model_memory memory;
    bool unused;

    m->role = role;
    m->reward = strcmp(role, "reward") == 0;
    m->use = use;
    m->with = use->share ? ps->stage->model.from : trunk_before(ps, use);
    m->early = use == &ps->stage->reference && !stage_keeps_reference(ps->stage);
    m->heads = 1;
    if (use->source.head == MODEL_SCORE)
        pipeline_heads(w->p, use, &m->heads, &unused);
    if (m->heads == 0)
        m->heads = use->source.heads ? use->source.heads : 1;
    if (m->with == NULL && on_adapted(w, ps, use, o))
        m->with = ps->stage->model.from;
    if (m->with) {
        m->parameters = (uint64_t)o->config.hidden * m->heads;
        m->bytes = m->parameters * (use->share ? 16 : 4);
    } else {
        model_estimate(&o->config, use->source.head, whole, 0, &memory);
        m->parameters = config_parameters(&o->config);
        if (use->source.head != MODEL_LM) {
            m->parameters -= o->config.tied || o->config.labels > 0
                                 ? 0 : (uint64_t)o->config.vocabulary * (uint64_t)o->config.hidden;
            m->parameters += (uint64_t)o->config.hidden * m->heads;
        }
        m->bytes = memory.weights + memory.training;
    }
    if (lora)
        m->bytes += lora_parameters(lora, &o->config) * (use->source.trainable ? 16 : 4);
    if (use == &ps->stage->model && ps->stage->train.ema > 0)
        m->bytes += 4 * m->parameters;
    ps->nmodels++;
    if (!m->early)
        ps->bytes += m->bytes;
    return check_head(w, ps->stage, use, o);
}

/* What an early reference takes beyond the optimiser's two moments (of the three parts of training), which come after it. */
static void add_early(struct plan_stage *ps, const struct origin *policy) {
    struct model_memory memory;
    uint64_t moments;

    model_estimate(&policy->config, ps->stage->model.source.head, true, 0, &memory);
    moments = memory.training / 3 * 2;
    for (size_t i = 0; i < ps->nmodels; i++)
        if (ps->models[i].early && ps->models[i].bytes > moments)
            ps->bytes += ps->models[i].bytes - moments;
}

/* The longest line of a file, in bytes; 0 when it is compressed or cannot be read. */
static uint64_t longest_line(const char *path) {
    struct file_map map;
    uint64_t longest = 0;

    if (file_map_open(path, &map, NULL) != 0)
        return 0;
    if (map.length < 2 || map.data[0] != 0x1f || map.data[1] != 0x8b) {
        for (size_t at = 0; at < map.length;) {
            const unsigned char *end = memchr(map.data + at, '\n', map.length - at);
            const size_t length = end ? (size_t)(end - map.data) - at : map.length - at;
            longest = length > longest ? length : longest;
            at += length + 1;
        }
    }
    file_map_close(&map);
    return longest;
}

/* Tokens of the longest row, estimated from above: a token of text seldom has fewer than two bytes of JSON. */
static uint64_t longest_row(const struct stage *s, const struct model_config *c) {
    const uint64_t most = (uint64_t)(s->data.max_length ? s->data.max_length : c->positions);
    const uint64_t bytes = longest_line(s->train_path);

    return bytes == 0 || bytes / 2 > most ? most : bytes / 2 + 1;
}

static void add_work(struct plan_stage *ps, const struct origin *o) {
    const struct stage *s = ps->stage;
    const struct model_config *c = &o->config;
    const uint64_t micro = (uint64_t)s->train.micro_batch, row = longest_row(s, c);
    struct work_bytes memory;
    uint64_t length = row;

    if (s->on_policy) {
        const uint64_t all = (uint64_t)(s->rollout.prompts * s->rollout.group), slots = (uint64_t)s->rollout.slots;
        length = row + (uint64_t)s->rollout.max_tokens;
        length = length > (uint64_t)c->positions ? (uint64_t)c->positions : length;
        /* keys and values, each 4 bytes */
        ps->work += (slots && slots < all ? slots : all) * length * 8 * (uint64_t)(c->layers * c->kv_heads * c->head_dim);
    }
    memory = work_bytes(c, micro * length, s->model.checkpointing ? KEEP_INPUTS : KEEP_ALL);
    ps->work += memory.kept + memory.scratch;
}

static int check_fits(struct planner *w, const struct plan_stage *ps) {
    const double gb = 1e9;

    if (ps->bytes > w->limit)
        return node_error(ps->stage->node, w->err, "stage '%s': its models take %.1f GB, and there are %.1f GB of memory",
                          ps->stage->name, (double)ps->bytes / gb, (double)w->limit / gb);
    if (ps->bytes + ps->work > w->limit)
        log_warn("stage '%s' may need %.1f GB, and there are %.1f GB of memory: a smaller train.micro_batch takes less",
                 ps->stage->name, (double)(ps->bytes + ps->work) / gb, (double)w->limit / gb);
    return 0;
}

/* ---- stages ------------------------------------------------------------------------------------- */

static int plan_stage(struct planner *w, const struct stage *s, struct plan_stage *ps) {
    const struct origin *policy, *other;

    ps->stage = s;
    ps->models = arena_alloc(&w->plan->arena, (3 + s->nscored) * sizeof(*ps->models));
    if (ps->models == NULL)
        return error_nomem(w->err, "plan");
    if (find_origin(w, &s->model, &policy) != 0 || add_model(w, ps, "model", &s->model, policy) != 0 ||
        check_lengths(w, s, &policy->config) != 0)
        return -1;
    add_work(ps, policy);
    if (s->reference.present) {
        if (find_origin(w, &s->reference, &other) != 0 || add_model(w, ps, "reference", &s->reference, other) != 0 ||
            check_vocabulary(w, s, "reference", &s->reference, other, policy) != 0)
            return -1;
        add_early(ps, policy);
    }
    if (s->critic.present) {
        if (find_origin(w, s->critic.share ? &s->model : &s->critic, &other) != 0 ||
            add_model(w, ps, "critic", &s->critic, other) != 0 ||
            check_vocabulary(w, s, "critic", &s->critic, other, policy) != 0)
            return -1;
    }
    for (size_t i = 0; i < s->nscored; i++)
        if (find_origin(w, &s->scored[i].use, &other) != 0 ||
            add_model(w, ps, "reward", &s->scored[i].use, other) != 0)
            return -1;
    return check_fits(w, ps);
}

static int check_data(struct planner *w, const struct stage *s) {
    const struct origin *o;

    if (find_origin(w, &s->model, &o) != 0)
        return -1;
    return stage_check_data(s, &o->config, o->tokenizer, w->err) || columns_check(s, w->err) ? -1 : 0;
}

int plan_create(const struct pipeline *p, uint64_t limit, struct plan *out, struct error *err) {
    struct planner w = {.p = p, .plan = out, .limit = limit, .err = err};
    int rc = 0;

    memset(out, 0, sizeof(*out));
    out->stages = arena_alloc(&out->arena, p->nstages * sizeof(*out->stages));
    if (out->stages == NULL)
        return error_nomem(err, "plan");
    for (size_t i = 0; rc == 0 && i < p->nstages; i++) {
        rc = plan_stage(&w, &p->stages[i], &out->stages[i]);
        if (out->largest == NULL ||
            out->stages[i].bytes + out->stages[i].work > out->largest->bytes + out->largest->work)
            out->largest = &out->stages[i];
        out->nstages = i + 1;
    }
    for (size_t i = 0; rc == 0 && i < p->nstages; i++)
        rc = check_data(&w, &p->stages[i]);
    for (struct origin *o = w.origins; o != NULL; o = o->next)
        config_free(&o->config);
    out->origins = w.origins;
    if (rc != 0)
        plan_free(out);
    return rc;
}

void plan_free(struct plan *plan) {
    for (struct origin *o = plan->origins; o != NULL; o = o->next)
        tokenizer_free(o->tokenizer);
    arena_free(&plan->arena);
    memset(plan, 0, sizeof(*plan));
}
