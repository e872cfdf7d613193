/* core/train/batch.h - a micro-batch: some units of the samples, as the model and as the algorithm read them.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_BATCH_H
#define REIN_CORE_BATCH_H

#include "model/pass.h"
#include "train/samples.h"

/* Rows of a unit: all, only the mismatched ones (REIN_ROLE_KL), or only the others, which the loss is made of. */
enum batch_rows { BATCH_ALL, BATCH_MISMATCHED, BATCH_LOSS };

/* Divisors of the whole optimiser step: of the rows of BATCH_LOSS. */
struct batch_norms {
    double tokens, rows, units;
    double max_tokens;             /* the longest row's */
};
void batch_norms(const struct samples *s, const uint32_t *units, uint32_t count, struct batch_norms *out);

/* Memory is kept from one micro-batch to the next. Zero-initialise; free with batch_free. */
struct batch {
    struct rein_batch view;        /* what the algorithm sees; model outputs point into the arrays below */
    struct packed packed;          /* what the model reads */
    uint32_t *sequence;            /* packed.offset */
    int32_t *ids;
    int32_t *rows, *targets;       /* [tokens] hidden state that predicts, and the id predicted */
    int32_t *last;                 /* [rows] packed position of each row's last token */
    uint32_t *offset, *unit;
    float *logp, *entropy, *value, *score; /* filled by the models */
    int32_t *best;                 /* [tokens] most likely id */
    float *d_logp, *d_entropy, *d_value, *d_score;
    uint8_t *mask, *role, *label, *ended;
    uint32_t *rank;
    float *logp_old, *logp_ref, *value_old, *advantage, *return_, *reward, *family, *margin;
    size_t row_capacity, token_capacity, id_capacity, family_capacity;
};

/* Gathers the units; NULL arrays of the samples stay NULL in the view. */
int batch_build(struct batch *b, const struct samples *s, const uint32_t *units, uint32_t count, enum batch_rows which,
                const struct batch_norms *norms, struct error *err);
void batch_free(struct batch *b);

#endif
