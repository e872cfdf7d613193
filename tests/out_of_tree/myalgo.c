/* SPDX-License-Identifier: MIT
 * A stranger's algorithm, built from the installed headers alone: a bandit. Completions that were rewarded more than the
 * running average become likelier:   loss = -1/rows * sum over tokens of (reward - average) * logp.
 */
#include <rein/rein.h>

#include <stddef.h>
#include <string.h>

struct config {
    double memory;
};

struct myalgo {
    const struct rein_host *host;
    double memory, average;
};

static rein_status create(const struct rein_host *host, const void *config, void **self) {
    const struct config *c = config;
    struct myalgo *m;

    if (c->memory == 1)
        return host->fail_param(host->ctx, "memory", "1 would never learn an average");
    m = host->alloc(host->ctx, sizeof(*m));
    if (m == NULL)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    m->host = host;
    m->memory = c->memory;
    m->average = 0;
    *self = m;
    return REIN_OK;
}

static void destroy(void *self) {
    struct myalgo *m = self;

    m->host->free(m->host->ctx, m);
}

static rein_status describe(void *self, struct rein_needs *needs) {
    (void)self;
    needs->data = REIN_DATA_PROMPTS;
    needs->needs = REIN_NEED_LOGP | REIN_NEED_REWARD;
    needs->lr = 1e-4;
    needs->max_tokens = 4;
    return REIN_OK;
}

static rein_status prepare(void *self, struct rein_experience *e) {
    struct myalgo *m = self;
    double sum = 0;

    for (uint32_t r = 0; r < e->rows; r++) {
        for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++)
            e->advantage[i] = e->reward[r] - (float)m->average;
        sum += e->reward[r];
    }
    if (e->rows > 0)
        m->average = m->memory * m->average + (1 - m->memory) * sum / e->rows;
    rein_metric_mean(e->metrics, "bandit/average", m->average, 1);
    return REIN_OK;
}

static rein_status loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    (void)self;
    for (uint32_t i = 0; i < b->tokens; i++) {
        if (b->mask != NULL && !b->mask[i])
            continue;
        out->loss -= (double)b->advantage[i] * b->logp[i] / b->norm_rows;
        out->d_logp[i] = (float)(-b->advantage[i] / b->norm_rows);
    }
    return REIN_OK;
}

static rein_status save(void *self, struct rein_state *state) {
    const struct myalgo *m = self;

    if (state->capacity < sizeof(m->average))
        return REIN_ERR_NOMEM;
    memcpy(state->data, &m->average, sizeof(m->average));
    state->length = sizeof(m->average);
    state->version = 1;
    return REIN_OK;
}

static rein_status load(void *self, const struct rein_state *state) {
    struct myalgo *m = self;

    if (state->version != 1 || state->length != sizeof(m->average))
        return REIN_ERR_ARG;
    memcpy(&m->average, state->data, sizeof(m->average));
    return REIN_OK;
}

static const struct rein_param params[] = {
    {.name = "memory", .type = REIN_PARAM_REAL, .offset = offsetof(struct config, memory), .dflt = "0.9", .max = 1,
     .doc = "Share of the old average that is kept."},
    {.name = NULL},
};
static const struct rein_algorithm_ops ops = {
    .size = sizeof(ops), .create = create, .destroy = destroy, .describe = describe, .prepare = prepare, .loss = loss,
    .save = save, .load = load,
};
static const struct rein_plugin plugin = {
    .size = sizeof(plugin), .abi = REIN_ABI_VERSION, .kind = REIN_KIND_ALGORITHM, .name = "myalgo", .version = "1",
    .license = "MIT", .summary = "A bandit from outside.", .params = params, .param_stride = sizeof(params[0]),
    .config_size = sizeof(struct config), .ops = &ops,
};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
