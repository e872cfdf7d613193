/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "conform/rig.h"

#include <math.h>
#include <stdlib.h>

static const uint32_t dtypes[] = {REIN_F32, REIN_F16, REIN_BF16};

struct head_case {
    int64_t n, vocabulary, cols;
    int dtype;
    float inv_temperature;
    bool bias, optional; /* optional: lse, entropy and best are wanted */
};

/* The logits of row i, as the reference has them. */
static double *row_logits(struct array *w, struct array *bias, struct array *hidden, float inv_temperature, int64_t i) {
    struct rein_weight weight = {.size = sizeof(weight), .dtype = w->dtype, .rows = w->rows, .cols = w->cols,
                                 .ld = w->ld, .data = rig_first(w)};
    double *z = mem_array((size_t)w->rows, sizeof(*z));

    if (!z)
        exit(2);
    ref_logits(&weight, bias ? rig_first(bias) : NULL, (float *)rig_first(hidden) + i * hidden->ld, inv_temperature, z);
    return z;
}

static int32_t result(const struct array *a, int side, int64_t i) {
    return ((int32_t *)(void *)(a->block[side] + a->offset))[i];
}

/* Another index than the reference's is right when its logit is as large but for rounding; among logits that are not
 * finite any will do. */
static void compare_best(struct rig *r, struct array *w, struct array *bias, struct array *hidden,
                         const struct array *best, float inv_temperature) {
    for (int64_t i = 0; i < best->rows; i++)
        for (int side = RIG_ONE; side < RIG_SIDES; side++) {
            int32_t id = result(best, side, i), wanted = result(best, RIG_REF, i);
            double *z;
            if (id == wanted)
                continue;
            z = row_logits(w, bias, hidden, inv_temperature, i);
            if (id < 0 || id >= w->rows || (isfinite(z[wanted]) && z[id] < z[wanted] - 1e-4 * rig_slack()))
                rig_fail(r, "best of row %d is %d, the reference's %d", (int)i, (int)id, (int)wanted);
            free(z);
        }
}

static void head(struct rig *r, const struct head_case *c) {
    struct array *w, *bias, *hidden, *logp, *lse, *entropy, *best;
    int32_t *targets;

    rig_begin(r, "head n=%d vocabulary=%d cols=%d dtype=%d", (int)c->n, (int)c->vocabulary, (int)c->cols, c->dtype);
    w = rig_array(r, RIG_IN, c->vocabulary, c->cols, c->cols + c->bias, dtypes[c->dtype]);
    hidden = rig_array(r, RIG_IN, c->n, c->cols, c->cols + 3 * c->bias, REIN_F32);
    rig_scale(hidden, 2.0f, 0.0f);
    bias = c->bias ? rig_array(r, RIG_IN, 1, c->vocabulary, c->vocabulary, REIN_F32) : NULL;
    logp = rig_array(r, RIG_OUT, c->n, 1, 1, REIN_F32);
    lse = c->optional ? rig_array(r, RIG_OUT, c->n, 1, 1, REIN_F32) : NULL;
    entropy = c->optional ? rig_array(r, RIG_OUT, c->n, 1, 1, REIN_F32) : NULL;
    best = c->optional ? rig_array(r, RIG_OUT, c->n, 1, 1, RIG_I32) : NULL;
    if (best)
        best->loose = true;
    if (entropy)
        entropy->scale = 1;
    targets = rig_ints(r, c->n);
    rig_fill_ints(r, targets, c->n, (int32_t)c->vocabulary);
    if (c->n > 2)
        targets[2] = -1;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_head a = {.w = rig_weight(r, w, side), .bias = rig_at(bias, side), .n = c->n, .ldh = hidden->ld,
                              .hidden = rig_at(hidden, side), .targets = targets,
                              .inv_temperature = c->inv_temperature, .logp = rig_at(logp, side),
                              .lse = rig_at(lse, side), .entropy = rig_at(entropy, side), .best = rig_at(best, side)};
        RIG_CALL(r, side, head, &a);
    }
    if (rig_fetch(r)) {
        rig_compare(r);
        if (best)
            compare_best(r, w, bias, hidden, best, c->inv_temperature);
    }
    rig_clear(r);
}

static void head_dx(struct rig *r, const struct head_case *c, int i) {
    bool with_entropy = i % 3 != 0, with_dw = i % 4 != 3, with_dhidden = i % 5 != 4, add = i % 2;
    struct array *w, *bias, *hidden, *lse, *entropy, *d_logp, *d_entropy, *dhidden, *dw, *dbias;
    int32_t *targets;

    rig_begin(r, "head derivative n=%d vocabulary=%d cols=%d dtype=%d%s%s", (int)c->n, (int)c->vocabulary,
              (int)c->cols, c->dtype, with_entropy ? " entropy" : "", with_dw ? " dw" : "");
    w = rig_array(r, RIG_IN, c->vocabulary, c->cols, c->cols + c->bias, dtypes[c->dtype]);
    hidden = rig_array(r, RIG_IN, c->n, c->cols, c->cols + 3 * c->bias, REIN_F32);
    bias = c->bias ? rig_array(r, RIG_IN, 1, c->vocabulary, c->vocabulary, REIN_F32) : NULL;
    lse = rig_array(r, RIG_IN, c->n, 1, 1, REIN_F32);
    entropy = rig_array(r, RIG_IN, c->n, 1, 1, REIN_F32);
    targets = rig_ints(r, c->n);
    rig_fill_ints(r, targets, c->n, (int32_t)c->vocabulary);
    if (c->n > 2)
        targets[2] = -1;
    for (int64_t j = 0; j < c->n; j++) {
        double *z = row_logits(w, bias, hidden, c->inv_temperature, j), total = ref_lse(z, c->vocabulary), mean = 0;
        for (int64_t k = 0; k < c->vocabulary; k++)
            mean += exp(z[k] - total) * z[k];
        ((float *)rig_first(lse))[j] = (float)total;
        ((float *)rig_first(entropy))[j] = (float)(total - mean);
        free(z);
    }
    d_logp = rig_array(r, RIG_IN, c->n, 1, 1, REIN_F32);
    d_entropy = with_entropy ? rig_array(r, RIG_IN, c->n, 1, 1, REIN_F32) : NULL;
    dhidden = with_dhidden ? rig_array(r, add ? RIG_BOTH : RIG_OUT, c->n, c->cols, c->cols + 1, REIN_F32) : NULL;
    dw = with_dw ? rig_array(r, RIG_BOTH, c->vocabulary, c->cols, c->cols + 2, REIN_F32) : NULL;
    dbias = with_dw && c->bias ? rig_array(r, RIG_BOTH, 1, c->vocabulary, c->vocabulary, REIN_F32) : NULL;
    if (dhidden)
        dhidden->scale = 1e-3; /* with one token alone there is nothing but rounding */
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_head_dx a = {.w = rig_weight(r, w, side), .bias = rig_at(bias, side), .n = c->n, .ldh = hidden->ld,
                                 .lddh = c->cols + 1, .lddw = c->cols + 2, .hidden = rig_at(hidden, side),
                                 .targets = targets, .inv_temperature = c->inv_temperature, .beta = add ? 1.0f : 0.0f,
                                 .lse = rig_at(lse, side), .entropy = with_entropy ? rig_at(entropy, side) : NULL,
                                 .d_logp = rig_at(d_logp, side), .d_entropy = rig_at(d_entropy, side),
                                 .dhidden = rig_at(dhidden, side), .dw = rig_at(dw, side),
                                 .dbias = rig_at(dbias, side)};
        RIG_CALL(r, side, head_dx, &a);
    }
    rig_end(r);
}

void check_head(struct rig *r) {
    static const int64_t shapes[][3] = {{0, 7, 3},     {1, 1, 1},     {1, 300, 17},  {5, 31, 64},
                                        {33, 257, 20}, {70, 513, 48}, {258, 101, 8}, {3, 1100, 33},
                                        {4, 4500, 8},  {60, 4500, 4}}; /* more than 1 MiB of logits */
    int i = 0;

    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
        for (int dtype = 0; dtype < 3; dtype++, i++) {
            struct head_case c = {shapes[s][0], shapes[s][1], shapes[s][2], dtype, i % 2 ? 1.0f : 1.25f, i % 3 == 1,
                                  i % 4 != 2};
            head(r, &c);
        }
    rig_report(r, "head");
    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
        for (int v = 0; v < 5; v++, i++) {
            struct head_case c = {shapes[s][0], shapes[s][1], shapes[s][2], i % 3, i % 2 ? 1.0f : 0.8f, i % 4 == 1,
                                  true};
            head_dx(r, &c, i);
        }
    rig_report(r, "head_dx");
}

struct draw_case {
    int64_t n, vocabulary, cols, top_k;
    float top_p;
    int dtype;
    bool greedy, ban, bias, ties;
};

/* What the reference draws at u moved by `nudge`. */
static int32_t draw_near(struct rein_sample a, int64_t row, double nudge) {
    double u = a.u[row] + nudge;
    int32_t id;
    float logp;

    u = u < 0 ? 0 : u >= 1 ? 1 - 1e-12 : u;
    a.n = 1;
    a.hidden += row * a.ldh;
    a.u = &u;
    a.ids = &id;
    a.logp = &logp;
    ref_sample(NULL, &a);
    return id;
}

/* Whether the logits of two tokens are one but for the rounding that --tolerance allows; without it ties are exact. */
static bool as_likely(const struct rein_sample *a, int64_t row, int32_t id, int32_t wanted) {
    double *z = mem_array((size_t)a->w->rows, sizeof(*z));
    bool near;

    if (!z)
        exit(2);
    ref_logits(a->w, a->bias, a->hidden + row * a->ldh, a->inv_temperature, z);
    near = rig_slack() > 1 && id >= 0 && id < a->w->rows && !(a->banned && a->banned[id]) &&
           z[id] >= z[wanted] - 1e-4 * rig_slack();
    free(z);
    return near;
}

/* A draw may differ from the reference's where u is within rounding of the border between two tokens. */
static void compare_draws(struct rig *r, const struct rein_sample *ref, const struct array *ids,
                          const struct array *logp) {
    for (int64_t i = 0; i < ids->rows; i++)
        for (int side = RIG_ONE; side < RIG_SIDES; side++) {
            int32_t id = result(ids, side, i), wanted = result(ids, RIG_REF, i);
            double a = ref_load(logp->block[side] + logp->offset, REIN_F32, i);
            double b = ref_load(logp->block[RIG_REF] + logp->offset, REIN_F32, i);
            if (id == wanted && !(fabs(a - b) <= 1e-4 * rig_slack()))
                rig_fail(r, "logp of row %d is %g, the reference's %g", (int)i, a, b);
            if (id != wanted && (ref->greedy ? !as_likely(ref, i, id, wanted)
                                             : id < draw_near(*ref, i, -1e-5 * rig_slack()) ||
                                                   id > draw_near(*ref, i, 1e-5 * rig_slack())))
                rig_fail(r, "row %d draws %d, the reference %d", (int)i, (int)id, (int)wanted);
        }
}

static void sample(struct rig *r, const struct draw_case *c) {
    struct array *w, *bias, *hidden, *ids, *logp;
    struct rein_sample ref = {.n = 0};
    double *u = mem_array((size_t)c->n, sizeof(*u));
    uint8_t *banned = mem_zeros((size_t)c->vocabulary, 1);

    if (!u || !banned)
        exit(2);
    rig_begin(r, "sample n=%d vocabulary=%d top_k=%d top_p=%g%s%s", (int)c->n, (int)c->vocabulary, (int)c->top_k,
              (double)c->top_p, c->greedy ? " greedy" : c->ties ? " ties" : "", c->ban ? " banned" : "");
    w = rig_array(r, RIG_IN, c->vocabulary, c->cols, c->cols, dtypes[c->dtype]);
    for (int64_t j = 0; c->ties && j < c->vocabulary; j++) /* fours of one logit, to the bit where cols is 1 */
        ((float *)rig_first(w))[j * c->cols] = ((float *)rig_first(w))[j / 4 * 4 * c->cols];
    hidden = rig_array(r, RIG_IN, c->n, c->cols, c->cols + 1, REIN_F32);
    rig_scale(hidden, 2.0f, 0.0f);
    bias = c->bias ? rig_array(r, RIG_IN, 1, c->vocabulary, c->vocabulary, REIN_F32) : NULL;
    ids = rig_array(r, RIG_OUT, c->n, 1, 1, RIG_I32);
    logp = rig_array(r, RIG_OUT, c->n, 1, 1, REIN_F32);
    ids->loose = logp->loose = true;
    for (int64_t i = 0; i < c->n; i++)
        u[i] = i == 0 ? 0.0 : i == 1 ? 1.0 - 0x1p-53 : rig_uniform(r);
    for (int64_t j = 0; c->ban && j + 1 < c->vocabulary; j++)
        banned[j] = rig_uniform(r) < 0.5;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_sample a = {.greedy = c->greedy, .w = rig_weight(r, w, side), .bias = rig_at(bias, side),
                                .n = c->n, .ldh = hidden->ld, .hidden = rig_at(hidden, side), .inv_temperature = 0.9f,
                                .top_p = c->top_p, .top_k = c->top_k, .u = u, .banned = c->ban ? banned : NULL,
                                .ids = rig_at(ids, side), .logp = rig_at(logp, side)};
        RIG_CALL(r, side, sample, &a);
        if (side == RIG_REF)
            ref = a;
    }
    if (rig_fetch(r)) {
        rig_compare(r);
        compare_draws(r, &ref, ids, logp);
    }
    rig_clear(r);
    free(u);
    free(banned);
}

void check_sample(struct rig *r) {
    static const int64_t shapes[][3] = {{0, 5, 3}, {1, 1, 1}, {5, 40, 7}, {20, 211, 8}, {2, 1200, 8}, {70, 33, 5}};
    static const int64_t top_ks[] = {0, 1, 5, 1000};
    static const float top_ps[] = {1.0f, 0.9f, 0.3f};
    int i = 0;

    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
        for (int k = 0; k < 4; k++)
            for (int p = 0; p < 3; p++, i++) {
                struct draw_case c = {shapes[s][0], shapes[s][1], shapes[s][2], top_ks[k], top_ps[p], i % 3, false,
                                      i % 2, i % 5 == 0, false};
                sample(r, &c);
                c.greedy = true;
                sample(r, &c);
            }
    for (int k = 0; k < 4; k++) /* of equal logits the first stay */
        for (int p = 0; p < 3; p++) {
            struct draw_case c = {40, 90, 1, top_ks[k], top_ps[p], 0, false, k % 2, false, true};
            sample(r, &c);
            c.greedy = true;
            sample(r, &c);
        }
    for (int greedy = 0; greedy < 2; greedy++) { /* more than 1 MiB of logits */
        struct draw_case c = {60, 4500, 4, 0, 1.0f, 0, greedy, false, false, false};
        sample(r, &c);
    }
    rig_report(r, "sample");
}
