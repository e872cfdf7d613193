/* SPDX-License-Identifier: MIT */
#include "train/scoring.h"

#include "base/log.h"
#include "base/mem.h"
#include "plugin/host.h"
#include "train/signals.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct source {
    const struct stage_reward *spec;
    const struct rein_reward_ops *ops;
    struct host_instance *host;
    void *self;
    uint32_t members;
};

struct scoring {
    struct source sources[STAGE_MAX_REWARDS];
    size_t count;
    uint32_t members;             /* of the sum */
};

static int open_one(struct source *x, const struct stage_reward *spec, struct scorer *scorer, struct error *err) {
    *x = (struct source){.spec = spec, .ops = spec->plugin->ops};
    x->host = host_create(spec->plugin, &spec->marks, err);
    if (x->host == NULL)
        return -1;
    x->host->service = scorer_service;
    x->host->service_ctx = scorer;
    x->host->stopping = signals_pending;
    if (host_check(x->host, x->ops->create(&x->host->table, spec->config, &x->self), "create", err) != 0) {
        x->self = NULL;
        return -1;
    }
    if (host_check(x->host, x->ops->members(x->self, &x->members), "members", err) != 0)
        return -1;
    if (x->members == 0 || x->members > 1u << 16)
        return error_run(err, "reward %s: %u members are no reward", spec->name, x->members);
    return 0;
}

int scoring_open(const struct stage *s, struct scorer *scorer, struct scoring **out, struct error *err) {
    struct scoring *all = mem_zeros(1, sizeof(*all));

    if (all == NULL)
        return error_nomem(err, "rewards");
    all->members = 1;
    for (size_t i = 0; i < s->nrewards; i++) {
        struct source *x = &all->sources[i];

        all->count++;
        if (open_one(x, &s->rewards[i], scorer, err) != 0)
            goto fail;
        if (x->members > 1 && all->members > 1 && x->members != all->members) {
            error_input(err, "stage %s: reward %s has %u members where another has %u; they must be as many, or one",
                        s->name, x->spec->name, x->members, all->members);
            goto fail;
        }
        if (x->members > 1)
            all->members = x->members;
    }
    *out = all;
    return 0;
fail:
    scoring_close(all);
    return -1;
}

void scoring_close(struct scoring *s) {
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        if (s->sources[i].self != NULL)
            s->sources[i].ops->destroy(s->sources[i].self);
        host_free(s->sources[i].host);
    }
    free(s);
}

/* What the sources see. The pieces that are not in the rollout already are made here. */
struct view {
    struct rein_completions c;
    uint32_t *unit, *offset;
    uint64_t *row_id;
};

static void view_free(struct view *v) {
    free(v->unit);
    free(v->offset);
    free(v->row_id);
}

static int view_make(const struct rollout *r, uint64_t first_row_id, uint32_t number, struct view *v,
                     struct error *err) {
    const struct samples *s = &r->samples;

    v->unit = mem_array((size_t)r->prompts + 1, sizeof(*v->unit));
    v->offset = mem_array((size_t)s->rows + 1, sizeof(*v->offset));
    v->row_id = mem_array(s->rows, sizeof(*v->row_id));
    if (!v->unit || !v->offset || !v->row_id)
        return error_nomem(err, "rewards");
    for (uint32_t u = 0; u <= r->prompts; u++)
        v->unit[u] = u * r->group;
    v->offset[0] = 0;
    for (uint32_t i = 0; i < s->rows; i++) {
        v->offset[i + 1] = v->offset[i] + s->length[i];
        v->row_id[i] = first_row_id + i;
    }
    v->c = (struct rein_completions){
        .size = sizeof(v->c), .rows = s->rows, .units = r->prompts, .rollout = number, .unit = v->unit,
        .row_id = v->row_id, .ids = s->own, .offset = v->offset, .prompt_length = s->first,
        .prompt = (const char *const *)r->prompt, .completion = (const char *const *)r->completion,
        .messages = (const char *const *)r->messages, .columns = r->columns, .ended = s->ended};
    return 0;
}

/* Mean over members and rows that have an opinion, and the deviation of the rows' means (n - 1, as TRL's). */
static void describe(const struct source *x, const float *scores, uint32_t rows, const char *prefix,
                     struct metrics *metrics) {
    double sum = 0, square = 0, n = 0;
    char name[METRICS_NAME];

    for (uint32_t r = 0; r < rows; r++) {
        double row = 0, k = 0;

        for (uint32_t m = 0; m < x->members; m++)
            if (!isnan(scores[(size_t)m * rows + r])) {
                row += (double)scores[(size_t)m * rows + r];
                k++;
            }
        if (k > 0) {
            sum += row / k;
            square += row / k * (row / k);
            n++;
        }
    }
    snprintf(name, sizeof(name), "rewards/%.40s/mean", x->spec->name);
    metrics_add(metrics, prefix, name, REIN_METRIC_MEAN, sum, n);
    snprintf(name, sizeof(name), "rewards/%.40s/std", x->spec->name);
    if (n > 1)
        metrics_add(metrics, prefix, name, REIN_METRIC_MEAN, sqrt(fmax(0, (square - sum * sum / n) / (n - 1))), 1);
}

static int check_scores(const struct source *x, const float *scores, size_t count, struct error *err) {
    for (size_t i = 0; i < count; i++)
        if (isinf(scores[i]))
            return error_run(err, "reward %s gave an infinite score", x->spec->name);
    return 0;
}

/* (x - mean) / deviation over everything that the source said of this rollout, all its members together: what sets them
 * apart stays. Scores that are all equal become 0. An evaluation keeps the scale, so that evaluations compare. */
static void normalise(float *scores, size_t count) {
    double n = 0, mean = 0, squares = 0, deviation;

    for (size_t i = 0; i < count; i++)
        if (!isnan(scores[i])) {
            const double away = (double)scores[i] - mean;

            mean += away / ++n;
            squares += away * ((double)scores[i] - mean);
        }
    deviation = n > 0 ? sqrt(squares / n) : 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(scores[i]))
            scores[i] = deviation > 0 ? (float)(((double)scores[i] - mean) / deviation) : 0;
}

static void shape(const struct source *x, float *scores, size_t count, bool eval) {
    const float most = (float)x->spec->clip;

    if (x->spec->normalise && !eval)
        normalise(scores, count);
    for (size_t i = 0; most > 0 && i < count; i++)
        if (!isnan(scores[i])) /* fmin would take the limit for it */
            scores[i] = fmaxf(-most, fminf(most, scores[i]));
}

/* family[k][row] += weight * score; `said` counts the opinions behind each element. */
static void add_source(const struct source *x, const float *scores, uint32_t members, uint32_t rows, float *family,
                       uint8_t *said) {
    for (uint32_t k = 0; k < members; k++)
        for (uint32_t r = 0; r < rows; r++) {
            const float score = scores[x->members == 1 ? r : (size_t)k * rows + r];

            if (isnan(score))
                continue;
            family[(size_t)k * rows + r] += (float)(x->spec->weight * (double)score);
            said[(size_t)k * rows + r] = 1;
        }
}

static int mask_row(struct samples *s, uint32_t row, struct error *err) {
    if (s->mask == NULL) {
        s->mask = mem_zeros(s->tokens, 1);
        if (s->mask == NULL)
            return error_nomem(err, "rewards");
        memset(s->mask, 1, s->tokens);
    }
    memset(s->mask + s->offset[row], 0, samples_row_tokens(s, row));
    return 0;
}

/* Rewards are the means over the members that have an opinion; the others are put in their place. A completion that nobody
 * has an opinion on has none: a 0 would count in the mean that its group is compared with. */
static int settle(struct samples *s, const uint8_t *said, struct error *err) {
    uint32_t silent = 0;

    for (uint32_t r = 0; r < s->rows; r++) {
        double sum = 0, n = 0;

        for (uint32_t k = 0; k < s->members; k++)
            if (said[(size_t)k * s->rows + r]) {
                sum += (double)s->family[(size_t)k * s->rows + r];
                n++;
            }
        s->reward[r] = n > 0 ? (float)(sum / n) : NAN;
        for (uint32_t k = 0; k < s->members; k++)
            if (!said[(size_t)k * s->rows + r])
                s->family[(size_t)k * s->rows + r] = s->reward[r];
        if (n > 0)
            continue;
        silent++;
        if (mask_row(s, r, err) != 0)
            return -1;
    }
    if (silent == s->rows)
        return error_run(err, "no reward source has an opinion on any of the %u completions", s->rows);
    if (silent > 0)
        log_warn("%u of %u completions have no reward: nothing is learnt from them", silent, s->rows);
    return 0;
}

int scoring_score(struct scoring *all, struct rollout *r, uint64_t first_row_id, uint32_t number, const char *prefix,
                  struct metrics *metrics, struct error *err) {
    struct samples *s = &r->samples;
    const size_t count = (size_t)all->members * s->rows;
    struct view view = {0};
    float *scores = samples_array(count, err);
    uint8_t *said = mem_zeros(count, 1);
    int rc = -1;

    s->members = all->members;
    s->family = samples_array(count, err);
    s->reward = samples_array(s->rows, err);
    if (!scores || !said || !s->family || !s->reward) {
        error_nomem(err, "rewards");
        goto out;
    }
    if (view_make(r, first_row_id, number, &view, err) != 0)
        goto out;
    for (size_t i = 0; i < all->count; i++) {
        struct source *x = &all->sources[i];

        if (host_check(x->host, x->ops->score(x->self, &view.c, scores), "score", err) != 0 ||
            check_scores(x, scores, (size_t)x->members * s->rows, err) != 0)
            goto out;
        describe(x, scores, s->rows, prefix, metrics);
        shape(x, scores, (size_t)x->members * s->rows, *prefix != '\0');
        add_source(x, scores, all->members, s->rows, s->family, said);
    }
    rc = settle(s, said, err);
out:
    view_free(&view);
    free(scores);
    free(said);
    return rc;
}
