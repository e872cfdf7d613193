/* The score of one reward model. SPDX-License-Identifier: MIT */
#include <rein/reward.h>
#include <rein/util.h>

#include "common/module.h"

struct config {
    const char *model;
};

struct rm {
    const struct rein_host *host;
    const struct rein_scorer_1 *scorer;
    const char *model;
};

static const struct rein_param params[] = {
    {.name = "model",
     .type = REIN_PARAM_MODEL,
     .flags = REIN_PARAM_REQUIRED,
     .offset = offsetof(struct config, model),
     .doc = "The reward model: a stage that trained one, or a model with a score head."},
    {.name = NULL},
};

static rein_status rm_create(const struct rein_host *host, const void *config, void **self) {
    const struct rein_scorer_1 *scorer = host->service(host->ctx, REIN_SCORER_1);
    struct rm *m;

    if (!scorer || !REIN_HAS(scorer, struct rein_scorer_1, score) || !scorer->score)
        return host->fail(host->ctx, REIN_ERR_UNSUPPORTED, "the host cannot run reward models here");
    m = host->alloc(host->ctx, sizeof(*m));
    if (!m)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *m = (struct rm){.host = host, .scorer = scorer, .model = ((const struct config *)config)->model};
    *self = m;
    return REIN_OK;
}

static void rm_destroy(void *self) {
    struct rm *m = self;
    m->host->free(m->host->ctx, m);
}

static rein_status rm_members(void *self, uint32_t *k) {
    (void)self;
    *k = 1;
    return REIN_OK;
}

static rein_status rm_score(void *self, const struct rein_completions *c, float *family) {
    const struct rm *m = self;
    struct rein_score_request request = {
        .size = sizeof(request), .perturb = REIN_PERTURB_NONE, .model = m->model, .completions = c};

    return m->scorer->score(m->host->ctx, &request, family);
}

static const struct rein_reward_ops ops = {
    .size = sizeof(ops), .create = rm_create, .destroy = rm_destroy, .members = rm_members, .score = rm_score};

MODULE(REIN_KIND_REWARD, "rm", "The score of one reward model.");
