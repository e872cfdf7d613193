/* my-name - an algorithm for rein. SPDX-License-Identifier: MIT
 *
 * As it stands this is REINFORCE with a mean baseline (Williams 1992): completions that were rewarded more than the
 * average of their rollout become likelier, the others less likely.
 *
 *     A = R - mean R                                  the advantage of a completion, on each of its tokens
 *     L = -1/N sum over tokens of A log p(token)      N: all tokens of the optimiser step
 *
 * The host samples, scores, runs the models, back-propagates, steps the optimiser, logs and saves. This file turns
 * numbers into a loss and its derivatives, and nothing else. What each function may do is in <rein/algorithm.h>.
 */
#include <rein/rein.h> /* all that a plugin may know of rein; nothing of rein is linked */

#include <stddef.h> /* offsetof */

/* The options, as the host stores them before create(). Reals are double, whole numbers int64_t, booleans uint8_t. */
struct config {
    double scale;
    uint8_t baseline;
};

/* One row an option. From these rows the host parses and checks the pipeline's YAML, fills in defaults, and prints
 * `rein plugins my-name` and `rein schema my-name`: this file never sees YAML. */
static const struct rein_param params[] = {
    {.name = "scale",                          /* as written in the pipeline */
     .type = REIN_PARAM_REAL,                  /* one of REIN_PARAM_*, see <rein/param.h> */
     .offset = offsetof(struct config, scale), /* where the value goes */
     .dflt = "1",                              /* spelled as in YAML */
     .min = 0,                                 /* rein-conform tries both ends */
     .max = 1e6,
     .doc = "Multiplies the loss."}, /* one sentence for people */
    {.name = "baseline",
     .type = REIN_PARAM_BOOL,
     .offset = offsetof(struct config, baseline),
     .dflt = "true",
     .doc = "Compare each reward with the mean of its rollout."},
    {.name = NULL}, /* ends the table */
};

/* One instance: a stage of a pipeline. Several may run at once, so nothing that changes is static. */
struct self {
    const struct rein_host *host; /* memory, messages, services; valid until destroy() */
    struct config config;
};

/* Called once. `config` is a struct config with every option filled in. */
static rein_status create(const struct rein_host *host, const void *config, void **self) {
    struct self *s = host->alloc(host->ctx, sizeof(*s)); /* not zeroed; NULL when there is none */

    if (!s)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory"); /* records why, returns the code */
    s->host = host;
    s->config = *(const struct config *)config;
    *self = s; /* what every other function gets */
    return REIN_OK;
}

/* Called once, last. Gives back everything that create() and the others allocated. */
static void destroy(void *self) {
    struct self *s = self;

    s->host->free(s->host->ctx, s);
}

/* What must be in the batches. The host works out from this which models to load and what to run. */
static rein_status describe(void *self, struct rein_needs *needs) {
    (void)self;                                       /* options may matter here, in this algorithm they do not */
    needs->data = REIN_DATA_PROMPTS;                  /* on-policy: the host samples completions of prompts */
    needs->needs = REIN_NEED_LOGP | REIN_NEED_REWARD; /* log p of each token, and a reward for each completion */
    needs->lr = 1e-5;                                 /* defaults of the stage; the pipeline may say otherwise */
    needs->max_tokens = 64;
    return REIN_OK;
}

/* Once per rollout, all of it, before the first loss: from rewards to advantages.
 * Rows are ragged: row r owns tokens offset[r] .. offset[r+1]; rows of no token occur. */
static rein_status prepare(void *self, struct rein_experience *e) {
    const struct self *s = self;
    double sum = 0, rewarded = 0, mean;

    for (uint32_t r = 0; r < e->rows; r++) {
        uint32_t from = e->offset[r], to = e->offset[r + 1];
        int silent = to > from;

        /* No reward source had an opinion on such a completion: all its tokens are masked, and its reward only fills
         * the place. */
        for (uint32_t i = from; i < to; i++)
            silent = silent && e->mask && !e->mask[i];
        if (silent)
            continue;
        sum += e->reward[r]; /* sums are double: a float forgets small terms */
        rewarded++;
    }
    mean = s->config.baseline && rewarded > 0 ? sum / rewarded : 0;
    for (uint32_t r = 0; r < e->rows; r++)
        for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++)
            if (!e->mask || e->mask[i])                         /* no mask: every token counts */
                e->advantage[i] = (float)(e->reward[r] - mean); /* comes back in the batches below */
    /* A number for people: metrics.jsonl, TensorBoard and report.html show sum / weight under this name. */
    rein_metric_mean(e->metrics, "my-name/baseline", mean, 1);
    return REIN_OK;
}

/* Once per micro-batch: its share of the loss, and d loss / d logp of each token.
 * Divide by norm_tokens, norm_rows or norm_units, which belong to the whole optimiser step, and never by what is in
 * this micro-batch: then cutting the step differently changes nothing but the memory it takes. */
static rein_status loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct self *s = self;
    double weighted = 0, counted = 0;

    for (uint32_t i = 0; i < b->tokens; i++) {
        double weight;

        if (b->mask && !b->mask[i])
            continue; /* masked tokens may hold NaN: do not read them, leave their derivative 0 */
        weight = -s->config.scale * (double)b->advantage[i] / b->norm_tokens;
        out->loss += weight * (double)b->logp[i];
        out->d_logp[i] = (float)weight; /* rein-conform compares this with finite differences of out->loss */
        weighted += (double)b->advantage[i] * (double)b->logp[i];
        counted++;
    }
    rein_metric_mean(out->metrics, "my-name/advantage_logp", weighted, counted);
    return REIN_OK;
}

/* The functions of this algorithm. There are more, all optional: measure (totals over the whole step before the first
 * loss), after (once per step; may stop early), save and load (for state that a resumed run must have). */
static const struct rein_algorithm_ops ops = {
    .size = sizeof(ops), /* how the host knows which members this file knew of */
    .create = create,
    .destroy = destroy,
    .describe = describe,
    .prepare = prepare,
    .loss = loss,
};

/* What the module is. */
static const struct rein_plugin plugin = {
    .size = sizeof(plugin),
    .abi = REIN_ABI_VERSION, /* the version of the headers; host and module must agree */
    .kind = REIN_KIND_ALGORITHM,
    .name = "my-name", /* `use: my-name`; the file is my-name.so */
    .version = "0.1.0",
    .license = "MIT", /* an SPDX identifier */
    .summary = "REINFORCE with a mean baseline.",
    .params = params,
    .param_stride = sizeof(params[0]),
    .config_size = sizeof(struct config),
    .ops = &ops,
};

/* The one symbol that a module exports: its plugins by index, NULL past the last. */
const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
