/* Reward models asked more than once: dropout, noise, several heads, ensembles. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/pass.h"
#include "plugin/host.h"
#include "rewards/tiny.h"
#include "train/harness.h"
#include "train/scorer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tap.h"

enum { ROWS = 5, SEED = 77, MEMBERS = 600 };

static struct harness h;

/* Five completions: ids of different lengths, one after the other. */
struct set {
    int32_t ids[64];
    uint32_t offset[ROWS + 1], prompt_length[ROWS];
    uint64_t row_id[ROWS];
    const char *text[ROWS];
    uint8_t ended[ROWS];
    struct rein_completions c;
};

/* Rows order[0..rows] of the five. */
static void make(struct set *s, const uint32_t *order, uint32_t rows) {
    *s = (struct set){0};
    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t r = order[i], length = r == 0 ? 1 : 3 + 2 * r;

        s->offset[i + 1] = s->offset[i] + length;
        s->row_id[i] = ((uint64_t)r << 33) + 10 + r; /* both halves count */
        s->text[i] = "";
        for (uint32_t k = 0; k < length; k++)
            s->ids[s->offset[i] + k] = (int32_t)(20 + (r * 31 + k * 17) % 400);
    }
    s->c = (struct rein_completions){.size = sizeof(s->c), .rows = rows, .units = rows, .offset = s->offset,
                                     .ids = s->ids, .row_id = s->row_id, .prompt_length = s->prompt_length,
                                     .prompt = s->text, .completion = s->text, .ended = s->ended};
}
static const uint32_t all[ROWS] = {0, 1, 2, 3, 4};

/* The scorer over up to three models, and an instance that asks it. */
struct asked {
    struct stage stage;
    struct tokenizer *t;
    struct scorer *scorer;
    struct host_instance *host;
    const struct rein_scorer_1 *service;
};
static const char *const names[] = {"a", "b", "c"};
static const struct rein_plugin plugin = {.size = sizeof(plugin), .abi = REIN_ABI_VERSION, .kind = REIN_KIND_REWARD,
                                          .name = "asking"};

static void ask_open(struct asked *a, const struct model_source *sources, size_t count, uint64_t seed) {
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

static void ask_close(struct asked *a) {
    host_free(a->host);
    scorer_close(a->scorer);
    tokenizer_free(a->t);
}

static void ask(struct asked *a, const struct set *s, struct rein_score_request q, float *out) {
    struct error err = {0};

    q.size = sizeof(q);
    q.completions = &s->c;
    if (q.model == NULL)
        q.model = "a";
    ck_assert_msg(host_check(a->host, a->service->score(a->host->table.ctx, &q, out), "score", &err) == 0, "%s",
                  err.text);
}

static struct model_source random_source(uint64_t seed, uint32_t heads) {
    return (struct model_source){.path = h.model, .random = true, .seed = seed, .head_seed = seed + 1,
                                 .head = MODEL_SCORE, .heads = heads};
}

static struct model *open_model(const struct model_source *source) {
    struct model *m;
    struct error err = {0};

    ck_assert_msg(model_open(h.backend, source, &m, &err) == 0, "%s", err.text);
    return m;
}

/* ---- against the second decoder ------------------------------------------ */

static const struct way {
    enum tiny_what what;
    uint32_t perturb, site;
    double rate;
} ways[] = {
    {TINY_PLAIN, REIN_PERTURB_NONE, 0, 0},
    {TINY_DROP_HEAD, REIN_PERTURB_DROPOUT, REIN_SITE_HEAD, 0.3},
    {TINY_DROP_ALL, REIN_PERTURB_DROPOUT, REIN_SITE_ALL, 0.2},
    {TINY_NOISE_HEAD, REIN_PERTURB_NOISE, REIN_SITE_HEAD, 0.5},
    {TINY_NOISE_EMBEDDING, REIN_PERTURB_NOISE, REIN_SITE_EMBEDDING, 0.4},
};

START_TEST(scores_are_those_of_another_decoder) {
    const struct way *w = &ways[_i];
    const struct model_source source = random_source(5, 3);
    const uint32_t purpose = w->perturb == REIN_PERTURB_NOISE ? RNG_NOISE : RNG_DROPOUT;
    struct model *m = open_model(&source);
    float out[4 * 3 * ROWS];
    struct asked a;
    struct set s;

    ask_open(&a, &source, 1, SEED);
    make(&s, all, ROWS);
    ask(&a, &s, (struct rein_score_request){.perturb = w->perturb, .site = w->site, .rate = w->rate, .sample = 2,
                                            .samples = 4, .heads = 3}, out);
    for (uint32_t k = 0; k < 4; k++)
        for (uint32_t head = 0; head < 3; head++)
            for (uint32_t r = 0; r < ROWS; r++) {
                uint32_t word[4];

                rng_block(SEED, purpose, 2 + k, (uint32_t)(s.row_id[r] >> 32), (uint32_t)s.row_id[r], word);
                ck_assert_double_eq_tol(out[(k * 3 + head) * ROWS + r],
                                        tiny_score(m, s.ids + s.offset[r], (int)(s.offset[r + 1] - s.offset[r]), head,
                                                   w->what, w->rate, (uint64_t)word[1] << 32 | word[0]), 1e-6);
            }
    ask_close(&a);
    model_close(m);
}
END_TEST

/* The same draw of a row is the same number whatever is beside it, before it, or asked for with it. */
START_TEST(a_draw_is_a_row_s_own) {
    static const uint32_t turned[] = {3, 1, 4, 0, 2};
    const struct way *w = &ways[1 + _i];
    const struct model_source source = random_source(5, 1);
    const struct rein_score_request q = {.perturb = w->perturb, .site = w->site, .rate = w->rate, .samples = 6};
    struct rein_score_request one = q;
    float first[6 * ROWS], again[6 * ROWS], other[6 * ROWS];
    struct asked a, b;
    struct set s;

    ask_open(&a, &source, 1, SEED);
    ask_open(&b, &source, 1, SEED + 1);
    make(&s, all, ROWS);
    ask(&a, &s, q, first);
    ask(&a, &s, q, again);
    ck_assert_mem_eq(first, again, sizeof(first));
    ask(&b, &s, q, other);
    for (int i = 0; i < 6 * ROWS; i++)
        ck_assert_float_ne(first[i], other[i]); /* another seed */
    for (uint32_t k = 0; k < 6; k++)
        for (uint32_t r = 0; r < ROWS; r++)
            for (uint32_t j = 0; j < k; j++)
                ck_assert_float_ne(first[k * ROWS + r], first[j * ROWS + r]);
    make(&s, turned, ROWS);
    ask(&a, &s, q, again);
    for (uint32_t k = 0; k < 6; k++)
        for (uint32_t r = 0; r < ROWS; r++)
            ck_assert_float_eq(again[k * ROWS + r], first[k * ROWS + turned[r]]);
    one.samples = 0;
    for (one.sample = 0; one.sample < 6; one.sample++)
        for (uint32_t r = 0; r < ROWS; r++) {
            make(&s, &all[r], 1);
            ask(&a, &s, one, again);
            ck_assert_float_eq(again[0], first[one.sample * ROWS + r]);
        }
    one.perturb = REIN_PERTURB_NONE; /* and nothing of it stays behind */
    make(&s, all, ROWS);
    ask(&a, &s, one, again);
    one.rate = 0;
    one.perturb = w->perturb;
    ask(&a, &s, one, other);
    for (uint32_t r = 0; r < ROWS; r++)
        ck_assert_float_eq_tol(again[r], other[r], 1e-6);
    ask_close(&a);
    ask_close(&b);
}
END_TEST

/* At the head the score is linear in what is perturbed: the mean tends to the score, the variance is known.
 * dropout: p / (1 - p) sum (w_c h_c)^2; noise: rate^2 mean(w^2) sum h_c^2. */
START_TEST(draws_have_their_moments) {
    const struct way *w = &ways[_i ? 3 : 1];
    const struct model_source source = random_source(5, 1);
    struct model *m = open_model(&source);
    const float *head = model_param(m, model_params(m) - 1)->w.data;
    static float family[MEMBERS * ROWS], hidden[64 * 16];
    struct packed packed;
    struct pass *p;
    float plain[ROWS];
    struct asked a;
    struct set s;

    ask_open(&a, &source, 1, SEED);
    make(&s, all, ROWS);
    ask(&a, &s, (struct rein_score_request){.samples = 1}, plain);
    ask(&a, &s, (struct rein_score_request){.perturb = w->perturb, .site = w->site, .rate = w->rate,
                                            .samples = MEMBERS}, family);
    packed = (struct packed){ROWS, s.offset, s.ids};
    ck_assert_int_eq(pass_create(m, &p, NULL), 0);
    ck_assert_int_eq(pass_forward(p, &packed, false, NULL), 0);
    ck_assert_int_eq(pass_hidden(p, hidden, NULL), 0);
    for (uint32_t r = 0; r < ROWS; r++) {
        const float *x = hidden + (s.offset[r + 1] - 1) * 16;
        double mean = 0, variance = 0, products = 0, weights = 0, states = 0, wanted;

        for (int c = 0; c < 16; c++) {
            products += pow((double)head[c] * x[c], 2);
            weights += (double)head[c] * head[c] / 16;
            states += (double)x[c] * x[c];
        }
        wanted = _i ? w->rate * w->rate * weights * states : w->rate / (1 - w->rate) * products;
        for (uint32_t k = 0; k < MEMBERS; k++)
            mean += (double)family[k * ROWS + r] / MEMBERS;
        for (uint32_t k = 0; k < MEMBERS; k++)
            variance += pow(family[k * ROWS + r] - mean, 2) / (MEMBERS - 1);
        ck_assert_double_gt(wanted, 0);
        ck_assert_double_eq_tol(mean, plain[r], 4 * sqrt(wanted / MEMBERS));
        ck_assert_double_eq_tol(variance, wanted, 0.3 * wanted);
    }
    pass_free(p);
    ask_close(&a);
    model_close(m);
}
END_TEST

/* ---- backwards ------------------------------------------------------------ */

static double weigh(struct pass *p, struct model *m, const struct packed *packed, const int32_t *last, const float *d) {
    float score[ROWS * 3];
    double sum = 0;

    ck_assert_int_eq(pass_forward(p, packed, true, NULL), 0);
    ck_assert_int_eq(pass_head_scores(p, m, packed->count, last, score, NULL), 0);
    for (uint32_t i = 0; i < packed->count * 3; i++)
        sum += (double)d[i] * score[i];
    return sum;
}

/* Moves every weight by `step` along a direction of +-1. */
static void move(struct model *m, double step) {
    for (size_t i = 0; i < model_params(m); i++) {
        struct model_param *q = model_param(m, i);
        float *w = q->w.data;

        for (int64_t k = 0; k < q->w.rows * q->w.cols; k++)
            w[k] += (float)(step * ((k * 2654435761u + i * 40503u) >> 7 & 1 ? 1 : -1));
    }
    model_touch(m);
}

START_TEST(gradients_under_dropout_equal_differences) {
    struct model_source source = random_source(9, 3);
    const struct pass_perturb how = {.kind = REIN_PERTURB_DROPOUT, .site = REIN_SITE_ALL, .rate = 0.25,
                                     .keys = (const uint64_t[]){1, 22, 333, 4444, 1ull << 60}};
    float d[ROWS * 3];
    double slope = 0, value[2], step = 1e-4;
    struct packed packed;
    int32_t last[ROWS];
    struct model *m;
    struct pass *p;
    struct set s;

    source.trainable = true;
    m = open_model(&source);
    make(&s, all, ROWS);
    packed = (struct packed){ROWS, s.offset, s.ids};
    for (uint32_t r = 0; r < ROWS; r++)
        last[r] = (int32_t)s.offset[r + 1] - 1;
    for (int i = 0; i < ROWS * 3; i++)
        d[i] = (float)(i % 5 - 2) / 4 + 0.125f;
    ck_assert_int_eq(pass_create(m, &p, NULL), 0);
    ck_assert_int_eq(pass_perturb(p, &how, ROWS, NULL), 0);
    weigh(p, m, &packed, last, d);
    ck_assert_int_eq(pass_scores_backward(p, m, ROWS, last, d, NULL), 0);
    ck_assert_int_eq(pass_backward(p, NULL), 0);
    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *q = model_param(m, i);
        const float *g = q->grad;

        for (int64_t k = 0; k < q->w.rows * q->w.cols; k++)
            slope += (double)g[k] * ((k * 2654435761u + i * 40503u) >> 7 & 1 ? 1 : -1);
    }
    move(m, step);
    value[0] = weigh(p, m, &packed, last, d);
    move(m, -2 * step);
    value[1] = weigh(p, m, &packed, last, d);
    printf("# slope %.7g, by differences %.7g\n", slope, (value[0] - value[1]) / (2 * step));
    ck_assert_double_gt(fabs(slope), 0.1);
    ck_assert_double_eq_tol((value[0] - value[1]) / (2 * step), slope, 3e-3 * fabs(slope));
    pass_free(p);
    model_close(m);
}
END_TEST

/* ---- training --------------------------------------------------------------- */

static char *train(const char *name, const char *model, const char *options, const char *from, uint64_t seed) {
    char yaml[1024];
    struct fixture f;
    struct error err = {0};

    snprintf(yaml, sizeof(yaml),
             "algorithm: {use: rm}\nhead: score\nmodel: {%s}\n%s%s%sdata: {train: %s}\ntrain: {lr: 1e-2, max_grad_norm: 0, "
             "%s}\n", model, from ? "from: " : "", from ? from : "", from ? "\n" : "", h.pairs, options);
    ck_assert_int_eq(fixture_open(&h, name, yaml, &f), 0);
    ck_assert_msg(fixture_run(&h, &f, seed, false, &err) == 0, "%s", err.text);
    fixture_close(&f);
    return file_join(h.folder, name);
}

static struct model *trained(char *folder) {
    char *path = file_join(folder, "model");
    const struct model_source source = {.path = path, .head = MODEL_SCORE};
    struct model *m = open_model(&source);

    free(path);
    free(folder);
    return m;
}

static const float *values(const struct model *m, size_t i) {
    return model_param(m, i)->w.data;
}

static double apart(const struct model *a, const struct model *b) {
    double most = 0;

    for (size_t i = 0; i < model_params(a); i++)
        for (int64_t k = 0; k < model_param(a, i)->w.rows * model_param(a, i)->w.cols; k++)
            most = fmax(most, fabs((double)values(a, i)[k] - values(b, i)[k]));
    return most;
}

START_TEST(dropout_in_training_is_a_rows_own) {
    struct model *whole = trained(train("drop-8", "dropout: 0.3", "steps: 3, batch: 8", NULL, 3));
    struct model *parts = trained(train("drop-3", "dropout: 0.3", "steps: 3, batch: 8, micro_batch: 3", NULL, 3));
    struct model *other = trained(train("drop-s", "dropout: 0.3", "steps: 3, batch: 8, shuffle: false", NULL, 4));
    struct model *seeds = trained(train("drop-t", "dropout: 0.3", "steps: 3, batch: 8, shuffle: false", NULL, 5));
    struct model *none = trained(train("drop-0", "dropout: 0", "steps: 3, batch: 8", NULL, 3));

    ck_assert_double_lt(apart(whole, parts), 1e-5);
    ck_assert_double_gt(apart(whole, none), 1e-3);
    ck_assert_double_gt(apart(other, seeds), 1e-3); /* same weights to begin with, same order: other masks */
    model_close(whole);
    model_close(parts);
    model_close(other);
    model_close(seeds);
    model_close(none);
}
END_TEST

/* A folder with one head's weights: row `head` of `of`. */
static char *single(const struct model *of, uint32_t head, const char *name) {
    struct model_source source = random_source(5, 1);
    struct model *m = open_model(&source);
    char *folder = file_join(h.folder, name);
    struct error err = {0};

    memcpy(model_param(m, model_params(m) - 1)->w.data, values(of, model_params(of) - 1) + head * 16, 16 * sizeof(float));
    ck_assert_msg(model_save(m, folder, NULL, &err) == 0, "%s", err.text);
    model_close(m);
    return folder;
}

/* In its first step a head on a shared trunk learns what it would have learnt alone (AdamW takes no notice of the
 * divisor), and then they part. */
START_TEST(each_head_has_a_loss_of_its_own) {
    const struct model_source source = random_source(5, 3);
    struct model *before = open_model(&source), *after;
    char *folder = file_join(h.folder, "three");
    const size_t head = model_params(before) - 1;
    struct error err = {0};

    ck_assert_msg(model_save(before, folder, NULL, &err) == 0, "%s", err.text);
    after = trained(train("three-out", "", "steps: 1, batch: 6, eps: 1e-12", folder, 3));
    ck_assert_uint_eq(model_heads(after), 3);
    for (uint32_t k = 0; k < 3; k++) {
        char *from = single(before, k, "one"), *to;
        struct model *alone;

        to = train("one-out", "", "steps: 1, batch: 6, eps: 1e-12", from, 3);
        alone = trained(to);
        for (int c = 0; c < 16; c++) {
            const double was = values(before, head)[k * 16 + c], is = values(after, head)[k * 16 + c];

            ck_assert_double_gt(fabs(is - was), 5e-3);
            ck_assert_double_eq_tol(is - was, values(alone, head)[c] - was, 1e-5);
        }
        model_close(alone);
        file_remove_tree(from, NULL);
        free(from);
        from = file_join(h.folder, "one-out");
        file_remove_tree(from, NULL);
        free(from);
    }
    free(folder);
    model_close(before);
    model_close(after);
}
END_TEST

/* With one pair in a step, a head moves exactly when its sample holds the pair: Poisson(1) times. */
START_TEST(heads_learn_from_samples_of_their_own) {
    const struct model_source source = random_source(5, 40);
    struct model *before = open_model(&source), *after;
    char *folder = file_join(h.folder, "forty");
    const size_t head = model_params(before) - 1;
    struct error err = {0};
    int still = 0;

    ck_assert_msg(model_save(before, folder, NULL, &err) == 0, "%s", err.text);
    after = trained(train("forty-out", "bootstrap: true", "steps: 1, batch: 1, shuffle: false", folder, 3));
    for (uint32_t k = 0; k < 40; k++) {
        const bool drawn = rng_uniform(3, RNG_BOOTSTRAP, k, 0, 0) >= exp(-1);
        bool moved = false;

        for (int c = 0; c < 16; c++)
            moved |= values(before, head)[k * 16 + c] != values(after, head)[k * 16 + c];
        ck_assert(moved == drawn);
        still += !drawn;
    }
    ck_assert(still > 5 && still < 25); /* 40 / e */
    free(folder);
    model_close(before);
    model_close(after);
}
END_TEST

/* ---- ensembles ---------------------------------------------------------------- */

static rein_status create(const char *name, const char *yaml, struct asked *a, const struct rein_reward_ops **ops,
                          void **self) {
    const struct module *m = registry_find(h.registry, REIN_KIND_REWARD, name, NULL);
    struct params table = params_of(m->plugin);
    struct document doc = {0};
    static struct arena arena;
    void *config;

    ck_assert_int_eq(yaml_parse(yaml, strlen(yaml), "test", &doc, NULL), 0);
    config = params_bind(&table, doc.root, NULL, &arena, NULL);
    ck_assert_ptr_nonnull(config);
    yaml_free(&doc);
    *ops = m->plugin->ops;
    return (*ops)->create(&a->host->table, config, self);
}

/* What a reward source says; returns its members. */
static uint32_t say(struct asked *a, const struct set *s, const char *name, const char *yaml, float *family) {
    const struct rein_reward_ops *ops;
    struct error err = {0};
    uint32_t members = 0;
    void *self = NULL;

    ck_assert_msg(host_check(a->host, create(name, yaml, a, &ops, &self), "create", &err) == 0, "%s", err.text);
    ck_assert_int_eq(ops->members(self, &members), REIN_OK);
    ck_assert_msg(host_check(a->host, ops->score(self, &s->c, family), "score", &err) == 0, "%s", err.text);
    ops->destroy(self);
    return members;
}

/* Models of 1, 3 and 1 heads in files, the last on the trunk of the first, each with a place of its scores. */
static void three_models(struct model_source *sources, char **folders) {
    static const uint32_t heads[] = {1, 3, 1};

    for (uint32_t i = 0; i < 3; i++) {
        struct model_source source = random_source(i == 1 ? 6 : 5, heads[i]);
        struct model_standard standard = {.known = true};
        struct error err = {0};
        char name[16];
        struct model *m;

        source.head_seed = 100 + i;
        m = open_model(&source);
        for (uint32_t k = 0; k < heads[i]; k++) {
            standard.mean[k] = 0.25 * (i + 1) - k;
            standard.deviation[k] = 0.5 + i + k;
        }
        model_set_standard(m, &standard);
        snprintf(name, sizeof(name), "member-%u", i);
        folders[i] = file_join(h.folder, name);
        ck_assert_msg(model_save(m, folders[i], NULL, &err) == 0, "%s", err.text);
        model_close(m);
        sources[i] = (struct model_source){.path = folders[i], .head = MODEL_SCORE};
    }
}

START_TEST(an_ensemble_is_its_members) {
    struct model_source sources[3];
    float family[5 * ROWS], one[3 * ROWS], mean[ROWS];
    char *folders[3], yaml[64];
    struct asked a;
    struct set s;

    three_models(sources, folders);
    ask_open(&a, sources, 3, SEED);
    make(&s, all, ROWS);
    for (int standard = 0; standard < 2; standard++) {
        snprintf(yaml, sizeof(yaml), "{models: [a, b, c], standardise: %s}", standard ? "true" : "false");
        ck_assert_uint_eq(say(&a, &s, "rm-ensemble", yaml, family), 5);
        for (uint32_t i = 0, k = 0; i < 3; i++) {
            struct model *m = open_model(&sources[i]);
            const struct model_standard *at = model_standard(m);

            ck_assert(at->known);
            ask(&a, &s, (struct rein_score_request){.model = names[i], .heads = model_heads(m)}, one);
            snprintf(yaml, sizeof(yaml), "{model: %s, standardise: %s}", names[i], standard ? "true" : "false");
            ck_assert_uint_eq(say(&a, &s, "rm", yaml, mean), 1);
            for (uint32_t r = 0; r < ROWS; r++) {
                double sum = 0;

                for (uint32_t head = 0; head < model_heads(m); head++) {
                    double x = tiny_score(m, s.ids + s.offset[r], (int)(s.offset[r + 1] - s.offset[r]), head,
                                          TINY_PLAIN, 0, 0);

                    ck_assert_double_eq_tol(one[head * ROWS + r], x, 1e-6);
                    if (standard)
                        x = (x - (0.25 * (i + 1) - head)) / (0.5 + i + head);
                    ck_assert_double_eq_tol(family[(k + head) * ROWS + r], x, 1e-6);
                    sum += x;
                }
                ck_assert_double_eq_tol(mean[r], sum / model_heads(m), 1e-6);
            }
            k += model_heads(m);
            model_close(m);
        }
    }
    ask_close(&a);
    for (int i = 0; i < 3; i++)
        free(folders[i]);
}
END_TEST

static size_t allocated;
static const struct rein_backend_ops *real;

static rein_status counting_alloc(void *dev, size_t bytes, void **ptr) {
    allocated += bytes;
    return real->alloc(dev, bytes, ptr);
}

static size_t bytes_of(const struct model_source *sources, size_t count) {
    struct rein_backend_ops counting = *h.backend->ops;
    struct asked a;

    real = h.backend->ops;
    counting.alloc = counting_alloc;
    h.backend->ops = &counting;
    allocated = 0;
    ask_open(&a, sources, count, SEED);
    ask_close(&a);
    h.backend->ops = real;
    return allocated;
}

/* Models with the bytes of one trunk, and one folder under two names, hold that trunk once. */
START_TEST(a_trunk_in_common_is_loaded_once) {
    struct model_source sources[3], twice[3];
    size_t one, other;
    char *folders[3];
    bool same;
    struct model *m;

    three_models(sources, folders);
    one = bytes_of(sources, 1);
    other = bytes_of(&sources[1], 1);
    ck_assert_uint_eq(bytes_of(sources, 3), one + other + 16 * sizeof(float));
    twice[0] = twice[1] = sources[1];
    ck_assert_uint_eq(bytes_of(twice, 2), other + 3 * 16 * sizeof(float));
    m = open_model(&sources[0]);
    ck_assert_int_eq(model_same_files(m, &sources[1], &same, NULL), 0);
    ck_assert(!same);
    ck_assert_int_eq(model_same_files(m, &sources[2], &same, NULL), 0);
    ck_assert(same);
    model_close(m);
    for (int i = 0; i < 3; i++)
        free(folders[i]);
}
END_TEST

START_TEST(sources_draw_as_they_say) {
    static const struct {
        const char *name, *yaml;
        struct way way;
    } said[] = {
        {"rm-dropout", "{model: a, samples: 3, rate: 0.3}", {0, REIN_PERTURB_DROPOUT, REIN_SITE_HEAD, 0.3}},
        {"rm-dropout", "{model: a, samples: 3, rate: 0.2, sites: all}", {0, REIN_PERTURB_DROPOUT, REIN_SITE_ALL, 0.2}},
        {"rm-perturb", "{model: a, samples: 3, rate: 0.5}", {0, REIN_PERTURB_NOISE, REIN_SITE_HEAD, 0.5}},
        {"rm-perturb", "{model: a, samples: 3, target: embedding}", {0, REIN_PERTURB_NOISE, REIN_SITE_EMBEDDING, 0.1}},
    };
    const struct model_source source = random_source(5, 1);
    float family[3 * ROWS], wanted[3 * ROWS];
    struct asked a;
    struct set s;

    ask_open(&a, &source, 1, SEED);
    make(&s, all, ROWS);
    ck_assert_uint_eq(say(&a, &s, said[_i].name, said[_i].yaml, family), 3);
    ask(&a, &s, (struct rein_score_request){.perturb = said[_i].way.perturb, .site = said[_i].way.site,
                                            .rate = said[_i].way.rate, .samples = 3}, wanted);
    ck_assert_mem_eq(family, wanted, sizeof(family));
    ask_close(&a);
}
END_TEST

START_TEST(what_an_ensemble_cannot_be) {
    static const char *const wrong[][2] = {
        {"{models: [a]}", "at least two members"},
        {"{models: [a, a], standardise: false}", "named twice"},
        {"{models: [a, b]}", "no mean and deviation"},
        {"{models: [a, nobody], standardise: false}", "no model nobody"},
    };
    struct model_source sources[3], two[2];
    const struct rein_reward_ops *ops;
    struct error err = {0};
    char *folders[3];
    struct asked a;
    void *self;

    three_models(sources, folders);
    two[0] = sources[0];
    two[1] = random_source(5, 1);
    ask_open(&a, two, 2, SEED);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        ck_assert_int_eq(host_check(a.host, create("rm-ensemble", wrong[i][0], &a, &ops, &self), "create", &err), -1);
        ck_assert_msg(strstr(err.text, wrong[i][1]) != NULL, "%s", err.text);
    }
    ask_close(&a);
    for (int i = 0; i < 3; i++)
        free(folders[i]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("family");
    TCase *tc = tcase_create("family");
    int rc;

    if (harness_open(&h) != 0)
        return 1;
    harness_data(&h);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, scores_are_those_of_another_decoder, 0, 5);
    tcase_add_loop_test(tc, a_draw_is_a_row_s_own, 0, 4);
    tcase_add_loop_test(tc, draws_have_their_moments, 0, 2);
    tcase_add_test(tc, gradients_under_dropout_equal_differences);
    tcase_add_test(tc, dropout_in_training_is_a_rows_own);
    tcase_add_test(tc, each_head_has_a_loss_of_its_own);
    tcase_add_test(tc, heads_learn_from_samples_of_their_own);
    tcase_add_test(tc, an_ensemble_is_its_members);
    tcase_add_test(tc, a_trunk_in_common_is_loaded_once);
    tcase_add_loop_test(tc, sources_draw_as_they_say, 0, 4);
    tcase_add_test(tc, what_an_ensemble_cannot_be);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    harness_close(&h);
    return rc;
}
