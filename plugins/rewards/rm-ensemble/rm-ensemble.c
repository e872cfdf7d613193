/* Several reward models, or one with several heads: a score of each. SPDX-License-Identifier: MIT
 *
 * A reward model is trained on differences, so its scores have a zero and a unit of their own:
 * member k is (s_k - mean_k) / deviation_k, by what was measured at the end of its training.
 */
#include <rein/util.h>
#include <string.h>

#include "common/module.h"
#include "common/scored.h"

struct config {
    struct rein_list models;
    uint8_t standardise;
};

struct ensemble {
    const struct rein_host *host;
    const struct rein_scorer_1 *scorer;
    const char *const *models;
    uint32_t count, members, standardise;
    uint32_t heads[]; /* [count] */
};

static const struct rein_param params[] = {
    {.name = "models",
     .type = REIN_PARAM_MODEL | REIN_PARAM_LIST,
     .flags = REIN_PARAM_REQUIRED,
     .offset = offsetof(struct config, models),
     .doc = "The reward models: stages that trained them, or models with a score head; each head is a member."},
    {.name = "standardise",
     .type = REIN_PARAM_BOOL,
     .offset = offsetof(struct config, standardise),
     .dflt = "true",
     .doc = "Bring every member to mean 0 and deviation 1 by the numbers that are kept with its model."},
    {.name = NULL},
};

static void ensemble_destroy(void *self) {
    struct ensemble *e = self;
    e->host->free(e->host->ctx, e);
}

static rein_status count_members(struct ensemble *e) {
    for (uint32_t i = 0; i < e->count; i++) {
        rein_status status = scored_describe(e->host, e->scorer, e->models[i], e->standardise, &e->heads[i]);

        if (status != REIN_OK)
            return status;
        for (uint32_t j = 0; j < i; j++)
            if (!strcmp(e->models[j], e->models[i]))
                return rein_fail_paramf(e->host, "models", "model %s is named twice", e->models[i]);
        e->members += e->heads[i];
    }
    if (e->members < 2)
        return rein_fail_paramf(e->host, "models",
                                "an ensemble has at least two members: several models, or one with "
                                "several heads");
    return REIN_OK;
}

static rein_status ensemble_create(const struct rein_host *host, const void *config, void **self) {
    const struct config *c = config;
    const struct rein_scorer_1 *scorer = scored_open(host);
    struct ensemble *e;
    rein_status status;

    if (!scorer)
        return REIN_ERR_UNSUPPORTED;
    e = host->alloc(host->ctx, sizeof(*e) + c->models.count * sizeof(e->heads[0]));
    if (!e)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *e = (struct ensemble){.host = host,
                           .scorer = scorer,
                           .models = c->models.items,
                           .count = (uint32_t)c->models.count,
                           .standardise = c->standardise};
    status = count_members(e);
    if (status != REIN_OK)
        ensemble_destroy(e);
    else
        *self = e;
    return status;
}

static rein_status ensemble_members(void *self, uint32_t *k) {
    *k = ((const struct ensemble *)self)->members;
    return REIN_OK;
}

static rein_status ensemble_score(void *self, const struct rein_completions *c, float *family) {
    const struct ensemble *e = self;
    rein_status status = REIN_OK;

    for (uint32_t i = 0; i < e->count && status == REIN_OK; i++) {
        struct rein_score_request request = {.size = sizeof(request),
                                             .model = e->models[i],
                                             .completions = c,
                                             .heads = e->heads[i],
                                             .standardise = e->standardise};

        status = e->scorer->score(e->host->ctx, &request, family);
        family += (size_t)e->heads[i] * c->rows;
    }
    return status;
}

static const struct rein_reward_ops ops = {.size = sizeof(ops),
                                           .create = ensemble_create,
                                           .destroy = ensemble_destroy,
                                           .members = ensemble_members,
                                           .score = ensemble_score};

MODULE(REIN_KIND_REWARD, "rm-ensemble", "Several reward models, or one with several heads: a score of each.");
