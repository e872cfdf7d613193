/* An on-policy algorithm that breaks one rule of rein/algorithm.h at a time, for rein-conform to find: what wrong.c
 * cannot, because it has no rollout and no state. With `wrong: nothing` it is group-relative REINFORCE with a running
 * average. SPDX-License-Identifier: MIT */
#include <rein/algorithm.h>

#include <math.h>
#include <string.h>

struct config {
    const char *wrong;
};
static const struct rein_param params[] = {
    {.name = "wrong",
     .type = REIN_PARAM_STRING,
     .offset = offsetof(struct config, wrong),
     .dflt = "nothing",
     .doc = "Which rule is broken."},
    {.name = NULL},
};

struct self {
    const struct rein_host *host;
    const char *wrong;
    double average;
};

static int is(const struct self *s, const char *way) {
    return !strcmp(s->wrong, way);
}

static rein_status create(const struct rein_host *host, const void *config, void **self) {
    struct self *s = host->alloc(host->ctx, sizeof(*s));

    if (!s)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *s = (struct self){.host = host, .wrong = ((const struct config *)config)->wrong};
    *self = s;
    return REIN_OK;
}

static void destroy(void *self) {
    ((struct self *)self)->host->free(((struct self *)self)->host->ctx, self);
}

static rein_status describe(void *self, struct rein_needs *needs) {
    needs->data = REIN_DATA_PROMPTS | (is(self, "kinds") ? REIN_DATA_PAIRS : 0);
    needs->needs = REIN_NEED_LOGP | REIN_NEED_REWARD | REIN_NEED_GROUPS | (is(self, "needs") ? 1u << 20 : 0);
    needs->sums = is(self, "sums") ? 1 : 0;
    needs->lr = is(self, "rate") ? NAN : 1e-5;
    return REIN_OK;
}

static rein_status prepare(void *self, struct rein_experience *e) {
    struct self *s = self;
    double total = 0;

    if (is(s, "input") && e->rows)
        ((float *)(uintptr_t)e->reward)[0] = 0;
    for (uint32_t u = 0; u < e->units; u++) {
        double mean = 0;
        for (uint32_t r = e->unit[u]; r < e->unit[u + 1]; r++)
            mean += (double)e->reward[r] / (e->unit[u + 1] - e->unit[u]);
        for (uint32_t r = e->unit[u]; r < e->unit[u + 1]; r++) {
            double advantage = (double)e->reward[r] - mean - s->average;
            if (is(s, "first") && r == e->unit[u])
                advantage *= 2;
            if (is(s, "infinite") && r == e->unit[u])
                advantage /= (double)(e->offset[r + 1] - e->offset[r]) - 3;
            for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++)
                if (!e->mask || e->mask[i])
                    e->advantage[i] = (float)advantage;
        }
        total += mean;
    }
    if (is(s, "unwritten") && e->tokens)
        e->advantage[e->tokens] = 0;
    s->average = 0.9 * s->average + (e->units ? 0.1 * total / e->units : 0);
    return REIN_OK;
}

static rein_status loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    (void)self;
    for (uint32_t i = 0; i < b->tokens; i++) {
        if (b->mask && !b->mask[i])
            continue;
        out->loss -= (double)b->advantage[i] * (double)b->logp[i] / b->norm_tokens;
        out->d_logp[i] = (float)(-(double)b->advantage[i] / b->norm_tokens);
    }
    return REIN_OK;
}

static rein_status save(void *self, struct rein_state *state) {
    const struct self *s = self;

    if (is(s, "state"))
        return REIN_OK;
    state->length = sizeof(s->average);
    state->version = 1;
    memcpy(state->data, &s->average, sizeof(s->average));
    return REIN_OK;
}

static rein_status load(void *self, const struct rein_state *state) {
    struct self *s = self;

    if (is(s, "state"))
        return REIN_OK;
    if (state->length != sizeof(s->average) && !is(s, "truncated"))
        return REIN_ERR_ARG;
    memcpy(&s->average, state->data, state->length);
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {.size = sizeof(ops),
                                              .create = create,
                                              .destroy = destroy,
                                              .describe = describe,
                                              .prepare = prepare,
                                              .loss = loss,
                                              .save = save,
                                              .load = load};
static const struct rein_plugin plugin = {.size = sizeof(plugin),
                                          .abi = REIN_ABI_VERSION,
                                          .kind = REIN_KIND_ALGORITHM,
                                          .name = "wrong-rollout",
                                          .version = "0.1.0",
                                          .license = "MIT",
                                          .summary = "Breaks one rule at a time.",
                                          .params = params,
                                          .param_stride = sizeof(struct rein_param),
                                          .config_size = sizeof(struct config),
                                          .ops = &ops};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
