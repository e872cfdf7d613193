/* An algorithm that breaks one rule of rein/algorithm.h at a time, for rein-conform to find. With
 * `wrong: nothing` it is an ordinary negative log-likelihood. SPDX-License-Identifier: MIT */
#include <rein/algorithm.h>

#include <math.h>
#include <sched.h>
#include <string.h>

/* a string, not a choice: rein-conform tries every choice */
enum {
    NOTHING,
    SIGN,
    FACTOR,
    MASK,
    DIRTY,
    OVERRUN,
    INPUT,
    SHARED,
    THREADS,
    NORMALISER,
    ORDER,
    FORGETS,
    LEAK,
    KEEPS,
    SILENT,
    METRIC,
    NAMELESS,
    OVERFLOW,
    LIMIT,
    EMPTY,
    STOP
};
static const char *const ways[] = {
    "nothing", "sign", "factor", "mask",   "dirty",  "overrun",  "input",    "shared", "threads", "normaliser", "order",
    "forgets", "leak", "keeps",  "silent", "metric", "nameless", "overflow", "limit",  "empty",   "stop",       NULL};

struct config {
    const char *wrong;
    double gain;
};
static const struct rein_param params[] = {
    {.name = "wrong",
     .type = REIN_PARAM_STRING,
     .offset = offsetof(struct config, wrong),
     .dflt = "nothing",
     .doc = "Which rule is broken."},
    {.name = "gain",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, gain),
     .dflt = "1",
     .min = 0,
     .max = 10,
     .doc = "For `limit`: what cannot be 0."},
    {.name = NULL},
};

struct self {
    const struct rein_host *host;
    int64_t wrong;
    double gain;
    uint32_t steps;
    void *more;
};
/* what SHARED and THREADS must not have */
static uint32_t calls;
static double sum;

static rein_status create(const struct rein_host *host, const void *config, void **out) {
    struct self *s = host->alloc(host->ctx, sizeof(*s));

    if (!s)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *s = (struct self){.host = host, .gain = ((const struct config *)config)->gain};
    while (ways[s->wrong] && strcmp(ways[s->wrong], ((const struct config *)config)->wrong) != 0)
        s->wrong++;
    if (s->wrong == LEAK || s->wrong == SILENT || s->wrong == KEEPS)
        s->more = host->alloc(host->ctx, 8);
    if (s->wrong == KEEPS && !s->more)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *out = s;
    return REIN_OK;
}

static void destroy(void *self) {
    struct self *s = self;

    if (s->wrong != LEAK)
        s->host->free(s->host->ctx, s->more);
    s->host->free(s->host->ctx, s);
}

static rein_status describe(void *self, struct rein_needs *needs) {
    (void)self;
    needs->data = REIN_DATA_COMPLETIONS;
    needs->needs = REIN_NEED_LOGP;
    return REIN_OK;
}

static rein_status loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    struct self *s = self;
    double n = s->wrong == NORMALISER ? b->tokens + 1
               : b->norm_tokens > 0   ? b->norm_tokens
                                      : 1,
           factor = 1, total = 0, counted = 0;

    if (s->wrong == LIMIT)
        factor = 1 / s->gain;
    if (s->wrong == EMPTY)
        n = b->norm_tokens;
    if (s->wrong == THREADS)
        sum = 0;
    if (s->wrong == FORGETS)
        factor = 1.0 / (1 + s->steps);
    if (s->wrong == SHARED)
        factor = 1.0 / (1 + calls++);
    if (s->wrong == INPUT && b->tokens)
        memset((void *)(uintptr_t)b->logp, 0, 4);
    for (uint32_t i = 0; i < b->tokens + (s->wrong == OVERRUN); i++) {
        if (b->mask && !b->mask[i] && s->wrong == DIRTY)
            out->d_logp[i] = 1;
        if (b->mask && !b->mask[i] && s->wrong != MASK)
            continue;
        double x = s->wrong == OVERFLOW ? exp(-(double)b->logp[i] * 8) : -(double)b->logp[i];
        double d = s->wrong == OVERFLOW ? -8 * x : -1;
        double weight = s->wrong == ORDER ? 1 + i : 1;
        out->loss += weight * factor * x / n;
        out->d_logp[i] = (float)(weight * factor * (s->wrong == SIGN ? -d : s->wrong == FACTOR ? 2 * d : d) / n);
        total += x;
        counted++;
        sum += s->wrong == THREADS ? x / n : 0;
        if (s->wrong == THREADS)
            sched_yield();
    }
    if (s->wrong == THREADS)
        out->loss = sum;
    if (s->wrong == EMPTY)
        out->loss += 0 / n;
    if (out->metrics->count < out->metrics->capacity)
        out->metrics->items[out->metrics->count++] = (struct rein_metric){.name = s->wrong == NAMELESS ? "" : "nll",
                                                                          .how = REIN_METRIC_MEAN,
                                                                          .sum = total,
                                                                          .weight = s->wrong == METRIC ? 1 : counted};
    return REIN_OK;
}

static rein_status after(void *self, const struct rein_step *step, uint32_t *stop) {
    (void)step;
    if (((struct self *)self)->wrong == STOP)
        *stop = 4;
    ((struct self *)self)->steps++;
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {
    .size = sizeof(ops), .create = create, .destroy = destroy, .describe = describe, .loss = loss, .after = after};
static const struct rein_plugin plugin = {.size = sizeof(plugin),
                                          .abi = REIN_ABI_VERSION,
                                          .kind = REIN_KIND_ALGORITHM,
                                          .name = "wrong",
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
