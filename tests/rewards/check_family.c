/* Reward models of several heads and ensembles: training them, and what they say. SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "rewards/asking.h"

#include "tap.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- training --------------------------------------------------------------- */

static char *train(const char *name, const char *model, const char *options, const char *from, uint64_t seed) {
    char yaml[1024];
    struct fixture f;
    struct error err = {0};

    snprintf(
        yaml, sizeof(yaml),
        "algorithm: {use: rm}\nhead: score\nmodel: {%s}\n%s%s%sdata: {train: %s}\ntrain: {lr: 1e-2, max_grad_norm: 0, "
        "%s}\n",
        model, from ? "from: " : "", from ? from : "", from ? "\n" : "", h.pairs, options);
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

    memcpy(model_param(m, model_params(m) - 1)->w.data, values(of, model_params(of) - 1) + head * 16,
           16 * sizeof(float));
    ck_assert_msg(model_save(m, folder, NULL, &err) == 0, "%s", err.text);
    model_close(m);
    return folder;
}

/* In its first step a head on a shared trunk has a third of the gradient that it would have alone: the loss is the
 * mean. */
START_TEST(each_head_has_a_loss_of_its_own) {
    const struct model_source source = random_source(5, 3);
    struct model *before = open_model(&source), *after;
    char *folder = file_join(h.folder, "three");
    const size_t head = model_params(before) - 1;
    struct error err = {0};

    ck_assert_msg(model_save(before, folder, NULL, &err) == 0, "%s", err.text);
    after = trained(train("three-out", "", "steps: 1, batch: 6, eps: 1", folder, 3));
    ck_assert_uint_eq(model_heads(after), 3);
    for (uint32_t k = 0; k < 3; k++) {
        char *from = single(before, k, "one"), *to;
        struct model *alone;

        to = train("one-out", "", "steps: 1, batch: 6, eps: 1", from, 3);
        alone = trained(to);
        for (int c = 0; c < 16; c++) {
            const double was = values(before, head)[k * 16 + c], is = values(after, head)[k * 16 + c];

            const double u = (is - was) / 1e-2, one = (values(alone, head)[c] - was) / 1e-2;

            /* AdamW's first step is lr g / (|g| + 1) here */
            ck_assert_double_gt(fabs(u), 1e-5);
            ck_assert_double_eq_tol(3 * u / (1 - fabs(u)), one / (1 - fabs(one)), 1e-3 * fabs(one) + 1e-4);
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

/* A rollout's draws are its rows', so that a run that was stopped goes on with the same ones. */
START_TEST(a_stopped_run_draws_the_same) {
    static const char stage[] =
        "algorithm: {use: grpo, baseline: group, beta: 0, variance: 0.5}\nscored: %s\n"
        "rewards: [{use: rm-dropout, model: judge, samples: 3}, {use: rm-perturb, model: judge, "
        "samples: 3, target: embedding}]\ndata: {train: %s, eval: %s}\nrollout: {prompts: 2, "
        "group: 2, max_tokens: 5}\ntrain: {steps: 4, lr: 1e-2, eval_every: 2}\n";
    const struct model_source source = random_source(8, 1);
    char *judge = file_join(h.folder, "judge"), yaml[1024], *a, *b;
    struct model *m = open_model(&source);
    struct fixture whole, parts;
    struct error err = {0};

    ck_assert_msg(model_save(m, judge, NULL, &err) == 0, "%s", err.text);
    snprintf(yaml, sizeof(yaml), stage, judge, h.prompts, h.prompts);
    ck_assert_int_eq(fixture_open(&h, "draws-whole", yaml, &whole), 0);
    ck_assert_msg(fixture_run(&h, &whole, 1, false, &err) == 0, "%s", err.text);
    ck_assert_int_eq(fixture_open(&h, "draws-parts", yaml, &parts), 0);
    h.stop_step = 2;
    ck_assert_int_eq(fixture_run(&h, &parts, 1, false, &err), -1);
    h.stop_step = 0;
    ck_assert_msg(fixture_run(&h, &parts, 1, true, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(fixture_crc(&whole, "model/model.safetensors"), fixture_crc(&parts, "model/model.safetensors"));
    a = fixture_metrics_text(&whole);
    b = fixture_metrics_text(&parts);
    ck_assert_str_eq(a, b);
    free(a);
    free(b);
    fixture_close(&whole);
    fixture_close(&parts);
    model_close(m);
    free(judge);
}
END_TEST

/* ---- ensembles ---------------------------------------------------------------- */

static rein_status create(const char *name, const char *yaml, struct asked *a, const struct rein_reward_ops **ops,
                          void **self) {
    const struct module *m = registry_find(h.registry, REIN_KIND_REWARD, name, NULL);
    struct params table = params_of(m->plugin);
    static struct document doc; /* the options' strings lie in it, until the next */
    static struct arena arena;
    void *config;

    yaml_free(&doc);
    ck_assert_int_eq(yaml_parse(yaml, strlen(yaml), "test", &doc, NULL), 0);
    config = params_bind(&table, doc.root, NULL, &arena, NULL);
    ck_assert_ptr_nonnull(config);
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
        struct {
            uint32_t perturb, site;
            double rate;
        } way;
    } said[] = {
        {"rm-dropout", "{model: a, samples: 3, rate: 0.3}", {REIN_PERTURB_DROPOUT, REIN_SITE_HEAD, 0.3}},
        {"rm-dropout", "{model: a, samples: 3, rate: 0.2, sites: all}", {REIN_PERTURB_DROPOUT, REIN_SITE_ALL, 0.2}},
        {"rm-perturb", "{model: a, samples: 3, rate: 0.5}", {REIN_PERTURB_NOISE, REIN_SITE_HEAD, 0.5}},
        {"rm-perturb", "{model: a, samples: 3, target: embedding}", {REIN_PERTURB_NOISE, REIN_SITE_EMBEDDING, 0.1}},
    };
    const struct model_source source = random_source(5, 1);
    float family[3 * ROWS], wanted[3 * ROWS];
    struct asked a;
    struct set s;

    ask_open(&a, &source, 1, SEED);
    make(&s, all, ROWS);
    ck_assert_uint_eq(say(&a, &s, said[_i].name, said[_i].yaml, family), 3);
    ask(&a, &s,
        (struct rein_score_request){
            .perturb = said[_i].way.perturb, .site = said[_i].way.site, .rate = said[_i].way.rate, .samples = 3},
        wanted);
    ck_assert_mem_eq(family, wanted, sizeof(family));
    ask_close(&a);
}
END_TEST

START_TEST(what_an_ensemble_cannot_be) {
    static const char *const wrong[][2] = {
        {"{models: [a]}", "at least two members"},
        {"{models: [a, a], standardise: false}", "named twice"},
        {"{models: [a, b]}", "no mean and deviation"},
        {"{models: [a, nobody], standardise: false}", "no reward model nobody"},
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
    tcase_add_test(tc, dropout_in_training_is_a_rows_own);
    tcase_add_test(tc, each_head_has_a_loss_of_its_own);
    tcase_add_test(tc, heads_learn_from_samples_of_their_own);
    tcase_add_test(tc, a_stopped_run_draws_the_same);
    tcase_add_test(tc, an_ensemble_is_its_members);
    tcase_add_test(tc, a_trunk_in_common_is_loaded_once);
    tcase_add_loop_test(tc, sources_draw_as_they_say, 0, 4);
    tcase_add_test(tc, what_an_ensemble_cannot_be);
    suite_add_tcase(suite, tc);
    rc = tap_run(suite);
    harness_close(&h);
    return rc;
}
