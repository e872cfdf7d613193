/* Rewards that a rule can check. SPDX-License-Identifier: MIT
 *
 *   exact    the completion is the text in a column of the data (or one of a list there)
 *   number   its last number is the last number in that column: "... so it is 1,234." and "#### 1234"
 *   regex    a Perl-compatible pattern occurs in it
 *   format   the pattern describes all of it
 *   length   0 up to `target` tokens, then falling in a line to -1 at target + scale and beyond
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/module.h"
#include "rewards/rule/answer.h"

#include <rein/reward.h>
#include <rein/util.h>

#include <jansson.h>
#include <math.h>
#include <pcre2.h>
#include <string.h>

enum { EXACT, NUMBER, REGEX, FORMAT, LENGTH };
static const char *const kinds[] = {"exact", "number", "regex", "format", "length", NULL};

struct config {
    int64_t kind, target, scale;
    const char *column, *pattern;
    double hit, miss;
    uint8_t strip, ignore_case;
};

struct rule {
    const struct rein_host *host;
    struct config config;
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
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

    pcre2_code_free(r->code);
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->limits);
    r->host->free(r->host->ctx, r);
}

static rein_status compile(struct rule *r) {
    uint32_t options = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | (r->config.ignore_case ? PCRE2_CASELESS : 0);
    PCRE2_SIZE at;
    int code;

    if (r->config.kind == FORMAT)
        options |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
    r->code = pcre2_compile((PCRE2_SPTR)r->config.pattern, PCRE2_ZERO_TERMINATED, options, &code, &at, NULL);
    if (!r->code) {
        char why[160], text[240];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof(why));
        snprintf(text, sizeof(text), "at character %zu: %s", (size_t)at + 1, why);
        return r->host->fail_param(r->host->ctx, "pattern", text);
    }
    r->match = pcre2_match_data_create_from_pattern(r->code, NULL);
    r->limits = pcre2_match_context_create(NULL);
    if (!r->match || !r->limits)
        return r->host->fail(r->host->ctx, REIN_ERR_NOMEM, "out of memory");
    /* a pattern may need exponential time: about a second and 16 MiB at most */
    pcre2_set_match_limit(r->limits, 5000000);
    pcre2_set_depth_limit(r->limits, 100000);
    pcre2_set_heap_limit(r->limits, 16384);
    return REIN_OK;
}

static rein_status rule_create(const struct rein_host *host, const void *config, void **self) {
    const struct config *c = config;
    rein_status status = REIN_OK;
    struct rule *r;

    if ((c->kind == EXACT || c->kind == NUMBER) && !c->column)
        return host->fail_param(host->ctx, "column", "names the column with the right answer; this kind needs it");
    if ((c->kind == REGEX || c->kind == FORMAT) && !c->pattern)
        return host->fail_param(host->ctx, "pattern", "is what this kind looks for; it needs one");
    r = host->alloc(host->ctx, sizeof(*r));
    if (!r)
        return host->fail(host->ctx, REIN_ERR_NOMEM, "out of memory");
    *r = (struct rule){.host = host, .config = *c};
    if (c->kind == REGEX || c->kind == FORMAT)
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

/* Compares row i's completion with the answer in its column. NaN when the column is null there. */
static rein_status score_answer(struct rule *r, const struct rein_completions *c, uint32_t i, struct span text,
                                float *out) {
    json_t *row = c->columns && c->columns[i] ? json_loads(c->columns[i], JSON_ALLOW_NUL, NULL) : NULL;
    const json_t *value = json_object_get(row, r->config.column);
    const struct comparison how = {r->config.kind == NUMBER, r->config.strip, r->config.ignore_case};
    rein_status status = REIN_OK;
    int hit = 0;

    if (!value) {
        status = rein_failf(r->host, REIN_ERR_ARG, "row %u has no column '%s'", i, r->config.column);
    } else if (json_is_null(value)) {
        *out = NAN;
    } else {
        size_t n = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t k = 0; k < n && hit == 0; k++)
            hit = answer_is(&how, text, json_is_array(value) ? json_array_get(value, k) : value);
        if (hit < 0)
            status = rein_failf(r->host, REIN_ERR_ARG, "row %u: column '%s' holds no %s", i, r->config.column,
                                r->config.kind == NUMBER ? "number" : "text");
        *out = (float)(hit > 0 ? r->config.hit : r->config.miss);
    }
    json_decref(row);
    return status;
}

static float score_pattern(struct rule *r, struct span text) {
    int found = pcre2_match(r->code, (PCRE2_SPTR)text.text, text.length, 0, 0, r->match, r->limits);

    if (found < 0 && found != PCRE2_ERROR_NOMATCH && !r->warned++)
        rein_logf(r->host, REIN_LOG_WARN,
                  "the pattern could not be decided on a completion (PCRE2 error %d); that counts as a miss", found);
    return (float)(found >= 0 ? r->config.hit : r->config.miss);
}

static rein_status rule_score(void *self, const struct rein_completions *c, float *family) {
    struct rule *r = self;

    for (uint32_t i = 0; i < c->rows; i++) {
        double over = (double)(c->offset[i + 1] - c->offset[i] - c->prompt_length[i]) - (double)r->config.target;
        rein_status status = REIN_OK;
        struct span text;

        if (r->config.kind == LENGTH) {
            family[i] = (float)-fmin(fmax(over / (double)r->config.scale, 0), 1);
            continue;
        }
        text = answer_strip(c->completion[i], strlen(c->completion[i]), r->config.strip);
        if (r->config.kind == REGEX || r->config.kind == FORMAT)
            family[i] = score_pattern(r, text);
        else
            status = score_answer(r, c, i, text, &family[i]);
        if (status != REIN_OK)
            return status;
    }
    return REIN_OK;
}

static const struct rein_reward_ops ops = {
    .size = sizeof(ops), .create = rule_create, .destroy = rule_destroy, .members = rule_members, .score = rule_score};

MODULE(REIN_KIND_REWARD, "rule", "Checks completions by a rule: right answer, number, pattern, length.");
