/* plugins/algorithms/dpo/dpo.h - what the losses on pairs and the one on labels share.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_DPO_H
#define REIN_DPO_H

#include <rein/util.h>

#include "common/numeric.h"

enum { SIGMOID, HINGE, IPO, ROBUST, CDPO, SIMPO, ORPO, KTO };

struct config {
    int64_t loss;
    double beta, label_smoothing, simpo_gamma, cpo_alpha, desirable_weight, undesirable_weight;
};

/* Of one row, over the tokens that count. */
struct row {
    double logp, ratio; /* sums of log p and of log p/p_ref (0 without a reference) */
    double tokens;
};
struct row row_of(const struct rein_batch *b, uint32_t r);
/* Adds `d`, the derivative with respect to the row's log p, to each of its tokens. */
void row_derive(const struct rein_batch *b, uint32_t r, double d, float *d_logp);

/* pairs.c: the chosen completions' tokens in sums[0], for their mean likelihood, which has this weight in the loss. */
double pairs_nll_weight(const struct config *c);
void pairs_measure(const struct rein_batch *b, double *sums);
rein_status pairs_loss(const struct rein_host *host, const struct config *c, const struct rein_batch *b,
                       struct rein_loss *out);

/* kto.c: sums of the mismatched rows, and the loss of the others. */
enum { KTO_RATIO, KTO_ROWS, KTO_DESIRABLE, KTO_UNDESIRABLE, KTO_SUMS };
void kto_measure(const struct rein_batch *b, double *sums);
void kto_loss(const struct config *c, const struct rein_batch *b, struct rein_loss *out);

#endif
