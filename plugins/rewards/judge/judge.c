/* A language model as judge: how likely it finds "yes" after a rubric. SPDX-License-Identifier: MIT
 *
 * RLAIF without sampling (Lee et al., "RLAIF vs. RLHF", 2023): with P the sum over the words that mean it,
 *
 *   probability   P(yes) / (P(yes) + P(no))
 *   log-odds      log P(yes) - log P(no)
 */
#include "common/module.h"
#include "rewards/judge/rubric.h"

#include <rein/reward.h>
#include <rein/util.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROBABILITY, LOG_ODDS };
static const char *const scores[] = {"probability", "log-odds", NULL};

struct config {
    const char *model, *rubric;
    struct rein_list columns, good, bad;
    int64_t score;
    uint8_t chat;
};

struct judge {
    const struct rein_host *host;
    const struct rein_scorer_1 *scorer;
    struct config config;
    struct rubric rubric;
    const char **choices; /* every good word, then every bad one */
    uint32_t count;
};

static const struct rein_param params[] = {
    {.name = "model",
     .type = REIN_PARAM_MODEL,
     .flags = REIN_PARAM_REQUIRED | REIN_PARAM_LM,
     .offset = offsetof(struct config, model),
     .doc = "The language model that judges."},
    {.name = "rubric",
     .type = REIN_PARAM_STRING,
     .offset = offsetof(struct config, rubric),
     .dflt = "\"Below are a request and an answer to it.\\n\\nRequest:\\n{prompt}\\n\\nAnswer:\\n{completion}\\n\\n"
             "Is this a good answer? Reply with Yes or No.\\n\"",
     .doc =
         "What it is asked, with {prompt}, {completion} and the names of 'columns' filled in; {{ and }} are braces."},
    {.name = "columns",
     .type = REIN_PARAM_COLUMN | REIN_PARAM_LIST,
     .offset = offsetof(struct config, columns),
     .dflt = "[]",
     .doc = "Columns of the data that the rubric names, as {answer}; a row where one is null is not judged."},
    {.name = "good",
     .type = REIN_PARAM_STRING | REIN_PARAM_LIST,
     .offset = offsetof(struct config, good),
     .dflt = "[Yes, yes]",
     .doc = "Words that mean yes; their probabilities are added up."},
    {.name = "bad",
     .type = REIN_PARAM_STRING | REIN_PARAM_LIST,
     .offset = offsetof(struct config, bad),
     .dflt = "[No, no]",
     .doc = "Words that mean no, likewise."},
    {.name = "score",
     .type = REIN_PARAM_CHOICE,
     .offset = offsetof(struct config, score),
     .choices = scores,
     .dflt = "probability",
     .doc = "P(yes) / (P(yes) + P(no)), or the logarithm of P(yes) / P(no), which has no bounds."},
    {.name = "chat",
     .type = REIN_PARAM_BOOL,
     .offset = offsetof(struct config, chat),
     .dflt = "true",
     .doc = "Ask as a user's turn of the judge's own chat template, when it has one; else it continues the rubric."},
    {.name = NULL},
};

static void judge_destroy(void *self) {
    struct judge *j = self;

    rubric_free(j->host, &j->rubric);
    j->host->free(j->host->ctx, j->choices);
    j->host->free(j->host->ctx, j);
}

static rein_status ask(const struct judge *j, const char *const *text, uint32_t rows, float *logp) {
    const struct rein_choice_request request = {.size = sizeof(request),
                                                .flags = j->config.chat ? REIN_CHOICE_CHAT : 0,
                                                .model = j->config.model,
                                                .rows = rows,
                                                .nchoices = j->count,
                                                .text = text,
                                                .choices = j->choices};
    return j->scorer->choice_logprobs(j->host->ctx, &request, logp);
}

static rein_status take_choices(struct judge *j) {
    const struct rein_list *const lists[] = {&j->config.good, &j->config.bad};
    const size_t most = j->config.good.count + j->config.bad.count;

    j->choices = j->host->alloc(j->host->ctx, most * sizeof(*j->choices));
    if (!j->choices)
        return j->host->fail(j->host->ctx, REIN_ERR_NOMEM, "out of memory");
    for (int k = 0; k < 2; k++)
        for (uint64_t i = 0; i < lists[k]->count; i++) {
            const char *word = ((const char *const *)lists[k]->items)[i];
            for (uint32_t c = 0; c < j->count; c++)
                if (!strcmp(j->choices[c], word))
                    return j->host->fail_param(j->host->ctx, k ? "bad" : "good", "names a word twice, or both ways");
            if (!*word)
                return j->host->fail_param(j->host->ctx, k ? "bad" : "good", "names an empty word");
            j->choices[j->count++] = word;
        }
    return REIN_OK;
}

static rein_status judge_create(const struct rein_host *host, const void *config, void **self) {
    const struct rein_scorer_1 *scorer = host->service(host->ctx, REIN_SCORER_1);
    const struct config *c = config;
    rein_status status;
    struct judge *j;

    if (!scorer || !REIN_HAS(scorer, struct rein_scorer_1, choice_logprobs) || !scorer->choice_logprobs)
        return host->fail(host->ctx, REIN_ERR_UNSUPPORTED, "the host cannot ask language models here");
    if (!c->good.count || !c->bad.count || c->good.count + c->bad.count > 64)
        return host->fail_param(host->ctx, c->good.count ? "bad" : "good",
                                "needs at least one word, and both 64 at most");
    j = host->alloc(host->ctx, sizeof(*j));
    if (!j)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *j = (struct judge){.host = host, .scorer = scorer, .config = *c};
    status = rubric_read(host, c->rubric, &c->columns, &j->rubric);
    if (status == REIN_OK)
        status = take_choices(j);
    if (status == REIN_OK)
        status = ask(j, NULL, 0, NULL); /* what is wrong with the model is said before anything is sampled */
    if (status != REIN_OK) {
        judge_destroy(j);
        return status;
    }
    *self = j;
    return REIN_OK;
}

static rein_status judge_members(void *self, uint32_t *k) {
    (void)self;
    *k = 1;
    return REIN_OK;
}

/* The rubric for one row: *out stays NULL when a column is null there. */
static rein_status fill(const struct judge *j, const struct rein_completions *c, uint32_t row, char **out) {
    const char *const *names = j->config.columns.items;
    const uint64_t n = j->config.columns.count;
    json_t *data = n && c->columns && c->columns[row] ? json_loads(c->columns[row], JSON_ALLOW_NUL, NULL) : NULL;
    struct span *columns = j->host->alloc(j->host->ctx, (n + 1) * sizeof(*columns));
    char **made = j->host->alloc(j->host->ctx, (n + 1) * sizeof(*made));
    rein_status status = columns && made ? REIN_OK : REIN_ERR_NOMEM;
    uint64_t i = 0;
    int null = 0;

    for (; i < n && status == REIN_OK; i++) {
        const json_t *value = json_object_get(data, names[i]);

        made[i] = value && !json_is_string(value) ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        columns[i] = made[i] ? (struct span){made[i], strlen(made[i])}
                             : (struct span){json_string_value(value), json_string_length(value)};
        null |= json_is_null(value);
        if (!value)
            status = rein_failf(j->host, REIN_ERR_ARG, "row %u has no column '%s'", row, names[i]);
        else if (!columns[i].text)
            status = REIN_ERR_NOMEM;
    }
    if (status == REIN_OK && !null) {
        const struct span prompt = {c->prompt[row], strlen(c->prompt[row])},
                          completion = {c->completion[row], strlen(c->completion[row])};
        *out = rubric_fill(j->host, &j->rubric, prompt, completion, columns);
        status = *out ? REIN_OK : REIN_ERR_NOMEM;
    }
    while (i-- > 0)
        free(made[i]);
    j->host->free(j->host->ctx, columns);
    j->host->free(j->host->ctx, made);
    json_decref(data);
    return status == REIN_ERR_NOMEM ? j->host->fail(j->host->ctx, status, "out of memory") : status;
}

/* log sum_i exp(x_i) */
static double log_sum(const float *x, uint64_t n) {
    double most = (double)x[0], sum = 0;

    for (uint64_t i = 1; i < n; i++)
        most = fmax(most, (double)x[i]);
    for (uint64_t i = 0; i < n; i++)
        sum += exp((double)x[i] - most);
    return most + log(sum);
}

static float verdict(const struct judge *j, const float *logp) {
    const uint64_t good = j->config.good.count;
    const double odds = log_sum(logp, good) - log_sum(logp + good, j->config.bad.count);

    return (float)(j->config.score == LOG_ODDS ? odds : 1 / (1 + exp(-odds)));
}

static rein_status judge_score(void *self, const struct rein_completions *c, float *family) {
    struct judge *j = self;
    const struct rein_host *host = j->host;
    char **text = host->alloc(host->ctx, ((size_t)c->rows + 1) * sizeof(*text));
    float *logp = host->alloc(host->ctx, ((size_t)c->rows + 1) * j->count * sizeof(*logp));
    rein_status status = text && logp ? REIN_OK : host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    uint32_t asked = 0, at = 0;

    for (uint32_t r = 0; r < c->rows && status == REIN_OK; r++) {
        text[asked] = NULL;
        status = fill(j, c, r, &text[asked]);
        family[r] = text[asked] ? 0 : NAN;
        asked += text[asked] != NULL;
    }
    if (status == REIN_OK && asked)
        status = ask(j, (const char *const *)text, asked, logp);
    for (uint32_t r = 0; r < c->rows && status == REIN_OK; r++)
        if (!isnan(family[r]))
            family[r] = verdict(j, logp + (size_t)at++ * j->count);
    while (asked-- > 0)
        host->free(host->ctx, text[asked]);
    host->free(host->ctx, text);
    host->free(host->ctx, logp);
    return status;
}

static const struct rein_reward_ops ops = {.size = sizeof(ops),
                                           .create = judge_create,
                                           .destroy = judge_destroy,
                                           .members = judge_members,
                                           .score = judge_score};

MODULE(REIN_KIND_REWARD, "judge", "A language model's probability of yes to a rubric about each completion.");
