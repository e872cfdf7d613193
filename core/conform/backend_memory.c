/* SPDX-License-Identifier: MIT */
#include "conform/rig.h"

#include <math.h>

static void adamw(struct rig *r, int64_t n, uint32_t dtype, bool master, int64_t step) {
    struct array *p, *copy = NULL, *g, *m, *v;

    rig_begin(r, "adamw n=%d dtype=%u%s step=%d", (int)n, (unsigned)dtype, master ? " master" : "", (int)step);
    p = rig_array(r, RIG_BOTH, 1, n, n, dtype);
    g = rig_array(r, RIG_IN, 1, n, n, REIN_F32);
    m = rig_array(r, RIG_BOTH, 1, n, n, REIN_F32);
    v = rig_array(r, RIG_BOTH, 1, n, n, REIN_F32);
    rig_scale(v, 0.4f, 0.5f);
    if (master)
        copy = rig_array(r, RIG_BOTH, 1, n, n, REIN_F32);
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_adamw a = {.dtype = dtype, .n = n, .step = step, .p = rig_at(p, side),
                               .master = rig_at(copy, side), .g = rig_at(g, side), .m = rig_at(m, side),
                               .v = rig_at(v, side), .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
                               .weight_decay = 0.1, .grad_scale = 0.7};
        RIG_CALL(r, side, adamw, &a);
    }
    rig_end(r);
}

static void sum_squares(struct rig *r, int64_t n) {
    double out[RIG_SIDES];
    struct array *x;

    rig_begin(r, "sum_squares n=%d", (int)n);
    x = rig_array(r, RIG_IN, 1, n, n, REIN_F32);
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_sum_squares a = {.n = n, .x = rig_at(x, side), .out = &out[side]};
        RIG_CALL(r, side, sum_squares, &a);
        if (side != RIG_REF)
            r->ops->sync(r->dev[side]);
    }
    if (rig_fetch(r)) {
        rig_compare(r);
        for (int side = RIG_ONE; side < RIG_SIDES; side++)
            if (isfinite(out[side]) != isfinite(out[RIG_REF]) ||
                fabs(out[side] - out[RIG_REF]) > 1e-12 * out[RIG_REF])
                rig_fail(r, "%.17g, the reference %.17g", out[side], out[RIG_REF]);
        if (isfinite(out[RIG_ONE]) && (out[RIG_ONE] != out[RIG_AGAIN] || out[RIG_ONE] != out[RIG_TWO]))
            rig_fail(r, "the bits depend on more than n");
    }
    rig_clear(r);
}

static const int64_t counts[] = {0, 1, 17, 1000, 40001};

void check_adamw(struct rig *r) {
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        adamw(r, counts[i], REIN_F32, false, 1);
        adamw(r, counts[i], REIN_F32, true, 2);
        adamw(r, counts[i], REIN_BF16, true, 3);
        adamw(r, counts[i], REIN_F16, true, 100);
        adamw(r, counts[i], REIN_BF16, false, 1000);
    }
    rig_report(r, "adamw");
}

void check_sum_squares(struct rig *r) {
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
        sum_squares(r, counts[i]);
    sum_squares(r, 100003);
    sum_squares(r, 4300001);
    rig_report(r, "sum_squares");
}

static void axpy(struct rig *r, int64_t n, int64_t cols, int64_t gap, bool with_x, float beta) {
    struct array *x, *y;

    rig_begin(r, "axpy n=%d cols=%d gap=%d beta=%g%s", (int)n, (int)cols, (int)gap, (double)beta,
              with_x ? "" : " no x");
    x = with_x ? rig_array(r, RIG_IN, n, cols, cols + gap, REIN_F32) : NULL;
    y = rig_array(r, beta != 0 ? RIG_BOTH : RIG_OUT, n, cols, cols + gap, REIN_F32);
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_axpy a = {.n = n, .cols = cols, .ldx = cols + gap, .ldy = y->ld, .x = rig_at(x, side),
                              .y = rig_at(y, side), .alpha = -1.5f, .beta = beta};
        RIG_CALL(r, side, axpy, &a);
    }
    rig_end(r);
}

static void gather(struct rig *r, int64_t n, int64_t cols, int64_t gap, bool scatter) {
    enum { SPREAD = 3 };
    struct array *x, *out;
    int32_t *rows;

    rig_begin(r, "gather n=%d cols=%d gap=%d%s", (int)n, (int)cols, (int)gap, scatter ? " scatter" : "");
    x = rig_array(r, RIG_IN, scatter ? n : n * SPREAD, cols, cols + gap, REIN_F32);
    out = rig_array(r, scatter ? RIG_BOTH : RIG_OUT, scatter ? n * SPREAD : n, cols, cols + 2 * gap, REIN_F32);
    rows = rig_ints(r, n);
    for (int64_t i = 0; i < n; i++)
        rows[i] = (int32_t)((n - 1 - i) * SPREAD + i % SPREAD);
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_gather a = {.scatter = scatter, .n = n, .cols = cols, .ldx = x->ld, .ldout = out->ld, .rows = rows,
                                .x = rig_at(x, side), .out = rig_at(out, side)};
        RIG_CALL(r, side, gather, &a);
    }
    rig_end(r);
}

/* Random bit patterns of the narrow types, and values at and around their limits of the wide one. */
static void cast(struct rig *r, int64_t n, uint32_t from, uint32_t to) {
    static const uint32_t corners[] = {0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff,
                                       0x00000001, 0x007fffff, 0x477fefff, 0x477ff000, 0x477fe000, 0x33000000,
                                       0x33000001, 0x33800000, 0x387fc000, 0x387fe000, 0x387fffff, 0x38800000,
                                       0x3f808000, 0x3f818000, 0x3f801000, 0x3f803000, 0xbf808001, 0x7f800001};
    struct array *x, *y;

    rig_begin(r, "cast n=%d %u to %u", (int)n, (unsigned)from, (unsigned)to);
    x = rig_array(r, RIG_IN, 1, n, n, from);
    for (int64_t i = 0; i < n; i++)
        if (from != REIN_F32)
            ((uint16_t *)rig_first(x))[i] = (uint16_t)(i * 7919);
        else if (i < (int64_t)(sizeof(corners) / sizeof(*corners)))
            ((uint32_t *)rig_first(x))[i] = corners[i];
    y = rig_array(r, RIG_OUT, 1, n, n, to);
    y->loose = true;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_cast a = {.from = from, .to = to, .n = n, .x = rig_at(x, side), .y = rig_at(y, side)};
        RIG_CALL(r, side, cast, &a);
    }
    if (rig_fetch(r)) {
        rig_compare(r);
        for (int64_t i = 0; i < n; i++) { /* exact, except that any NaN is as good as another */
            float a = ref_load(y->block[RIG_ONE] + y->offset, to, i);
            float b = ref_load(y->block[RIG_REF] + y->offset, to, i);
            if (rein_float_bits(a) != rein_float_bits(b) && !(a != a && b != b))
                rig_fail(r, "element %d becomes %.9g, the reference's %.9g", (int)i, (double)a, (double)b);
        }
    }
    rig_clear(r);
}

static const int64_t shapes[][2] = {{0, 4}, {1, 1}, {3, 67}, {64, 33}, {700, 64}, {3, 2200}};

void check_axpy(struct rig *r) {
    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
        for (int v = 0; v < 12; v++)
            axpy(r, shapes[s][0], shapes[s][1], v / 6 * 3, v % 2, (float)(v / 2 % 3) * 0.5f);
    rig_report(r, "axpy");
}

void check_gather(struct rig *r) {
    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
        for (int v = 0; v < 4; v++)
            gather(r, shapes[s][0], shapes[s][1], v / 2, v % 2);
    if (!r->special)
        gather(r, RIG_MANY_ROWS, 1, 1, true);
    rig_report(r, "gather");
}

void check_cast(struct rig *r) {
    for (uint32_t from = REIN_F32; from <= REIN_BF16; from++)
        for (uint32_t to = REIN_F32; to <= REIN_BF16; to++) {
            cast(r, 0, from, to);
            cast(r, 1, from, to);
            cast(r, 65536 + 3, from, to);
        }
    rig_report(r, "cast");
}
