/* my-name - a reward source for rein. SPDX-License-Identifier: MIT
 *
 * As it stands it likes completions that hold one of the wanted words, and that are not too long:
 *
 *     R = hit * (a wanted word occurs) - max(0, bytes - target) / scale
 *
 * A source answers with K scores for each completion, because a reward is a distribution: K reward models, K opinions.
 * Here K = 1. What each function may do is in <rein/reward.h>.
 */
#include <rein/rein.h> /* all that a plugin may know of rein; nothing of rein is linked */

#include <stddef.h> /* offsetof */
#include <string.h>

/* The options, as the host stores them before create(). Lists are struct rein_list, whole numbers int64_t. */
struct config {
    struct rein_list words;
    double hit;
    int64_t target, scale;
};

/* One row an option. From these rows the host parses and checks the pipeline's YAML, fills in defaults, and prints
 * `rein plugins my-name` and `rein schema my-name`: this file never sees YAML. */
static const struct rein_param params[] = {
    {.name = "words",                                                /* as written in the pipeline */
     .type = REIN_PARAM_STRING | REIN_PARAM_LIST,                    /* one of REIN_PARAM_*, see <rein/param.h> */
     .offset = offsetof(struct config, words),                       /* where the value goes */
     .dflt = "[thank, please]",                                      /* spelled as in YAML */
     .doc = "Words of which one should occur, written exactly so."}, /* one sentence for people */
    {.name = "hit",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, hit),
     .dflt = "1",
     .min = -1e6, /* both ends are allowed */
     .max = 1e6,
     .doc = "Reward of a completion with such a word."},
    {.name = "target",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, target),
     .dflt = "200",
     .min = 0,
     .max = 1e6,
     .unit = "bytes",
     .doc = "Length up to which there is no penalty."},
    {.name = "scale",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, scale),
     .dflt = "200",
     .min = 1,
     .max = 1e6,
     .unit = "bytes",
     .doc = "So many bytes beyond the target cost 1."},
    {.name = NULL}, /* ends the table */
};

/* One instance. Several may run at once, so nothing that changes is static. */
struct self {
    const struct rein_host *host; /* memory, messages, services; valid until destroy() */
    struct config config;         /* its strings and lists are the host's and stay valid, too */
};

/* Called once. `config` is a struct config with every option filled in. */
static rein_status create(const struct rein_host *host, const void *config, void **self) {
    const struct config *c = config;
    struct self *s;

    /* What a range cannot say is checked here; the host adds the place in the pipeline file. */
    if (c->words.count == 0)
        return host->fail_param(host->ctx, "words", "needs at least one word");
    s = host->alloc(host->ctx, sizeof(*s)); /* not zeroed; NULL when there is none */
    if (!s)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory"); /* records why, returns the code */
    s->host = host;
    s->config = *c;
    *self = s; /* what every other function gets */
    return REIN_OK;
}

/* Called once, last. Gives back everything that create() and the others allocated. */
static void destroy(void *self) {
    struct self *s = self;

    s->host->free(s->host->ctx, s);
}

/* How many scores a completion gets: K, at least 1, always the same. */
static rein_status members(void *self, uint32_t *k) {
    (void)self;
    *k = 1;
    return REIN_OK;
}

/* One completion. */
static double judge(const struct config *c, const char *completion) {
    const char *const *words = c->words.items;
    double length = (double)strlen(completion), reward = 0;

    for (uint64_t i = 0; i < c->words.count; i++)
        if (strstr(completion, words[i])) {
            reward = c->hit;
            break;
        }
    if (length > (double)c->target)
        reward -= (length - (double)c->target) / (double)c->scale;
    return reward;
}

/* Fills family[k * rows + r] for each member k and row r; NaN is "no opinion on this row".
 * A row's scores must depend neither on the order of the rows nor on what else is in the batch. Beside the text there
 * are token ids, messages, the row's columns as JSON, and whether the completion ended by itself (c->ended). */
static rein_status score(void *self, const struct rein_completions *c, float *family) {
    const struct self *s = self;

    for (uint32_t r = 0; r < c->rows; r++)
        family[r] = (float)judge(&s->config, c->completion[r]);
    return REIN_OK;
}

/* The functions of this source. */
static const struct rein_reward_ops ops = {
    .size = sizeof(ops), /* how the host knows which members this file knew of */
    .create = create,
    .destroy = destroy,
    .members = members,
    .score = score,
};

/* What the module is. */
static const struct rein_plugin plugin = {
    .size = sizeof(plugin),
    .abi = REIN_ABI_VERSION, /* the version of the headers; host and module must agree */
    .kind = REIN_KIND_REWARD,
    .name = "my-name", /* `use: my-name`; the file is my-name.so */
    .version = "0.1.0",
    .license = "MIT", /* an SPDX identifier */
    .summary = "Likes completions with certain words that are not too long.",
    .params = params,
    .param_stride = sizeof(params[0]),
    .config_size = sizeof(struct config),
    .ops = &ops,
};

/* The one symbol that a module exports: its plugins by index, NULL past the last. */
const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
