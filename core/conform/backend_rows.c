/* SPDX-License-Identifier: MIT */
#include "conform/rig.h"

#include <math.h>

static void norm(struct rig *r, uint32_t kind, int64_t n, int64_t cols, int i) {
    struct array *x, *weight, *bias, *y, *rstd, *mean;
    int64_t gap = i % 2 ? 5 : 0;
    bool in_place = i % 3 == 1, keep = i % 4 != 3;

    rig_begin(r, "%s n=%d cols=%d%s", kind == REIN_NORM_RMS ? "rms norm" : "layer norm", (int)n, (int)cols,
              in_place ? " in place" : "");
    x = rig_array(r, in_place ? RIG_BOTH : RIG_IN, n, cols, cols + gap, REIN_F32);
    rig_scale(x, 2.0f, 0.3f);
    weight = rig_array(r, RIG_IN, 1, cols, cols, REIN_F32);
    bias = kind == REIN_NORM_LAYER && i % 4 != 1 ? rig_array(r, RIG_IN, 1, cols, cols, REIN_F32) : NULL;
    y = in_place ? x : rig_array(r, RIG_OUT, n, cols, cols + gap, REIN_F32);
    rstd = keep ? rig_array(r, RIG_OUT, n, 1, 1, REIN_F32) : NULL;
    mean = keep && kind == REIN_NORM_LAYER ? rig_array(r, RIG_OUT, n, 1, 1, REIN_F32) : NULL;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_norm a = {.kind = kind, .n = n, .cols = cols, .ldx = x->ld, .ldy = y->ld, .x = rig_at(x, side),
                              .weight = rig_at(weight, side), .bias = rig_at(bias, side), .y = rig_at(y, side),
                              .rstd = rig_at(rstd, side), .mean = rig_at(mean, side), .eps = 1e-5f,
                              .offset = i % 2 ? 1.0f : 0.0f};
        RIG_CALL(r, side, norm, &a);
    }
    rig_end(r);
}

static void norm_dx(struct rig *r, uint32_t kind, int64_t n, int64_t cols, int i) {
    bool layer = kind == REIN_NORM_LAYER, in_place = i % 4 == 1, add = i % 4 == 2;
    struct array *x, *weight, *rstd, *mean = NULL, *dy, *dx, *dweight, *dbias;
    int64_t gap = i % 2 ? 5 : 0;

    rig_begin(r, "%s derivative n=%d cols=%d%s%s", layer ? "layer norm" : "rms norm", (int)n, (int)cols,
              in_place ? " in place" : "", add ? " beta=1" : "");
    x = rig_array(r, RIG_IN, n, cols, cols + gap, REIN_F32);
    weight = rig_array(r, RIG_IN, 1, cols, cols, REIN_F32);
    rstd = rig_array(r, RIG_IN, n, 1, 1, REIN_F32);
    rig_scale(rstd, 0.5f, 1.5f);
    if (layer) {
        mean = rig_array(r, RIG_IN, n, 1, 1, REIN_F32);
        rig_scale(mean, 0.1f, 0.0f);
    }
    dy = rig_array(r, in_place ? RIG_BOTH : RIG_IN, n, cols, cols + gap, REIN_F32);
    dx = in_place ? dy : rig_array(r, add ? RIG_BOTH : RIG_OUT, n, cols, cols + gap, REIN_F32);
    dweight = i % 5 != 4 ? rig_array(r, RIG_BOTH, 1, cols, cols, REIN_F32) : NULL;
    dbias = layer && i % 3 != 2 ? rig_array(r, RIG_BOTH, 1, cols, cols, REIN_F32) : NULL;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_norm_dx a = {.kind = kind, .n = n, .cols = cols, .ldx = x->ld, .lddy = dy->ld, .lddx = dx->ld,
                                 .x = rig_at(x, side), .weight = rig_at(weight, side), .rstd = rig_at(rstd, side),
                                 .mean = rig_at(mean, side), .dy = rig_at(dy, side), .dx = rig_at(dx, side),
                                 .dweight = rig_at(dweight, side), .dbias = rig_at(dbias, side),
                                 .beta = add ? 1.0f : 0.0f, .offset = i % 2 ? 1.0f : 0.0f};
        RIG_CALL(r, side, norm_dx, &a);
    }
    rig_end(r);
}

void check_norm(struct rig *r) {
    static const int64_t shapes[][2] = {{0, 5}, {1, 1}, {3, 2}, {5, 31}, {7, 67}, {33, 128}, {70, 577}};
    int i = 0;

    for (uint32_t kind = REIN_NORM_RMS; kind <= REIN_NORM_LAYER; kind++)
        for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
            for (int v = 0; v < 5; v++)
                norm(r, kind, shapes[s][0], shapes[s][1], i++);
    rig_report(r, "norm");
    for (uint32_t kind = REIN_NORM_RMS; kind <= REIN_NORM_LAYER; kind++)
        for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
            for (int v = 0; v < 5; v++)
                norm_dx(r, kind, shapes[s][0], shapes[s][1], i++);
    rig_report(r, "norm_dx");
}

static void rope(struct rig *r, int64_t n, int64_t heads, int64_t head_dim, int direction, float scale) {
    struct array *x;
    float *frequencies;
    int32_t *positions;
    int64_t ld = heads * head_dim + (direction < 0 ? 7 : 0);

    rig_begin(r, "rope n=%d heads=%d head_dim=%d direction=%d", (int)n, (int)heads, (int)head_dim, direction);
    x = rig_array(r, RIG_BOTH, n, heads * head_dim, ld, REIN_F32);
    positions = rig_ints(r, n);
    frequencies = (float *)(void *)rig_ints(r, head_dim / 2);
    rig_fill_ints(r, positions, n, 3000);
    for (int64_t j = 0; j < head_dim / 2; j++)
        frequencies[j] = (float)pow(10000.0, -2.0 * (double)j / (double)head_dim);
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_rope a = {.direction = direction, .n = n, .heads = heads, .head_dim = head_dim, .ldx = ld,
                              .positions = positions, .frequencies = frequencies, .x = rig_at(x, side),
                              .scale = scale};
        RIG_CALL(r, side, rope, &a);
    }
    rig_end(r);
}

void check_rope(struct rig *r) {
    rope(r, 0, 1, 2, 1, 1.0f);
    rope(r, 1, 1, 2, 1, 1.0f);
    rope(r, 9, 3, 6, -1, 1.0f);
    rope(r, 9, 3, 6, 1, 1.0f);
    rope(r, 40, 9, 64, 1, 1.0f);
    rope(r, 40, 9, 64, -1, 1.25f);
    rope(r, 33, 2, 80, 1, 1.0f);
    rope(r, 300, 3, 64, 1, 1.0f);
    rope(r, 3, 1, 600, 1, 1.0f);
    rig_report(r, "rope");
}

static void activation(struct rig *r, uint32_t kind, int64_t n, int64_t cols, bool gated, bool in_place) {
    struct array *gate, *up = NULL, *y, *dy, *dgate, *dup = NULL;
    int64_t ld = cols + (gated ? 3 : 0);

    rig_begin(r, "activation %u n=%d cols=%d%s", (unsigned)kind, (int)n, (int)cols, gated ? " gated" : "");
    gate = rig_array(r, RIG_IN, n, cols, ld, REIN_F32);
    rig_scale(gate, 9.0f, 0.0f);
    if (gated)
        up = rig_array(r, RIG_IN, n, cols, ld, REIN_F32);
    y = rig_array(r, RIG_OUT, n, cols, cols + 1, REIN_F32);
    y->scale = 1e-6; /* an element alone, far out in gelu's tail, is nothing but rounding */
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_activation a = {.kind = kind, .n = n, .cols = cols, .ldgate = ld, .ldup = ld, .ldy = y->ld,
                                    .gate = rig_at(gate, side), .up = rig_at(up, side), .y = rig_at(y, side)};
        RIG_CALL(r, side, activation, &a);
    }
    rig_end(r);
    rig_begin(r, "activation %u derivative n=%d cols=%d%s%s", (unsigned)kind, (int)n, (int)cols,
              gated ? " gated" : "", in_place ? " in place" : "");
    gate = rig_array(r, in_place ? RIG_BOTH : RIG_IN, n, cols, ld, REIN_F32);
    rig_scale(gate, 9.0f, 0.0f);
    up = gated ? rig_array(r, in_place ? RIG_BOTH : RIG_IN, n, cols, ld, REIN_F32) : NULL;
    dgate = in_place ? gate : rig_array(r, RIG_OUT, n, cols, ld, REIN_F32);
    if (gated)
        dup = in_place ? up : rig_array(r, RIG_OUT, n, cols, ld, REIN_F32);
    dy = rig_array(r, RIG_IN, n, cols, cols + 2, REIN_F32);
    dgate->scale = 1e-2; /* nor one where terms cancel out, as at the minimum of gelu */
    if (dup)
        dup->scale = 1e-6;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_activation_dx a = {.kind = kind, .n = n, .cols = cols, .ldgate = ld, .ldup = ld, .lddy = dy->ld,
                                       .gate = rig_at(gate, side), .up = rig_at(up, side), .dy = rig_at(dy, side),
                                       .dgate = rig_at(dgate, side), .dup = rig_at(dup, side)};
        RIG_CALL(r, side, activation_dx, &a);
    }
    rig_end(r);
}

void check_activation(struct rig *r) {
    for (uint32_t kind = REIN_ACT_SILU; kind <= REIN_ACT_GELU; kind++)
        for (int v = 0; v < 4; v++) {
            activation(r, kind, 0, 3, v & 1, v & 2);
            activation(r, kind, 1, 1, v & 1, v & 2);
            activation(r, kind, 13, 67, v & 1, v & 2);
            activation(r, kind, 50, 512, v & 1, v & 2);
            activation(r, kind, 3, 1100, v & 1, v & 2);
        }
    if (!r->special)
        activation(r, REIN_ACT_SILU, RIG_MANY_ROWS, 1, true, false);
    rig_report(r, "activation, activation_dx");
}
