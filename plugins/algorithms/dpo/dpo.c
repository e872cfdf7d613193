/* Direct preference optimisation and its relatives. SPDX-License-Identifier: MIT
 *
 * From pairs (chosen, rejected): sigmoid, hinge, ipo, robust, cdpo, simpo, orpo: pairs.c. From labelled completions:
 * kto.c. The defaults are those of TRL 1.16's DPOTrainer, CPOTrainer (simpo), ORPOTrainer and KTOTrainer.
 */
#include "dpo/dpo.h"

#include "common/module.h"
#include "common/options.h"

static const char *const losses[] = {"sigmoid", "hinge", "ipo", "robust", "cdpo", "simpo", "orpo", "kto", NULL};

struct dpo {
    const struct rein_host *host;
    struct config config;
};

static const struct rein_param params[] = {
    {ROW(loss, loss, CHOICE, "sigmoid"), .choices = losses,
     .doc = "How pairs are compared (simpo and orpo need no reference), or kto for labelled completions."},
    {ROW(beta, beta, REAL, "0.1"), .min = 1e-6, .max = 1e3,
     .doc = "How closely the model keeps to the reference: larger is closer. For orpo the weight of its odds."},
    {ROW(label_smoothing, label_smoothing, REAL, "0"), .min = 0, .max = 0.5,
     .doc = "Share of the pairs taken to be labelled the wrong way round, for robust, cdpo and simpo."},
    {ROW(simpo_gamma, simpo_gamma, REAL, "0.5"), .min = 0, .max = 1e3,
     .doc = "For simpo: by how much the chosen completion should win."},
    {ROW(cpo_alpha, cpo_alpha, REAL, "1"), .min = 0, .max = 1e3,
     .doc = "For simpo: weight of the chosen completions' likelihood; 0 is SimPO as in its paper."},
    {ROW(desirable_weight, desirable_weight, REAL, "1"), .min = 0, .max = 1e6,
     .doc = "For kto: weight of the completions with label true."},
    {ROW(undesirable_weight, undesirable_weight, REAL, "1"), .min = 0, .max = 1e6,
     .doc = "For kto: weight of the completions with label false."},
    {.name = NULL},
};

static rein_status dpo_create(const struct rein_host *host, const void *config, void **self) {
    const struct config *c = config;
    struct dpo *p;

    if (c->label_smoothing > 0 && c->loss != ROBUST && c->loss != CDPO && c->loss != SIMPO)
        return host->fail_param(host->ctx, "label_smoothing",
                                "is for the losses robust, cdpo and simpo; cdpo is sigmoid with smoothed labels");
    if (c->label_smoothing >= 0.5 && c->loss == ROBUST)
        return host->fail_param(host->ctx, "label_smoothing", "must be below 0.5 with loss robust");
    p = host->alloc(host->ctx, sizeof(*p));
    if (!p)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *p = (struct dpo){.host = host, .config = *c};
    *self = p;
    return REIN_OK;
}

static void dpo_destroy(void *self) {
    struct dpo *p = self;
    p->host->free(p->host->ctx, p);
}

static rein_status dpo_describe(void *self, struct rein_needs *needs) {
    const struct config *c = &((const struct dpo *)self)->config;

    needs->data = c->loss == KTO ? REIN_DATA_LABELLED : REIN_DATA_PAIRS;
    needs->needs = REIN_NEED_LOGP;
    if (c->loss != SIMPO && c->loss != ORPO)
        needs->needs |= REIN_NEED_REFERENCE;
    if (c->loss == KTO)
        needs->needs |= REIN_NEED_KL_ROWS;
    needs->sums = c->loss == KTO ? KTO_SUMS : pairs_nll_weight(c) > 0;
    needs->counts_only = c->loss != KTO;
    needs->lr = 1e-6;
    return REIN_OK;
}

struct row row_of(const struct rein_batch *b, uint32_t r) {
    struct row s = {0};

    for (uint32_t i = b->offset[r]; i < b->offset[r + 1]; i++) {
        if (!counts(b->mask, i))
            continue;
        s.logp += (double)b->logp[i];
        if (b->logp_ref)
            s.ratio += (double)b->logp[i] - (double)b->logp_ref[i];
        s.tokens++;
    }
    return s;
}

void row_derive(const struct rein_batch *b, uint32_t r, double d, float *d_logp) {
    for (uint32_t i = b->offset[r]; i < b->offset[r + 1]; i++)
        if (counts(b->mask, i))
            d_logp[i] = (float)d;
}

static rein_status dpo_measure(void *self, const struct rein_batch *b, double *sums) {
    const struct config *c = &((const struct dpo *)self)->config;

    if (c->loss == KTO)
        kto_measure(b, sums);
    else
        pairs_measure(b, sums);
    return REIN_OK;
}

static rein_status dpo_loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    const struct dpo *p = self;
    double entropy = 0, tokens = 0;

    for (uint32_t i = 0; b->entropy && i < b->tokens; i++)
        if (counts(b->mask, i)) {
            entropy += (double)b->entropy[i];
            tokens++;
        }
    if (b->entropy)
        rein_metric_mean(out->metrics, "entropy", entropy, tokens);
    out->loss = 0;
    if (p->config.loss != KTO)
        return pairs_loss(p->host, &p->config, b, out);
    kto_loss(&p->config, b, out);
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {.size = sizeof(ops),
                                              .create = dpo_create,
                                              .destroy = dpo_destroy,
                                              .describe = dpo_describe,
                                              .measure = dpo_measure,
                                              .loss = dpo_loss};

MODULE(REIN_KIND_ALGORITHM, "dpo", "Direct preference optimisation from pairs or labels, and its relatives.");
