/* SPDX-License-Identifier: MIT */
#include "train/standard.h"

#include "base/log.h"
#include "base/mem.h"
#include "train/signals.h"

#include <math.h>
#include <stdlib.h>

/* Running sums of each head (Welford). */
struct sums {
    double count, mean[CONFIG_MAX_HEADS], squares[CONFIG_MAX_HEADS];
};

static void add_scores(struct sums *x, const struct batch *b, uint32_t heads) {
    for (uint32_t r = 0; r < b->view.rows; r++) {
        x->count++;
        for (uint32_t k = 0; k < heads; k++) {
            const double score = heads == 1 ? (double)b->score[r] : (double)b->scores[(size_t)r * heads + k];
            const double away = score - x->mean[k];

            x->mean[k] += away / x->count;
            x->squares[k] += away * (score - x->mean[k]);
        }
    }
}

/* Every so-many-th unit, `micro` at a time. */
static int add_all(struct run *r, const struct samples *s, struct sums *x, struct error *err) {
    const struct trainer_forward how = {.needs = REIN_NEED_SCORE, .temperature = 1};
    const struct batch_norms norms = {0};
    const uint32_t count = s->units < STANDARD_UNITS ? s->units : STANDARD_UNITS;
    const uint32_t micro = r->micro < count ? r->micro : count;
    uint32_t *units = mem_array(micro, sizeof(*units));
    int rc = units ? 0 : error_nomem(err, "scores");

    for (uint32_t at = 0; rc == 0 && at < count; at += micro) {
        const uint32_t n = count - at < micro ? count - at : micro;

        for (uint32_t i = 0; i < n; i++)
            units[i] = (uint32_t)((uint64_t)(at + i) * s->units / count);
        rc = signals_check(err) || batch_build(&r->step.batch, s, units, n, BATCH_ALL, &norms, err) ||
                     trainer_forward(&r->trainer, &r->step.batch, &how, err)
                 ? -1
                 : 0;
        if (rc == 0)
            add_scores(x, &r->step.batch, model_heads(r->trainer.actor));
    }
    free(units);
    return rc;
}

int standard_measure(struct run *r, struct error *err) {
    struct model *m = r->trainer.actor;
    struct model_standard found = {.known = true};
    struct sums x = {0};

    if (model_head(m) != MODEL_SCORE)
        return 0;
    if (add_all(r, r->eval.rows > 0 ? &r->eval : &r->samples[r->main], &x, err) != 0)
        return -1;
    for (uint32_t k = 0; k < model_heads(m); k++) {
        found.mean[k] = x.mean[k];
        found.deviation[k] = sqrt(x.squares[k] / x.count);
        found.known = found.known && found.deviation[k] > 0 && isfinite(found.deviation[k]);
    }
    if (!found.known)
        log_warn("%s: all texts have the same score: no deviation is kept with the model", r->stage->name);
    model_set_standard(m, &found);
    return 0;
}
