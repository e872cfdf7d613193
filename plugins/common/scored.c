/* SPDX-License-Identifier: MIT */
#include "common/scored.h"

#include <rein/util.h>

const struct rein_scorer_1 *scored_open(const struct rein_host *host) {
    const struct rein_scorer_1 *scorer = host->service(host->ctx, REIN_SCORER_1);

    if (scorer && REIN_HAS(scorer, struct rein_scorer_1, describe) && scorer->score && scorer->describe)
        return scorer;
    host->fail(host->ctx, REIN_ERR_UNSUPPORTED, "the host cannot run reward models here");
    return NULL;
}

rein_status scored_describe(const struct rein_host *host, const struct rein_scorer_1 *scorer, const char *model,
                            uint32_t standardise, uint32_t *heads) {
    struct rein_scored_model found = {.size = sizeof(found)};
    rein_status status = scorer->describe(host->ctx, model, &found);

    if (status == REIN_OK && standardise && !found.standard)
        return rein_fail_paramf(host, "standardise",
                                "no mean and deviation of its scores are kept with model %s, as a stage that trains "
                                "one does: 'standardise: false' takes the scores as they are",
                                model);
    *heads = found.heads;
    return status;
}

struct draws {
    const struct rein_host *host;
    const struct rein_scorer_1 *scorer;
    struct rein_score_request request;
};

rein_status draws_create(const struct rein_host *host, const struct draw_options *o, uint32_t perturb, uint32_t site,
                         void **self) {
    const struct rein_scorer_1 *scorer = scored_open(host);
    struct draws *d;

    if (!scorer)
        return REIN_ERR_UNSUPPORTED;
    d = host->alloc(host->ctx, sizeof(*d));
    if (!d)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *d = (struct draws){.host = host,
                        .scorer = scorer,
                        .request = {.size = sizeof(d->request),
                                    .perturb = perturb,
                                    .site = site,
                                    .rate = o->rate,
                                    .model = o->model,
                                    .samples = (uint32_t)o->samples}};
    *self = d;
    return REIN_OK;
}

void draws_destroy(void *self) {
    struct draws *d = self;
    d->host->free(d->host->ctx, d);
}

rein_status draws_members(void *self, uint32_t *k) {
    *k = ((const struct draws *)self)->request.samples;
    return REIN_OK;
}

rein_status draws_score(void *self, const struct rein_completions *c, float *family) {
    const struct draws *d = self;
    struct rein_score_request request = d->request;

    request.completions = c;
    return d->scorer->score(d->host->ctx, &request, family);
}
