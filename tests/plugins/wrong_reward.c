/* A reward source that breaks one rule of rein/reward.h at a time, for rein-conform to find.
 * SPDX-License-Identifier: MIT */
#include <rein/reward.h>

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
    uint32_t calls;
};

static rein_status create(const struct rein_host *host, const void *config, void **out) {
    struct self *s = host->alloc(host->ctx, sizeof(*s));

    if (!s)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *s = (struct self){.host = host, .wrong = ((const struct config *)config)->wrong};
    *out = s;
    return REIN_OK;
}

static void destroy(void *self) {
    struct self *s = self;

    if (strcmp(s->wrong, "leak") != 0)
        s->host->free(s->host->ctx, s);
}

static rein_status members(void *self, uint32_t *k) {
    *k = strcmp(((struct self *)self)->wrong, "members") ? 2 : 0;
    return REIN_OK;
}

static rein_status score(void *self, const struct rein_completions *c, float *family) {
    struct self *s = self;
    float extra = 0;

    if (!strcmp(s->wrong, "forgetful"))
        extra = (float)s->calls++;
    if (!strcmp(s->wrong, "batch"))
        extra = (float)c->rows;
    for (uint32_t k = 0; k < 2; k++)
        for (uint32_t r = 0; r < c->rows; r++) {
            uint32_t at = !strcmp(s->wrong, "layout") ? r * 2 + k : k * c->rows + r;
            float place = !strcmp(s->wrong, "place") ? (float)r : 0;
            if (strcmp(s->wrong, "unwritten") != 0 || r)
                family[at] = (float)strlen(c->completion[r]) + (float)k / 2 + extra + place;
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
