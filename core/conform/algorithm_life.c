/* Instances: several, their state, their memory. SPDX-License-Identifier: MIT */
#include "conform/algorithm.h"
#include "conform/conform.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

/* Two instances take turns, each as if it were alone. */
void check_instances(const struct subject *s) {
    struct workload u, v;
    struct outcome alone[2], first, second, again;
    void *a = subject_make(s), *b = subject_make(s);

    subject_fresh(s, 1, &alone[0]);
    subject_fresh(s, 2, &alone[1]);
    workload_make(&u, &s->needs, s->data, 1, s->masks);
    workload_make(&v, &s->needs, s->data, 2, s->masks);
    workload_prepare(s->ops, a, &u, 0);
    workload_prepare(s->ops, b, &v, 0);
    workload_step(s->ops, a, &u, 0, &first);
    workload_step(s->ops, b, &v, 0, &second);
    workload_step(s->ops, a, &u, 0, &again);
    if (!conform_ok(outcome_same(&alone[0], &first) && outcome_same(&alone[1], &second),
                    "%s: two instances do not interfere", s->label)) {
        outcome_explain(&u, &alone[0], "alone", &first, "beside another instance");
        outcome_explain(&v, &alone[1], "alone", &second, "beside another instance");
        conform_note("what changes belongs to the instance: no static variables");
    }
    if (!conform_ok(outcome_same(&first, &again), "%s: the same input gives the same bits", s->label))
        outcome_explain(&u, &first, "at first", &again, "again");
    u.b.flags = REIN_BATCH_EVAL;
    outcome_free(&again);
    workload_step(s->ops, a, &u, 0, &again);
    conform_ok(again.status == REIN_OK && isfinite(again.loss), "%s: evaluation batches work", s->label);
    outcome_free(&alone[0]);
    outcome_free(&alone[1]);
    outcome_free(&first);
    outcome_free(&second);
    outcome_free(&again);
    workload_free(&u);
    workload_free(&v);
    s->ops->destroy(a);
    s->ops->destroy(b);
}

/* Half of check_threads: one instance, one thread. */
struct runner {
    const struct subject *subject;
    atomic_bool *done, *other_done; /* has it, has the other run often enough? */
    uint64_t seed;
    struct outcome alone;
    struct outcome first_off; /* the first outcome that is another than alone */
    bool off;
};

static void *run_alone(void *argument) {
    enum { TIMES = 40 };
    struct runner *r = argument;

    /* the first to be done goes on until the other is, however late that one began: none of its runs is alone */
    for (int i = 0; (i < TIMES || !atomic_load(r->other_done)) && !r->off; i++) {
        struct outcome o;
        subject_fresh(r->subject, r->seed, &o);
        if (outcome_same(&o, &r->alone)) {
            outcome_free(&o);
        } else {
            r->first_off = o;
            r->off = true;
        }
        if (i + 1 >= TIMES)
            atomic_store(r->done, true);
    }
    atomic_store(r->done, true);
    return NULL;
}

/* Two instances at the same time, each on a thread of its own. */
void check_threads(const struct subject *s) {
    atomic_bool done[2] = {false, false};
    struct runner runners[2] = {{s, &done[0], &done[1], .seed = 1}, {s, &done[1], &done[0], .seed = 2}};
    pthread_t thread;
    bool beside;

    for (int i = 0; i < 2; i++)
        subject_fresh(s, runners[i].seed, &runners[i].alone);
    beside = pthread_create(&thread, NULL, run_alone, &runners[1]) == 0;
    if (!beside)
        atomic_store(&done[1], true);
    run_alone(&runners[0]);
    if (beside)
        pthread_join(thread, NULL);
    if (!beside)
        conform_skip("two instances at the same time", "no thread can be made here");
    else if (!conform_ok(!runners[0].off && !runners[1].off, "%s: two instances may run at the same time", s->label))
        conform_note("what changes belongs to the instance: no static variables");
    for (int i = 0; i < 2; i++) {
        struct workload w;
        if (runners[i].off) {
            workload_make(&w, &s->needs, s->data, runners[i].seed, s->masks);
            outcome_explain(&w, &runners[i].alone, "alone", &runners[i].first_off, "beside another thread");
            workload_free(&w);
            outcome_free(&runners[i].first_off);
        }
        outcome_free(&runners[i].alone);
    }
}

/* One rollout or step with after(), as in a run; what it asks to be stopped. */
static uint32_t run_step(const struct subject *s, void *self, uint32_t number, struct outcome *o) {
    struct workload w;
    uint32_t stop = 0;

    workload_make(&w, &s->needs, s->data, 10 + number, s->masks);
    workload_prepare(s->ops, self, &w, number);
    workload_step(s->ops, self, &w, 0, o);
    struct rein_step step = {.size = sizeof(step),
                             .step = number + 1,
                             .rollout = number,
                             .last = 1,
                             .loss = o->loss,
                             .grad_norm = 1,
                             .lr = 1e-5,
                             .metrics = &o->list};
    if (s->ops->after)
        s->ops->after(self, &step, &stop);
    workload_free(&w);
    return stop;
}

void check_state(const struct subject *s) {
    char bytes[4096];
    struct rein_state state = {.size = sizeof(state), .data = bytes, .capacity = sizeof(bytes)};
    struct outcome o, a, b;
    void *old = subject_make(s), *resumed = subject_make(s);
    struct workload w;
    uint32_t stop = 0;
    bool ok = true;

    for (uint32_t i = 0; i < 2; i++) {
        stop |= run_step(s, old, i, &o);
        outcome_free(&o);
    }
    if (!conform_ok(!(stop & ~(REIN_STOP_ROLLOUT | REIN_STOP_STAGE)),
                    "%s: after stops the rollout, the stage or nothing", s->label))
        conform_note("*stop is %u, expected 0, REIN_STOP_ROLLOUT or REIN_STOP_STAGE", stop);
    if (s->ops->save)
        ok = s->ops->save(old, &state) == REIN_OK && state.length <= state.capacity &&
             s->ops->load(resumed, &state) == REIN_OK;
    run_step(s, old, 2, &a);
    run_step(s, resumed, 2, &b);
    if (!conform_ok(ok && outcome_same(&a, &b),
                    s->ops->save ? "%s: a loaded instance goes on as the saved one would"
                                 : "%s: nothing is remembered that save would have to keep",
                    s->label)) {
        workload_make(&w, &s->needs, s->data, 12, s->masks);
        outcome_explain(&w, &a, "going on", &b, s->ops->save ? "after save and load" : "in a new instance");
        workload_free(&w);
    }
    if (s->ops->save && state.length > 0) {
        state.length--;
        conform_host_quiet(true);
        conform_ok(s->ops->load(resumed, &state) != REIN_OK, "%s: a truncated state is refused", s->label);
        conform_host_quiet(false);
    }
    outcome_free(&a);
    outcome_free(&b);
    s->ops->destroy(old);
    s->ops->destroy(resumed);
}

/* The nth allocation fails: some call says so, and nothing stays behind. */
void check_memory(const struct subject *s) {
    bool told = true, leaked = false;
    long n = 0, untold = 0, kept = 0;
    char bytes[4096];

    conform_host_quiet(true);
    do {
        long before = conform_host_live();
        struct rein_needs needs = {.size = sizeof(needs)};
        struct rein_state state = {.size = sizeof(state), .data = bytes, .capacity = sizeof(bytes)};
        struct workload w;
        struct outcome o;
        void *self = NULL;
        rein_status status;

        workload_make(&w, &s->needs, s->data, 1, s->masks);
        conform_host_fail_alloc(++n);
        status = s->ops->create(conform_host(), s->config, &self);
        if (status == REIN_OK) {
            status = s->ops->describe(self, &needs);
            if (status == REIN_OK)
                status = workload_prepare(s->ops, self, &w, 0);
            if (status == REIN_OK) {
                workload_step(s->ops, self, &w, 0, &o);
                status = o.status;
                outcome_free(&o);
            }
            if (status == REIN_OK && s->ops->save)
                status = s->ops->save(self, &state);
            if (status == REIN_OK && s->ops->load)
                status = s->ops->load(self, &state);
            s->ops->destroy(self);
        }
        if (conform_host_alloc_failed() && status == REIN_OK) {
            told = false;
            untold = untold ? untold : n;
        }
        if (conform_host_live() != before) {
            leaked = true;
            kept = kept ? kept : n;
        }
        workload_free(&w);
    } while (conform_host_alloc_failed() && n < 1000);
    conform_host_fail_alloc(0);
    conform_host_quiet(false);
    if (!conform_ok(told, "%s: a failed allocation is reported (%ld tried)", s->label, n - 1))
        conform_note("when allocation %ld of create .. loss fails, every call returned REIN_OK", untold);
    if (!conform_ok(!leaked, "%s: everything allocated is given back", s->label))
        conform_note(kept == n ? "destroy() keeps some of what was allocated"
                               : "when allocation %ld fails, what was allocated before it is kept",
                     kept);
}
