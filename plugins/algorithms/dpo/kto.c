/* Kahneman-Tversky optimisation, arXiv 2402.01306, eq. 7 and 8, as TRL 1.16's KTOTrainer. SPDX-License-Identifier: MIT
 *
 * With x = log p(y|x) - log p_ref(y|x) of a completion that people found good or bad,
 *
 *   z0 = max(0, mean of x over the step's mismatched completions), a constant for the derivatives
 *   good: desirable_weight (1 - sigmoid(beta (x - z0)))      bad: undesirable_weight (1 - sigmoid(beta (z0 - x)))
 *
 * and the loss is their mean over the step's completions. The mismatched ones are rows of REIN_ROLE_KL: each
 * completion once under another prompt.
 */
#include "dpo/dpo.h"

void kto_measure(const struct rein_batch *b, double *sums) {
    for (uint32_t r = 0; r < b->rows; r++) {
        sums[KTO_RATIO] += row_of(b, r).ratio;
        sums[KTO_ROWS]++;
        sums[b->label[r] ? KTO_DESIRABLE : KTO_UNDESIRABLE]++;
    }
}

void kto_loss(const struct config *c, const struct rein_batch *b, struct rein_loss *out) {
    double good = b->sums[KTO_DESIRABLE], bad = b->sums[KTO_UNDESIRABLE], scale = inverse_or_zero(b->norm_rows);
    double kl = fmax(0, b->sums[KTO_RATIO] * inverse_or_zero(b->sums[KTO_ROWS]));
    double reward[2] = {0}, logp[2] = {0}, rows[2] = {0};

    for (uint32_t r = 0; r < b->rows; r++) {
        struct row s = row_of(b, r);
        int label = b->label[r] != 0, sign = label ? 1 : -1;
        double weight = scale * (label ? c->desirable_weight : c->undesirable_weight);
        double z = sign * c->beta * (s.ratio - kl);

        out->loss += weight * sigmoid(-z);
        row_derive(b, r, -weight * sign * c->beta * sigmoid(z) * sigmoid(-z), out->d_logp);
        reward[label] += c->beta * s.ratio;
        logp[label] += s.logp;
        rows[label]++;
    }
    rein_metric_mean(out->metrics, "kl", kl * b->rows, b->rows);
    rein_metric_mean(out->metrics, "rewards/chosen", reward[1], rows[1]);
    rein_metric_mean(out->metrics, "rewards/rejected", reward[0], rows[0]);
    rein_metric_mean(out->metrics, "logps/chosen", logp[1], rows[1]);
    rein_metric_mean(out->metrics, "logps/rejected", logp[0], rows[0]);
    if (good > 0 && bad > 0) /* a difference of two means: this batch's share of it */
        rein_metric_add(out->metrics, "rewards/margins", REIN_METRIC_SUM, reward[1] / good - reward[0] / bad, b->rows);
}
