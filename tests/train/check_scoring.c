/* Reward sources put together, and models at their service. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mem.h"
#include "model/pass.h"
#include "plugin/host.h"
#include "text/template.h"
#include "train/harness.h"
#include "train/scorer.h"
#include "train/scoring.h"

#include <rein/reward.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tap.h"

static struct harness h;

/* A reward source of two members: what it says is in `table`, [members][rows]. */
struct fake {
    uint32_t members;
    const float *table;
};
static const struct fake *next;
/* how the sources of score() are shaped, and whether it is an evaluation */
static bool normalised;
static double clipped;
static const char *prefix = "";

static rein_status fake_create(const struct rein_host *host, const void *config, void **self) {
    (void)host;
    (void)config;
    *self = (void *)(uintptr_t)next++;
    return REIN_OK;
}

static void fake_destroy(void *self) {
    (void)self;
}

static rein_status fake_members(void *self, uint32_t *k) {
    *k = ((const struct fake *)self)->members;
    return REIN_OK;
}

static rein_status fake_score(void *self, const struct rein_completions *c, float *family) {
    const struct fake *f = self;

    memcpy(family, f->table, f->members * c->rows * sizeof(*family));
    return REIN_OK;
}

static const struct rein_reward_ops ops = {.size = sizeof(ops), .create = fake_create, .destroy = fake_destroy,
                                           .members = fake_members, .score = fake_score};
static const struct rein_plugin plugin = {.size = sizeof(plugin), .abi = REIN_ABI_VERSION, .kind = REIN_KIND_REWARD,
                                          .name = "fake", .ops = &ops};

/* Three rows of one prompt of two tokens, each answered by two. */
static void make_rollout(struct rollout *r) {
    const uint32_t lengths[] = {4, 4, 4}, prompts[] = {2, 2, 2};

    *r = (struct rollout){.prompts = 1, .group = 3};
    ck_assert_int_eq(samples_create(3, lengths, prompts, &r->samples, NULL), 0);
    r->samples.ended = mem_zeros(3, 1);
    r->prompt = mem_zeros(3, sizeof(char *));
    r->completion = mem_zeros(3, sizeof(char *));
    r->messages = mem_zeros(3, sizeof(char *));
    r->columns = mem_zeros(3, sizeof(char *));
}

static int score(const struct fake *fakes, size_t count, const double *weights, struct rollout *r, struct metrics *m,
                 struct error *err) {
    struct stage stage = {.name = "align", .nrewards = count};
    struct scoring *s = NULL;
    int rc;

    for (size_t i = 0; i < count; i++)
        stage.rewards[i] = (struct stage_reward){.plugin = &plugin, .weight = weights[i], .normalise = normalised,
                                                  .clip = clipped, .name = i ? "b" : "a"};
    next = fakes;
    make_rollout(r);
    if (scoring_open(&stage, NULL, &s, err) != 0)
        return -1;
    rc = scoring_score(s, r, 0, 0, prefix, m, err);
    scoring_close(s);
    return rc;
}

/* A source that keeps which rows it was shown, call by call. */
static struct {
    uint32_t calls, rows[16], rollout[16];
    uint64_t id[16][16];
} noted;

static rein_status noting_create(const struct rein_host *host, const void *config, void **self) {
    (void)host;
    (void)config;
    *self = &noted;
    return REIN_OK;
}

static rein_status noting_members(void *self, uint32_t *k) {
    (void)self;
    *k = 1;
    return REIN_OK;
}

static rein_status noting_score(void *self, const struct rein_completions *c, float *family) {
    (void)self;
    ck_assert_uint_lt(noted.calls, 16);
    ck_assert_uint_le(c->rows, 16);
    noted.rows[noted.calls] = c->rows;
    noted.rollout[noted.calls] = c->rollout;
    memcpy(noted.id[noted.calls++], c->row_id, c->rows * sizeof(*c->row_id));
    for (uint32_t r = 0; r < c->rows; r++)
        family[r] = (float)r;
    return REIN_OK;
}

static const struct rein_reward_ops noting_ops = {.size = sizeof(noting_ops), .create = noting_create,
                                                  .destroy = fake_destroy, .members = noting_members,
                                                  .score = noting_score};
static const struct rein_plugin noting = {.size = sizeof(noting), .abi = REIN_ABI_VERSION, .kind = REIN_KIND_REWARD,
                                          .name = "noting", .ops = &noting_ops};

static void shown(uint32_t call, uint32_t rows, uint64_t first, uint32_t rollout) {
    ck_assert_uint_eq(noted.rows[call], rows);
    ck_assert_uint_eq(noted.rollout[call], rollout);
    for (uint32_t r = 0; r < rows; r++)
        ck_assert_uint_eq(noted.id[call][r], first + r);
}

/* A row's number is its own in the whole run; those of an evaluation are the same each time, so that evaluations
 * compare, and far from all others. */
START_TEST(rows_are_numbered_through_the_run) {
    struct fixture f;
    struct error err = {0};
    char yaml[1024];

    harness_data(&h);
    snprintf(yaml, sizeof(yaml),
             "algorithm: {use: grpo, baseline: group, beta: 0}\nrewards: [{use: rule, kind: regex, pattern: x}]\n"
             "data: {train: %s, eval: %s}\nrollout: {prompts: 2, group: 3, max_tokens: 4}\n"
             "train: {steps: 4, eval_every: 2}\n", h.prompts, h.prompts);
    ck_assert_int_eq(fixture_open(&h, "numbers", yaml, &f), 0);
    f.stage.rewards[0].plugin = &noting;
    ck_assert_msg(fixture_run(&h, &f, 1, false, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(noted.calls, 6);
    shown(0, 6, 0, 0);
    shown(1, 6, 6, 1);
    shown(2, 12, (uint64_t)1 << 62, 1u << 30);
    shown(3, 6, 12, 2);
    shown(4, 6, 18, 3);
    shown(5, 12, (uint64_t)1 << 62, 1u << 30);
    fixture_close(&f);
}
END_TEST

static double metric(const struct metrics *m, const char *name) {
    struct report_value values[64];
    const size_t n = metrics_values(m, values, 0, 64);

    for (size_t i = 0; i < n; i++)
        if (strcmp(values[i].name, name) == 0)
            return values[i].value;
    return NAN;
}

START_TEST(sources_are_summed_member_by_member) {
    static const float two[] = {1, 2, 3, 5, 6, 7}, one[] = {10, 20, 30};
    const struct fake fakes[] = {{2, two}, {1, one}};
    const double weights[] = {1, 0.5};
    static struct metrics m;
    struct rollout r;
    struct error err = {0};

    ck_assert_msg(score(fakes, 2, weights, &r, &m, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(r.samples.members, 2);
    ck_assert_float_eq(r.samples.family[0], 6);
    ck_assert_float_eq(r.samples.family[3], 10);
    ck_assert_float_eq(r.samples.family[5], 22);
    ck_assert_float_eq(r.samples.reward[0], 8);
    ck_assert_float_eq(r.samples.reward[2], 20);
    ck_assert_ptr_null(r.samples.mask);
    ck_assert_double_eq(metric(&m, "rewards/a/mean"), 4);
    ck_assert_double_eq(metric(&m, "rewards/b/mean"), 20);
    ck_assert_double_eq(metric(&m, "rewards/b/std"), 10); /* n - 1, as TRL's */
    rollout_free(&r);
}
END_TEST

START_TEST(no_opinion_is_not_a_zero) {
    const float a[] = {1, NAN, NAN, 3, NAN, 4}, b[] = {NAN, NAN, 7};
    const struct fake fakes[] = {{2, a}, {1, b}};
    const double weights[] = {1, 1};
    static struct metrics m;
    struct rollout r;
    struct error err = {0};

    metrics_clear(&m);
    ck_assert_msg(score(fakes, 2, weights, &r, &m, &err) == 0, "%s", err.text);
    ck_assert_float_eq(r.samples.reward[0], 2);
    ck_assert(isnan(r.samples.reward[1])); /* nobody said anything: nothing is learnt from it */
    ck_assert_float_eq(r.samples.reward[2], 9); /* members 7 and 11 */
    ck_assert_ptr_nonnull(r.samples.mask);
    for (int i = 0; i < 6; i++)
        ck_assert_uint_eq(r.samples.mask[i], i / 2 != 1);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(isnan(r.samples.family[i]) != 0, i % 3 == 1);
    ck_assert_double_eq(metric(&m, "rewards/a/mean"), 3);
    rollout_free(&r);
}
END_TEST

/* (x - mean) / deviation of all that a source says, then clipped, then weighted; not in an evaluation, but clipped. */
START_TEST(a_source_is_normalised_and_clipped) {
    const float a[] = {1, NAN, 3, 5, 9, 2}, b[] = {7, 7, 7};
    const struct fake fakes[] = {{2, a}, {1, b}};
    const double weights[] = {2, 1}, mean = 4, deviation = sqrt(8); /* of 1 3 5 9 2, population */
    static struct metrics m;
    struct rollout r;
    struct error err = {0};

    normalised = true;
    clipped = 1;
    ck_assert_msg(score(fakes, 2, weights, &r, &m, &err) == 0, "%s", err.text);
    for (int i = 0; i < 6; i++) {
        const double x = (a[i] - mean) / deviation;

        if (i != 1)
            ck_assert_double_eq_tol(r.samples.family[i], 2 * fmax(-1, fmin(1, x)), 1e-6);
    }
    ck_assert_float_eq(r.samples.family[1], 0); /* only b spoke: all alike, so 0 */
    ck_assert_float_eq_tol(r.samples.family[0], -2, 1e-6); /* below the limit */
    ck_assert_float_eq_tol(r.samples.family[4], 2, 1e-6);
    ck_assert_double_eq(metric(&m, "rewards/b/mean"), 7); /* what it said */
    rollout_free(&r);
    prefix = "eval_";
    ck_assert_msg(score(fakes, 2, weights, &r, &m, &err) == 0, "%s", err.text);
    ck_assert_float_eq(r.samples.family[0], 2 * 1 + 1);
    ck_assert_float_eq(r.samples.family[4], 2 * 1 + 1);
    rollout_free(&r);
    prefix = "";
    normalised = false;
    clipped = 0;
}
END_TEST

START_TEST(what_cannot_be_summed_is_refused) {
    static const float x[9] = {0};
    const float silent[] = {NAN, NAN, NAN}, endless[] = {0, INFINITY, 0};
    const struct fake unequal[] = {{2, x}, {3, x}}, nobody[] = {{1, silent}}, inf[] = {{1, endless}};
    const double weights[] = {1, 1};
    static struct metrics m;
    struct rollout r;
    struct error err = {0};

    ck_assert_int_eq(score(unequal, 2, weights, &r, &m, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_INPUT);
    ck_assert_ptr_nonnull(strstr(err.text, "3 members where another has 2"));
    rollout_free(&r);
    ck_assert_int_eq(score(nobody, 1, weights, &r, &m, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_RUN);
    rollout_free(&r);
    ck_assert_int_eq(score(inf, 1, weights, &r, &m, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "infinite"));
    rollout_free(&r);
}
END_TEST

/* The score of these ids by a model of our own. */
static float score_ids(const struct model_source *source, const struct ids *ids) {
    const uint32_t offset[] = {0, (uint32_t)ids->count};
    const struct packed packed = {1, offset, ids->data};
    const int32_t last = (int32_t)ids->count - 1;
    struct model *m = NULL;
    struct pass *p = NULL;
    float out = NAN;

    ck_assert_int_eq(model_open(h.backend, source, &m, NULL), 0);
    ck_assert_int_eq(pass_create(m, &p, NULL), 0);
    ck_assert_int_eq(pass_forward(p, &packed, false, NULL), 0);
    ck_assert_int_eq(pass_scores(p, m, 1, &last, &out, NULL), 0);
    pass_free(p);
    model_close(m);
    return out;
}

/* The model again with that chat template, room for it, and a tokenizer that puts a token in front of a text. */
static const char *model_with_template(const char *name) {
    static char folder[128];
    char path[256];
    size_t length = 0;
    char *jinja;
    json_t *config = json_load_file(SOURCE_DIR "/conf/demo/model/tokenizer_config.json", 0, NULL);
    json_t *tokenizer = json_load_file(SOURCE_DIR "/conf/demo/model/tokenizer.json", 0, NULL), *model;

    snprintf(path, sizeof(path), "%s/tests/golden/templates/%s.jinja", SOURCE_DIR, name);
    jinja = file_read(path, 1 << 16, &length, NULL);
    ck_assert_ptr_nonnull(jinja);
    snprintf(folder, sizeof(folder), "%s/chat", h.folder);
    ck_assert_int_eq(file_make_folder(folder, NULL), 0);
    json_object_set_new(config, "chat_template", json_stringn(jinja, length));
    snprintf(path, sizeof(path), "%s/tokenizer_config.json", folder);
    ck_assert_int_eq(json_dump_file(config, path, 0), 0);
    json_object_set_new(tokenizer, "post_processor",
                        json_pack("{s:s,s:[{s:{s:s,s:i}},{s:{s:s,s:i}}],s:[],s:{s:{s:s,s:[i],s:[s]}}}", "type",
                                  "TemplateProcessing", "single", "SpecialToken", "id", "<|end|>", "type_id", 0,
                                  "Sequence", "id", "A", "type_id", 0, "pair", "special_tokens", "<|end|>", "id",
                                  "<|end|>", "ids", 0, "tokens", "<|end|>"));
    snprintf(path, sizeof(path), "%s/tokenizer.json", folder);
    ck_assert_int_eq(json_dump_file(tokenizer, path, 0), 0);
    snprintf(path, sizeof(path), "%s/config.json", h.model);
    model = json_load_file(path, 0, NULL);
    json_object_set_new(model, "max_position_embeddings", json_integer(128));
    snprintf(path, sizeof(path), "%s/config.json", folder);
    ck_assert_int_eq(json_dump_file(model, path, 0), 0);
    json_decref(model);
    json_decref(tokenizer);
    json_decref(config);
    free(jinja);
    return folder;
}

START_TEST(a_reward_model_reads_what_was_sampled) {
    const struct model_source source = {
        .path = model_with_template("zephyr"), .random = true, .seed = 5, .head = MODEL_SCORE};
    struct stage stage = {.name = "align", .nscored = 1};
    const struct stage_env env = {.backend = h.backend};
    struct tokenizer *t = NULL;
    struct host_instance *host = host_create(&plugin, NULL, NULL);
    struct ids ids = {0}, rendered = {0}, chat = {0};
    const struct chat_template *template;
    static const struct {
        uint32_t kind, site;
        double rate;
    } odd[] = {{REIN_PERTURB_DROPOUT, REIN_SITE_EMBEDDING, 0.1}, {REIN_PERTURB_DROPOUT, REIN_SITE_HEAD, 1},
               {REIN_PERTURB_DROPOUT, REIN_SITE_ALL, -0.1},      {REIN_PERTURB_NOISE, REIN_SITE_ALL, 0.1},
               {REIN_PERTURB_NOISE, REIN_SITE_HEAD, -1},         {REIN_PERTURB_NOISE, REIN_SITE_HEAD, NAN},
               {9, REIN_SITE_HEAD, 0.1}};
    const char *prompt = "the shop", *completion = " is open";
    const char *messages = "[{\"role\":\"user\",\"content\":\"tea?\"},{\"role\":\"assistant\",\"content\":\"bread\"}]";
    json_t *list = json_loads(messages, 0, NULL);
    const uint8_t ended = 1;
    uint32_t offset[2] = {0}, prompt_length;
    struct rein_completions c = {.size = sizeof(c), .rows = 1, .units = 1, .offset = offset, .prompt = &prompt,
                                 .prompt_length = &prompt_length, .completion = &completion, .ended = &ended};
    struct rein_score_request request = {.size = sizeof(request), .model = "judge", .completions = &c};
    struct error err = {0};

    stage.scored[0] = (struct stage_scored){.name = "judge", .use = {.present = true, .source = source}};
    ck_assert_int_eq(tokenizer_load(source.path, &t, NULL), 0);
    ck_assert_int_eq(template_recognise(t, &template, NULL), 0);
    ck_assert_int_eq(template_render(template, t, list, false, &chat, NULL, NULL), 0);
    ck_assert_int_eq(tokenizer_encode(t, prompt, strlen(prompt), TOKENIZE_BOS, &ids, NULL), 0);
    prompt_length = (uint32_t)ids.count;
    ck_assert_int_eq(ids_add(&ids, 17, NULL), 0); /* not what the text says: only the ids tell */
    offset[1] = (uint32_t)ids.count;
    c.ids = ids.data;
    ck_assert_int_eq(tokenizer_encode(t, prompt, strlen(prompt), TOKENIZE_BOS, &rendered, NULL), 0);
    ck_assert_int_eq(tokenizer_encode(t, completion, strlen(completion), 0, &rendered, NULL), 0);
    ck_assert_int_eq(ids_add(&rendered, tokenizer_eos(t), NULL), 0);
    for (int same = 0; same < 2; same++) {
        struct scorer *scorer = NULL;
        const struct rein_scorer_1 *service;
        float out = NAN;

        ck_assert_msg(scorer_open(&stage, &env, same ? t : NULL, &scorer, &err) == 0, "%s", err.text);
        host->service = scorer_service;
        host->service_ctx = scorer;
        ck_assert_ptr_null(host->table.service(host->table.ctx, "rein.scorer/9"));
        service = host->table.service(host->table.ctx, REIN_SCORER_1);
        ck_assert_ptr_nonnull(service);
        ck_assert_int_eq(service->score(host->table.ctx, &request, &out), REIN_OK);
        ck_assert_float_eq_tol(out, score_ids(&source, same ? &ids : &rendered), 1e-6);
        c.messages = &messages;
        ck_assert_int_eq(service->score(host->table.ctx, &request, &out), REIN_OK);
        ck_assert_float_eq_tol(out, score_ids(&source, same ? &ids : &chat), 1e-6);
        c.messages = NULL;
        request.model = "nobody";
        ck_assert_int_eq(service->score(host->table.ctx, &request, &out), REIN_ERR_ARG);
        ck_assert_int_eq(host_check(host, REIN_ERR_ARG, "score", &err), -1);
        ck_assert_ptr_nonnull(strstr(err.text, "nobody"));
        request.model = "judge";
        for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
            request.perturb = odd[i].kind;
            request.site = odd[i].site;
            request.rate = odd[i].rate;
            ck_assert_int_eq(service->score(host->table.ctx, &request, &out), REIN_ERR_ARG);
            host_check(host, REIN_OK, "score", NULL);
        }
        request.perturb = REIN_PERTURB_NONE;
        scorer_close(scorer);
    }
    ids_free(&ids);
    ids_free(&rendered);
    ids_free(&chat);
    json_decref(list);
    host_free(host);
    tokenizer_free(t);
}
END_TEST

/* log p(choice | prompt ids), by one pass over all of it and nothing shared. */
static double choice_of_ids(const struct model_source *source, struct ids *ids, const struct tokenizer *t,
                            const char *choice) {
    const size_t prompt = ids->count;
    int32_t rows[16];
    float logp[16];
    double sum = 0;
    struct model *m = NULL;
    struct pass *p = NULL;

    ck_assert_int_eq(tokenizer_encode(t, choice, strlen(choice), 0, ids, NULL), 0);
    const uint32_t offset[] = {0, (uint32_t)ids->count}, n = (uint32_t)(ids->count - prompt);
    const struct packed packed = {1, offset, ids->data};
    const struct pass_targets targets = {n, rows, ids->data + prompt, 1};
    for (uint32_t i = 0; i < n; i++)
        rows[i] = (int32_t)(prompt + i - 1);
    ck_assert_int_eq(model_open(h.backend, source, &m, NULL), 0);
    ck_assert_int_eq(pass_create(m, &p, NULL), 0);
    ck_assert_int_eq(pass_forward(p, &packed, false, NULL), 0);
    ck_assert_int_eq(pass_logprobs(p, &targets, logp, NULL, NULL, NULL), 0);
    for (uint32_t i = 0; i < n; i++)
        sum += (double)logp[i];
    pass_free(p);
    model_close(m);
    ids->count = prompt;
    return sum;
}

static char *long_text(size_t n) {
    char *text = mem_zeros(n + 1, 1);

    memset(text, 'x', n);
    return text;
}

/* Templates with something in front of an answer, and with the tokenizer's own beginning of a text. */
static const char *const templates[] = {"zephyr", "plain"};

/* Words of one token and of several, in more texts than fit a chunk, as they stand or as a user's turn. */
START_TEST(choices_are_scored_by_their_tokens) {
    enum { ROWS = 90, CHOICES = 4 };
    const struct model_source source = {.path = model_with_template(templates[_i]), .random = true, .seed = 5};
    const struct stage_env env = {.backend = h.backend};
    struct stage stage = {.name = "align", .nscored = 1};
    struct host_instance *host = host_create(&plugin, NULL, NULL);
    struct scorer *scorer = NULL;
    const struct rein_scorer_1 *service;
    const char *texts[ROWS], *choices[CHOICES] = {" open tea", "x", " tea <|end|>", "y"};
    char buffer[ROWS][160], *endless = long_text(100000);
    struct tokenizer *t = NULL;
    float out[ROWS * CHOICES];
    struct rein_choice_request q = {.size = sizeof(q), .model = "lm", .rows = ROWS, .nchoices = CHOICES, .text = texts,
                                    .choices = choices};
    struct error err = {0};

    stage.scored[0] = (struct stage_scored){.name = "lm", .use = {.present = true, .source = source}};
    ck_assert_int_eq(tokenizer_load(source.path, &t, NULL), 0);
    for (int r = 0; r < ROWS; r++) {
        snprintf(buffer[r], sizeof(buffer[r]), "the shop is %d %.*s <|end|>", r, 10 + r % 40, "we sell tea and bread and we sell "
                 "bread and tea and the shop is open and we sell tea and bread and we sell more bread");
        texts[r] = buffer[r];
    }
    texts[7] = endless; /* longer than the context */
    ck_assert_msg(scorer_open(&stage, &env, NULL, &scorer, &err) == 0, "%s", err.text);
    host->service = scorer_service;
    host->service_ctx = scorer;
    service = host->table.service(host->table.ctx, REIN_SCORER_1);
    for (uint32_t chat = 0; chat < 2; chat++) {
        const struct chat_template *template = NULL;

        q.flags = chat ? REIN_CHOICE_CHAT : 0;
        ck_assert_int_eq(template_recognise(t, &template, NULL), 0);
        ck_assert_ptr_nonnull(template);
        ck_assert_int_eq(service->choice_logprobs(host->table.ctx, &q, out), REIN_OK);
        for (int r = 0; r < ROWS; r++) {
            struct ids ids = {0};
            json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", texts[r]);

            if (chat)
                ck_assert_int_eq(template_render(template, t, messages, true, &ids, NULL, NULL), 0);
            else
                ck_assert_int_eq(tokenizer_encode(t, texts[r], strlen(texts[r]), TOKENIZE_BOS, &ids, NULL), 0);
            json_decref(messages);
            for (int c = 0; c < CHOICES; c++)
                if (r == 7)
                    ck_assert(isnan(out[r * CHOICES + c]));
                else if (r % 8 == 0 || r == 6)
                    ck_assert_double_eq_tol((double)out[r * CHOICES + c], choice_of_ids(&source, &ids, t, choices[c]), 2e-5);
            ids_free(&ids);
        }
    }
    q.model = "judge";
    ck_assert_int_eq(service->choice_logprobs(host->table.ctx, &q, out), REIN_ERR_ARG);
    host_check(host, REIN_ERR_ARG, "choices", &err);
    ck_assert_ptr_nonnull(strstr(err.text, "there is no language model judge"));
    q.model = "lm";
    q.rows = 0;
    ck_assert_int_eq(service->choice_logprobs(host->table.ctx, &q, NULL), REIN_OK);
    choices[1] = "";
    ck_assert_int_eq(service->choice_logprobs(host->table.ctx, &q, NULL), REIN_ERR_ARG);
    host_check(host, REIN_ERR_ARG, "choices", &err);
    ck_assert_ptr_nonnull(strstr(err.text, "the choice '' has no tokens"));
    scorer_close(scorer);
    host_free(host);
    tokenizer_free(t);
    free(endless);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("scoring");
    TCase *tc = tcase_create("scoring");
    int rc;

    if (harness_open(&h) != 0)
        return 1;
    tcase_add_test(tc, sources_are_summed_member_by_member);
    tcase_add_test(tc, no_opinion_is_not_a_zero);
    tcase_add_test(tc, a_source_is_normalised_and_clipped);
    tcase_add_test(tc, what_cannot_be_summed_is_refused);
    tcase_add_test(tc, rows_are_numbered_through_the_run);
    tcase_add_test(tc, a_reward_model_reads_what_was_sampled);
    tcase_add_loop_test(tc, choices_are_scored_by_their_tokens, 0, sizeof(templates) / sizeof(*templates));
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    harness_close(&h);
    return rc;
}
