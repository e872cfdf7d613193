/* A policy-gradient algorithm whose derivative points the wrong way: rein-conform must notice.
 * SPDX-License-Identifier: MIT */
#include <rein/algorithm.h>

#include <math.h>

static rein_status create(const struct rein_host *host, const void *config, void **self) {
    (void)config;
    *self = (void *)(uintptr_t)host;
    return REIN_OK;
}

static void destroy(void *self) {
    (void)self;
}

static rein_status describe(void *self, struct rein_needs *needs) {
    (void)self;
    needs->data = REIN_DATA_PROMPTS;
    needs->needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_REWARD;
    return REIN_OK;
}

static rein_status prepare(void *self, struct rein_experience *e) {
    (void)self;
    for (uint32_t r = 0; r < e->rows; r++)
        for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++)
            if (!e->mask || e->mask[i])
                e->advantage[i] = e->reward[r];
    return REIN_OK;
}

static rein_status loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    (void)self;
    for (uint32_t i = 0; i < b->tokens; i++) {
        if (b->mask && !b->mask[i])
            continue;
        double term = -(double)b->advantage[i] * exp(fmin((double)b->logp[i] - (double)b->logp_old[i], 20));
        out->loss += term / b->norm_tokens;
        out->d_logp[i] = (float)(-term / b->norm_tokens); /* wrong: should be term */
    }
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {
    .size = sizeof(ops), .create = create, .destroy = destroy, .describe = describe, .prepare = prepare, .loss = loss};
static const struct rein_plugin plugin = {.size = sizeof(plugin),
                                          .abi = REIN_ABI_VERSION,
                                          .kind = REIN_KIND_ALGORITHM,
                                          .name = "wrong-sign",
                                          .version = "0.1.0",
                                          .license = "MIT",
                                          .summary = "A derivative with the wrong sign.",
                                          .param_stride = sizeof(struct rein_param),
                                          .ops = &ops};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
