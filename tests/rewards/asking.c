/* SPDX-License-Identifier: MIT */
#include "rewards/asking.h"

#include <check.h>

struct harness h;

void make(struct set *s, const uint32_t *order, uint32_t rows) {
    *s = (struct set){0};
    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t r = order[i], length = r == 0 ? 1 : 3 + 2 * r;

        s->offset[i + 1] = s->offset[i] + length;
        s->row_id[i] = ((uint64_t)r << 33) + 10 + r; /* both halves count */
        s->text[i] = "";
        for (uint32_t k = 0; k < length; k++)
            s->ids[s->offset[i] + k] = (int32_t)(20 + (r * 31 + k * 17) % 400);
    }
    s->c = (struct rein_completions){.size = sizeof(s->c),
                                     .rows = rows,
                                     .units = rows,
                                     .offset = s->offset,
                                     .ids = s->ids,
                                     .row_id = s->row_id,
                                     .prompt_length = s->prompt_length,
                                     .prompt = s->text,
                                     .completion = s->text,
                                     .ended = s->ended};
}
const uint32_t all[ROWS] = {0, 1, 2, 3, 4};

const char *const names[3] = {"a", "b", "c"};
static const struct rein_plugin plugin = {
    .size = sizeof(plugin), .abi = REIN_ABI_VERSION, .kind = REIN_KIND_REWARD, .name = "asking"};

void ask_open(struct asked *a, const struct model_source *sources, size_t count, uint64_t seed) {
    const struct stage_env env = {.backend = h.backend, .seed = seed};
    struct error err = {0};

    *a = (struct asked){.stage = {.name = "align", .nscored = count}};
    for (size_t i = 0; i < count; i++)
        a->stage.scored[i] = (struct stage_scored){.name = names[i], .use = {.present = true, .source = sources[i]}};
    ck_assert_int_eq(tokenizer_load(h.model, &a->t, NULL), 0);
    ck_assert_msg(scorer_open(&a->stage, &env, a->t, &a->scorer, &err) == 0, "%s", err.text);
    a->host = host_create(&plugin, NULL, NULL);
    a->host->service = scorer_service;
    a->host->service_ctx = a->scorer;
    a->service = a->host->table.service(a->host->table.ctx, REIN_SCORER_1);
}

void ask_close(struct asked *a) {
    host_free(a->host);
    scorer_close(a->scorer);
    tokenizer_free(a->t);
}

void ask(struct asked *a, const struct set *s, struct rein_score_request q, float *out) {
    struct error err = {0};

    q.size = sizeof(q);
    q.completions = &s->c;
    if (q.model == NULL)
        q.model = "a";
    ck_assert_msg(host_check(a->host, a->service->score(a->host->table.ctx, &q, out), "score", &err) == 0, "%s",
                  err.text);
}

struct model_source random_source(uint64_t seed, uint32_t heads) {
    return (struct model_source){
        .path = h.model, .random = true, .seed = seed, .head_seed = seed + 1, .head = MODEL_SCORE, .heads = heads};
}

struct model *open_model(const struct model_source *source) {
    struct model *m;
    struct error err = {0};

    ck_assert_msg(model_open(h.backend, source, &m, &err) == 0, "%s", err.text);
    return m;
}
