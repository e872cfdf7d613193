/* SPDX-License-Identifier: MIT */
#include "pipeline/plan.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/mempeak.h"
#include "model/generate.h"
#include "model/lora.h"
#include "pipeline/columns.h"
#include "pipeline/lora_read.h"
#include "pipeline/models.h"
#include "train/data.h"
#include "train/room.h"

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
    bool host;                  /* weights are used where they lie in the file: not on a device, whose limit is not known */
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

static uint64_t largest(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* The frozen model of the stage that is read from the same files and held in the same way, or NULL. */
static const char *trunk_before(const struct plan_stage *ps, const struct model_use *use) {
    for (size_t i = 0; i < ps->nmodels; i++) {
        const struct model_source *a = &ps->models[i].use->source, *b = &use->source;

        if (!a->trainable && !b->trainable && !a->random && !b->random && a->dtype == b->dtype && !ps->models[i].with &&
            (a->head == MODEL_LM || b->head != MODEL_LM) && strcmp(a->path, b->path) == 0)
            return ps->models[i].use->from;
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

/* The trunk of an adapted model is frozen: whoever is read from the same files, and held alike, is a view on it. */
static bool on_adapted(const struct planner *w, const struct plan_stage *ps, const struct model_use *use,
                       const struct origin *o) {
    const struct stage *s = ps->stage;
    const struct origin *policy;

    return use != &s->model && lora_trains(w->p, &s->model) && use->source.dtype == s->model.source.dtype &&
           (!use->source.trainable || lora_trains(w->p, use)) &&
           find_origin((struct planner *)(uintptr_t)w, &s->model, &policy) == 0 &&
           strcmp(policy->source.path, o->source.path) == 0;
}

/* Is it mapped, and given back after each rollout? A reference whose rollout goes through it in pieces is there as a whole
 * until the last of them. */
static bool passes(const struct planner *w, const struct plan_stage *ps, const struct plan_model *m,
                   const struct origin *o) {
    const struct stage *s = ps->stage;

    if (m->with || m->early || m->use->source.trainable || !w->host || models_is_gguf(o->source.path))
        return false;
    return m->reward || data_micro(s) >= (uint64_t)s->rollout.prompts * (uint64_t)s->rollout.group;
}

static int add_model(struct planner *w, struct plan_stage *ps, const char *role, const struct model_use *use,
                     const struct origin *o) {
    struct plan_model *m = &ps->models[ps->nmodels];
    const bool adapted = lora_trains(w->p, use);
    const struct lora_options *lora = adapted ? adapter_options(w, use) : NULL;
    struct model_source source = use->source;
    bool unused;

    if (check_head(w, ps->stage, use, o) != 0)
        return -1;
    source.trainable = source.trainable && !adapted; /* an adapter's trunk is frozen */
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
    } else if (model_estimate(&o->config, &source, &m->memory, w->err) != 0) {
        return -1;
    } else {
        m->parameters = m->memory.parameters;
        m->bytes = m->memory.weights + m->memory.training;
        if (use->source.head != MODEL_LM) {
            const uint64_t more = (uint64_t)o->config.hidden * (m->heads - 1);

            m->parameters += more;
            m->bytes += more * (use->source.trainable ? 16 : 4);
        }
    }
    if (lora)
        m->bytes += lora_parameters(lora, &o->config) * (use->source.trainable ? 16 : 4);
    if (use == &ps->stage->model && ps->stage->train.ema > 0)
        m->bytes += 4 * m->memory.trained;
    m->passing = passes(w, ps, m, o);
    ps->nmodels++;
    if (!m->early)
        ps->bytes += m->bytes - (m->passing ? m->memory.mapped : 0);
    return 0;
}

/* Those that pass are in memory one after the other. */
static void add_passing(struct plan_stage *ps) {
    uint64_t most = 0;

    for (size_t i = 0; i < ps->nmodels; i++)
        if (ps->models[i].passing)
            most = largest(most, ps->models[i].memory.passing);
    ps->bytes += most;
}

/* What an early reference takes beyond the optimiser's two moments, which come after it. */
static void add_early(struct plan_stage *ps) {
    const uint64_t moments = ps->models[0].memory.moments;

    for (size_t i = 0; i < ps->nmodels; i++)
        if (ps->models[i].early && ps->models[i].bytes > moments)
            ps->bytes += ps->models[i].bytes - moments;
}

/* A pass has its own memory; what it needs for a while it takes from the scratch that all share. */
static int add_pass(struct planner *w, struct plan_stage *ps, const struct model_config *c,
                    const struct pass_size *size, const struct model_use *trained, uint64_t *scratch) {
    const bool recompute = trained && trained->checkpointing;
    uint64_t own, shared, saved = 0;

    pass_size_bytes(c, size, trained != NULL, recompute, &own, &shared);
    if (trained && size->over && !lora_trains(w->p, trained) &&
        model_overlaid(c, &trained->source, size->kept, recompute, &saved, w->err) != 0)
        return -1;
    ps->work = u64_plus(ps->work, own - saved);
    *scratch = largest(*scratch, shared);
    return 0;
}

static uint64_t sampling(const struct stage *s, const struct model_config *c, const struct stage_extent *e) {
    struct generate_request q = {.prompts = (uint32_t)s->rollout.prompts,
                                 .group = (uint32_t)s->rollout.group,
                                 .max_tokens = stage_max_tokens(s),
                                 .slots = (uint32_t)s->rollout.slots};
    const uint64_t most = generate_bytes(c, &q, e->prompt);

    q.prompts = e->eval_prompts;
    q.group = 1;
    return largest(most, generate_bytes(c, &q, e->eval_prompt));
}

/* As room_make does before the first step, and what reward models need. */
static int add_work(struct planner *w, struct plan_stage *ps, const struct origin *o, const struct origin *critic,
                    const struct stage_extent *e) {
    enum { SCORED_TOKENS = 4096 }; /* a chunk of completions ends with the one that makes it so large */
    const struct stage *s = ps->stage;
    const bool scores = s->model.source.head == MODEL_SCORE, valued = critic != NULL && s->critic.share;
    const struct room_passes passes = room_of_passes(s, data_micro(s), e, scores ? ps->models[0].heads : 0, valued);
    const uint64_t chunk = SCORED_TOKENS + (uint64_t)e->prompt + stage_max_tokens(s);
    const struct pass_size scored = {.passing = e->rollout < chunk ? e->rollout : chunk};
    uint64_t scratch = s->on_policy ? sampling(s, &o->config, e) : 0;
    const struct origin *reward;

    if (add_pass(w, ps, &o->config, &passes.actor, &s->model, &scratch) != 0 ||
        (s->reference.present && stage_keeps_reference(s) &&
         add_pass(w, ps, &o->config, &passes.reference, NULL, &scratch) != 0) ||
        (critic && !valued && add_pass(w, ps, &critic->config, &passes.critic, &s->critic, &scratch) != 0))
        return -1;
    for (size_t i = 0; i < s->nscored; i++)
        if (find_origin(w, &s->scored[i].use, &reward) != 0 ||
            add_pass(w, ps, &reward->config, &scored, NULL, &scratch) != 0)
            return -1;
    ps->work = u64_plus(ps->work, scratch);
    return 0;
}

static int check_fits(struct planner *w, const struct plan_stage *ps) {
    const double gb = 1e9;

    if (ps->bytes > w->limit)
        return node_error(ps->stage->node, w->err, "stage '%s': its models take %.1f GB, and there are %.1f GB of memory",
                          ps->stage->name, (double)ps->bytes / gb, (double)w->limit / gb);
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
    if (s->reference.present) {
        if (find_origin(w, &s->reference, &other) != 0 || add_model(w, ps, "reference", &s->reference, other) != 0 ||
            check_vocabulary(w, s, "reference", &s->reference, other, policy) != 0)
            return -1;
        add_early(ps);
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
    add_passing(ps);
    return check_fits(w, ps);
}

static int check_data(struct planner *w, const struct stage *s, struct plan_stage *ps) {
    const uint64_t seed = s->train.seed < 0 ? w->p->seed : (uint64_t)s->train.seed;
    const struct origin *o, *critic = NULL;
    struct stage_extent extent;

    if (find_origin(w, &s->model, &o) != 0 ||
        (s->critic.present && find_origin(w, s->critic.share ? &s->model : &s->critic, &critic) != 0) ||
        stage_check_data(s, &o->config, o->tokenizer, seed, &extent, w->err) != 0 || columns_check(s, w->err) != 0)
        return -1;
    return add_work(w, ps, o, critic, &extent);
}

/* What each stage takes is known: the largest, and whether it fits. */
static void find_largest(struct plan *plan, uint64_t limit) {
    plan->program = mempeak();
    for (size_t i = 0; i < plan->nstages; i++) {
        const struct plan_stage *ps = &plan->stages[i];
        const uint64_t bytes = plan_bytes(plan, ps);

        if (plan->largest == NULL || bytes > plan_bytes(plan, plan->largest))
            plan->largest = ps;
        if (bytes > limit)
            log_warn("stage '%s' may need %.1f GB, and there are %.1f GB of memory: a smaller train.micro_batch takes less",
                     ps->stage->name, (double)bytes / 1e9, (double)limit / 1e9);
    }
}

int plan_create(const struct pipeline *p, uint64_t limit, struct plan *out, struct error *err) {
    struct planner w = {.p = p, .plan = out, .limit = limit, .host = limit != UINT64_MAX, .err = err};
    int rc = 0;

    memset(out, 0, sizeof(*out));
    out->stages = arena_alloc(&out->arena, p->nstages * sizeof(*out->stages));
    if (out->stages == NULL)
        return error_nomem(err, "plan");
    for (size_t i = 0; rc == 0 && i < p->nstages; i++) {
        rc = plan_stage(&w, &p->stages[i], &out->stages[i]);
        out->nstages = i + 1;
    }
    for (size_t i = 0; rc == 0 && i < p->nstages; i++)
        rc = check_data(&w, &p->stages[i], &out->stages[i]);
    if (rc == 0)
        find_largest(out, limit);
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
