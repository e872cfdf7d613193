/* Scores from a server, as OpenRLHF asks its remote reward models. SPDX-License-Identifier: MIT
 *
 *   POST {"query": [prompt + completion ...], "prompts": [...], "labels": [...]}   a batch of rows
 *   200  {"rewards": [1.5, null, ...]}                                             null: no opinion
 */
#include "common/module.h"
#include "rewards/http/post.h"

#include <rein/reward.h>
#include <rein/util.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct config {
    struct post_options post;
    const char *label;
    int64_t batch;
};

struct http {
    const struct rein_host *host;
    struct post *post;
    struct config config;
};

static const struct rein_param params[] = {
    {.name = "url",
     .type = REIN_PARAM_STRING,
     .flags = REIN_PARAM_REQUIRED,
     .offset = offsetof(struct config, post.url),
     .doc = "Address of the reward server, http:// or https://; no proxy is used and no redirect followed."},
    {.name = "label",
     .type = REIN_PARAM_COLUMN,
     .offset = offsetof(struct config, label),
     .doc = "Column of the data that is sent as 'labels'; left out, they are empty texts."},
    {.name = "batch",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, batch),
     .dflt = "64",
     .min = 1,
     .max = 1e6,
     .unit = "completions",
     .doc = "Completions in a request."},
    {.name = "timeout",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, post.timeout),
     .dflt = "180",
     .min = 0.001,
     .max = 86400,
     .unit = "seconds",
     .doc = "How long one request may take."},
    {.name = "retries",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, post.retries),
     .dflt = "5",
     .min = 0,
     .max = 1000,
     .doc = "How often a request is sent again after a lost connection, a timeout, or HTTP status 408, 429 or 5xx."},
    {.name = "backoff",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, post.backoff),
     .dflt = "1",
     .min = 0,
     .max = 60,
     .unit = "seconds",
     .doc = "Wait before the first retry; it doubles each time. A server's Retry-After is kept to, if longer. Neither "
            "goes beyond a minute."},
    {.name = "headers",
     .type = REIN_PARAM_STRING | REIN_PARAM_LIST,
     .offset = offsetof(struct config, post.headers),
     .dflt = "[]",
     .doc = "Further header lines, as 'X-Team: alignment'. They are copied into the run folder's pipeline.yaml."},
    {.name = "token_env",
     .type = REIN_PARAM_STRING,
     .offset = offsetof(struct config, post.token_env),
     .doc = "Name of an environment variable whose value is sent as 'Authorization: Bearer ...'."},
    {.name = NULL},
};

static void http_destroy(void *self) {
    struct http *h = self;

    post_close(h->post);
    h->host->free(h->host->ctx, h);
}

static rein_status http_create(const struct rein_host *host, const void *config, void **self) {
    struct http *h = host->alloc(host->ctx, sizeof(*h));
    rein_status status;

    if (!h)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *h = (struct http){.host = host, .config = *(const struct config *)config};
    status = post_open(host, &h->config.post, &h->post);
    if (status == REIN_OK)
        *self = h;
    else
        host->free(host->ctx, h);
    return status;
}

static rein_status http_members(void *self, uint32_t *k) {
    (void)self;
    *k = 1;
    return REIN_OK;
}

/* ---- the request ------------------------------------------------------------------------------ */

static json_t *query_of(const struct http *h, const char *prompt, const char *completion) {
    const size_t a = strlen(prompt), b = strlen(completion);
    char *text = h->host->alloc(h->host->ctx, a + b + 1);
    json_t *query;

    if (!text)
        return NULL;
    memcpy(text, prompt, a);
    memcpy(text + a, completion, b + 1);
    query = json_string(text);
    h->host->free(h->host->ctx, text);
    return query;
}

/* The label of a row, as it is in the data; a new reference. */
static json_t *label_of(const struct http *h, const struct rein_completions *c, uint32_t row, rein_status *status) {
    json_t *data, *label;

    if (!h->config.label)
        return json_string("");
    data = c->columns && c->columns[row] ? json_loads(c->columns[row], JSON_ALLOW_NUL, NULL) : NULL;
    label = json_incref(json_object_get(data, h->config.label));
    json_decref(data);
    if (!label)
        *status = rein_failf(h->host, REIN_ERR_ARG, "row %u has no column '%s'", row, h->config.label);
    return label;
}

/* Rows from .. to as JSON text, jansson's memory. */
static char *request_of(const struct http *h, const struct rein_completions *c, uint32_t from, uint32_t to,
                        rein_status *status) {
    json_t *query = json_array(), *prompts = json_array(), *labels = json_array(), *all;
    char *text = NULL;

    for (uint32_t r = from; r < to && *status == REIN_OK; r++)
        if (json_array_append_new(query, query_of(h, c->prompt[r], c->completion[r])) ||
            json_array_append_new(prompts, json_string(c->prompt[r])) ||
            json_array_append_new(labels, label_of(h, c, r, status)))
            *status = *status == REIN_OK ? REIN_ERR_NOMEM : *status;
    all = json_pack("{s:o,s:o,s:o}", "query", query, "prompts", prompts, "labels", labels);
    if (*status == REIN_OK && all)
        text = json_dumps(all, JSON_COMPACT);
    if (!text && (*status == REIN_OK || *status == REIN_ERR_NOMEM))
        *status = h->host->fail(h->host->ctx, REIN_ERR_NOMEM, "out of memory");
    json_decref(all);
    return text;
}

/* ---- the answer ------------------------------------------------------------------------------- */

static rein_status read_rewards(const struct http *h, const json_t *answer, uint32_t rows, float *out) {
    const json_t *rewards = json_object_get(answer, "rewards");
    const char *server = post_server(h->post);

    if (!json_is_array(rewards))
        return rein_failf(h->host, REIN_ERR_IO, "%s: the answer has no list 'rewards'", server);
    if (json_array_size(rewards) != rows)
        return rein_failf(h->host, REIN_ERR_IO, "%s: %zu rewards for %u completions", server, json_array_size(rewards),
                          rows);
    for (uint32_t r = 0; r < rows; r++) {
        const json_t *x = json_array_get(rewards, r);

        out[r] = json_is_null(x) ? NAN : (float)json_number_value(x);
        if (!json_is_null(x) && (!json_is_number(x) || !isfinite(out[r])))
            return rein_failf(h->host, REIN_ERR_IO, "%s: reward %u is no number", server, r);
    }
    return REIN_OK;
}

static rein_status score_rows(struct http *h, const struct rein_completions *c, uint32_t from, uint32_t to,
                              float *out) {
    rein_status status = REIN_OK;
    char *request = request_of(h, c, from, to, &status);
    const char *text = NULL;
    size_t length = 0;

    if (status == REIN_OK)
        status = post_send(h->post, request, strlen(request), &text, &length);
    if (status == REIN_OK) {
        json_error_t why;
        json_t *answer = json_loadb(text, length, JSON_ALLOW_NUL, &why);

        status = answer ? read_rewards(h, answer, to - from, out)
                        : rein_failf(h->host, REIN_ERR_IO, "%s: the answer is not JSON (line %d: %s)",
                                     post_server(h->post), why.line, why.text);
        json_decref(answer);
    }
    free(request);
    return status;
}

static rein_status http_score(void *self, const struct rein_completions *c, float *family) {
    struct http *h = self;
    rein_status status = REIN_OK;

    for (uint32_t from = 0; from < c->rows && status == REIN_OK; from += (uint32_t)h->config.batch) {
        const uint32_t rest = c->rows - from, rows = rest < h->config.batch ? rest : (uint32_t)h->config.batch;

        status = score_rows(h, c, from, from + rows, family + from);
    }
    return status;
}

static const struct rein_reward_ops ops = {
    .size = sizeof(ops), .create = http_create, .destroy = http_destroy, .members = http_members, .score = http_score};

MODULE(REIN_KIND_REWARD, "http", "Scores from a reward server: POST {query, prompts, labels}, answered by {rewards}.");
