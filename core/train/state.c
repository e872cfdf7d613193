/* SPDX-License-Identifier: MIT */
#include "train/state.h"

#include "base/file.h"
#include "base/log.h"
#include "train/checkpoint.h"
#include "train/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The numbers of struct position by name. */
struct counter {
    const char *name;
    size_t offset;
};
#define COUNTER(field) {#field, offsetof(struct position, field)}
static const struct counter counters[] = {
    COUNTER(step),    COUNTER(tokens),  COUNTER(skipped), COUNTER(skipped_in_row), COUNTER(eval_pending),
    COUNTER(stopped), COUNTER(rollout), COUNTER(sampled), COUNTER(epoch),          COUNTER(minibatch),
    COUNTER(episodes),
};
enum { COUNTERS = sizeof(counters) / sizeof(counters[0]) };

static uint64_t *counter_at(struct position *p, size_t i) {
    return (uint64_t *)((char *)p + counters[i].offset);
}

/* Hexadecimal floats, as text: exact, and able to say nan. */
static json_t *metrics_to_json(const struct metrics *m) {
    json_t *out = json_array();

    for (size_t i = 0; out != NULL && i < m->count; i++) {
        char sum[40], weight[40];

        snprintf(sum, sizeof(sum), "%a", m->items[i].sum);
        snprintf(weight, sizeof(weight), "%a", m->items[i].weight);
        json_array_append_new(out, json_pack("[s, i, s, s]", m->names[i], (int)m->items[i].how, sum, weight));
    }
    return out;
}

static int metrics_from_json(const json_t *list, struct metrics *m, struct error *err) {
    metrics_clear(m);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name, *sum, *weight;
        int how;

        if (json_unpack(json_array_get(list, i), "[s, i, s, s]", &name, &how, &sum, &weight) != 0)
            return error_run(err, "the checkpoint's metrics are damaged");
        metrics_add(m, NULL, name, (uint32_t)how, strtod(sum, NULL), strtod(weight, NULL));
    }
    return 0;
}

static json_t *steps_to_json(const struct optimizer *o) {
    json_t *out = json_array();

    for (size_t i = 0; o != NULL && i < o->count; i++)
        json_array_append_new(out, json_integer(o->slots[i].steps));
    return out;
}

static int steps_from_json(const json_t *list, struct optimizer *o, struct error *err) {
    if (o == NULL)
        return 0;
    if (json_array_size(list) != o->count)
        return error_input(err, "the checkpoint is of a model with %zu parameters, not %zu", json_array_size(list),
                           o->count);
    for (size_t i = 0; i < o->count; i++)
        o->slots[i].steps = json_integer_value(json_array_get(list, i));
    return 0;
}

static int put_state(struct run *r, struct checkpoint_writer *w, const uint32_t *versions, struct error *err) {
    json_t *root = json_object(), *position = json_object(), *algorithms = json_array();
    char *text = NULL;
    int rc = -1;

    for (size_t i = 0; i < COUNTERS; i++)
        json_object_set_new(position, counters[i].name, json_integer((json_int_t)*counter_at(&r->at, i)));
    for (size_t i = 0; i < r->count; i++)
        json_array_append_new(algorithms, json_integer(versions[i]));
    json_object_set_new(root, "position", position);
    json_object_set_new(root, "of", fingerprint(r));
    json_object_set_new(root, "algorithms", algorithms);
    json_object_set_new(root, "updates", steps_to_json(r->trainer.optimizer));
    json_object_set_new(root, "critic_updates", steps_to_json(r->trainer.critic_optimizer));
    json_object_set_new(root, "rollout_metrics", metrics_to_json(&r->rollout_metrics));
    text = json_dumps(root, JSON_INDENT(1));
    rc = text ? checkpoint_put(w, "state.json", text, strlen(text), err) : error_nomem(err, "checkpoint");
    free(text);
    json_decref(root);
    return rc;
}

static int put_algorithms(struct run *r, struct checkpoint_writer *w, uint32_t *versions, struct error *err) {
    for (size_t i = 0; i < r->count; i++) {
        struct buffer bytes = {0};
        char name[48];
        int rc;

        snprintf(name, sizeof(name), "algorithm-%zu.state", i);
        rc = learner_save(&r->learners[i], &bytes, &versions[i], err);
        if (rc == 0)
            rc = checkpoint_put(w, name, bytes.data ? bytes.data : "", bytes.length, err);
        buffer_free(&bytes);
        if (rc != 0)
            return -1;
    }
    return 0;
}

static int put_average(struct run *r, struct checkpoint_writer *w, struct error *err) {
    int rc;

    if (r->average == NULL)
        return 0;
    rc = average_swap(r->average, err);
    if (rc == 0)
        rc = checkpoint_put_weights(w, "ema", r->trainer.optimizer, err);
    return average_swap(r->average, rc == 0 ? err : NULL) != 0 ? -1 : rc;
}

static int put_rollout(struct run *r, struct checkpoint_writer *w, struct error *err) {
    struct buffer bytes = {0};
    int rc;

    if (!r->stage->on_policy || !r->at.sampled)
        return 0;
    rc = samples_write(&r->samples[r->main], &bytes, err);
    if (rc == 0)
        rc = checkpoint_put(w, "rollout.state", bytes.data, bytes.length, err);
    buffer_free(&bytes);
    return rc;
}

int state_save(struct run *r, struct error *err) {
    struct checkpoint_writer w;
    uint32_t versions[STAGE_MAX_ALGORITHMS] = {0};

    if (checkpoint_begin(r->stage->output, r->at.step, &w, err) != 0)
        return -1;
    if (checkpoint_put_optimizer(&w, "model", r->trainer.optimizer, err) != 0 ||
        (r->trainer.critic_optimizer != NULL &&
         checkpoint_put_optimizer(&w, "critic", r->trainer.critic_optimizer, err) != 0) ||
        put_average(r, &w, err) != 0 || put_algorithms(r, &w, versions, err) != 0 || put_rollout(r, &w, err) != 0 ||
        put_state(r, &w, versions, err) != 0) {
        checkpoint_abort(&w);
        return -1;
    }
    return checkpoint_commit(&w, r->stage->checkpoint.keep > 0 ? r->stage->checkpoint.keep : 1, err);
}

static int get_algorithms(struct run *r, const char *path, const json_t *versions, struct error *err) {
    if (json_array_size(versions) != r->count)
        return error_input(err, "%s: cannot be resumed: the algorithms of the stage changed", path);
    for (size_t i = 0; i < r->count; i++) {
        char name[48], *data;
        size_t length;
        int rc;

        snprintf(name, sizeof(name), "algorithm-%zu.state", i);
        if (checkpoint_get(path, name, &data, &length, err) != 0)
            return -1;
        rc = learner_load(&r->learners[i], data, length, (uint32_t)json_integer_value(json_array_get(versions, i)), err);
        free(data);
        if (rc != 0)
            return -1;
    }
    return 0;
}

static int get_average(struct run *r, const char *path, struct error *err) {
    int rc;

    if (r->average == NULL)
        return 0;
    rc = average_swap(r->average, err);
    if (rc == 0)
        rc = checkpoint_get_weights(path, "ema", r->trainer.optimizer, err);
    return average_swap(r->average, rc == 0 ? err : NULL) != 0 ? -1 : rc;
}

static int get_rollout(struct run *r, const char *path, struct error *err) {
    char *data;
    size_t length;
    int rc;

    if (!r->stage->on_policy || !r->at.sampled)
        return 0;
    if (checkpoint_get(path, "rollout.state", &data, &length, err) != 0)
        return -1;
    samples_free(&r->samples[r->main]);
    rc = samples_read(data, length, &r->samples[r->main], err);
    free(data);
    return rc;
}

static int load(struct run *r, const char *path, const json_t *root, struct error *err) {
    const json_t *position = json_object_get(root, "position");

    if (fingerprint_check(r, json_object_get(root, "of"), path, err) != 0)
        return -1;
    for (size_t i = 0; i < COUNTERS; i++)
        *counter_at(&r->at, i) = (uint64_t)json_integer_value(json_object_get(position, counters[i].name));
    if (steps_from_json(json_object_get(root, "updates"), r->trainer.optimizer, err) != 0 ||
        steps_from_json(json_object_get(root, "critic_updates"), r->trainer.critic_optimizer, err) != 0 ||
        metrics_from_json(json_object_get(root, "rollout_metrics"), &r->rollout_metrics, err) != 0 ||
        checkpoint_get_optimizer(path, "model", r->trainer.optimizer, err) != 0 ||
        (r->trainer.critic_optimizer != NULL &&
         checkpoint_get_optimizer(path, "critic", r->trainer.critic_optimizer, err) != 0) ||
        get_average(r, path, err) != 0 ||
        get_algorithms(r, path, json_object_get(root, "algorithms"), err) != 0 || get_rollout(r, path, err) != 0)
        return -1;
    trainer_touch(&r->trainer);
    log_info("%s: going on from %s", r->stage->name, path);
    return 0;
}

int state_load(struct run *r, bool *found, struct error *err) {
    char *path, *text;
    size_t length;
    json_t *root;
    int rc;

    *found = false;
    if (checkpoint_clean(r->stage->output, err) != 0 || checkpoint_find(r->stage->output, &path, err) != 0)
        return -1;
    if (path == NULL)
        return 0;
    if (checkpoint_get(path, "state.json", &text, &length, err) != 0) {
        free(path);
        return -1;
    }
    root = json_loadb(text, length, 0, NULL);
    free(text);
    rc = root == NULL ? error_run(err, "%s: state.json is damaged", path) : load(r, path, root, err);
    json_decref(root);
    free(path);
    *found = rc == 0;
    return rc;
}
