/* SPDX-License-Identifier: MIT */
#include "train/learner.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_BYTES = 1 << 20 };

int learner_open(const struct stage_algorithm *spec, unsigned nth, struct learner *out, struct error *err) {
    *out = (struct learner){.spec = spec, .ops = spec->plugin->ops};
    if (nth == 1)
        snprintf(out->prefix, sizeof(out->prefix), "%.40s/", spec->plugin->name);
    else if (nth > 1)
        snprintf(out->prefix, sizeof(out->prefix), "%.40s-%u/", spec->plugin->name, nth);
    out->host = host_create(spec->plugin, &spec->marks, err);
    if (out->host == NULL)
        return -1;
    out->needs.size = sizeof(out->needs);
    if (host_check(out->host, out->ops->create(&out->host->table, spec->config, &out->self), "create", err) != 0) {
        out->self = NULL;
        goto fail;
    }
    if (host_check(out->host, out->ops->describe(out->self, &out->needs), "describe", err) != 0)
        goto fail;
    if (out->needs.sums > REIN_MAX_SUMS || (out->needs.sums > 0 && out->ops->measure == NULL)) {
        error_run(err, "algorithm %s asks for sums that it cannot measure", spec->plugin->name);
        goto fail;
    }
    return 0;
fail:
    learner_close(out);
    return -1;
}

void learner_close(struct learner *l) {
    if (l->self != NULL)
        l->ops->destroy(l->self);
    host_free(l->host);
    *l = (struct learner){0};
}

bool learner_needs(const struct learner *l, uint32_t need) {
    return (l->needs.needs & need) != 0;
}

bool learner_samples(const struct learner *l) {
    return (l->needs.data & REIN_DATA_PROMPTS) != 0;
}

int learner_prepare(struct learner *l, struct rein_experience *e, struct error *err) {
    if (l->ops->prepare == NULL)
        return 0;
    return host_check(l->host, l->ops->prepare(l->self, e), "prepare", err);
}

int learner_measure(struct learner *l, const struct rein_batch *b, double *sums, struct error *err) {
    return host_check(l->host, l->ops->measure(l->self, b, sums), "measure", err);
}

static float *zeroed(float *x, bool wanted, uint32_t count) {
    if (!wanted)
        return NULL;
    memset(x, 0, count * sizeof(*x));
    return x;
}

int learner_loss(struct learner *l, struct batch *b, struct rein_metrics *metrics, double *loss, struct error *err) {
    struct rein_loss out = {.size = sizeof(out), .metrics = metrics};
    const uint32_t n = b->view.tokens;

    out.d_logp = zeroed(b->d_logp, b->view.logp != NULL, n);
    out.d_entropy = zeroed(b->d_entropy, b->view.entropy != NULL, n);
    out.d_value = zeroed(b->d_value, b->view.value != NULL, n);
    out.d_score = zeroed(b->d_score, b->view.score != NULL, b->view.rows);
    if (host_check(l->host, l->ops->loss(l->self, &b->view, &out), "loss", err) != 0)
        return -1;
    *loss = out.loss;
    return 0;
}

int learner_after(struct learner *l, const struct rein_step *s, uint32_t *stop, struct error *err) {
    if (l->ops->after == NULL)
        return 0;
    return host_check(l->host, l->ops->after(l->self, s, stop), "after", err);
}

int learner_save(struct learner *l, struct buffer *out, uint32_t *version, struct error *err) {
    struct rein_state state = {.size = sizeof(state), .capacity = STATE_BYTES};
    int rc = -1;

    *version = 0;
    if (l->ops->save == NULL)
        return 0;
    state.data = mem_zeros(STATE_BYTES, 1);
    if (state.data == NULL)
        return error_nomem(err, "an algorithm's state");
    if (host_check(l->host, l->ops->save(l->self, &state), "save", err) == 0) {
        if (state.length > state.capacity)
            error_run(err, "algorithm %s says that its state is larger than the room for it", l->spec->plugin->name);
        else {
            buffer_add(out, state.data, state.length);
            *version = state.version;
            rc = out->failed ? error_nomem(err, "an algorithm's state") : 0;
        }
    }
    free(state.data);
    return rc;
}

int learner_load(struct learner *l, const char *data, size_t length, uint32_t version, struct error *err) {
    struct rein_state state = {.size = sizeof(state), .version = version, .capacity = length, .length = length};
    int rc;

    if (l->ops->save == NULL && length == 0)
        return 0;
    if (l->ops->load == NULL)
        return error_run(err, "algorithm %s cannot read its state back", l->spec->plugin->name);
    state.data = mem_array(length, 1); /* aligned for whatever it holds */
    if (state.data == NULL)
        return error_nomem(err, "an algorithm's state");
    if (length)
        memcpy(state.data, data, length);
    rc = host_check(l->host, l->ops->load(l->self, &state), "load", err);
    free(state.data);
    return rc;
}
