/* Rewards that a rule can check. SPDX-License-Identifier: MIT
 *
 *   exact    the completion is the text in a column of the data (or one of a list there)
 *   number   its last number is the last number in that column: "... so it is 1,234." and "#### 1234"
 *   (for these two `extract` may pick what counts of the completion: '####\s*(.+)')
 *   regex    a Perl-compatible pattern occurs in it
 *   format   the pattern describes all of it
 *   length   0 up to `target` tokens, then falling in a line to -1 at target + scale and beyond
 */
#include "common/module.h"
#include "rewards/rule/answer.h"
#include "rewards/rule/pattern.h"

#include <rein/reward.h>
#include <rein/util.h>

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { EXACT, NUMBER, REGEX, FORMAT, LENGTH };
static const char *const kinds[] = {"exact", "number", "regex", "format", "length", NULL};

struct config {
    int64_t kind, target, scale;
    const char *column, *pattern, *extract;
    double hit, miss, tolerance;
    uint8_t strip, ignore_case;
};

struct rule {
    const struct rein_host *host;
    struct config config;
    struct pattern pattern; /* of `pattern` or `extract`: no kind has both */
    int warned;
};

static const struct rein_param params[] = {
    {.name = "kind",
     .type = REIN_PARAM_CHOICE,
     .flags = REIN_PARAM_REQUIRED,
     .offset = offsetof(struct config, kind),
     .choices = kinds,
     .doc = "What is checked: the text or last number of a column, a pattern, or the length."},
    {.name = "column",
     .type = REIN_PARAM_COLUMN,
     .offset = offsetof(struct config, column),
     .doc =
         "Column of the data with the right answer, for exact and number; a list there holds several right answers."},
    {.name = "pattern",
     .type = REIN_PARAM_STRING,
     .offset = offsetof(struct config, pattern),
     .doc = "Perl-compatible regular expression, for regex and format."},
    {.name = "extract",
     .type = REIN_PARAM_STRING,
     .offset = offsetof(struct config, extract),
     .doc = "Pattern whose last match is the answer, for exact and number: its first group, or all of it; without a "
            "match the completion fails."},
    {.name = "tolerance",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, tolerance),
     .dflt = "0",
     .min = 0,
     .max = 1e300,
     .doc = "How far a number may be off, for number; 0 compares digit by digit."},
    {.name = "hit",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, hit),
     .dflt = "1",
     .min = -1e6,
     .max = 1e6,
     .doc = "Reward of a completion that passes."},
    {.name = "miss",
     .type = REIN_PARAM_REAL,
     .offset = offsetof(struct config, miss),
     .dflt = "0",
     .min = -1e6,
     .max = 1e6,
     .doc = "Reward of a completion that does not."},
    {.name = "target",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, target),
     .dflt = "64",
     .min = 0,
     .max = 1e6,
     .unit = "tokens",
     .doc = "Length up to which there is no penalty, for length."},
    {.name = "scale",
     .type = REIN_PARAM_INT,
     .offset = offsetof(struct config, scale),
     .dflt = "64",
     .min = 1,
     .max = 1e6,
     .unit = "tokens",
     .doc = "How far beyond the target the penalty reaches -1, for length."},
    {.name = "strip",
     .type = REIN_PARAM_BOOL,
     .offset = offsetof(struct config, strip),
     .dflt = "true",
     .doc = "Leave out white space at both ends of completion and answer."},
    {.name = "ignore_case",
     .type = REIN_PARAM_BOOL,
     .offset = offsetof(struct config, ignore_case),
     .dflt = "false",
     .doc = "Treat upper and lower case alike."},
    {.name = NULL},
};

static void rule_destroy(void *self) {
    struct rule *r = self;

    pattern_free(&r->pattern);
    r->host->free(r->host->ctx, r);
}

static rein_status compile(struct rule *r) {
    const struct config *c = &r->config;
    const uint32_t whole = c->kind == FORMAT ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0;
    const uint32_t flags = whole | (c->ignore_case ? PCRE2_CASELESS : 0);

    if (c->kind == REGEX || c->kind == FORMAT)
        return pattern_compile(r->host, "pattern", c->pattern, flags, &r->pattern);
    if (c->kind != LENGTH && c->extract)
        return pattern_compile(r->host, "extract", c->extract, flags, &r->pattern);
    return REIN_OK;
}

static rein_status rule_create(const struct rein_host *host, const void *config, void **self) {
    const struct config *c = config;
    rein_status status;
    struct rule *r;

    if ((c->kind == EXACT || c->kind == NUMBER) && !c->column)
        return host->fail_param(host->ctx, "column", "names the column with the right answer; this kind needs it");
    if ((c->kind == REGEX || c->kind == FORMAT) && !c->pattern)
        return host->fail_param(host->ctx, "pattern", "is what this kind looks for; it needs one");
    r = host->alloc(host->ctx, sizeof(*r));
    if (!r)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *r = (struct rule){.host = host, .config = *c};
    status = compile(r);
    if (status != REIN_OK) {
        rule_destroy(r);
        return status;
    }
    *self = r;
    return REIN_OK;
}

static rein_status rule_members(void *self, uint32_t *k) {
    (void)self;
    *k = 1;
    return REIN_OK;
}

/* Compares what counts of row i's completion (NULL: nothing) with the answer in its column. NaN when the column is null
 * there. */
static rein_status score_answer(struct rule *r, const struct rein_completions *c, uint32_t i, const struct span *text,
                                float *out) {
    json_t *row = c->columns && c->columns[i] ? json_loads(c->columns[i], JSON_ALLOW_NUL, NULL) : NULL;
    const json_t *value = json_object_get(row, r->config.column);
    const struct comparison how = {r->config.kind == NUMBER, r->config.strip, r->config.ignore_case,
                                   r->config.tolerance};
    rein_status status = REIN_OK;
    int hit = 0;

    if (!value) {
        status = rein_failf(r->host, REIN_ERR_ARG, "row %u has no column '%s'", i, r->config.column);
    } else if (json_is_null(value)) {
        *out = NAN;
    } else {
        size_t n = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t k = 0; k < n && hit == 0 && text; k++)
            hit = answer_is(&how, *text, json_is_array(value) ? json_array_get(value, k) : value);
        if (hit < 0)
            status = rein_failf(r->host, REIN_ERR_ARG, "row %u: column '%s' holds no %s", i, r->config.column,
                                r->config.kind == NUMBER ? "number" : "text");
        *out = (float)(hit > 0 ? r->config.hit : r->config.miss);
    }
    json_decref(row);
    return status;
}

/* A pattern that could not be decided counts as no match. */
static int found(struct rule *r, int match) {
    if (match < 0 && !r->warned++)
        rein_logf(r->host, REIN_LOG_WARN,
                  "the pattern could not be decided on a completion (PCRE2 error %d); that counts as a miss", match);
    return match > 0;
}

static rein_status score_row(struct rule *r, const struct rein_completions *c, uint32_t i, float *out) {
    const struct config *how = &r->config;
    struct span text = answer_strip(c->completion[i], strlen(c->completion[i]), how->strip);
    int picked = 1;

    if (how->kind == LENGTH) {
        double over = (double)(c->offset[i + 1] - c->offset[i] - c->prompt_length[i]) - (double)how->target;
        *out = (float)-fmin(fmax(over / (double)how->scale, 0), 1);
        return REIN_OK;
    }
    if (how->kind == REGEX || how->kind == FORMAT) {
        *out = (float)(found(r, pattern_find(&r->pattern, text)) ? how->hit : how->miss);
        return REIN_OK;
    }
    if (r->pattern.code) {
        picked = found(r, pattern_last(&r->pattern, text, &text));
        text = answer_strip(text.text, text.length, how->strip);
    }
    return score_answer(r, c, i, picked ? &text : NULL, out);
}

static rein_status rule_score(void *self, const struct rein_completions *c, float *family) {
    rein_status status = REIN_OK;

    for (uint32_t i = 0; i < c->rows && status == REIN_OK; i++)
        status = score_row(self, c, i, &family[i]);
    return status;
}

static const struct rein_reward_ops ops = {
    .size = sizeof(ops), .create = rule_create, .destroy = rule_destroy, .members = rule_members, .score = rule_score};

MODULE(REIN_KIND_REWARD, "rule", "Checks completions by a rule: right answer, number, pattern, length.");
