/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "cli/rows.h"

#include <math.h>
#include <rein/algorithm.h>
#include <stdio.h>
#include <stdlib.h>

struct totals {
    double nll;      /* of predicted tokens */
    uint64_t tokens; /* predicted */
    double *value;   /* per row: its score, or the log-probability of its completion */
};

/* What of row `index` is predicted: its completion, as far as the mask says. */
static bool predicted(const struct data_row *row, uint32_t i) {
    return i > 0 && i >= row->prompt_length && (!row->mask || row->mask[i - row->prompt_length]);
}

/* `sign`: -1 takes a reference's log-probabilities off. */
static int add_batch(struct rows *r, bool score, double sign, struct totals *t, struct error *err) {
    if (score ? rows_scores(r, err) : rows_logprobs(r, err))
        return -1;
    for (uint32_t s = 0; s < r->batch.count; s++) {
        const struct data_row *row = &r->data.rows[r->first + s];

        if (score) {
            t->value[r->first + s] = r->values[s];
            continue;
        }
        for (uint32_t i = 0; i < row->length; i++)
            if (predicted(row, i)) {
                t->value[r->first + s] += sign * (double)r->values[r->offset[s] + i];
                t->nll -= r->values[r->offset[s] + i];
                t->tokens++;
            }
    }
    return 0;
}

/* Pairs in which the better answer has the greater value; equal values count half. */
static double accuracy(const struct dataset *d, const double *value, uint64_t *pairs) {
    double right = 0;

    *pairs = 0;
    for (size_t u = 0; u < d->nunits; u++)
        for (uint32_t i = 0; i < d->units[u].rows; i++)
            for (uint32_t j = i + 1; j < d->units[u].rows; j++, ++*pairs) {
                double a = value[d->units[u].first + i], b = value[d->units[u].first + j];
                right += a > b ? 1 : a == b ? 0.5 : 0;
            }
    return *pairs ? right / (double)*pairs : 0;
}

static bool preferences(const struct rows *r) {
    return r->data.kind == REIN_DATA_PAIRS || r->data.kind == REIN_DATA_LISTS;
}

static int all_batches(struct rows *r, bool score, double sign, struct totals *t, struct error *err) {
    int more;

    while ((more = rows_next(r, err)) > 0)
        if (add_batch(r, score, sign, t, err) != 0)
            return -1;
    return more;
}

/* Takes the reference's log-probabilities of the same data off. */
static int less_reference(const struct cli_common *common, const struct rows_setup *setup, const char *reference,
                          const struct rows *with, struct totals *t, struct error *err) {
    struct rows_setup own = *setup;
    struct rows rows = {0};
    int rc;

    own.model = reference;
    own.any = false;
    rc = rows_open(&rows, common, &own, err);
    if (rc == 0 && (model_config(rows.model)->vocabulary != model_config(with->model)->vocabulary ||
                    !tokenizer_same(model_tokenizer(rows.model), model_tokenizer(with->model))))
        rc = error_input(err, "%s: has another tokenizer or vocabulary than the model: their log-probabilities cannot be "
                              "compared", reference);
    if (rc == 0 && rows.data.nrows != with->data.nrows)
        rc = error_input(err, "%s: reads other rows than the model", reference);
    if (rc == 0)
        rc = all_batches(&rows, false, -1, t, err);
    rows_close(&rows);
    return rc;
}

static int print_result(const struct rows *r, bool json, const char *by, const char *words, const struct totals *t,
                        struct error *err) {
    uint64_t pairs = 0;

    if (preferences(r)) {
        double right = accuracy(&r->data, t->value, &pairs);

        if (json)
            printf("{\"accuracy\": %.9g, \"pairs\": %llu, \"by\": \"%s\"}\n", right, (unsigned long long)pairs, by);
        else
            printf("preference accuracy %.2f %% of %llu pairs, by %s\n", 100 * right, (unsigned long long)pairs, words);
        return 0;
    }
    if (t->tokens == 0)
        return error_input(err, "%s: no token is predicted: every row has one token", r->data.path);
    if (json)
        printf("{\"perplexity\": %.9g, \"loss\": %.9g, \"tokens\": %llu, \"rows\": %zu}\n",
               exp(t->nll / (double)t->tokens), t->nll / (double)t->tokens, (unsigned long long)t->tokens,
               r->data.nrows);
    else
        printf("perplexity %.4f (loss %.4f) over %llu tokens of %zu rows\n", exp(t->nll / (double)t->tokens),
               t->nll / (double)t->tokens, (unsigned long long)t->tokens, r->data.nrows);
    return 0;
}

static int run(const struct command *self, int argc, char **argv) {
    const char *words[2], *template = NULL, *base = NULL, *reference = NULL;
    const struct cli_option options[] = {
        {"--template", CLI_TEXT, &template, "NAME", "chat template for message lists and prompts"},
        {"--base", CLI_TEXT, &base, "PATH", "an adapter's base model, in place of the one that it names"},
        {"--reference", CLI_TEXT, &reference, "MODEL", "compare by log-ratio to this model, as dpo does"},
        {0}};
    struct cli_common common;
    struct totals totals = {0};
    struct rows rows = {0};
    struct error err = {0};
    int rc = cli_parse(self, argc, argv, options, &common, words, 2, 2);
    bool score;

    if (rc != CLI_GO)
        return rc;
    struct rows_setup setup = {.model = words[0],
                               .data = words[1],
                               .base = base,
                               .template = template,
                               .any = true,
                               .kinds = REIN_DATA_COMPLETIONS | REIN_DATA_LABELLED | REIN_DATA_PAIRS | REIN_DATA_LISTS};
    rc = rows_open(&rows, &common, &setup, &err);
    score = rc == 0 && model_head(rows.model) == MODEL_SCORE;
    if (score && !preferences(&rows))
        rc = error_input(&err, "%s: a reward model is evaluated on pairs (prompt, chosen, rejected) or ranked lists",
                         setup.data);
    else if (rc == 0 && reference && (score || !preferences(&rows)))
        rc = error_input(&err,
                         "--reference is for a language model on pairs (prompt, chosen, rejected) or ranked lists");
    if (rc == 0 && (totals.value = mem_zeros(rows.data.nrows, sizeof(*totals.value))) == NULL)
        rc = error_nomem(&err, "values of the rows");
    if (rc == 0)
        rc = all_batches(&rows, score, 1, &totals, &err);
    if (rc == 0 && reference)
        rc = less_reference(&common, &setup, reference, &rows, &totals, &err);
    if (rc == 0)
        rc = print_result(&rows, common.json,
                          score       ? "score"
                          : reference ? "log-ratio"
                                      : "logprob",
                          score       ? "score"
                          : reference ? "log-ratio of the answer to the reference"
                                      : "log-probability of the answer",
                          &totals, &err);
    free(totals.value);
    rows_close(&rows);
    return rc ? cli_fail(&err) : 0;
}

const struct command command_eval = {
    "eval",
    "MODEL DATA.jsonl",
    "Measures a model on data: perplexity, or how often it prefers the better answer.",
    "Completions and texts give the perplexity of their predicted tokens. Pairs and ranked lists give the share of\n"
    "pairs in which the better answer has the higher score (a model with a score head) or log-probability; with\n"
    "--reference the higher log-probability less the reference's, which is what dpo trains.",
    CLI_BACKEND | CLI_JSON,
    run,
};
