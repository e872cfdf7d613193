/* SPDX-License-Identifier: MIT */
#include "train/step.h"

#include "base/mem.h"
#include "base/rng.h"
#include "train/signals.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Everything about the part in work. */
struct work {
    struct step *step;
    const struct step_request *request;
    const struct step_part *part;
    struct batch_norms norms;
    struct trainer_forward how;
    struct pass_perturb dropout;
    double sums[REIN_MAX_SUMS];
    char prefix[METRICS_NAME];
    struct step_result *out;
};

void step_free(struct step *s) {
    batch_free(&s->batch);
    free(s->keys);
}

static uint32_t micro_count(const struct work *w, uint32_t at) {
    const uint32_t left = w->part->count - at;

    return left < w->request->micro ? left : w->request->micro;
}

/* Dropout of a row is its own, however the step is cut into micro-batches. */
static int draw_dropout(struct work *w, uint32_t at, enum batch_rows which, struct error *err) {
    const struct step_request *q = w->request;
    const struct samples *s = w->part->samples;
    const uint64_t part = (uint64_t)(w->part - q->parts) << 32;
    struct step *step = w->step;
    uint32_t n = 0;

    w->how.perturb = NULL;
    if (q->dropout == 0 || q->eval)
        return 0;
    if (mem_grow((void **)&step->keys, &step->keys_capacity, step->batch.view.rows, sizeof(*step->keys)) != 0)
        return error_nomem(err, "dropout");
    for (uint32_t i = 0; i < micro_count(w, at); i++) {
        const uint32_t unit = w->part->units[at + i];

        for (uint32_t r = s->unit[unit]; r < s->unit[unit + 1]; r++)
            if (batch_takes(s, r, which))
                step->keys[n++] = rng_key(q->seed, RNG_DROPOUT, (uint32_t)q->step, part | r);
    }
    w->dropout = (struct pass_perturb){
        .kind = REIN_PERTURB_DROPOUT, .site = q->adapter_dropout ? PASS_SITE_ADAPTER : REIN_SITE_ALL, .rate = q->dropout, .keys = step->keys};
    w->how.perturb = &w->dropout;
    return 0;
}

static int build(struct work *w, uint32_t at, enum batch_rows which, struct error *err) {
    struct batch *b = &w->step->batch;

    if (signals_check(err) != 0 ||
        batch_build(b, w->part->samples, w->part->units + at, micro_count(w, at), which, &w->norms, err) != 0)
        return -1;
    if (w->request->eval)
        b->view.flags |= REIN_BATCH_EVAL;
    return 0;
}

static int load(struct work *w, uint32_t at, enum batch_rows which, bool keep, struct error *err) {
    w->how.keep = keep;
    if (build(w, at, which, err) != 0 || draw_dropout(w, at, which, err) != 0)
        return -1;
    return trainer_forward(w->step->trainer, &w->step->batch, &w->how, err);
}

/* What an algorithm cannot know: it sees no ids. Rejected and undesirable answers are not to be hit. */
static void count_right(struct work *w) {
    const struct batch *b = &w->step->batch;
    double right = 0, tokens = 0;

    for (uint32_t r = 0; r < b->view.rows; r++) {
        if ((b->view.role && b->view.role[r] == REIN_ROLE_REJECTED) || (b->view.label && !b->view.label[r]))
            continue;
        for (uint32_t i = b->offset[r]; i < b->offset[r + 1]; i++)
            if (b->view.mask == NULL || b->view.mask[i]) {
                right += b->best[i] == b->targets[i];
                tokens++;
            }
    }
    metrics_add(&w->out->metrics, w->prefix, "mean_token_accuracy", REIN_METRIC_MEAN, right, tokens);
}

static void compare_old(struct work *w) {
    const struct batch *b = &w->step->batch;
    double sum = 0, most = 0, tokens = 0;

    for (uint32_t i = 0; i < b->view.tokens; i++)
        if (b->view.mask == NULL || b->view.mask[i]) {
            const double d = fabs((double)b->logp[i] - (double)b->logp_old[i]);
            sum += d;
            most = fmax(most, d);
            tokens++;
        }
    metrics_add(&w->out->metrics, NULL, "sampling/sampling_logp_difference/mean", REIN_METRIC_MEAN, sum, tokens);
    metrics_add(&w->out->metrics, NULL, "sampling/sampling_logp_difference/max", REIN_METRIC_MAX, most, tokens);
}

static void scale(float *x, bool there, uint32_t n, double weight) {
    for (uint32_t i = 0; there && i < n; i++)
        x[i] = (float)(x[i] * weight);
}

/* How often a unit is in the sample that a head learns from: Poisson(1), the online bootstrap of Oza and Russell 2001. */
static double times_drawn(const struct step_request *q, uint32_t head, uint32_t unit) {
    double u = rng_uniform(q->seed, RNG_BOOTSTRAP, head, unit, 0), p = exp(-1.0);
    int times = 0;

    for (; u >= p && times < 16; times++) {
        u -= p;
        p /= times + 1;
    }
    return times;
}

/* Every score head has a loss of its own; the step's is their mean. A unit's weight acts on its derivatives, which is the
 * same for losses that are sums over units. */
static int each_head(struct work *w, uint32_t at, uint32_t heads, double *loss, struct error *err) {
    struct batch *b = &w->step->batch;

    *loss = 0;
    for (uint32_t k = 0; k < heads; k++) {
        double one = 0;

        for (uint32_t r = 0; r < b->view.rows; r++)
            b->score[r] = b->scores[(size_t)r * heads + k];
        if (learner_loss(w->part->learner, b, metrics_page_open(&w->step->page), &one, err) != 0)
            return -1;
        *loss += one / heads;
        metrics_merge(&w->out->metrics, w->prefix, &w->step->page.table);
        for (uint32_t u = 0; u < b->view.units; u++) {
            const double times = w->request->bootstrap ? times_drawn(w->request, k, w->part->units[at + u]) : 1;

            for (uint32_t r = b->view.unit[u]; r < b->view.unit[u + 1]; r++)
                b->d_scores[(size_t)r * heads + k] = (float)(times * (double)b->d_score[r] / heads);
        }
    }
    return 0;
}

/* The loss and its derivatives; metrics. */
static int find_loss(struct work *w, uint32_t at, double *loss, struct error *err) {
    struct batch *b = &w->step->batch;
    const uint32_t heads = model_heads(w->step->trainer->actor);

    if (b->view.score != NULL && heads > 1 && !w->request->eval)
        return each_head(w, at, heads, loss, err);
    if (learner_loss(w->part->learner, b, metrics_page_open(&w->step->page), loss, err) != 0)
        return -1;
    metrics_merge(&w->out->metrics, w->prefix, &w->step->page.table);
    return 0;
}

static int micro_batch(struct work *w, uint32_t at, bool loaded, struct error *err) {
    struct batch *b = &w->step->batch;
    const double weight = w->part->learner->spec->weight;
    double loss = 0;

    if (!loaded && load(w, at, BATCH_LOSS, !w->request->eval, err) != 0)
        return -1;
    b->view.sums = w->part->learner->needs.sums ? w->sums : NULL;
    if (find_loss(w, at, &loss, err) != 0)
        return -1;
    /* an evaluation is of one algorithm, and of its own loss */
    w->out->loss += (w->request->eval ? 1 : weight) * loss;
    if (*w->part->learner->prefix != '\0')
        metrics_add(&w->out->metrics, w->prefix, "loss", REIN_METRIC_SUM, loss, 1);
    w->out->tokens += b->packed.offset[b->packed.count];
    if (w->how.best)
        count_right(w);
    if (w->request->compare_old && b->view.logp_old != NULL && b->view.logp != NULL)
        compare_old(w);
    if (w->request->eval)
        return 0;
    if (weight != 1) {
        scale(b->d_logp, b->view.logp != NULL, b->view.tokens, weight);
        scale(b->d_entropy, b->view.entropy != NULL, b->view.tokens, weight);
        scale(b->d_value, b->view.value != NULL, b->view.tokens, weight);
        scale(b->d_score, b->view.score != NULL, b->view.rows, weight);
        if (b->view.score != NULL && model_heads(w->step->trainer->actor) > 1)
            scale(b->d_scores, true, b->view.rows * model_heads(w->step->trainer->actor), weight);
    }
    return trainer_backward(w->step->trainer, b, &w->how, w->request->critic_only, err);
}

/* The sums of the whole step, before its first loss. *reusable: the loss can go on from the forward pass made here, so
 * that a step of one micro-batch runs the model only once. */
static int measure(struct work *w, bool *reusable, struct error *err) {
    const struct rein_needs *needs = &w->part->learner->needs;
    const bool mismatched = (needs->needs & REIN_NEED_KL_ROWS) != 0;
    const enum batch_rows which = mismatched ? BATCH_MISMATCHED : BATCH_LOSS;

    *reusable = w->part->count <= w->request->micro && !mismatched && !needs->counts_only;
    for (uint32_t at = 0; at < w->part->count; at += w->request->micro) {
        const int rc =
            needs->counts_only ? build(w, at, which, err) : load(w, at, which, *reusable && !w->request->eval, err);

        if (rc != 0 || learner_measure(w->part->learner, &w->step->batch.view, w->sums, err) != 0)
            return -1;
    }
    return 0;
}

static int run_part(struct step *s, const struct step_request *r, const struct step_part *part, uint64_t done,
                    uint64_t total, struct step_result *out, struct error *err) {
    struct work w = {.step = s, .request = r, .part = part, .out = out};
    const bool sampled = learner_samples(part->learner);
    bool loaded = false;

    batch_norms(part->samples, part->units, part->count, &w.norms);
    if (sampled && r->max_tokens > 0)
        w.norms.max_tokens = r->max_tokens;
    /* what is learnt from given data beside a rollout is learnt at temperature 1 */
    w.how = (struct trainer_forward){.needs = part->learner->needs.needs,
                                     .temperature = sampled ? r->temperature : 1,
                                     .best = !sampled && learner_needs(part->learner, REIN_NEED_LOGP)};
    snprintf(w.prefix, sizeof(w.prefix), "%s%.50s", r->eval ? "eval_" : "", part->learner->prefix);
    if (part->learner->needs.sums > 0 && measure(&w, &loaded, err) != 0)
        return -1;
    for (uint32_t at = 0; at < part->count; at += r->micro) {
        if (r->sink && r->sink->progress)
            r->sink->progress(r->sink->ctx, r->eval ? "evaluating" : "training", done + at, total);
        if (micro_batch(&w, at, loaded, err) != 0)
            return -1;
    }
    return 0;
}

/* Moves the weights when every number is finite. */
static int update(struct step *s, const struct step_request *r, struct step_result *out, struct error *err) {
    struct trainer *t = s->trainer;
    const bool actor = !r->critic_only || t->shared;
    const int owner = r->critic_only ? OWNER_CRITIC : OPTIMIZER_ALL;

    if (actor && optimizer_norm(t->optimizer, owner, &out->grad_norm, err) != 0)
        return -1;
    if (t->critic_optimizer != NULL &&
        optimizer_norm(t->critic_optimizer, OPTIMIZER_ALL, &out->critic_grad_norm, err) != 0)
        return -1;
    out->updated = isfinite(out->loss) && isfinite(out->grad_norm) && isfinite(out->critic_grad_norm);
    if (!out->updated)
        return 0;
    if (actor && optimizer_step(t->optimizer, owner, r->factor, out->grad_norm, err) != 0)
        return -1;
    if (t->critic_optimizer != NULL &&
        optimizer_step(t->critic_optimizer, OPTIMIZER_ALL, r->factor, out->critic_grad_norm, err) != 0)
        return -1;
    trainer_touch(t);
    return 0;
}

int step_run(struct step *s, const struct step_request *r, struct step_result *out, struct error *err) {
    uint64_t total = 0, done = 0;

    out->loss = out->grad_norm = out->critic_grad_norm = 0;
    out->updated = false;
    out->tokens = 0;
    metrics_clear(&out->metrics);
    for (size_t i = 0; i < r->count; i++)
        total += r->parts[i].count;
    if (!r->eval) {
        optimizer_zero_grad(s->trainer->optimizer);
        if (s->trainer->critic_optimizer != NULL)
            optimizer_zero_grad(s->trainer->critic_optimizer);
    }
    for (size_t i = 0; i < r->count; i++) {
        if (run_part(s, r, &r->parts[i], done, total, out, err) != 0)
            return -1;
        done += r->parts[i].count;
    }
    return r->eval ? 0 : update(s, r, out, err);
}
