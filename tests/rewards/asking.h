/* tests/rewards/asking.h - five completions, and reward sources and models asked about them.
 * SPDX-License-Identifier: MIT
 */
#ifndef REIN_TESTS_ASKING_H
#define REIN_TESTS_ASKING_H

#include "plugin/host.h"
#include "rewards/tiny.h"
#include "train/harness.h"
#include "train/scorer.h"

#include <rein/reward.h>

enum { ROWS = 5, SEED = 77 };

extern struct harness h;

/* Ids of different lengths, one after the other. */
struct set {
    int32_t ids[64];
    uint32_t offset[ROWS + 1], prompt_length[ROWS];
    uint64_t row_id[ROWS];
    const char *text[ROWS];
    uint8_t ended[ROWS];
    struct rein_completions c;
};
extern const uint32_t all[ROWS];
/* Rows order[0..rows] of the five. */
void make(struct set *s, const uint32_t *order, uint32_t rows);

/* The scorer over up to three models, which go by these names, and an instance that asks it. */
extern const char *const names[3];
struct asked {
    struct stage stage;
    struct tokenizer *t;
    struct scorer *scorer;
    struct host_instance *host;
    const struct rein_scorer_1 *service;
};
void ask_open(struct asked *a, const struct model_source *sources, size_t count, uint64_t seed);
void ask_close(struct asked *a);
/* Fills in size, completions and, when it is NULL, the model "a". */
void ask(struct asked *a, const struct set *s, struct rein_score_request q, float *out);

struct model_source random_source(uint64_t seed, uint32_t heads);
struct model *open_model(const struct model_source *source);

#endif
