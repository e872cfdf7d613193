/* A reward source that breaks one rule of rein/reward.h at a time, for rein-conform to find.
 * SPDX-License-Identifier: MIT */
#include <rein/reward.h>

#include <math.h>
#include <string.h>

struct config {
    const char *wrong;
    int64_t level;
};
static const struct rein_param params[] = {
    {.name = "wrong",
     .type = REIN_PARAM_STRING,
     .offset = offsetof(struct config, wrong),
     .dflt = "nothing",
     .doc = "Which rule is broken."},
    {.name = "level",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, level),
     .dflt = "1",
     .min = 0,
     .max = 8,
     .doc = "Some are broken at its greatest alone."},
    {.name = NULL},
};

struct self {
    const struct rein_host *host;
    const char *wrong;
    int64_t level;
    uint32_t calls, number; /* number: how many instances there were before */
    void *more;
};
static uint32_t instances; /* what INSTANCE and SHARED must not have */
static const struct self *latest;

static rein_status create(const struct rein_host *host, const void *config, void **out) {
    const struct config *c = config;
    struct self *s;

    if (!strcmp(c->wrong, "mute") && c->level == 8)
        return REIN_ERR_ARG;
    s = host->alloc(host->ctx, sizeof(*s));
    if (!s)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *s = (struct self){.host = host, .wrong = c->wrong, .level = c->level, .number = instances++};
    if (!strcmp(s->wrong, "silent"))
        s->more = host->alloc(host->ctx, 8);
    latest = s;
    *out = s;
    return REIN_OK;
}

static void destroy(void *self) {
    struct self *s = self;

    s->host->free(s->host->ctx, s->more);
    if (strcmp(s->wrong, "leak") != 0)
        s->host->free(s->host->ctx, s);
}

static rein_status members(void *self, uint32_t *k) {
    const struct self *s = self;

    *k = !strcmp(s->wrong, "members") ? 0 : !strcmp(s->wrong, "growing") && s->calls ? 3 : 2;
    return REIN_OK;
}

static rein_status score(void *self, const struct rein_completions *c, float *family) {
    struct self *s = self;
    float extra = 0;

    if (!strcmp(s->wrong, "forgetful"))
        extra = (float)s->calls;
    s->calls++;
    if (!strcmp(s->wrong, "instance"))
        extra = (float)s->number;
    if (!strcmp(s->wrong, "shared"))
        extra = latest != s;
    if (!strcmp(s->wrong, "extreme") && s->level == 8)
        extra = INFINITY;
    if (!strcmp(s->wrong, "empty") && c->rows == 0)
        return REIN_ERR_ARG;
    if (!strcmp(s->wrong, "batch"))
        extra = (float)c->rows;
    for (uint32_t k = 0; k < 2; k++)
        for (uint32_t r = 0; r < c->rows; r++) {
            uint32_t at = !strcmp(s->wrong, "layout") ? r * 2 + k : k * c->rows + r;
            float place = !strcmp(s->wrong, "place") ? (float)r : 0;
            if (strcmp(s->wrong, "unwritten") != 0 || r)
                family[at] =
                    (float)strlen(c->completion[r]) + (strcmp(s->wrong, "alike") ? (float)k / 2 : 0) + extra + place;
        }
    if (!strcmp(s->wrong, "overrun"))
        family[2 * c->rows] = 0;
    return REIN_OK;
}

static const struct rein_reward_ops ops = {
    .size = sizeof(ops), .create = create, .destroy = destroy, .members = members, .score = score};
static const struct rein_plugin plugin = {.size = sizeof(plugin),
                                          .abi = REIN_ABI_VERSION,
                                          .kind = REIN_KIND_REWARD,
                                          .name = "wrong-reward",
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
