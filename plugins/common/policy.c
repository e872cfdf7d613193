/* SPDX-License-Identifier: MIT */
#include "common/policy.h"
#include "common/totals.h"

rein_status policy_create(const struct rein_host *host, size_t size, const struct penalty_options *penalty,
                          struct trust_options *trust, double beta, void **self) {
    struct policy *p;

    if (trust->dual_clip > 0 && trust->dual_clip <= 1)
        return host->fail_param(host->ctx, "dual_clip", "must be above 1, or 0 for none");
    if (penalty->target_kl > 0 && beta <= 0)
        return host->fail_param(host->ctx, "target_kl",
                                "adapts the weight of the KL in the reward: beta must be above 0 to begin with");
    if (trust->clip_high <= 0)
        trust->clip_high = trust->clip;
    p = host->alloc(host->ctx, size);
    if (!p)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *p = (struct policy){.host = host, .target_kl = penalty->target_kl, .target_kl_stop = trust->target_kl_stop};
    beta_init(&p->beta, beta);
    *self = p;
    return REIN_OK;
}

void policy_destroy(void *self) {
    struct policy *p = self;
    p->host->free(p->host->ctx, p);
}

void policy_needs(const struct trust_options *trust, double beta, struct rein_needs *needs) {
    needs->data = REIN_DATA_PROMPTS;
    needs->needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_REWARD;
    if (beta > 0 || trust->ratio == RATIO_REF)
        needs->needs |= REIN_NEED_REFERENCE;
    if (trust->entropy > 0)
        needs->needs |= REIN_NEED_ENTROPY;
}

rein_status policy_after(void *self, const struct rein_step *s, uint32_t *stop) {
    totals_stop(s, ((const struct policy *)self)->target_kl_stop, stop);
    return REIN_OK;
}

rein_status policy_save(void *self, struct rein_state *state) {
    const struct policy *p = self;
    return beta_save(&p->beta, p->host, state);
}

rein_status policy_load(void *self, const struct rein_state *state) {
    struct policy *p = self;
    return beta_load(&p->beta, p->host, state, p->target_kl > 0);
}

rein_status scratch_open(const struct policy *p, const struct rein_experience *e, struct scratch *out) {
    size_t tokens = e->tokens;

    out->score = p->host->alloc(p->host->ctx, (3 * tokens + e->rows + 1) * sizeof(double) + tokens);
    if (!out->score)
        return p->host->fail(p->host->ctx, REIN_ERR_NOMEM, "out of memory for a rollout's rewards");
    out->reward = out->score + e->rows;
    out->advantage = out->reward + tokens;
    out->return_ = out->advantage + tokens;
    out->scored = (uint8_t *)(out->return_ + tokens);
    for (uint32_t r = 0; r < e->rows; r++)
        out->score[r] = (double)e->reward[r];
    return REIN_OK;
}

void scratch_close(const struct policy *p, struct scratch *s) {
    p->host->free(p->host->ctx, s->score);
}
