/* SPDX-License-Identifier: MIT */
#include "train/scorer.h"

#include "base/buffer.h"
#include "base/mem.h"
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
    struct pass *pass;
    const struct chat_template *chat; /* of its own tokenizer, or NULL */
    bool same_tokenizer;              /* as the policy's: ids are scored as they are */
};

struct scorer {
    struct scored models[STAGE_MAX_REWARDS];
    size_t count;
    struct rein_scorer_1 table;
};

/* Rows to be scored together. */
struct rows {
    struct ids ids;
    uint32_t *offset;                 /* [count + 1] */
    int32_t *last;
    uint32_t count;
};

static bool same_text(const char *a, size_t na, const char *b, size_t nb) {
    return na == nb && memcmp(a, b, na) == 0;
}

/* Two tokenizers are one when their files are. */
static bool same_tokenizer(const struct tokenizer *a, const struct tokenizer *b) {
    size_t na, nb;
    const char *ta, *tb;

    if (a == NULL || b == NULL)
        return a == b;
    ta = tokenizer_json(a, &na);
    tb = tokenizer_json(b, &nb);
    return same_text(ta, na, tb, nb);
}

/* One name may stand for a language model here and for a reward model on it there. */
static struct scored *find(struct scorer *s, const char *name, enum model_head head) {
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->models[i].name, name) == 0 && model_head(s->models[i].model) == head)
            return &s->models[i];
    return NULL;
}

/* ---- one chunk of rows through the model -------------------------------- */

static int rows_open(struct rows *r, uint32_t most, struct error *err) {
    *r = (struct rows){.offset = mem_zeros((size_t)most + 1, sizeof(*r->offset)),
                       .last = mem_zeros(most, sizeof(*r->last))};
    return r->offset && r->last ? 0 : error_nomem(err, "rows to be scored");
}

static void rows_free(struct rows *r) {
    ids_free(&r->ids);
    free(r->offset);
    free(r->last);
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

static int flush(struct scored *m, struct rows *r, float *out, struct error *err) {
    const struct packed packed = {r->count, r->offset, r->ids.data};

    if (r->count == 0)
        return 0;
    if (signals_check(err) != 0 || pass_forward(m->pass, &packed, false, err) != 0 ||
        pass_scores(m->pass, m->model, r->count, r->last, out, err) != 0)
        return -1;
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

static int score_all(struct scored *m, const struct rein_completions *c, float *out, struct error *err) {
    struct rows r;
    uint32_t from = 0;
    int rc = -1;

    if (rows_open(&r, c->rows, err) != 0)
        goto out;
    for (uint32_t row = 0; row < c->rows; row++) {
        if (add_row(m, c, row, &r.ids, err) != 0 || rows_close_one(&r, err) != 0)
            goto out;
        if (r.ids.count >= CHUNK_TOKENS) {
            if (flush(m, &r, out + from, err) != 0)
                goto out;
            from = row + 1;
        }
    }
    rc = flush(m, &r, out + from, err);
out:
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

static rein_status service_score(void *ctx, const struct rein_score_request *request, float *out) {
    struct host_instance *h = ctx;
    struct error err = {0};
    rein_status status;
    struct scored *m = asked_for(h, request->model, MODEL_SCORE, &status);

    if (m == NULL)
        return status;
    if (request->perturb != REIN_PERTURB_NONE)
        return h->table.fail(ctx, REIN_ERR_UNSUPPORTED, "this host scores without dropout or noise only");
    return score_all(m, request->completions, out, &err) == 0 ? REIN_OK : refuse(h, &err);
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

static int open_one(struct scored *m, const struct stage_scored *spec, const struct stage_env *env,
                    const struct tokenizer *policy, struct error *err) {
    struct model_source source = spec->use.source;

    source.trainable = false;
    *m = (struct scored){.name = spec->name};
    if (model_open(env->backend, &source, &m->model, err) != 0 || pass_create(m->model, &m->pass, err) != 0)
        return -1;
    m->same_tokenizer = same_tokenizer(model_tokenizer(m->model), policy);
    /* an unknown template matters only when messages must be rendered */
    if (model_tokenizer(m->model) != NULL && template_recognise(model_tokenizer(m->model), &m->chat, NULL) != 0)
        m->chat = NULL;
    return 0;
}

int scorer_open(const struct stage *s, const struct stage_env *env, const struct tokenizer *policy,
                struct scorer **out, struct error *err) {
    struct scorer *scorer = mem_zeros(1, sizeof(*scorer));

    if (scorer == NULL)
        return error_nomem(err, "reward models");
    scorer->table = (struct rein_scorer_1){
        .size = sizeof(scorer->table), .score = service_score, .choice_logprobs = service_choices};
    for (size_t i = 0; i < s->nscored; i++, scorer->count++)
        if (open_one(&scorer->models[i], &s->scored[i], env, policy, err) != 0) {
            scorer->count++;
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
        pass_free(s->models[i].pass);
        model_close(s->models[i].model);
    }
    free(s);
}
