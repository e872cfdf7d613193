/* core/cli/rows.h - a model and the rows of a data file, computed in batches of bounded size.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_CORE_ROWS_H
#define REIN_CORE_ROWS_H

#include "cli/session.h"
#include "model/pass.h"
#include "text/dataset.h"

struct rows_setup {
    const char *model, *data;
    const char *base;     /* --base, or NULL */
    const char *template; /* --template, or NULL: the tokenizer's own for message lists */
    bool score;           /* the model must have a score head, which is then used */
    bool any;             /* ... or may have one: used when it has */
    bool whole;           /* text rows as they are, without EOS */
    uint32_t kinds;       /* REIN_DATA_* */
};

/* Zero-initialise. */
struct rows {
    struct session session;
    struct model *model;
    struct dataset data;
    struct pass *pass;
    /* the current batch: rows first .. first + batch.count of the data, one forward pass old */
    size_t first;
    struct packed batch;
    uint32_t *offset;
    int32_t *ids, *at, *targets;
    float *values;
    size_t offset_capacity, ids_capacity, at_capacity, targets_capacity, values_capacity;
};

/* Opens everything and checks the data, so that nothing is refused after the first line of output. */
int rows_open(struct rows *r, const struct cli_common *common, const struct rows_setup *setup, struct error *err);
void rows_close(struct rows *r);
/* Runs the next batch: 1, 0 when there are no more rows, -1. */
int rows_next(struct rows *r, struct error *err);
/* log p of every token of the batch given those before it, values[offset[s] + i] (the first of a row 0). */
int rows_logprobs(struct rows *r, struct error *err);
/* The score head at the last token of each row, values[s]. */
int rows_scores(struct rows *r, struct error *err);

#endif
