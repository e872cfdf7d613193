/* SPDX-License-Identifier: MIT */
#include "conform/rig.h"

#include <string.h>

static const uint32_t dtypes[] = {REIN_F32, REIN_F16, REIN_BF16};
static const char *const dtype_names[] = {"f32", "f16", "bf16"};

enum { SHORT = 64 }; /* terms of a sum */

/* How case i varies: gaps between rows, beta, bias. */
struct variant {
    int64_t gap;
    float beta;
    bool bias;
};

static struct variant vary(int i) {
    return (struct variant){.gap = i % 4 == 1 ? 3 : 0, .beta = (float)(i / 2 % 2), .bias = i % 3 == 0};
}

static void forward(struct rig *r, int64_t m, int64_t rows, int64_t cols, int dtype, int i) {
    struct variant v = vary(i);
    struct array *w, *x, *bias, *y;

    rig_begin(r, "linear m=%d rows=%d cols=%d %s beta=%g gap=%d", (int)m, (int)rows, (int)cols, dtype_names[dtype],
              (double)v.beta, (int)v.gap);
    w = rig_array(r, RIG_IN, rows, cols, cols + v.gap, dtypes[dtype]);
    x = rig_array(r, RIG_IN, m, cols, cols + v.gap, REIN_F32);
    bias = v.bias ? rig_array(r, RIG_IN, 1, rows, rows, REIN_F32) : NULL;
    y = rig_array(r, v.beta != 0 ? RIG_BOTH : RIG_OUT, m, rows, rows + v.gap, REIN_F32);
    y->close = cols <= SHORT;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_linear a = {.w = rig_weight(r, w, side), .m = m, .ldx = x->ld, .ldy = y->ld, .x = rig_at(x, side),
                                .bias = rig_at(bias, side), .y = rig_at(y, side), .beta = v.beta};
        RIG_CALL(r, side, linear, &a);
    }
    rig_end(r);
}

static void backward(struct rig *r, int64_t m, int64_t rows, int64_t cols, int dtype, int i) {
    struct variant v = vary(i);
    struct array *w, *dy, *dx;

    rig_begin(r, "linear_dx m=%d rows=%d cols=%d %s beta=%g gap=%d", (int)m, (int)rows, (int)cols, dtype_names[dtype],
              (double)v.beta, (int)v.gap);
    w = rig_array(r, RIG_IN, rows, cols, cols + v.gap, dtypes[dtype]);
    dy = rig_array(r, RIG_IN, m, rows, rows + v.gap, REIN_F32);
    dx = rig_array(r, v.beta != 0 ? RIG_BOTH : RIG_OUT, m, cols, cols + v.gap, REIN_F32);
    dx->close = rows <= SHORT;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_linear_dx a = {.w = rig_weight(r, w, side), .m = m, .lddy = dy->ld, .lddx = dx->ld,
                                   .dy = rig_at(dy, side), .dx = rig_at(dx, side), .beta = v.beta};
        RIG_CALL(r, side, linear_dx, &a);
    }
    rig_end(r);
}

/* i < 0: of the bias alone, beside a frozen weight */
static void weight_gradient(struct rig *r, int64_t m, int64_t rows, int64_t cols, int i) {
    struct variant v = i < 0 ? (struct variant){.gap = 3, .bias = true} : vary(i);
    struct array *dy, *x, *dw, *dbias;

    rig_begin(r, "linear_dw m=%d rows=%d cols=%d gap=%d", (int)m, (int)rows, (int)cols, (int)v.gap);
    dy = rig_array(r, RIG_IN, m, rows, rows + v.gap, REIN_F32);
    x = rig_array(r, RIG_IN, m, cols, cols + v.gap, REIN_F32);
    dw = i < 0 ? NULL : rig_array(r, RIG_BOTH, rows, cols, cols + v.gap, REIN_F32);
    dbias = v.bias ? rig_array(r, RIG_BOTH, 1, rows, rows, REIN_F32) : NULL;
    if (dw)
        dw->close = m <= SHORT;
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_linear_dw a = {.m = m, .rows = rows, .cols = cols, .lddy = dy->ld, .ldx = x->ld, .lddw = cols + v.gap,
                                   .dy = rig_at(dy, side), .x = rig_at(x, side), .dw = rig_at(dw, side),
                                   .dbias = rig_at(dbias, side)};
        RIG_CALL(r, side, linear_dw, &a);
    }
    rig_end(r);
}

/* New values under a new generation: a packed copy of the old ones must not be used. */
static void new_generation(struct rig *r, int64_t m, int dtype) {
    enum { ROWS = 96, COLS = 80 };
    struct array *w, *x, *y, *dx, *dy;

    rig_begin(r, "weights of a new generation, m=%d %s", (int)m, dtype_names[dtype]);
    r->starve = false; /* several calls, with changes between them */
    w = rig_array(r, RIG_BOTH, ROWS, COLS, COLS, dtypes[dtype]);
    x = rig_array(r, RIG_IN, m, COLS, COLS, REIN_F32);
    dy = rig_array(r, RIG_IN, m, ROWS, ROWS, REIN_F32);
    y = rig_array(r, RIG_OUT, m, ROWS, ROWS, REIN_F32);
    dx = rig_array(r, RIG_OUT, m, COLS, COLS, REIN_F32);
    for (int side = 0; side < RIG_SIDES; side++)
        for (int time = 0; time < 3; time++) {
            struct rein_weight *weight = rig_weight(r, w, side);
            struct rein_linear a = {.w = weight, .m = m, .ldx = COLS, .ldy = ROWS, .x = rig_at(x, side),
                                    .y = rig_at(y, side)};
            struct rein_linear_dx b = {.w = weight, .m = m, .lddy = ROWS, .lddx = COLS, .dy = rig_at(dy, side),
                                       .dx = rig_at(dx, side)};
            if (time == 2) { /* the first half takes the second half's values */
                void *data = rig_at(w, side);
                size_t half = ROWS / 2 * COLS * (dtypes[dtype] == REIN_F32 ? 4 : 2);
                if (side == RIG_REF)
                    memcpy(data, (char *)data + half, half);
                else
                    r->ops->copy(r->dev[side], data, (char *)data + half, half, REIN_COPY_ON_DEVICE);
                weight->generation++;
            }
            RIG_CALL(r, side, linear, &a);
            RIG_CALL(r, side, linear_dx, &b);
        }
    rig_end(r);
}

void check_linear(struct rig *r) {
    static const int64_t shapes[][3] = {{1, 1, 1},     {0, 5, 3},     {5, 0, 3},      {5, 3, 0},       {1, 17, 31},
                                        {7, 67, 129},  {16, 64, 64},  {33, 131, 67},  {20, 129, 801},  {2, 576, 192},
                                        {130, 97, 33}, {65, 3, 385},  {3, 1, 500},    {100, 16, 72},   {15, 77, 50},
                                        {31, 55, 41},  {45, 151, 36}, {15, 611, 40},  {16, 33, 512},   {16, 48, 128},
                                        {30, 500, 70}, {46, 301, 33}, {70, 81, 1300}, {290, 1550, 40}, {300, 40, 90}};
    const int count = sizeof(shapes) / sizeof(*shapes);
    int i = 0;

    for (int dtype = 0; dtype < 3; dtype++)
        for (int s = 0; s < count; s++, i++)
            forward(r, shapes[s][0], shapes[s][1], shapes[s][2], dtype, i);
    for (int64_t m = 1; m <= 33; m++, i++)
        forward(r, m, 37 + m % 5, 53, (int)(m % 3), i);
    if (!r->special)
        forward(r, RIG_MANY_ROWS, 1, 1, 0, 0);
    for (int dtype = 1; dtype < 3; dtype++) { /* more than 1 MiB as float32, and activations as three narrow parts */
        forward(r, 10, 700, 400, dtype, dtype);
        forward(r, 300, 7, 600, dtype, dtype);
        if (!r->special) /* more terms than room for them */
            forward(r, 17, 20, 33000, dtype, dtype);
    }
    rig_report(r, "linear");
    for (int dtype = 0; dtype < 3; dtype++)
        for (int s = 0; s < count; s++, i++)
            backward(r, shapes[s][0], shapes[s][1], shapes[s][2], dtype, i);
    for (int64_t m = 1; m <= 33; m++, i++)
        backward(r, m, 53, 37 + m % 5, (int)(m % 3), i);
    for (int dtype = 1; dtype < 3; dtype++) {
        backward(r, 10, 700, 400, dtype, dtype);
        backward(r, 300, 600, 7, dtype, dtype);
    }
    rig_report(r, "linear_dx");
    for (int s = 0; s < count; s++)
        for (int v = 0; v < 4; v++)
            weight_gradient(r, shapes[s][0], shapes[s][1], shapes[s][2], v);
    for (int64_t m = 1; m <= 33; m++)
        weight_gradient(r, m, 41, 30 + m, (int)m);
    weight_gradient(r, 500, 50, 40, 0);
    weight_gradient(r, 1200, 70, 130, 1);
    weight_gradient(r, 3, 9000, 24, 0);
    weight_gradient(r, 3, 9000, 3, 0);
    for (int64_t m = 0; m <= 64; m += 16)
        weight_gradient(r, m, 300, 40, -1);
    rig_report(r, "linear_dw");
    for (int dtype = 0; dtype < 3; dtype++)
        for (int64_t m = 1; m <= 64; m *= 4)
            new_generation(r, m, dtype);
    rig_report(r, "a new generation of weights is seen");
}

static void embedding(struct rig *r, int64_t n, int64_t vocabulary, int64_t cols, int dtype, int64_t gap) {
    struct array *w, *out;
    int32_t *ids;

    rig_begin(r, "embedding n=%d cols=%d %s", (int)n, (int)cols, dtype_names[dtype]);
    w = rig_array(r, RIG_IN, vocabulary, cols, cols + gap, dtypes[dtype]);
    out = rig_array(r, RIG_OUT, n, cols, cols + gap, REIN_F32);
    ids = rig_ints(r, n);
    rig_fill_ints(r, ids, n, (int32_t)vocabulary);
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_embedding a = {.w = rig_weight(r, w, side), .n = n, .ldout = out->ld, .ids = ids,
                                   .out = rig_at(out, side), .scale = 1.5f};
        RIG_CALL(r, side, embedding, &a);
    }
    rig_end(r);
    rig_begin(r, "embedding_dw n=%d cols=%d", (int)n, (int)cols);
    w = rig_array(r, RIG_BOTH, vocabulary, cols, cols + gap, REIN_F32);
    out = rig_array(r, RIG_IN, n, cols, cols + gap, REIN_F32);
    ids = rig_ints(r, n);
    rig_fill_ints(r, ids, n, (int32_t)(vocabulary < 4 ? vocabulary : 4)); /* most ids come several times */
    for (int side = 0; side < RIG_SIDES; side++) {
        struct rein_embedding_dw a = {.n = n, .cols = cols, .vocabulary = vocabulary, .lddout = out->ld, .lddw = w->ld,
                                      .ids = ids, .dout = rig_at(out, side), .dw = rig_at(w, side), .scale = 0.75f};
        RIG_CALL(r, side, embedding_dw, &a);
    }
    rig_end(r);
}

void check_embedding(struct rig *r) {
    for (int dtype = 0; dtype < 3; dtype++) {
        embedding(r, 0, 5, 3, dtype, 0);
        embedding(r, 1, 1, 1, dtype, 0);
        embedding(r, 33, 29, 67, dtype, 3);
        embedding(r, 200, 50, 301, dtype, 0);
        embedding(r, 5, 9, 1100, dtype, 1);
    }
    rig_report(r, "embedding, embedding_dw");
}
