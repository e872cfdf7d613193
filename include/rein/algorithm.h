/* rein/algorithm.h - SFT, RM, PPO, GRPO, DPO and yours.
 * SPDX-License-Identifier: MIT
 *
 * An algorithm is pure arithmetic on per-token arrays. It knows no model, no
 * device and no YAML. The host samples, scores, runs the models, calls loss(),
 * back-propagates the derivatives it wrote, steps the optimiser, logs and saves.
 *
 * Order of calls in one instance, all of them [instance]:
 *
 *   create, describe, load?                          once
 *   on-policy (data = PROMPTS):
 *     prepare                                        once per rollout, the whole of it
 *     for each optimiser step of the rollout:
 *       measure*  (if needs.sums > 0)                every micro-batch of the step
 *       loss*                                        every micro-batch of the step
 *       after                                        once
 *   otherwise, for each optimiser step: measure*, loss*, after
 *   evaluation: measure*, loss* with REIN_BATCH_EVAL set, derivatives ignored
 *   save                                             with every checkpoint
 *   destroy                                          once
 *
 * BATCHES ARE RAGGED, NEVER PADDED. Row r owns elements offset[r] .. offset[r+1]
 * of every per-token array. A token is a *completion* token: logp[i] is
 * log p(token i | everything before it). With REIN_NEED_WHOLE_TEXT all tokens of the
 * text but its first are there. Lengths 0 and 1 occur.
 */
#ifndef REIN_ALGORITHM_H
#define REIN_ALGORITHM_H

#include "host.h"
#include "plugin.h"

/* What a row of the data is; bits, because an algorithm may accept several. */
#define REIN_DATA_PROMPTS     (1u << 0) /* on-policy: the host samples the completions */
#define REIN_DATA_COMPLETIONS (1u << 1) /* {prompt, completion}, {text} or {messages} */
#define REIN_DATA_LABELLED    (1u << 2) /* {prompt, completion, label} */
#define REIN_DATA_PAIRS       (1u << 3) /* {prompt, chosen, rejected}: unit = 2 rows, chosen first */
#define REIN_DATA_LISTS       (1u << 4) /* {prompt, ranked}: unit = n rows, best first */

/* What must be in the batches, and therefore which models and runs are needed. */
#define REIN_NEED_LOGP       (1u << 0) /* logp of the trained model */
#define REIN_NEED_REFERENCE  (1u << 1) /* logp_ref; the stage must have a reference */
#define REIN_NEED_CRITIC     (1u << 2) /* value, value_old; the stage must have a critic */
#define REIN_NEED_REWARD     (1u << 3) /* reward; the stage must have a reward source */
#define REIN_NEED_FAMILY     (1u << 4) /* family [members][rows] */
#define REIN_NEED_GROUPS     (1u << 5) /* rollout.group of at least 2; units are the groups of a prompt */
#define REIN_NEED_ENTROPY    (1u << 6) /* entropy of the trained model (and d_entropy is honoured) */
#define REIN_NEED_SCORE      (1u << 7) /* score: the trained model must have a score head */
#define REIN_NEED_OLD_LOGP   (1u << 8) /* logp_old, recorded while sampling */
#define REIN_NEED_WHOLE_TEXT (1u << 9) /* per-token arrays cover prompt and completion */
/* Labelled data: for each row a mismatched one, the completion of another row under its prompt, with the role
 * REIN_ROLE_KL and its own row's label. Each completion is used once. measure() is given these rows and no others, loss()
 * the others: no derivative goes through a mismatched row. norm_* count the others alone. */
#define REIN_NEED_KL_ROWS (1u << 10)

/* Filled by describe(). The host sets size and zeroes the rest; a default of 0 leaves the host's own default in place. NaN
 * is refused. */
struct rein_needs {
    uint32_t size;
    uint32_t data;            /* REIN_DATA_* accepted */
    uint32_t needs;           /* REIN_NEED_* */
    uint32_t sums;            /* how many doubles measure() adds to; at most REIN_MAX_SUMS */
    /* stage defaults that differ from algorithm to algorithm; YAML overrides them */
    double lr;
    double temperature;       /* sampling temperature, > 0 */
    uint32_t max_tokens;      /* completion length of a rollout */
    uint32_t epochs;          /* passes over each rollout (on-policy) or over the data */
    uint32_t counts_only;     /* 1: measure() only counts; its batches have no logp, entropy, value or score, and no
                                 model is run for them */
    uint32_t reserved;
};
#define REIN_MAX_SUMS 16u

/* row roles */
#define REIN_ROLE_PLAIN    0u
#define REIN_ROLE_CHOSEN   1u
#define REIN_ROLE_REJECTED 2u
#define REIN_ROLE_KL       3u /* a mismatched completion, only for an estimate: REIN_NEED_KL_ROWS */

/* Named numbers for people. MEAN is sum/weight over the whole step, exactly, however
 * it was cut into micro-batches. Names are the field's (TRL's): "objective/kl". */
#define REIN_METRIC_MEAN 0u /* sum of `sum` / sum of `weight` */
#define REIN_METRIC_SUM  1u
#define REIN_METRIC_MIN  2u /* least `sum`; weight 0 means nothing to say */
#define REIN_METRIC_MAX  3u
struct rein_metric {
    const char *name;
    uint32_t how;
    uint32_t reserved;
    double sum, weight;
};
struct rein_metrics {
    uint32_t size;
    uint32_t count, capacity; /* count may exceed capacity: what did not fit */
    uint32_t reserved;
    struct rein_metric *items;
};

#define REIN_BATCH_EVAL (1u << 0)

/* A micro-batch. Arrays that the algorithm did not ask for are NULL, as are those
 * that the data does not have (margin, rank, label) and `mask` when all ones. */
struct rein_batch {
    uint32_t size;
    uint32_t flags;           /* REIN_BATCH_* */
    uint32_t rows, units;
    uint32_t tokens;          /* offset[rows] */
    uint32_t members;         /* K of the reward family, 0 without one */
    const uint32_t *offset;   /* [rows + 1] */
    const uint32_t *unit;     /* [units + 1]: rows unit[u] .. unit[u+1] belong together */

    /* per token, [tokens] */
    const uint8_t *mask;      /* 1: counts towards the loss. Masked tokens may hold NaN: do not read them */
    const float *logp;        /* trained model; of a rollout at its temperature, as are old and ref */
    const float *logp_old;    /* the policy that sampled */
    const float *logp_ref;    /* the frozen reference */
    const float *value;       /* V before token i is taken: V(prompt) = value[offset[r]] */
    const float *value_old;   /* the critic at the time of the rollout */
    const float *entropy;     /* of the trained model's next-token distribution, nats */
    const float *advantage;   /* as prepare() wrote it */
    const float *return_;     /* as prepare() wrote it */

    /* per row, [rows] */
    const float *reward;      /* weighted sum of the reward sources (mean over members) */
    const float *score;       /* trained model's score head at the row's last token */
    const float *family;      /* [members][rows] */
    const float *margin;      /* of a pair, on both its rows */
    const uint32_t *rank;     /* 0 = best; equal ranks are ties */
    const uint8_t *role;      /* REIN_ROLE_* */
    const uint8_t *label;     /* 1 desirable, 0 not */
    const uint8_t *ended;     /* 1: the completion ends with EOS (not cut off) */

    /* Of the whole optimiser step, never of this micro-batch: divide by these, and
     * 1x8, 2x4 and 8x1 micro-batches give the same gradient. */
    double norm_tokens;       /* unmasked tokens */
    double norm_rows, norm_units;
    double max_tokens;        /* the rollout's max_tokens, or the longest row of the data set's batch */
    const double *sums;       /* [needs.sums] totals of measure(), constants for the derivatives; NULL when sums == 0 */
};

/* Outputs of loss(). The host zeroes the arrays and sets the unused ones to NULL.
 * Each holds the derivative of `loss` with respect to the input of that name. */
struct rein_loss {
    uint32_t size;
    uint32_t reserved;
    double loss;              /* this micro-batch's share: shares add up to the step's loss */
    float *d_logp;            /* [tokens] */
    float *d_value;           /* [tokens] */
    float *d_entropy;         /* [tokens] */
    float *d_score;           /* [rows] */
    struct rein_metrics *metrics;
};

/* A whole rollout: n rows, known before the first loss. All tokens are completion
 * tokens and count, unless masked. */
struct rein_experience {
    uint32_t size;
    uint32_t rollout;         /* 0, 1, 2 ... */
    uint32_t rows, units, tokens, members;
    const uint32_t *offset;   /* [rows + 1] */
    const uint32_t *unit;     /* [units + 1]: the completions of one prompt */
    const uint8_t *mask;      /* [tokens] or NULL */
    const float *logp_old, *logp_ref, *value_old, *entropy; /* [tokens] or NULL */
    const float *reward;      /* [rows]; NaN: no source has an opinion, and all tokens of the row are masked */
    const float *family;      /* [members][rows]; NaN likewise */
    const uint8_t *ended;     /* [rows] */
    double max_tokens;
    /* written by prepare() */
    float *advantage;         /* [tokens], zeroed by the host */
    float *return_;           /* [tokens], zeroed by the host; NULL without a critic */
    struct rein_metrics *metrics; /* repeated on every step of this rollout */
};

/* What after() learns. */
struct rein_step {
    uint32_t size;
    uint32_t step;            /* optimiser steps done in this stage, counting from 1 */
    uint32_t rollout;         /* which rollout the step belongs to */
    uint32_t epoch;           /* pass over the rollout or the data, from 0 */
    uint32_t last;            /* 1: last planned step of this rollout */
    uint32_t reserved;
    double loss, grad_norm, lr;
    const struct rein_metrics *metrics; /* of this step, totalled */
};
#define REIN_STOP_ROLLOUT 1u  /* skip the rest of this rollout's steps (target KL) */
#define REIN_STOP_STAGE   2u

/* Reads or writes the algorithm's own state (an adaptive coefficient, say). */
struct rein_state {
    uint32_t size;
    uint32_t version;         /* the algorithm's own; given back on load */
    void *data;               /* save: at most `capacity` bytes; load: `length` bytes */
    uint64_t capacity, length;
};

struct rein_algorithm_ops {
    uint32_t size;
    uint32_t reserved;
    /* `config` is the block described by the plugin's params; it and its strings stay
     * valid until destroy() returns. */
    rein_status (*create)(const struct rein_host *host, const void *config, void **self);
    void (*destroy)(void *self);
    rein_status (*describe)(void *self, struct rein_needs *needs);
    rein_status (*prepare)(void *self, struct rein_experience *e);                     /* NULL unless on-policy */
    rein_status (*measure)(void *self, const struct rein_batch *b, double *sums);      /* may be NULL when sums == 0; adds */
    rein_status (*loss)(void *self, const struct rein_batch *b, struct rein_loss *out);
    rein_status (*after)(void *self, const struct rein_step *s, uint32_t *stop);       /* may be NULL */
    rein_status (*save)(void *self, struct rein_state *state);                         /* NULL: stateless */
    rein_status (*load)(void *self, const struct rein_state *state);
};

#endif
