/* tests/train/harness.h - a stage on a tiny random model, from a few lines of YAML.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_TESTS_HARNESS_H
#define REIN_TESTS_HARNESS_H

#include "base/yaml.h"
#include "plugin/backend.h"
#include "plugin/loader.h"
#include "train/stage.h"

/* A temporary folder with model/ (config.json, tokenizer.json); everything is removed by harness_close. */
struct harness {
    char folder[64];
    char model[96];
    char sft[256], pairs[256], prompts[256]; /* data sets of 12 rows, after harness_data */
    struct registry *registry;
    struct backend *backend;
    uint64_t stop_step;     /* a signal comes right after this step's metrics; 0: none */
    uint64_t *allocations;  /* [1 + steps] how often the backend was asked for memory until the first step, and the end
                               of each; or NULL */
    uint64_t stop_progress; /* or at this call of the sink's progress(), counting from 1 */
    uint64_t *calls;        /* how many of them the last run made; or NULL */
};
int harness_open(struct harness *h); /* 0, or -1 with a message on stderr. On ref */
int harness_use(struct harness *h, const char *backend); /* from now on another one; -1 where it was not built */
void harness_data(struct harness *h);
void harness_close(struct harness *h);
/* Writes <folder>/name and returns its path (a static buffer). */
const char *harness_file(const struct harness *h, const char *name, const char *text);

/* A resolved stage, from YAML like a pipeline's: algorithm, train, rollout, data, checkpoint, rewards. Models are the tiny
 * random one (`model: {dropout: 0.1, bootstrap: true}`): `head: score` for a reward model; `from: PATH`; `dtype: bf16`; `lora: {...}`; `critic: separate|share`, `reference: true`. */
struct fixture {
    struct document doc;
    struct arena arena;
    struct stage stage;
    char output[128];
    struct model_source tiny;
};
int fixture_open(const struct harness *h, const char *name, const char *yaml, struct fixture *out);
void fixture_close(struct fixture *f);

/* Runs the stage; metrics go to <output>/metrics.jsonl. */
int fixture_run(const struct harness *h, struct fixture *f, uint64_t seed, bool resume, struct error *err);
/* The values of a metric, in order of steps; returns how many (at most `capacity`). */
size_t fixture_metric(const struct fixture *f, const char *name, double *out, size_t capacity);
/* CRC-32 of <output>/model's weights, or of another file of the output. */
uint32_t fixture_crc(const struct fixture *f, const char *file);
/* metrics.jsonl without the fields that are times: free() it. */
char *fixture_metrics_text(const struct fixture *f);

#endif
