/* SPDX-License-Identifier: MIT */
#include "pipeline/instances.h"

#include "plugin/host.h"

#include <math.h>
#include <string.h>

static int check_needs(const struct stage_algorithm *a, struct error *err) {
    const struct rein_needs *n = &a->needs;
    const uint32_t kinds = REIN_DATA_PROMPTS | REIN_DATA_COMPLETIONS | REIN_DATA_LABELLED | REIN_DATA_PAIRS | REIN_DATA_LISTS;
    const struct rein_algorithm_ops *ops = a->plugin->ops;
    const char *name = a->plugin->name;

    if (n->data == 0 || (n->data & ~kinds) != 0)
        return error_run(err, "algorithm %s: describe() names no kind of data that there is", name);
    if ((n->data & REIN_DATA_PROMPTS) && n->data != REIN_DATA_PROMPTS)
        return error_run(err, "algorithm %s: describe() mixes on-policy and other data", name);
    if ((n->data & REIN_DATA_PROMPTS) && ops->prepare == NULL)
        return error_run(err, "algorithm %s: is on-policy and has no prepare()", name);
    if (n->sums > REIN_MAX_SUMS || (n->sums > 0 && ops->measure == NULL))
        return error_run(err, "algorithm %s: describe() asks for sums that cannot be", name);
    if ((n->needs & REIN_NEED_KL_ROWS) && (n->data != REIN_DATA_LABELLED || n->sums == 0))
        return error_run(err, "algorithm %s: describe() asks for mismatched rows, which labelled data has, for measure()",
                         name);
    if (!(n->lr >= 0) || !isfinite(n->lr) || !(n->temperature >= 0) || !isfinite(n->temperature))
        return error_run(err, "algorithm %s: describe() gives defaults that are no numbers", name);
    return 0;
}

int instances_describe(struct build *b, const struct node *at, struct stage_algorithm *a) {
    const struct rein_algorithm_ops *ops = a->plugin->ops;
    struct host_instance *h = host_create(a->plugin, &a->marks, b->err);
    void *self = NULL;
    int rc;

    if (h == NULL)
        return -1;
    memset(&a->needs, 0, sizeof(a->needs));
    a->needs.size = sizeof(a->needs);
    rc = host_check(h, ops->create(&h->table, a->config, &self), "create", b->err);
    if (rc == 0) {
        rc = host_check(h, ops->describe(self, &a->needs), "describe", b->err);
        ops->destroy(self);
    }
    if (rc == 0)
        rc = check_needs(a, b->err);
    host_free(h);
    return rc == 0 ? 0 : node_place(at, b->err);
}

struct asking {
    const struct pipeline *p;
    const struct stage *stage;
};

/* A scorer that is there, so that create() finds it, and cannot score: no model is loaded. */
static rein_status no_score(void *ctx, const struct rein_score_request *request, float *out) {
    (void)ctx;
    (void)request;
    (void)out;
    return REIN_ERR_UNSUPPORTED;
}

static rein_status no_choice(void *ctx, const struct rein_choice_request *request, float *out) {
    (void)ctx;
    (void)out;
    return request->rows == 0 ? REIN_OK : REIN_ERR_UNSUPPORTED; /* whether it could be asked turns out when it is loaded */
}

/* What can be known of a model before it is loaded. `ctx` is the asking instance. */
static rein_status describe_model(void *ctx, const char *model, struct rein_scored_model *out) {
    const struct host_instance *h = ctx;
    const struct asking *a = h->service_ctx;

    for (size_t i = 0; i < a->stage->nscored; i++)
        if (strcmp(a->stage->scored[i].name, model) == 0) {
            bool standard;

            pipeline_heads(a->p, &a->stage->scored[i].use, &out->heads, &standard);
            out->heads = out->heads ? out->heads : 1;
            out->standard = standard;
            return REIN_OK;
        }
    return REIN_ERR_ARG;
}

static const void *offer(void *ctx, const char *id) {
    static const struct rein_scorer_1 scorer = {
        .size = sizeof(scorer), .score = no_score, .choice_logprobs = no_choice, .describe = describe_model};

    (void)ctx;
    return strcmp(id, REIN_SCORER_1) == 0 ? &scorer : NULL;
}

int instances_try_reward(struct build *b, const struct stage *s, const struct node *at, struct stage_reward *r) {
    struct asking asking = {b->p, s};
    const struct rein_reward_ops *ops = r->plugin->ops;
    struct host_instance *h = host_create(r->plugin, &r->marks, b->err);
    void *self = NULL;
    uint32_t members = 0;
    int rc;

    if (h == NULL)
        return -1;
    h->service = offer;
    h->service_ctx = &asking;
    rc = host_check(h, ops->create(&h->table, r->config, &self), "create", b->err);
    if (rc == 0) {
        rc = host_check(h, ops->members(self, &members), "members", b->err);
        if (rc == 0 && members == 0)
            rc = error_run(b->err, "reward %s: members() says 0", r->plugin->name);
        r->members = members;
        ops->destroy(self);
    }
    host_free(h);
    return rc == 0 ? 0 : node_place(at, b->err);
}
