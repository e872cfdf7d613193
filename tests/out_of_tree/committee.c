/* A stranger's reward source with a family of scores: each member of a committee has its own idea of how long a
 * completion should be, and none has an opinion on what is longer than `longest`.   R_k = -|bytes - target_k| / scale
 * SPDX-License-Identifier: MIT
 */
#include <rein/rein.h>

#include <math.h>
#include <stddef.h>
#include <string.h>

struct config {
    struct rein_list targets;
    double scale;
    int64_t longest;
};

struct committee {
    const struct rein_host *host;
    const int64_t *target;
    uint32_t members;
    double scale, longest;
};

static const struct rein_param params[] = {
    {.name = "targets",
     .type = REIN_PARAM_INT | REIN_PARAM_LIST,
     .offset = offsetof(struct config, targets),
     .dflt = "[20, 60]",
     .min = 0,
     .max = 1e6,
     .unit = "bytes",
     .doc = "The length that each member wants."},
    {.name = "scale",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, scale),
     .dflt = "40",
     .min = 1e-3,
     .max = 1e6,
     .unit = "bytes",
     .doc = "So many bytes off the target cost 1."},
    {.name = "longest",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, longest),
     .dflt = "1000000",
     .min = 0,
     .max = 1e6,
     .unit = "bytes",
     .doc = "Nobody reads a longer completion."},
    {.name = NULL},
};

static rein_status create(const struct rein_host *host, const void *config, void **self) {
    const struct config *c = config;
    struct committee *x;

    if (c->targets.count == 0 || c->targets.count > 1000)
        return host->fail_param(host->ctx, "targets", "needs 1 to 1000 lengths");
    x = host->alloc(host->ctx, sizeof(*x));
    if (!x)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *x = (struct committee){.host = host,
                            .target = c->targets.items,
                            .members = (uint32_t)c->targets.count,
                            .scale = c->scale,
                            .longest = (double)c->longest};
    *self = x;
    return REIN_OK;
}

static void destroy(void *self) {
    struct committee *x = self;

    x->host->free(x->host->ctx, x);
}

static rein_status members(void *self, uint32_t *k) {
    *k = ((const struct committee *)self)->members;
    return REIN_OK;
}

static rein_status score(void *self, const struct rein_completions *c, float *family) {
    const struct committee *x = self;

    for (uint32_t k = 0; k < x->members; k++)
        for (uint32_t r = 0; r < c->rows; r++) {
            double bytes = (double)strlen(c->completion[r]);
            double score = -fabs(bytes - (double)x->target[k]) / x->scale;
            family[(size_t)k * c->rows + r] = bytes > x->longest ? NAN : (float)score;
        }
    return REIN_OK;
}

static const struct rein_reward_ops ops = {
    .size = sizeof(ops), .create = create, .destroy = destroy, .members = members, .score = score};
static const struct rein_plugin plugin = {.size = sizeof(plugin),
                                          .abi = REIN_ABI_VERSION,
                                          .kind = REIN_KIND_REWARD,
                                          .name = "committee",
                                          .version = "1",
                                          .license = "MIT",
                                          .summary = "Judges who differ in how long they like it.",
                                          .params = params,
                                          .param_stride = sizeof(params[0]),
                                          .config_size = sizeof(struct config),
                                          .ops = &ops};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
