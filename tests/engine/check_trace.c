/* SPDX-License-Identifier: MIT
 * What sampling records is what a forward pass over the sampled sequences keeps: the same numbers and gradients.
 */
#include "engine.h"
#include "model/param.h"
#include "model/pass_state.h"
#include "tap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 3, DRAWN = 9, PROMPTS = 5, MOST = 512 };

static json_t *golden;
static struct error err;

/* Prompts that begin alike, a short one, and one twice. */
static const char *const prompts[PROMPTS] = {"abcdefghij", "abcdefghxyzk", "mn", "abcdefghij", "opqrstuvw"};

/* A way to sample. eos: as many of the first ids end a completion. */
static const struct way {
    const char *what;
    uint32_t slots, eos;
    double temperature;
    bool lora;
    uint32_t share; /* pass_share */
} ways[] = {
    {"all at once", 0, 0, 1, false, PASS_SHARE_LEAST},
    {"that end apart", 0, 14, 0.8, false, PASS_SHARE_LEAST},
    {"few slots", 4, 14, 1.3, false, PASS_SHARE_LEAST},
    {"one slot", 1, 8, 1, false, PASS_SHARE_LEAST},
    {"greedy, alike to the end", 0, 0, 0, false, PASS_SHARE_LEAST},
    {"an adapter", 5, 10, 1, true, PASS_SHARE_LEAST},
    {"a pass that shares nothing", 0, 14, 1, false, 0},
    {"a pass that shares all it can", 2, 12, 1, false, 1},
};
enum { WAYS = sizeof(ways) / sizeof(*ways) };

struct rollout {
    uint32_t prompt_offset[PROMPTS + 1], offset[PROMPTS * GROUP + 1];
    int32_t prompt_ids[64], ids[MOST], eos[16];
    struct generate_request request;
    struct packed packed;
    struct generation drawn;
};

static void sample(struct model *m, struct pass *trace, const struct way *way, struct rollout *r) {
    uint32_t n = 0;

    *r = (struct rollout){0};
    for (uint32_t i = 0; i < PROMPTS; i++) {
        for (const char *x = prompts[i]; *x; x++)
            r->prompt_ids[n++] = *x - 'a' + 5;
        r->prompt_offset[i + 1] = n;
    }
    for (int32_t i = 0; i < 16; i++)
        r->eos[i] = i;
    r->request = (struct generate_request){.prompts = PROMPTS,
                                           .offset = r->prompt_offset,
                                           .ids = r->prompt_ids,
                                           .group = GROUP,
                                           .max_tokens = DRAWN,
                                           .temperature = way->temperature,
                                           .top_p = 1,
                                           .eos = r->eos,
                                           .neos = way->eos,
                                           .seed = 3,
                                           .slots = way->slots,
                                           .trace = trace};
    must(generate(m, &r->request, &r->drawn, &err), &err);
    r->packed = (struct packed){r->drawn.count, r->offset, r->ids};
    n = 0;
    for (uint32_t c = 0; c < r->drawn.count; c++) {
        const uint32_t first = r->prompt_offset[c / GROUP], length = r->prompt_offset[c / GROUP + 1] - first;
        const uint32_t at = r->drawn.offset[c], drawn = r->drawn.offset[c + 1] - at;

        memcpy(r->ids + n, r->prompt_ids + first, length * sizeof(*r->ids));
        memcpy(r->ids + n + length, r->drawn.ids + at, drawn * sizeof(*r->ids));
        r->offset[c + 1] = n += length + drawn;
    }
    ck_assert_uint_le(n, MOST);
}

static struct model *open_case(int i, bool lora, bool trainable, char **folder) {
    static const struct lora_options options = {.rank = 2, .alpha = 4};
    char *config =
        json_dumps(json_object_get(json_array_get(json_object_get(golden, "cases"), (size_t)i), "config"), 0);
    struct model_source source = {.trainable = trainable, .lora = lora ? &options : NULL, .head_seed = 5};
    struct model *m;

    source.path = *folder = engine_model(config, true);
    must(model_open(engine_backend(), &source, &m, &err), &err);
    engine_zero_grad(m);
    for (size_t k = 0; lora && k < model_params(m); k++) { /* B begins as 0 */
        struct model_param *b = model_param(m, k);
        const size_t count = (size_t)(b->w.rows * b->w.cols);
        float *x = strstr(b->name, "lora_B") ? malloc(count * sizeof(*x)) : NULL;

        for (size_t j = 0; x && j < count; j++)
            x[j] = engine_weight(b->name, j);
        if (x)
            engine_upload(m, b->w.data, x, count);
        free(x);
    }
    model_touch(m);
    free(config);
    return m;
}

static bool has_scores(int i) {
    return json_object_get(json_array_get(json_object_get(golden, "cases"), (size_t)i), "scores") != NULL;
}

static float **gradients(struct model *m) {
    float **out = calloc(model_params(m), sizeof(*out));

    for (size_t i = 0; i < model_params(m); i++)
        out[i] = model_param(m, i)->grad ? engine_gradient(m, model_param(m, i)) : NULL;
    return out;
}

/* How many rows a pass computes of the rollout, and how many sampling does at most. */
static uint64_t rows_of(const struct rollout *r, uint32_t share, uint64_t *sampled) {
    struct packing k = {0};
    uint64_t n;

    must(packing_make(&k, &r->packed, share, &err), &err);
    n = (uint64_t)k.n;
    packing_free(&k);
    *sampled = r->prompt_offset[PROMPTS] + r->drawn.offset[r->drawn.count] - r->drawn.count;
    return n;
}

/* The numbers of the rollout that p holds are those of a forward pass over it. */
static void compare(struct model *m, struct pass *p, const struct rollout *r, const char *what) {
    const uint32_t n = r->offset[r->packed.count];
    float logp[2][MOST], d_logp[MOST], **gradient[2];

    for (uint32_t i = 0; i < n; i++)
        d_logp[i] = (float)(i * 5 % 9) / 8 - 0.4f;
    for (int turn = 0; turn < 2; turn++) {
        engine_zero_grad(m);
        (turn ? engine_logprobs : engine_read_logprobs)(p, &r->packed, d_logp, logp[turn]);
        gradient[turn] = gradients(m);
        ck_assert(!pass_holds(p, &r->packed));
    }
    engine_near(logp[1], logp[0], n, what, "logp");
    for (size_t i = 0; i < model_params(m); i++) {
        const struct model_param *q = model_param(m, i);

        if (q->grad)
            engine_near(gradient[1][i], gradient[0][i], (size_t)(q->w.rows * q->w.cols), what, q->name);
        free(gradient[0][i]);
        free(gradient[1][i]);
    }
    free(gradient[0]);
    free(gradient[1]);
}

/* With room for so many rows; 0: for as many as will do. */
static void record(struct model *m, const struct way *way, uint64_t room) {
    const struct backend *b = engine_backend();
    static struct rollout r;
    uint64_t needed, sampled;
    struct pass *p;

    sample(m, NULL, way, &r);
    needed = rows_of(&r, way->share, &sampled);
    generation_free(&r.drawn);
    room = room ? room : needed > sampled ? needed : sampled;
    must(pass_create(m, &p, &err), &err);
    pass_share(p, way->share);
    must(pass_reserve(p, &(struct pass_size){.kept = room}, &err), &err);
    /* nothing that sampling does not write may be read: all of it is NaN */
    must(backend_check(engine_backend(), b->ops->fill(b->dev, p->kept, 0xff, p->kept_bytes), "fill", &err), &err);
    sample(m, p, way, &r);
    ck_assert_msg(pass_holds(p, &r.packed) == (room >= needed), "%s: %d rows of %d", way->what, (int)needed, (int)room);
    if (room >= needed)
        compare(m, p, &r, way->what);
    generation_free(&r.drawn);
    pass_free(p);
}

/* _i: a family's golden model. */
START_TEST(sampling_is_a_forward_pass) {
    const bool device = !(engine_backend()->ops->flags & REIN_MEMORY_HOST);

    for (int w = device ? 2 : 0; w < WAYS && !has_scores(_i); w += device ? 3 : 1) { /* slots; an adapter */
        char *folder;
        struct model *m = open_case(_i, ways[w].lora, true, &folder);

        record(m, &ways[w], 0);
        if (!device) /* an emulated one takes its time */
            record(m, &ways[w], MOST);
        if (!device && ways[w].share == 0) /* sampling computes fewer */
            record(m, &ways[w], 200);
        model_close(m);
        engine_remove(folder);
    }
}
END_TEST

/* Where a forward pass would leave something else, or there is too little room, nothing is recorded, and sampling is as
 * it was. */
START_TEST(nothing_is_recorded) {
    static struct rollout plain, r;
    static const struct {
        uint64_t kept;
        bool trains, recompute, no_longer, grows;
    } how[] = {{.kept = 0, .trains = true},
               {.kept = 4, .trains = true},
               {.kept = 40, .trains = true},
               {.kept = 4, .trains = true, .grows = true},
               {.kept = MOST},
               {.kept = MOST, .trains = true, .recompute = true},
               {.kept = MOST, .trains = true, .recompute = true, .no_longer = true}};

    for (size_t i = 0; i < sizeof(how) / sizeof(*how); i++) {
        char *folder;
        struct model *m = open_case(0, false, how[i].trains, &folder);
        struct pass *p;

        must(pass_create(m, &p, &err), &err);
        pass_recompute(p, how[i].recompute);
        must(pass_reserve(p, &(struct pass_size){.kept = how[i].kept}, &err), &err);
        if (how[i].grows) { /* room that a process came by is not there again after a resume */
            sample(m, NULL, &ways[1], &plain);
            must(pass_forward(p, &plain.packed, true, &err), &err);
            generation_free(&plain.drawn);
        }
        if (how[i].no_longer)
            pass_recompute(p, false);
        sample(m, NULL, &ways[1], &plain);
        sample(m, p, &ways[1], &r);
        ck_assert(!pass_holds(p, &r.packed));
        ck_assert_mem_eq(r.offset, plain.offset, sizeof(r.offset));
        ck_assert_mem_eq(r.ids, plain.ids, sizeof(r.ids));
        generation_free(&plain.drawn);
        generation_free(&r.drawn);
        pass_free(p);
        model_close(m);
        engine_remove(folder);
    }
}
END_TEST

/* pass_holds: whether a forward pass would leave what is there. */
START_TEST(what_a_pass_holds) {
    static const uint64_t keys[PROMPTS * GROUP];
    static struct rollout r;
    static const struct {
        uint32_t site;
        bool holds;
    } drawn[] = {
        {REIN_SITE_ALL, false}, {PASS_SITE_ADAPTER, false}, {REIN_SITE_EMBEDDING, false}, {REIN_SITE_HEAD, true}};
    const uint32_t sequences = PROMPTS * GROUP;
    const int32_t row = 4, target = 7;
    const struct pass_targets one = {.n = 1, .rows = &row, .targets = &target, .temperature = 1};
    float logp[1];
    char *folder;
    struct model *m = open_case(0, true, true, &folder);
    struct packed fewer;
    struct pass *p;

    must(pass_create(m, &p, &err), &err);
    sample(m, NULL, &ways[0], &r);
    must(pass_forward(p, &r.packed, false, &err), &err);
    ck_assert(!pass_holds(p, &r.packed));
    must(pass_forward(p, &r.packed, true, &err), &err);
    ck_assert(pass_holds(p, &r.packed));
    fewer = r.packed;
    fewer.count--;
    ck_assert(!pass_holds(p, &fewer));
    for (size_t i = 0; i < sizeof(drawn) / sizeof(*drawn); i++) {
        const struct pass_perturb how = {REIN_PERTURB_DROPOUT, drawn[i].site, 0.3, keys};

        must(pass_perturb(p, &how, sequences, &err), &err);
        ck_assert_int_eq(pass_holds(p, &r.packed), drawn[i].holds); /* now */
        must(pass_perturb(p, NULL, 0, &err), &err);
        ck_assert(pass_holds(p, &r.packed));
        must(pass_perturb(p, &how, sequences, &err), &err);
        must(pass_forward(p, &r.packed, true, &err), &err);
        must(pass_perturb(p, NULL, 0, &err), &err);
        ck_assert_int_eq(pass_holds(p, &r.packed), drawn[i].holds); /* then */
        must(pass_forward(p, &r.packed, true, &err), &err);
    }
    model_touch(m); /* the adapter */
    ck_assert(!pass_holds(p, &r.packed));
    must(pass_forward(p, &r.packed, true, &err), &err);
    must(pass_logprobs(p, &one, logp, NULL, NULL, &err), &err);
    ck_assert(pass_holds(p, &r.packed));
    must(pass_logprobs_backward(p, &one, logp, NULL, &err), &err); /* now a gradient waits there */
    ck_assert(!pass_holds(p, &r.packed));
    generation_free(&r.drawn);
    pass_free(p);
    model_close(m);
    engine_remove(folder);
}
END_TEST

static int stop_at_once(void *ctx, uint32_t completion, int32_t id, float logp) {
    (void)completion;
    (void)id;
    (void)logp;
    return ++*(int *)ctx == 7; /* before each completion has a token */
}

/* What a pass held is gone once sampling writes over it, even when that is stopped; and only a pass over the sampled
 * model will do. */
START_TEST(what_was_held_is_lost) {
    static struct rollout r;
    char *folder, *elsewhere;
    struct model *m = open_case(0, false, true, &folder), *other = open_case(0, false, true, &elsewhere);
    struct generation g;
    struct pass *p;
    int drawn = 0;

    must(pass_create(m, &p, &err), &err);
    must(pass_reserve(p, &(struct pass_size){.kept = MOST}, &err), &err);
    sample(m, NULL, &ways[0], &r);
    must(pass_forward(p, &r.packed, true, &err), &err);
    ck_assert(pass_holds(p, &r.packed));
    r.request.trace = p;
    ck_assert_int_eq(generate(other, &r.request, &g, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "by a pass over it alone"));
    ck_assert(pass_holds(p, &r.packed));
    r.request.progress = stop_at_once;
    r.request.progress_ctx = &drawn;
    must(generate(m, &r.request, &g, &err), &err);
    ck_assert_int_eq(drawn, 7);
    ck_assert(!pass_holds(p, &r.packed));
    generation_free(&g);
    generation_free(&r.drawn);
    pass_free(p);
    model_close(m);
    model_close(other);
    engine_remove(folder);
    engine_remove(elsewhere);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("trace");
    TCase *t = tcase_create("trace");
    int rc;

    golden = json_load_file(SOURCE_DIR "/tests/golden/engine.json", 0, NULL);
    if (!golden)
        return 1;
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, sampling_is_a_forward_pass, 0, (int)json_array_size(json_object_get(golden, "cases")));
    tcase_add_test(t, nothing_is_recorded);
    tcase_add_test(t, what_a_pass_holds);
    tcase_add_test(t, what_was_held_is_lost);
    suite_add_tcase(suite, t);
    rc = tap_run(suite);
    json_decref(golden);
    return rc;
}
