/* rein/reward.h - where scores come from.
 * SPDX-License-Identifier: MIT
 *
 * A reward source answers with K scores per completion, not one: K reward
 * models, K dropout samples, K perturbations; K = 1 is an ordinary reward.
 */
#ifndef REIN_REWARD_H
#define REIN_REWARD_H

#include "host.h"
#include "perturb.h"
#include "plugin.h"

/* A batch of finished completions. Everything is borrowed for the call. */
struct rein_completions {
    uint32_t size;
    uint32_t rows, units;
    uint32_t rollout;                /* 0, 1, 2 ...: for seeds */
    const uint32_t *unit;            /* [units + 1]: rows of one prompt */
    const uint64_t *row_id;          /* [rows] unique in the run: for seeds */
    /* token ids of the policy's tokenizer: row r is ids[offset[r] .. offset[r+1]], prompt first */
    const int32_t *ids;
    const uint32_t *offset;          /* [rows + 1] */
    const uint32_t *prompt_length;   /* [rows] tokens of the row that are the prompt */
    /* UTF-8, NUL-terminated, without special tokens */
    const char *const *prompt;       /* [rows] as sent to the model, decoded */
    const char *const *completion;   /* [rows] */
    /* JSON texts */
    const char *const *messages;     /* [rows] "[{role, content}...]" with the completion as last turn, or NULL */
    const char *const *columns;      /* [rows] the data row: one JSON object with every column */
    const uint8_t *ended;            /* [rows] 1: met EOS */
};

struct rein_reward_ops {
    uint32_t size;
    uint32_t reserved;
    rein_status (*create)(const struct rein_host *host, const void *config, void **self);          /* [main] */
    void (*destroy)(void *self);                                                                   /* [main] */
    rein_status (*members)(void *self, uint32_t *k);                                               /* [instance] K >= 1, constant */
    /* Fills family[k * rows + r]. NaN: no opinion on this row. Row order and batch
     * mates must not change a row's scores. [instance] */
    rein_status (*score)(void *self, const struct rein_completions *c, float *family);
};

/* Service "rein.scorer/1": runs models of the pipeline for a reward source. Names are
 * those of REIN_PARAM_MODEL options, so that the host could plan and load them. */
#define REIN_SCORER_1 "rein.scorer/1"

/* Where REIN_PERTURB_* (rein/perturb.h) acts. */
#define REIN_SITE_HEAD      1u /* dropout: the hidden state that the head reads; noise: the head's weights */
#define REIN_SITE_ALL       2u /* dropout: embedding, attention and MLP outputs, and the head's input, as in training */
#define REIN_SITE_EMBEDDING 3u /* noise: the embedded tokens */

struct rein_score_request {
    uint32_t size;
    uint32_t perturb;          /* REIN_PERTURB_* */
    uint32_t site;             /* REIN_SITE_* */
    uint32_t sample;           /* the first draw: the same (seed, row_id, sample) gives the same score */
    double rate;
    const char *model;         /* a model with a score head */
    const struct rein_completions *completions;
    uint32_t samples;          /* draws sample, sample + 1 ...; REIN_SITE_HEAD takes one pass for all; 0 counts as 1 */
    uint32_t heads;            /* as many as the model has: a score of each head; 0 or 1: the mean over its heads */
    uint32_t standardise;      /* 1: (score - mean) / deviation by what is kept with the model, head by head */
    uint32_t reserved;
};

/* What a model of the pipeline is, known before it is loaded. */
struct rein_scored_model {
    uint32_t size;
    uint32_t heads;            /* score heads on its trunk, at least 1 */
    uint32_t standard;         /* 1: a mean and a deviation of its scores are kept with it */
    uint32_t reserved;
};

#define REIN_CHOICE_CHAT (1u << 0) /* the text is a user's turn: rendered by the asked model's own chat template, when it has one */

struct rein_choice_request {
    uint32_t size;
    uint32_t flags;            /* REIN_CHOICE_* */
    const char *model;         /* a language model: the option has REIN_PARAM_LM */
    uint32_t rows, nchoices;
    const char *const *text;   /* [rows] UTF-8; special tokens spelled out in it stay ordinary characters */
    const char *const *choices; /* [nchoices] each at least one token */
};

/* The first argument of each function is the host->ctx of the asking instance. */
struct rein_scorer_1 {
    uint32_t size;
    uint32_t reserved;
    /* out[samples][heads][rows]: the score at each row's last token. With the policy's own tokenizer and
     * template the exact ids are scored; otherwise text or messages are rendered with the
     * scored model's own. [instance] */
    rein_status (*score)(void *ctx, const struct rein_score_request *request, float *out);
    /* out[rows * nchoices]: log-probability of each choice, all its tokens, as the continuation of text[row].
     * NaN where the text does not fit the model's context. Asked with no rows (in create, say) it checks that the
     * model can be asked so. [instance] */
    rein_status (*choice_logprobs)(void *ctx, const struct rein_choice_request *request, float *out);
    /* Of a model with a score head. Allowed in create() too, when no model is loaded yet. [instance] */
    rein_status (*describe)(void *ctx, const char *model, struct rein_scored_model *out);
};

#endif
