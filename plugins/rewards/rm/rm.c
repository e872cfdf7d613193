/* The score of one reward model. SPDX-License-Identifier: MIT */
#include "common/module.h"
#include "common/scored.h"

struct config {
    const char *model;
    uint8_t standardise;
};

struct rm {
    const struct rein_host *host;
    const struct rein_scorer_1 *scorer;
    struct config config;
};

static const struct rein_param params[] = {
    {.name = "model",
     .type = REIN_PARAM_MODEL,
     .flags = REIN_PARAM_REQUIRED,
     .offset = offsetof(struct config, model),
     .doc = "The reward model: a stage that trained one, or a model with a score head; of several heads the mean."},
    {.name = "standardise",
     .type = REIN_PARAM_BOOL,
     .offset = offsetof(struct config, standardise),
     .dflt = "false",
     .doc = "Bring the score to mean 0 and deviation 1 by the numbers that are kept with the model."},
    {.name = NULL},
};

static rein_status rm_create(const struct rein_host *host, const void *config, void **self) {
    const struct config *c = config;
    const struct rein_scorer_1 *scorer = scored_open(host);
    rein_status status;
    uint32_t heads;
    struct rm *m;

    if (!scorer)
        return REIN_ERR_UNSUPPORTED;
    status = scored_describe(host, scorer, c->model, c->standardise, &heads);
    if (status != REIN_OK)
        return status;
    m = host->alloc(host->ctx, sizeof(*m));
    if (!m)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *m = (struct rm){.host = host, .scorer = scorer, .config = *c};
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
        .size = sizeof(request), .model = m->config.model, .completions = c, .standardise = m->config.standardise};

    return m->scorer->score(m->host->ctx, &request, family);
}

static const struct rein_reward_ops ops = {
    .size = sizeof(ops), .create = rm_create, .destroy = rm_destroy, .members = rm_members, .score = rm_score};

MODULE(REIN_KIND_REWARD, "rm", "The score of one reward model.");
