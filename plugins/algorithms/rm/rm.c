/* Reward model: scores that order answers as people did. SPDX-License-Identifier: MIT
 *
 * With s the scores of one prompt's answers and a pair (i, j) whenever i is ranked above j:
 *
 *   bradley-terry   -log sigmoid(s_c - s_r - margin), answers in pairs (chosen, rejected)
 *   k-wise          -mean over the pairs of log sigmoid(s_i - s_j - margin); InstructGPT,
 *                   arXiv 2203.02155, eq. 1; of two answers it is bradley-terry
 *   plackett-luce   -sum_i log(e^s_i / (e^s_i + sum over j ranked below i of e^s_j)): the
 *                   likelihood of the whole ranking; of two answers it is bradley-terry
 *
 * Answers of equal rank are not compared. To each prompt's loss comes
 * center * mean over pairs of (s_i + s_j)^2 (arXiv 2312.09244), which keeps scores near 0.
 * The loss is the mean over prompts, as in TRL 1.16's RewardTrainer.
 */
#include <rein/util.h>

#include "common/module.h"
#include "common/numeric.h"

enum { BRADLEY_TERRY, K_WISE, PLACKETT_LUCE };
static const char *const losses[] = {"bradley-terry", "k-wise", "plackett-luce", NULL};

struct config {
    int64_t loss;
    double center;
    uint8_t margin;
};

struct rm {
    const struct rein_host *host;
    struct config config;
};

static const struct rein_param params[] = {
    {.name = "loss",
     .type = REIN_PARAM_CHOICE,
     .offset = offsetof(struct config, loss),
     .dflt = "bradley-terry",
     .choices = losses,
     .doc = "What is maximised: the likelihood of each pair, of all pairs of a ranked list, or of the whole ranking."},
    {.name = "center",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, center),
     .dflt = "0",
     .min = 0,
     .max = 1e6,
     .doc = "Weight of the squared sum of a pair's scores, which keeps scores near zero; 0.01 is usual."},
    {.name = "margin",
     .type = REIN_PARAM_BOOL,
     .offset = offsetof(struct config, margin),
     .dflt = "true",
     .doc = "Ask for a difference of at least the data's `margin` column, where there is one (not in plackett-luce)."},
    {.name = NULL},
};

static rein_status rm_create(const struct rein_host *host, const void *config, void **self) {
    struct rm *m = host->alloc(host->ctx, sizeof(*m));

    if (!m)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *m = (struct rm){.host = host, .config = *(const struct config *)config};
    *self = m;
    return REIN_OK;
}

static void rm_destroy(void *self) {
    struct rm *m = self;
    m->host->free(m->host->ctx, m);
}

static rein_status rm_describe(void *self, struct rein_needs *needs) {
    const struct rm *m = self;

    needs->data = m->config.loss == BRADLEY_TERRY ? REIN_DATA_PAIRS : REIN_DATA_PAIRS | REIN_DATA_LISTS;
    needs->needs = REIN_NEED_SCORE;
    needs->lr = 1e-4;
    return REIN_OK;
}

/* Is row i of a unit ranked above row j? Without ranks the best comes first. */
static int above(const struct rein_batch *b, uint32_t i, uint32_t j) {
    return b->rank ? b->rank[i] < b->rank[j] : i < j;
}

struct totals {
    double right, difference, pairs;
};

/* One prompt's pairs: the centring term always, the pairwise likelihood unless the
 * whole ranking is modelled. `scale` is 1 / prompts of the step. */
static double pair_loss(const struct rm *m, const struct rein_batch *b, uint32_t from, uint32_t to, double scale,
                        float *d_score, struct totals *t) {
    double loss = 0, pairs = 0;

    for (uint32_t i = from; i < to; i++)
        for (uint32_t j = from; j < to; j++)
            pairs += above(b, i, j);
    scale *= inverse_or_zero(pairs);
    for (uint32_t i = from; i < to; i++)
        for (uint32_t j = from; j < to; j++) {
            if (!above(b, i, j))
                continue;
            double si = (double)b->score[i], sj = (double)b->score[j], di, dj;
            double margin = m->config.margin && b->margin ? (double)b->margin[i] : 0;

            loss += m->config.center * (si + sj) * (si + sj);
            di = dj = m->config.center * 2 * (si + sj);
            if (m->config.loss != PLACKETT_LUCE) {
                loss -= log_sigmoid(si - sj - margin);
                di -= sigmoid(-(si - sj - margin));
                dj += sigmoid(-(si - sj - margin));
            }
            d_score[i] += (float)(di * scale);
            d_score[j] += (float)(dj * scale);
            t->right += si > sj;
            t->difference += si - sj;
        }
    t->pairs += pairs;
    return loss * scale;
}

static double ranking_loss(const struct rein_batch *b, uint32_t from, uint32_t to, double scale, float *d_score) {
    double loss = 0;

    for (uint32_t i = from; i < to; i++) {
        double top = (double)b->score[i], sum = 0;

        for (uint32_t j = from; j < to; j++)
            if (above(b, i, j) && (double)b->score[j] > top)
                top = (double)b->score[j];
        for (uint32_t j = from; j < to; j++)
            if (j == i || above(b, i, j))
                sum += exp((double)b->score[j] - top);
        loss += top + log(sum) - (double)b->score[i];
        for (uint32_t j = from; j < to; j++)
            if (j == i || above(b, i, j))
                d_score[j] += (float)(scale * (exp((double)b->score[j] - top) / sum - (j == i)));
    }
    return loss * scale;
}

static rein_status rm_loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct rm *m = self;
    double scale = inverse_or_zero(b->norm_units), least = INFINITY, most = -INFINITY, sum = 0;
    struct totals t = {0};

    out->loss = 0;
    for (uint32_t u = 0; u < b->units; u++) {
        uint32_t from = b->unit[u], to = b->unit[u + 1];

        if (m->config.loss == BRADLEY_TERRY && to - from != 2)
            return rein_failf(m->host, REIN_ERR_ARG, "bradley-terry compares pairs, not %u answers", to - from);
        out->loss += pair_loss(m, b, from, to, scale, out->d_score, &t);
        if (m->config.loss == PLACKETT_LUCE)
            out->loss += ranking_loss(b, from, to, scale, out->d_score);
    }
    for (uint32_t r = 0; r < b->rows; r++) {
        sum += (double)b->score[r];
        least = fmin(least, (double)b->score[r]);
        most = fmax(most, (double)b->score[r]);
    }
    rein_metric_mean(out->metrics, "accuracy", t.right, t.pairs);
    rein_metric_mean(out->metrics, "margin", t.difference, t.pairs);
    rein_metric_add(out->metrics, "min_reward", REIN_METRIC_MIN, least, b->rows);
    rein_metric_mean(out->metrics, "mean_reward", sum, b->rows);
    rein_metric_add(out->metrics, "max_reward", REIN_METRIC_MAX, most, b->rows);
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {
    .size = sizeof(ops), .create = rm_create, .destroy = rm_destroy, .describe = rm_describe, .loss = rm_loss};

MODULE(REIN_KIND_ALGORITHM, "rm", "Reward model from pairs or ranked lists of answers.");
