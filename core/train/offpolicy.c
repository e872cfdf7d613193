/* SPDX-License-Identifier: MIT */
#include "train/offpolicy.h"

#include "base/mem.h"
#include "train/signals.h"

#include <stdlib.h>

/* The loss and metrics of the whole evaluation set, as one step would compute them. */
static int evaluate(struct run *r, struct error *err) {
    const double began = run_clock();
    uint32_t *units = mem_array(r->eval.units, sizeof(*units));
    const struct step_part part = {&r->learners[r->main], &r->eval, units, r->eval.units};
    const struct step_request request = {
        .parts = &part, .count = 1, .micro = r->micro, .temperature = 1, .eval = true, .sink = r->env->sink};
    int rc;

    if (units == NULL)
        return error_nomem(err, "evaluation");
    for (uint32_t i = 0; i < r->eval.units; i++)
        units[i] = i;
    rc = step_run(&r->step, &request, &r->result, err);
    if (rc == 0)
        rc = run_report_eval(r, &r->result.metrics, true, run_clock() - began, err);
    free(units);
    return rc;
}

static int one_step(struct run *r, struct error *err) {
    const uint64_t per_epoch = order_steps(&r->orders[r->main]);
    struct run_step what = {.count = r->count, .pass = (uint32_t)(r->at.step / per_epoch),
                            .epoch = (double)(r->at.step + 1) / (double)per_epoch,
                            .last = (r->at.step + 1) % per_epoch == 0};
    uint32_t stop = 0;

    for (size_t i = 0; i < r->count; i++) {
        what.parts[i] = (struct step_part){.learner = &r->learners[i], .samples = &r->samples[i]};
        what.parts[i].units = order_at(&r->orders[i], r->at.step, &what.parts[i].count);
    }
    return run_one_step(r, &what, &stop, err);
}

int offpolicy_run(struct run *r, struct error *err) {
    r->evaluate = evaluate;
    if (run_begin(r, err) != 0)
        return -1;
    if (r->at.eval_pending && r->at.step < r->total && run_between_steps(r, err) != 0)
        return run_failed(r, err);
    while (r->at.step < r->total && !r->at.stopped) {
        if (signals_check(err) != 0 || one_step(r, err) != 0)
            return run_stopped(r, err);
        if (run_between_steps(r, err) != 0)
            return run_failed(r, err);
    }
    return run_finish(r, err);
}
