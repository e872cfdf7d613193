/* Supervised fine-tuning: the negative log-likelihood of the text, a mean over all tokens
 * of the optimiser step. SPDX-License-Identifier: MIT
 *
 *     loss = -sum_i log p(token i) / N
 *
 * as in TRL 1.16's SFTTrainer with loss_type "nll".
 */
#include <rein/util.h>

#include "common/module.h"
#include "common/numeric.h"

enum { TARGET_COMPLETION, TARGET_TEXT };
static const char *const targets[] = {"completion", "text", NULL};

struct config {
    int64_t target;
};

struct sft {
    const struct rein_host *host;
    struct config config;
};

static const struct rein_param params[] = {
    {.name = "target",
     .type = REIN_PARAM_CHOICE,
     .offset = offsetof(struct config, target),
     .dflt = "completion",
     .choices = targets,
     .doc = "Which tokens are learnt: those of the completion (or the assistant's turns), or of the whole text."},
    {.name = NULL},
};

static rein_status sft_create(const struct rein_host *host, const void *config, void **self) {
    struct sft *s = host->alloc(host->ctx, sizeof(*s));

    if (!s)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *s = (struct sft){.host = host, .config = *(const struct config *)config};
    *self = s;
    return REIN_OK;
}

static void sft_destroy(void *self) {
    struct sft *s = self;
    s->host->free(s->host->ctx, s);
}

static rein_status sft_describe(void *self, struct rein_needs *needs) {
    const struct sft *s = self;

    needs->data = REIN_DATA_COMPLETIONS;
    needs->needs = REIN_NEED_LOGP;
    if (s->config.target == TARGET_TEXT)
        needs->needs |= REIN_NEED_WHOLE_TEXT;
    needs->lr = 2e-5;
    return REIN_OK;
}

static rein_status sft_loss(void *self, const struct rein_batch *b, struct rein_loss *out) {
    double nll = 0, entropy = 0, tokens = 0, scale = inverse_or_zero(b->norm_tokens);

    (void)self;
    for (uint32_t i = 0; i < b->tokens; i++) {
        if (!counts(b->mask, i))
            continue;
        nll -= (double)b->logp[i];
        out->d_logp[i] = (float)-scale;
        if (b->entropy)
            entropy += (double)b->entropy[i];
        tokens++;
    }
    out->loss = nll * scale;
    if (b->entropy)
        rein_metric_mean(out->metrics, "entropy", entropy, tokens);
    return REIN_OK;
}

static const struct rein_algorithm_ops ops = {
    .size = sizeof(ops), .create = sft_create, .destroy = sft_destroy, .describe = sft_describe, .loss = sft_loss};

MODULE(REIN_KIND_ALGORITHM, "sft", "Supervised fine-tuning on completions or whole texts.");
