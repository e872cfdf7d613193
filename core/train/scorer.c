/* SPDX-License-Identifier: MIT */
#include "train/scorer.h"

#include "base/buffer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/pass.h"
#include "plugin/host.h"
#include "text/template.h"
#include "train/choices.h"
#include "train/signals.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_TOKENS = 4096 };

struct scored {
    const char *name;
    struct model *model;
    struct pass *pass;                /* of the trunk; models with one trunk share it */
    bool owner;                       /* of the pass */
    const struct chat_template *chat; /* of its own tokenizer, or NULL */
    bool same_tokenizer;              /* as the policy's: ids are scored as they are */
};

struct scorer {
    struct scored models[STAGE_MAX_REWARDS];
    size_t count;
    uint64_t seed;
    struct rein_scorer_1 table;
};

/* Rows to be scored together. */
struct rows {
    struct ids ids;
    uint32_t *offset;                 /* [count + 1] */
    int32_t *last;
    uint64_t *keys;                   /* [count] of a draw */
    float *scores;                    /* [count][heads] */
    uint32_t count, first;            /* first: its number in the request */
};

/* A request in work. */
struct job {
    const struct scorer *scorer;
    struct scored *m;
    const struct rein_score_request *q;
    uint32_t samples, heads;
    bool standardise;
    float *out;                       /* [samples][heads][rows] */
};

/* One name may stand for a language model here and for a reward model on it there. */
static struct scored *find(struct scorer *s, const char *name, enum model_head head) {
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->models[i].name, name) == 0 && model_head(s->models[i].model) == head)
            return &s->models[i];
    return NULL;
}

/* ---- one chunk of rows through the model -------------------------------- */

static int rows_open(struct rows *r, uint32_t most, uint32_t heads, struct error *err) {
    *r = (struct rows){.offset = mem_zeros((size_t)most + 1, sizeof(*r->offset)),
                       .last = mem_zeros(most, sizeof(*r->last)),
                       .keys = mem_zeros(most, sizeof(*r->keys)),
                       .scores = mem_zeros((size_t)most * heads, sizeof(*r->scores))};
    return r->offset && r->last && r->keys && r->scores ? 0 : error_nomem(err, "rows to be scored");
}

static void rows_free(struct rows *r) {
    ids_free(&r->ids);
    free(r->offset);
    free(r->last);
    free(r->keys);
    free(r->scores);
}

static int rows_close_one(struct rows *r, struct error *err) {
    if (r->ids.count == r->offset[r->count])
        return error_run(err, "a completion has no tokens to be scored");
    if (r->ids.count > INT32_MAX)
        return error_run(err, "completions are too long to be scored");
    r->last[r->count] = (int32_t)r->ids.count - 1;
    r->offset[++r->count] = (uint32_t)r->ids.count;
    return 0;
}

/* A draw of a row depends on the seed, its id and the draw's number alone. */
static int perturb(const struct job *j, struct rows *r, uint32_t sample, struct error *err) {
    const struct rein_score_request *q = j->q;
    const struct pass_perturb how = {.kind = q->perturb, .site = q->site, .rate = q->rate, .keys = r->keys};
    const uint32_t purpose = q->perturb == REIN_PERTURB_NOISE ? RNG_NOISE : RNG_DROPOUT;

    for (uint32_t i = 0; i < r->count && q->perturb != REIN_PERTURB_NONE; i++)
        r->keys[i] = rng_key(j->scorer->seed, purpose, q->sample + sample, q->completions->row_id[r->first + i]);
    return pass_perturb(j->m->pass, &how, r->count, err);
}

/* One draw's scores to their place, as they are or standardised. */
static void place(const struct job *j, const struct rows *r, uint32_t sample) {
    const struct model_standard *standard = model_standard(j->m->model);
    const uint32_t heads = model_heads(j->m->model);

    for (uint32_t i = 0; i < r->count; i++) {
        float *out = j->out + (size_t)sample * j->heads * j->q->completions->rows + r->first + i;
        double sum = 0;

        for (uint32_t k = 0; k < heads; k++) {
            double x = (double)r->scores[(size_t)i * heads + k];

            if (j->standardise)
                x = (x - standard->mean[k]) / standard->deviation[k];
            sum += x;
            if (j->heads == heads)
                out[(size_t)k * j->q->completions->rows] = (float)x;
        }
        if (j->heads != heads)
            *out = (float)(sum / heads);
    }
}

/* All draws of the rows: one pass through the trunk when only the head is perturbed, else one a draw. */
static int flush(const struct job *j, struct rows *r, struct error *err) {
    const struct packed packed = {r->count, r->offset, r->ids.data};
    const bool head = j->q->perturb == REIN_PERTURB_NONE || j->q->site == REIN_SITE_HEAD;
    struct pass *pass = j->m->pass;

    for (uint32_t sample = 0; r->count > 0 && sample < j->samples; sample++) {
        if (signals_check(err) != 0 || perturb(j, r, sample, err) != 0 ||
            ((sample == 0 || !head) && pass_forward(pass, &packed, false, err) != 0) ||
            pass_head_scores(pass, j->m->model, r->count, r->last, r->scores, err) != 0)
            return -1;
        place(j, r, sample);
    }
    r->first += r->count;
    r->ids.count = 0;
    r->count = 0;
    return 0;
}

/* ---- a completion as the scored model reads it -------------------------- */

static int render_messages(const struct scored *m, const char *messages, struct ids *out, struct error *err) {
    json_t *list;
    int rc;

    if (m->chat == NULL)
        return error_input(err, "model %s has no chat template that we know, and its tokenizer is not the policy's", m->name);
    list = json_loads(messages, 0, NULL);
    if (list == NULL)
        return error_run(err, "the messages of a completion are not JSON");
    rc = template_render(m->chat, model_tokenizer(m->model), list, false, out, NULL, err);
    json_decref(list);
    return rc;
}

/* Prompt and completion are encoded apart, as in training; an end that the policy sampled becomes the scored model's. */
static int render_text(const struct scored *m, const struct rein_completions *c, uint32_t row, struct ids *out,
                       struct error *err) {
    const struct tokenizer *t = model_tokenizer(m->model);

    if (t == NULL)
        return error_input(err, "model %s has no tokenizer, so it cannot score another tokenizer's text", m->name);
    if (tokenizer_encode(t, c->prompt[row], strlen(c->prompt[row]), TOKENIZE_BOS, out, err) != 0 ||
        tokenizer_encode(t, c->completion[row], strlen(c->completion[row]), 0, out, err) != 0)
        return -1;
    if (c->ended[row] && tokenizer_eos(t) >= 0)
        return ids_add(out, tokenizer_eos(t), err);
    return 0;
}

static int add_row(const struct scored *m, const struct rein_completions *c, uint32_t row, struct ids *out,
                   struct error *err) {
    if (m->same_tokenizer)
        return ids_append(out, c->ids + c->offset[row], c->offset[row + 1] - c->offset[row], err);
    if (c->messages != NULL && c->messages[row] != NULL)
        return render_messages(m, c->messages[row], out, err);
    return render_text(m, c, row, out, err);
}

static int score_all(const struct job *j, struct error *err) {
    const struct rein_completions *c = j->q->completions;
    struct rows r;
    int rc = -1;

    if (rows_open(&r, c->rows, model_heads(j->m->model), err) != 0)
        goto out;
    pass_leave(j->m->pass, true); /* by every draw: reading a layer again costs less than keeping the model does */
    for (uint32_t row = 0; row < c->rows; row++) {
        if (add_row(j->m, c, row, &r.ids, err) != 0 || rows_close_one(&r, err) != 0)
            goto out;
        if (r.ids.count >= CHUNK_TOKENS && flush(j, &r, err) != 0)
            goto out;
    }
    rc = flush(j, &r, err);
out:
    pass_leave(j->m->pass, false);
    pass_perturb(j->m->pass, NULL, 0, NULL);
    rows_free(&r);
    return rc;
}

/* ---- the service -------------------------------------------------------- */

static rein_status refuse(struct host_instance *h, const struct error *err) {
    const rein_status code = err->kind == ERROR_INPUT ? REIN_ERR_ARG : REIN_ERR_INTERNAL;

    return h->table.fail(h->table.ctx, code, err->text);
}

static struct scored *asked_for(struct host_instance *h, const char *name, enum model_head head, rein_status *status) {
    struct scored *m = find(h->service_ctx, name, head);
    struct error err = {0};

    *status = REIN_OK;
    if (m == NULL) {
        error_input(&err, "there is no %s %s for a reward in this stage",
                    head == MODEL_LM ? "language model" : "reward model", name);
        *status = refuse(h, &err);
    }
    return m;
}

static int check_perturb(const struct rein_score_request *q, struct error *err) {
    if (q->perturb == REIN_PERTURB_NONE)
        return 0;
    if (q->perturb == REIN_PERTURB_DROPOUT && (q->site == REIN_SITE_HEAD || q->site == REIN_SITE_ALL))
        return q->rate >= 0 && q->rate < 1 ? 0 : error_input(err, "dropout drops a share of at least 0 and below 1");
    if (q->perturb == REIN_PERTURB_NOISE && (q->site == REIN_SITE_HEAD || q->site == REIN_SITE_EMBEDDING))
        return q->rate >= 0 && isfinite(q->rate) ? 0 : error_input(err, "noise has a deviation of at least 0");
    return error_input(err, "this host does not perturb scores in that way");
}

#define ASKED(q, member) (REIN_HAS(q, struct rein_score_request, member) ? (q)->member : 0)

static int fill_job(struct job *j, struct error *err) {
    const char *name = j->m->name;
    const uint32_t heads = ASKED(j->q, heads), samples = ASKED(j->q, samples);

    if (model_head(j->m->model) == MODEL_LM)
        return error_input(err, "model %s has no score head", name);
    j->samples = samples ? samples : 1;
    j->heads = heads ? heads : 1;
    j->standardise = ASKED(j->q, standardise) != 0;
    if (j->heads != 1 && j->heads != model_heads(j->m->model))
        return error_input(err, "model %s has %u score heads, not %u", name, model_heads(j->m->model), j->heads);
    if (j->standardise && !model_standard(j->m->model)->known)
        return error_input(err, "no mean and deviation of its scores are kept with model %s", name);
    return check_perturb(j->q, err);
}

static rein_status service_score(void *ctx, const struct rein_score_request *request, float *out) {
    struct host_instance *h = ctx;
    struct job j = {.scorer = h->service_ctx, .q = request, .out = out};
    struct error err = {0};
    rein_status status;

    j.m = asked_for(h, request->model, MODEL_SCORE, &status);
    if (j.m == NULL)
        return status;
    return fill_job(&j, &err) == 0 && score_all(&j, &err) == 0 ? REIN_OK : refuse(h, &err);
}

static rein_status service_describe(void *ctx, const char *model, struct rein_scored_model *out) {
    rein_status status;
    const struct scored *m = asked_for(ctx, model, MODEL_SCORE, &status);

    if (m != NULL) {
        out->heads = model_heads(m->model);
        out->standard = model_standard(m->model)->known;
    }
    return status;
}

static rein_status service_choices(void *ctx, const struct rein_choice_request *request, float *out) {
    struct host_instance *h = ctx;
    struct error err = {0};
    rein_status status;
    struct scored *m = asked_for(h, request->model, MODEL_LM, &status);
    uint32_t too_long = 0;
    char text[160];

    if (m == NULL)
        return status;
    const struct choices_model asked = {m->name, m->model, m->pass, m->chat};
    if (choices_logprobs(&asked, request, out, &too_long, &err) != 0)
        return refuse(h, &err);
    if (too_long > 0) {
        snprintf(text, sizeof(text), "%u of %u texts are longer than the context of model %.60s: no opinion on them",
                 too_long, request->rows, m->name);
        h->table.log(ctx, REIN_LOG_WARN, text);
    }
    return REIN_OK;
}

const void *scorer_service(void *scorer, const char *id) {
    return strcmp(id, REIN_SCORER_1) == 0 ? &((struct scorer *)scorer)->table : NULL;
}

/* ---- opening ------------------------------------------------------------ */

/* A model opened before whose trunk is the same, or NULL. */
static int find_trunk(const struct scorer *s, const struct model_source *source, struct scored **out,
                      struct error *err) {
    bool same = false;

    *out = NULL;
    if (source->head != MODEL_SCORE) /* a trunk that is there may lack its language model head */
        return 0;
    for (size_t i = 0; i < s->count && !same; i++) {
        struct scored *other = (struct scored *)(uintptr_t)&s->models[i];

        if (other->owner && model_same_files(other->model, source, &same, err) != 0)
            return -1;
        if (same)
            *out = other;
    }
    return 0;
}

static int open_one(struct scorer *s, const struct stage_scored *spec, struct backend *backend,
                    const struct tokenizer *policy, struct error *err) {
    struct model_source source = spec->use.source;
    struct scored *m = &s->models[s->count], *with;

    source.trainable = false;
    *m = (struct scored){.name = spec->name};
    if (find_trunk(s, &source, &with, err) != 0)
        return -1;
    s->count++; /* for scorer_close, whatever follows */
    m->owner = with == NULL;
    if (with != NULL) {
        if (model_share(with->model, source.head, &source, &m->model, err) != 0)
            return -1;
        m->pass = with->pass;
        log_debug("reward model %s is a head on the trunk of %s", spec->name, with->name);
    } else if (model_open(backend, &source, &m->model, err) != 0 || pass_create(m->model, &m->pass, err) != 0)
        return -1;
    m->same_tokenizer = tokenizer_same(model_tokenizer(m->model), policy);
    /* an unknown template matters only when messages must be rendered */
    if (model_tokenizer(m->model) != NULL && template_recognise(model_tokenizer(m->model), &m->chat, NULL) != 0)
        m->chat = NULL;
    return 0;
}

int scorer_open(const struct stage *s, const struct stage_env *env, const struct tokenizer *policy,
                struct scorer **out, struct error *err) {
    struct scorer *scorer = mem_zeros(1, sizeof(*scorer));
    struct backend *backend = s->reward_backend ? s->reward_backend : env->backend;

    if (scorer == NULL)
        return error_nomem(err, "reward models");
    scorer->seed = env->seed;
    scorer->table = (struct rein_scorer_1){.size = sizeof(scorer->table),
                                           .score = service_score,
                                           .choice_logprobs = service_choices,
                                           .describe = service_describe};
    for (size_t i = 0; i < s->nscored; i++)
        if (open_one(scorer, &s->scored[i], backend, policy, err) != 0) {
            scorer_close(scorer);
            return -1;
        }
    *out = scorer;
    return 0;
}

void scorer_close(struct scorer *s) {
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        if (s->models[i].owner)
            pass_free(s->models[i].pass);
        model_close(s->models[i].model);
    }
    free(s);
}
