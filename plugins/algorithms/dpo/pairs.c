/* The losses on pairs. SPDX-License-Identifier: MIT
 *
 * Each row has a score g, each pair (c, r) a margin z = g(c) - g(r) - target and a loss f(z); with x = log p(y|x) -
 * log p_ref(y|x) summed over the completion's |y| tokens, a = log p(y|x) / |y|, and e = label_smoothing:
 *
 *   sigmoid  g = beta x   f = -log sigmoid(z)                                   DPO, arXiv 2305.18290
 *   hinge    g = beta x   f = max(0, 1 - z)                                     SLiC, arXiv 2309.06657
 *   robust   g = beta x   f = ((1-e) f_sigmoid(z) - e f_sigmoid(-z)) / (1-2e)   arXiv 2403.00409
 *   cdpo     g = beta x   f = (1-e) f_sigmoid(z) + e f_sigmoid(-z)              as OpenRLHF; TRL has none
 *   ipo      g = x / |y|, target 1 / (2 beta), f = z^2                          arXiv 2310.12036
 *   simpo    g = beta a, target simpo_gamma, f as cdpo, + cpo_alpha NLL         arXiv 2405.14734
 *   orpo     g = a - log(1 - e^a), f = -beta log sigmoid(z), + NLL              arXiv 2403.07691
 *
 * A mean over the pairs, as in TRL 1.16's DPOTrainer, CPOTrainer (simpo) and ORPOTrainer. ipo divides by the length,
 * which its authors confirmed to TRL; OpenRLHF does not. NLL is that of the chosen completions' tokens, a mean over the
 * whole step (TRL's ORPO takes the prompts' tokens in). An empty completion has length 1 as a divisor.
 */
#include "dpo/dpo.h"

/* Float32 knows no probability between this log and 0. */
#define LOGP_MOST (-0x1p-24)

double pairs_nll_weight(const struct config *c) {
    return c->loss == ORPO ? 1 : c->loss == SIMPO ? c->cpo_alpha : 0;
}

void pairs_measure(const struct rein_batch *b, double *sums) {
    for (uint32_t u = 0; u < b->units; u++)
        for (uint32_t i = b->offset[b->unit[u]]; i < b->offset[b->unit[u] + 1]; i++)
            sums[0] += counts(b->mask, i);
}

/* g of a row and, in *slope, its derivative with respect to the row's log p. */
static double score(const struct config *c, const struct row *s, double *slope) {
    double length = fmax(s->tokens, 1), a = s->logp / length;

    switch (c->loss) {
    case IPO:
        *slope = 1 / length;
        return s->ratio / length;
    case SIMPO:
        *slope = c->beta / length;
        return c->beta * a;
    case ORPO:
        *slope = a > LOGP_MOST ? 0 : -1 / expm1(a) / length;
        a = fmin(a, LOGP_MOST);
        return a - log(-expm1(a));
    default:
        *slope = c->beta;
        return c->beta * s->ratio;
    }
}

/* f(z) and, in *d, its derivative. */
static double preference(const struct config *c, double z, double *d) {
    double e = c->label_smoothing, right = -log_sigmoid(z), wrong = -log_sigmoid(-z);

    switch (c->loss) {
    case HINGE:
        *d = z < 1 ? -1 : 0;
        return z < 1 ? 1 - z : 0;
    case IPO:
        *d = 2 * z;
        return z * z;
    case ROBUST:
        *d = -((1 - e) * sigmoid(-z) + e * sigmoid(z)) / (1 - 2 * e);
        return ((1 - e) * right - e * wrong) / (1 - 2 * e);
    case ORPO:
        *d = -c->beta * sigmoid(-z);
        return c->beta * right;
    default: /* e is 0 for sigmoid */
        *d = -(1 - e) * sigmoid(-z) + e * sigmoid(z);
        return (1 - e) * right + e * wrong;
    }
}

/* Sums over the pairs of a batch, for people. */
struct totals {
    double chosen, rejected, right, logp_chosen, logp_rejected, nll, tokens, margin, odds;
};

static void add_pair(const struct config *c, const struct row *chosen, const struct row *rejected, double z,
                     struct totals *t) {
    int average = c->loss == SIMPO || c->loss == ORPO;
    double logp_c = average ? chosen->logp / fmax(chosen->tokens, 1) : chosen->logp;
    double logp_r = average ? rejected->logp / fmax(rejected->tokens, 1) : rejected->logp;
    double reward_c = c->beta * (average ? logp_c : chosen->ratio);
    double reward_r = c->beta * (average ? logp_r : rejected->ratio);

    t->chosen += reward_c;
    t->rejected += reward_r;
    t->right += reward_c > reward_r;
    t->logp_chosen += logp_c;
    t->logp_rejected += logp_r;
    t->nll -= chosen->logp;
    t->tokens += chosen->tokens;
    t->margin += z;
    t->odds += log_sigmoid(z);
}

static void report(const struct config *c, const struct totals *t, double pairs, struct rein_metrics *m) {
    rein_metric_mean(m, "rewards/chosen", t->chosen, pairs);
    rein_metric_mean(m, "rewards/rejected", t->rejected, pairs);
    rein_metric_mean(m, "rewards/accuracies", t->right, pairs);
    rein_metric_mean(m, "rewards/margins", t->chosen - t->rejected, pairs);
    rein_metric_mean(m, "logps/chosen", t->logp_chosen, pairs);
    rein_metric_mean(m, "logps/rejected", t->logp_rejected, pairs);
    if (pairs_nll_weight(c) > 0)
        rein_metric_mean(m, "nll_loss", t->nll, t->tokens);
    if (c->loss == ORPO) {
        rein_metric_mean(m, "log_odds_chosen", t->margin, pairs);
        rein_metric_mean(m, "log_odds_ratio", t->odds, pairs);
    }
}

rein_status pairs_loss(const struct rein_host *host, const struct config *c, const struct rein_batch *b,
                       struct rein_loss *out) {
    double target = c->loss == IPO ? 1 / (2 * c->beta) : c->loss == SIMPO ? c->simpo_gamma : 0;
    double scale = inverse_or_zero(b->norm_units),
           alpha = b->sums ? pairs_nll_weight(c) * inverse_or_zero(b->sums[0]) : 0;
    struct totals t = {0};

    for (uint32_t u = 0; u < b->units; u++) {
        uint32_t first = b->unit[u];
        double slope_c, slope_r, d, z;

        if (b->unit[u + 1] - first != 2)
            return rein_failf(host, REIN_ERR_ARG, "dpo compares pairs, not %u answers", b->unit[u + 1] - first);
        struct row chosen = row_of(b, first), rejected = row_of(b, first + 1);
        z = score(c, &chosen, &slope_c) - score(c, &rejected, &slope_r) - target;
        out->loss += scale * preference(c, z, &d) - alpha * chosen.logp;
        row_derive(b, first, scale * d * slope_c - alpha, out->d_logp);
        row_derive(b, first + 1, -scale * d * slope_r, out->d_logp);
        add_pair(c, &chosen, &rejected, z, &t);
    }
    report(c, &t, b->units, out->metrics);
    return REIN_OK;
}
