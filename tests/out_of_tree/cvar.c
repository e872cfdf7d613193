/* A stranger's algorithm, built from the installed headers alone: risk-averse group-relative policy optimisation.
 * SPDX-License-Identifier: MIT
 *
 * A completion's reward is a family of K scores, and only the worst of them count: the conditional value at risk, the
 * mean of the worst share alpha of the family (Rockafellar and Uryasev 2000; for K equally likely scores in rising
 * order and m = floor(alpha K))
 *
 *     R = (R_1 + ... + R_m + (alpha K - m) R_{m+1}) / (alpha K)
 *
 * so that alpha = 1 is the family's mean and alpha <= 1/K its worst member. Then as DeepSeekMath (arXiv 2402.03300):
 *
 *     A = (R - mean R) / (deviation of R + 1e-4)           over the completions of one prompt
 *     L = 1/N sum over tokens of max(-A rho, -A clip(rho, 1 - clip, 1 + clip)),    rho = p / p_old
 */
#include <rein/rein.h>

#include <math.h>
#include <stddef.h>

struct config {
    double alpha, clip;
};

struct cvar {
    const struct rein_host *host;
    struct config config;
};

static const struct rein_param params[] = {
    {.name = "alpha",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, alpha),
     .dflt = "0.25",
     .min = 1e-3,
     .max = 1,
     .doc = "Share of the family's scores, the worst ones, whose mean is the reward."},
    {.name = "clip",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, clip),
     .dflt = "0.2",
     .min = 1e-3,
     .max = 1e3,
     .doc = "A ratio further than this from 1 earns nothing more."},
    {.name = NULL},
};

static rein_status create(const struct rein_host *host, const void *config, void **self) {
    struct cvar *c = host->alloc(host->ctx, sizeof(*c));

    if (!c)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *c = (struct cvar){.host = host, .config = *(const struct config *)config};
    *self = c;
    return REIN_OK;
}

static void destroy(void *self) {
    struct cvar *c = self;

    c->host->free(c->host->ctx, c);
}

static rein_status describe(void *self, struct rein_needs *needs) {
    (void)self;
    needs->data = REIN_DATA_PROMPTS;
    needs->needs = REIN_NEED_LOGP | REIN_NEED_OLD_LOGP | REIN_NEED_REWARD | REIN_NEED_FAMILY | REIN_NEED_GROUPS;
    needs->lr = 1e-6;
    needs->max_tokens = 256;
    return REIN_OK;
}

/* Has no source an opinion on row r? Then all its tokens are masked. */
static int silent(const struct rein_experience *e, uint32_t r) {
    for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++)
        if (!e->mask || e->mask[i])
            return 0;
    return e->offset[r + 1] > e->offset[r];
}

/* Of row r's scores; NaN when there is no opinion. `sorted` holds `members` doubles. */
static double value_at_risk(const struct rein_experience *e, uint32_t r, double alpha, double *sorted) {
    uint32_t count = 0;
    double sum = 0, left;

    for (uint32_t k = 0; k < e->members && !silent(e, r); k++) {
        double score = (double)e->family[(size_t)k * e->rows + r];
        uint32_t at;
        for (at = count++; at > 0 && sorted[at - 1] > score; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = score;
    }
    left = alpha * count;
    for (uint32_t k = 0; k < count && left > 0; k++, left--)
        sum += fmin(left, 1) * sorted[k];
    return count > 0 ? sum / (alpha * count) : NAN;
}

/* From the rewards of rows from .. to, the completions of one prompt, to their advantages. */
static void compare(struct rein_experience *e, uint32_t from, uint32_t to, const double *reward) {
    double mean = 0, square = 0, n = 0;

    for (uint32_t r = from; r < to; r++)
        if (!isnan(reward[r])) {
            mean += reward[r];
            n++;
        }
    mean /= n > 0 ? n : 1;
    for (uint32_t r = from; r < to; r++)
        square += isnan(reward[r]) ? 0 : (reward[r] - mean) * (reward[r] - mean);
    for (uint32_t r = from; r < to; r++)
        for (uint32_t i = e->offset[r]; i < e->offset[r + 1]; i++)
            if (!e->mask || e->mask[i])
                e->advantage[i] = (float)((reward[r] - mean) / (sqrt(n > 1 ? square / (n - 1) : 0) + 1e-4));
}

static rein_status prepare(void *self, struct rein_experience *e) {
    const struct cvar *c = self;
    double *reward = c->host->alloc(c->host->ctx, ((size_t)e->rows + e->members + 1) * sizeof(*reward)), sum = 0, n = 0;

    if (!reward)
        return c->host->fail(c->host->ctx, REIN_ERR_NOMEM, "out of memory for a rollout's rewards");
    for (uint32_t r = 0; r < e->rows; r++) {
        reward[r] = value_at_risk(e, r, c->config.alpha, reward + e->rows);
        sum += isnan(reward[r]) ? 0 : reward[r];
        n += !isnan(reward[r]);
    }
    for (uint32_t u = 0; u < e->units; u++)
        compare(e, e->unit[u], e->unit[u + 1], reward);
    rein_metric_mean(e->metrics, "cvar/reward", sum, n);
    c->host->free(c->host->ctx, reward);
    return REIN_OK;
}

static rein_status loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct cvar *c = self;
    double clipped = 0, counted = 0;

    for (uint32_t i = 0; i < b->tokens; i++) {
        if (b->mask && !b->mask[i])
            continue;
        double advantage = (double)b->advantage[i], drift = (double)b->logp[i] - (double)b->logp_old[i];
        double rho = exp(fmin(drift, 20)), bound = fmin(fmax(rho, 1 - c->config.clip), 1 + c->config.clip);
        int free = -advantage * rho >= -advantage * bound && drift <= 20; /* not at a limit: the ratio moves the loss */
        out->loss += fmax(-advantage * rho, -advantage * bound) / b->norm_tokens;
        out->d_logp[i] = free ? (float)(-advantage * rho / b->norm_tokens) : 0;
        clipped += !free;
        counted++;
    }
    rein_metric_mean(out->metrics, "cvar/clip_fraction", clipped, counted);
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {
    .size = sizeof(ops), .create = create, .destroy = destroy, .describe = describe, .prepare = prepare, .loss = loss};
static const struct rein_plugin plugin = {.size = sizeof(plugin),
                                          .abi = REIN_ABI_VERSION,
                                          .kind = REIN_KIND_ALGORITHM,
                                          .name = "cvar",
                                          .version = "1",
                                          .license = "MIT",
                                          .summary =
                                              "Group-relative optimisation of the worst share of a reward family.",
                                          .params = params,
                                          .param_stride = sizeof(params[0]),
                                          .config_size = sizeof(struct config),
                                          .ops = &ops};

const struct rein_plugin *rein_plugin_entry(uint32_t index) {
    return index == 0 ? &plugin : NULL;
}
