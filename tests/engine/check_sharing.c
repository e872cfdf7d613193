/* SPDX-License-Identifier: MIT
 * Sequences that begin alike are computed together: the same numbers and gradients as apart, for every family.
 */
#include "engine.h"
#include "model/generate.h"
#include "model/packing.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 96 };

static json_t *golden;

static json_t *case_at(int i) {
    return json_array_get(json_object_get(golden, "cases"), (size_t)i);
}

/* Batches as strings, one letter an id; computed: rows that must be left when beginnings of `least` are shared. */
static const struct sharing {
    const char *what;
    const char *rows[8];
    uint32_t least, computed;
} cases[] = {
    {"a group", {"abcdefgxyz", "abcdefguv", "abcdefgwxyzk", NULL}, 1, 7 + 3 + 2 + 5},
    {"two groups, mixed", {"abcdex", "klmnop", "abcdeyz", "klmnq", NULL}, 1, 6 + 6 + 2 + 1},
    {"a pair whose answers begin alike", {"abcdeuvw", "abcdeuvxyz", NULL}, 1, 8 + 3},
    {"the same row three times", {"abcdef", "abcdef", "abcdef", NULL}, 1, 6},
    {"an empty completion, first and last", {"abcd", "abcdxy", "abcdz", "abcd", NULL}, 1, 4 + 2 + 1},
    {"prompts of one token", {"axyz", "auvwxyz", "ak", "bx", NULL}, 1, 4 + 6 + 1 + 2},
    {"a prompt that begins another", {"abcdefgh", "abcx", "abcdy", "abcdefghijk", NULL}, 1, 8 + 1 + 1 + 3},
    {"groups within a common system turn", {"ssssabcdx", "ssssabcdy", "ssssefghx", "ssssefghyz", "ssssefghk", NULL},
     1, 9 + 1 + 9 + 2 + 1},
    {"a system turn alone", {"ssssabcd", "ssssefghx", "ssssijk", NULL}, 1, 8 + 5 + 3},
    {"too little to share", {"abcx", "abcy", "abz", NULL}, 4, 11},
    {"enough to share", {"abcdx", "abcdy", "abz", NULL}, 4, 5 + 1 + 3},
    {"a single row", {"abcdefgh", NULL}, 1, 8},
};
enum { CASES = sizeof(cases) / sizeof(*cases) };

struct rows {
    uint32_t offset[9];
    int32_t ids[MOST];
    struct packed packed;
};

static void make(const struct sharing *c, struct rows *r) {
    uint32_t n = 0, count = 0;

    for (; c->rows[count]; count++) {
        r->offset[count] = n;
        for (const char *x = c->rows[count]; *x; x++)
            r->ids[n++] = *x - 'a' + 5;
    }
    r->offset[count] = n;
    r->packed = (struct packed){count, r->offset, r->ids};
}

START_TEST(rows_are_counted_once) {
    struct packing p = {0};
    struct error err = {0};

    for (int turn = 0; turn < 2; turn++) /* memory is used again */
        for (int i = 0; i < CASES; i++) {
            struct rows r;

            make(&cases[i], &r);
            must(packing_make(&p, &r.packed, cases[i].least, &err), &err);
            ck_assert_msg(p.n == cases[i].computed, "%s: %d rows", cases[i].what, (int)p.n);
            for (uint32_t s = 0; s < r.packed.count; s++)
                for (uint32_t k = r.offset[s]; k < r.offset[s + 1]; k++) {
                    ck_assert_int_eq(p.ids[p.where[k]], r.ids[k]);
                    ck_assert_int_eq(p.positions[p.where[k]], (int32_t)(k - r.offset[s]));
                }
            must(packing_make(&p, &r.packed, 0, &err), &err);
            ck_assert_int_eq(p.n, r.offset[r.packed.count]);
            ck_assert_uint_eq(p.nsegments, r.packed.count);
        }
    packing_free(&p);
}
END_TEST

/* Rows of one scatter must be distinct, on any backend: here everything that goes to the kernel is looked at. */
static rein_status (*real_gather)(void *dev, const struct rein_gather *a);
static rein_status strict_gather(void *dev, const struct rein_gather *a) {
    for (int64_t i = 0; a->scatter && i < a->n; i++)
        for (int64_t j = 0; j < i; j++)
            ck_assert_int_ne(a->rows[i], a->rows[j]);
    return real_gather(dev, a);
}

/* What one way of computing gives. */
struct numbers {
    uint32_t n;
    float logp[MOST], entropy[MOST], value[MOST], last[8];
    int32_t best[MOST];
    double loss;
    float **gradients;
};

static void all_gradients(struct model *m, struct numbers *out) {
    out->gradients = calloc(model_params(m), sizeof(*out->gradients));
    for (size_t i = 0; i < model_params(m); i++)
        out->gradients[i] = engine_gradient(m, model_param(m, i));
}

/* Log-probabilities, entropies and values of all rows from the second token on: prompts are learnt from too, so that many
 * sequences read the rows that they share. */
static void language_model(struct pass *p, struct model *critic, const struct rows *r, struct numbers *out) {
    int32_t rows[MOST], targets[MOST];
    float d_logp[MOST], d_entropy[MOST], d_value[MOST];
    struct pass_targets t = {.rows = rows, .targets = targets, .temperature = 0.7};
    struct error err = {0};

    for (uint32_t s = 0; s < r->packed.count; s++)
        for (uint32_t i = r->offset[s]; i + 1 < r->offset[s + 1]; i++, t.n++) {
            rows[t.n] = (int32_t)i;
            targets[t.n] = r->ids[i + 1];
            d_logp[t.n] = (float)((i * 5 + s * 7) % 9) / 8 - 0.4f;
            d_entropy[t.n] = (float)((i * 7 + s * 3) % 11) / 16 - 0.2f;
            d_value[t.n] = (float)((i * 3 + s) % 7) / 8 - 0.3f;
        }
    must(pass_forward(p, &r->packed, true, &err), &err);
    must(pass_logprobs(p, &t, out->logp, out->entropy, out->best, &err), &err);
    must(pass_scores(p, critic, t.n, rows, out->value, &err), &err);
    must(pass_scores_backward(p, critic, t.n, rows, d_value, &err), &err);
    must(pass_logprobs_backward(p, &t, d_logp, d_entropy, &err), &err);
    must(pass_backward(p, &err), &err);
    out->n = t.n;
    for (uint32_t i = 0; i < t.n; i++)
        out->loss += (double)d_logp[i] * out->logp[i] + (double)d_entropy[i] * out->entropy[i] +
                     (double)d_value[i] * out->value[i];
    all_gradients(critic, out);
}

static void classifier(struct pass *p, struct model *m, const struct rows *r, struct numbers *out) {
    int32_t last[8];
    float d[8];
    struct error err = {0};

    for (uint32_t s = 0; s < r->packed.count; s++) {
        last[s] = (int32_t)r->offset[s + 1] - 1;
        d[s] = (float)(s % 3) - 0.6f;
    }
    must(pass_forward(p, &r->packed, true, &err), &err);
    must(pass_scores(p, m, r->packed.count, last, out->last, &err), &err);
    must(pass_scores_backward(p, m, r->packed.count, last, d, &err), &err);
    must(pass_backward(p, &err), &err);
    for (uint32_t s = 0; s < r->packed.count; s++)
        out->loss += (double)d[s] * out->last[s];
    all_gradients(m, out);
}

/* _i: a family's golden model. */
START_TEST(sharing_changes_no_number) {
    const bool score = json_object_get(case_at(_i), "scores") != NULL;
    char *config = json_dumps(json_object_get(case_at(_i), "config"), 0), *folder = engine_model(config, true);
    struct model *m = engine_open(folder, score ? MODEL_SCORE : MODEL_LM, true), *critic = NULL;
    struct error err = {0};
    struct pass *p;

    printf("# %s\n", json_string_value(json_object_get(case_at(_i), "name")));
    real_gather = engine_backend()->k.gather;
    engine_backend()->k.gather = strict_gather;
    if (!score) {
        struct model_param *head;
        float *w;

        must(model_share(m, MODEL_VALUE, NULL, &critic, &err), &err);
        head = model_param(critic, model_params(critic) - 1);
        w = malloc((size_t)head->w.cols * sizeof(*w));
        for (int64_t i = 0; i < head->w.cols; i++)
            w[i] = engine_weight("value", (uint64_t)i);
        engine_upload(critic, head->w.data, w, (size_t)head->w.cols);
        free(w);
        model_touch(critic);
    }
    must(pass_create(m, &p, &err), &err);
    for (int c = 0; c < CASES; c++) {
        struct numbers apart = {0}, together = {0};
        struct model *view = score ? m : critic;
        struct rows r;

        make(&cases[c], &r);
        for (int turn = 0; turn < 2; turn++) {
            engine_zero_grad(view);
            pass_share(p, turn ? cases[c].least : 0);
            if (score)
                classifier(p, m, &r, turn ? &together : &apart);
            else
                language_model(p, critic, &r, turn ? &together : &apart);
        }
        engine_near(apart.logp, together.logp, apart.n, cases[c].what, "logp");
        engine_near(apart.entropy, together.entropy, apart.n, cases[c].what, "entropy");
        engine_near(apart.value, together.value, apart.n, cases[c].what, "value");
        engine_near(apart.last, together.last, score ? r.packed.count : 0, cases[c].what, "score");
        ck_assert_mem_eq(apart.best, together.best, apart.n * sizeof(int32_t));
        ck_assert_double_eq_tol(apart.loss, together.loss, 1e-5 * fmax(1, fabs(apart.loss)));
        for (size_t i = 0; i < model_params(view); i++) {
            const struct model_param *q = model_param(view, i);

            engine_near(apart.gradients[i], together.gradients[i], (size_t)(q->w.rows * q->w.cols), cases[c].what, q->name);
            free(apart.gradients[i]);
            free(together.gradients[i]);
        }
        free(apart.gradients);
        free(together.gradients);
    }
    engine_backend()->k.gather = real_gather;
    pass_free(p);
    model_close(critic);
    model_close(m);
    engine_remove(folder);
    free(config);
}
END_TEST

/* Each sequence draws for itself: what only the head perturbs may share its trunk, a perturbed trunk may not. */
START_TEST(draws_are_of_each_sequence) {
    static const struct {
        uint32_t kind, site;
    } how[] = {{REIN_PERTURB_DROPOUT, REIN_SITE_HEAD}, {REIN_PERTURB_NOISE, REIN_SITE_HEAD},
               {REIN_PERTURB_DROPOUT, REIN_SITE_ALL}, {REIN_PERTURB_NOISE, REIN_SITE_EMBEDDING}};
    const uint64_t keys[] = {11, 12, 13, 14};
    const struct pass_perturb perturb = {how[_i].kind, how[_i].site, 0.3, keys};
    float score[2][4];
    struct error err = {0};
    struct model *m;
    struct pass *p;
    char *config, *folder;
    struct rows r;
    int scored = 0;

    while (!json_object_get(case_at(scored), "scores"))
        scored++;
    config = json_dumps(json_object_get(case_at(scored), "config"), 0);
    folder = engine_model(config, true);
    m = engine_open(folder, MODEL_SCORE, false);
    make(&cases[3], &r); /* equal rows, whose scores differ by their draws alone */
    must(pass_create(m, &p, &err), &err);
    for (int turn = 0; turn < 2; turn++) {
        int32_t last[3] = {5, 11, 17};

        pass_share(p, turn ? 1 : 0);
        must(pass_perturb(p, &perturb, 3, &err), &err);
        must(pass_forward(p, &r.packed, false, &err), &err);
        must(pass_scores(p, m, 3, last, score[turn], &err), &err);
    }
    for (int i = 0; i < 3; i++)
        ck_assert_float_eq_tol(score[0][i], score[1][i], 1e-5);
    ck_assert(fabsf(score[1][0] - score[1][1]) > 1e-3 && fabsf(score[1][1] - score[1][2]) > 1e-3);
    pass_free(p);
    model_close(m);
    engine_remove(folder);
    free(config);
}
END_TEST

/* A score by the formulas of pass.h and rein/perturb.h, from what the head reads. */
static double drawn_score(const float *w, const float *x, int64_t h, const struct pass_perturb *how, uint64_t key,
                          uint32_t position, uint32_t place) {
    double squares = 0, sum = 0, z[4];
    uint32_t word[4];

    for (int64_t c = 0; c < h; c++)
        squares += (double)w[c] * w[c];
    for (int64_t c = 0; c < h; c++) {
        if (c % 4 == 0) {
            rein_philox(key, (uint32_t)c / 4, position, place, how->kind, word);
            rein_normals(word, z);
        }
        if (how->kind == REIN_PERTURB_NOISE)
            sum += (w[c] + how->rate * sqrt(squares / (double)h) * z[c % 4]) * x[c];
        else if (word[c % 4] >= rein_dropout_below(how->rate))
            sum += (double)w[c] * x[c] / (1 - how->rate);
    }
    return sum;
}

/* The head's draws are of each sequence's key and of places within it, wherever their rows are computed. */
START_TEST(head_draws_are_of_places_in_sequences) {
    const uint64_t keys[] = {11, 12, 13, 14};
    const struct pass_perturb how = {_i % 2 ? REIN_PERTURB_NOISE : REIN_PERTURB_DROPOUT, REIN_SITE_HEAD, 0.3, keys};
    static const struct {
        int32_t sequence, position;
    } read[] = {{0, 5}, {0, 6}, {0, 9}, {1, 5}, {1, 8}, {2, 6}, {2, 10}, {2, 11}};
    enum { READ = sizeof(read) / sizeof(*read) };
    int32_t at[READ];
    float score[READ], *hidden, *weights;
    struct error err = {0};
    struct model_param *head;
    struct model *m;
    struct pass *p;
    char *config, *folder;
    struct rows r;
    int64_t h;
    int scored = 0;

    while (!json_object_get(case_at(scored), "scores"))
        scored++;
    config = json_dumps(json_object_get(case_at(scored), "config"), 0);
    folder = engine_model(config, true);
    m = engine_open(folder, MODEL_SCORE, false);
    h = model_config(m)->hidden;
    head = model_param(m, model_params(m) - 1);
    make(&cases[0], &r); /* a group of three */
    for (int i = 0; i < READ; i++)
        at[i] = (int32_t)r.offset[read[i].sequence] + read[i].position;
    must(pass_create(m, &p, &err), &err);
    pass_share(p, _i < 2 ? 1 : 0);
    must(pass_perturb(p, &how, 3, &err), &err);
    must(pass_forward(p, &r.packed, false, &err), &err);
    must(pass_scores(p, m, READ, at, score, &err), &err);
    hidden = malloc(MOST * (size_t)h * sizeof(*hidden));
    must(pass_hidden(p, hidden, &err), &err);
    weights = engine_download(m, head->w.data, (size_t)h);
    for (int i = 0; i < READ; i++) {
        const double expected = drawn_score(weights, hidden + at[i] * h, h, &how, keys[read[i].sequence],
                                            (uint32_t)read[i].position, 2 * (uint32_t)model_config(m)->layers + 1);

        ck_assert_msg(fabs(score[i] - expected) < 1e-5, "row %d of sequence %d: %g, not %g", read[i].position,
                      read[i].sequence, (double)score[i], expected);
    }
    free(hidden);
    free(weights);
    pass_free(p);
    model_close(m);
    engine_remove(folder);
    free(config);
}
END_TEST

static rein_status (*real_embedding)(void *, const struct rein_embedding *);
static const struct rein_weight *words; /* learned positions are looked up too */
static int64_t embedded;

static rein_status counting_embedding(void *dev, const struct rein_embedding *a) {
    embedded += a->w == words ? a->n : 0;
    return real_embedding(dev, a);
}

static void complete(struct model *m, const struct packed *prompts, uint32_t slots, struct generation *out) {
    const struct generate_request q = {.prompts = prompts->count,
                                       .offset = prompts->offset,
                                       .ids = prompts->ids,
                                       .group = 2,
                                       .max_tokens = 3,
                                       .top_p = 1,
                                       .ignore_eos = true,
                                       .slots = slots};
    struct error err = {0};

    words = &model_param(m, 0)->w;
    embedded = 0;
    must(generate(m, &q, out, &err), &err);
}

/* Prompts that begin alike are computed together before they are completed, which each of them does as it would alone.
 */
START_TEST(prompts_that_begin_alike) {
    static const struct sharing prompts = {
        "prompts",
        {"abcdefghij", "abcdefghijklm", "abcdefghxy", "abcdefghij", "abcdefgz", "nopqrstuvw", "abcdefghi", NULL},
        PASS_SHARE_LEAST,
        10 + 3 + 2 + 0 + 8 + 10 + 0};
    char *config = json_dumps(json_object_get(case_at(_i), "config"), 0), *folder = engine_model(config, true);
    struct model *m = json_object_get(case_at(_i), "scores") ? NULL : engine_open(folder, MODEL_LM, false);
    struct rows r;

    make(&prompts, &r);
    if (engine_backend()->k.embedding != counting_embedding) /* else a test before this one failed */
        real_embedding = engine_backend()->k.embedding;
    engine_backend()->k.embedding = counting_embedding;
    for (uint32_t slots = 0; m && slots < 6; slots++) {
        struct generation all, one;

        complete(m, &r.packed, slots, &all);
        if (slots == 0) /* two more steps of every completion, after the first token from its prompt */
            ck_assert_int_eq(embedded, prompts.computed + 2 * all.count);
        for (uint32_t s = 0; s < r.packed.count; s++) {
            uint32_t span[] = {0, r.offset[s + 1] - r.offset[s]};
            const struct packed alone = {1, span, r.ids + r.offset[s]};

            complete(m, &alone, 0, &one);
            for (uint32_t c = 0; c < 2; c++) {
                const uint32_t at = all.offset[2 * s + c];

                ck_assert_mem_eq(all.ids + at, one.ids, 3 * sizeof(int32_t));
                engine_near(one.logp, all.logp + at, 3, prompts.rows[s], "logp");
            }
            generation_free(&one);
        }
        generation_free(&all);
    }
    engine_backend()->k.embedding = real_embedding;
    model_close(m);
    engine_remove(folder);
    free(config);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sharing");
    TCase *t = tcase_create("sharing");
    int rc;

    golden = json_load_file(SOURCE_DIR "/tests/golden/engine.json", 0, NULL);
    if (!golden)
        return 1;
    tcase_set_timeout(t, 120);
    tcase_add_test(t, rows_are_counted_once);
    tcase_add_loop_test(t, sharing_changes_no_number, 0, (int)json_array_size(json_object_get(golden, "cases")));
    tcase_add_loop_test(t, prompts_that_begin_alike, 0, (int)json_array_size(json_object_get(golden, "cases")));
    tcase_add_loop_test(t, draws_are_of_each_sequence, 0, 4);
    tcase_add_loop_test(t, head_draws_are_of_places_in_sequences, 0, 4);
    suite_add_tcase(suite, t);
    rc = tap_run(suite);
    json_decref(golden);
    return rc;
}
