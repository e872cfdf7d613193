/* SPDX-License-Identifier: MIT
 *
 * The reference's derivatives against differences of its own forward kernels: what makes it an oracle.
 */
#include "conform/conform.h"
#include "conform/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

/* The sum of out[i] * weight[i] is the scalar that is differentiated. */
struct scene {
    float x[4][MOST], grad[4][MOST]; /* inputs and their derivatives */
    float out[MOST], weight[MOST];
    float spare[4][MOST];
    int64_t count[4], outputs;
    void (*forward)(struct scene *s); /* fills out from x */
    uint32_t kind;
    double worst;
};

static uint64_t seed;

static void fill(float *x, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = scale * (float)((double)(seed >> 11) * 0x1p-52 - 1.0);
    }
}

static double value(struct scene *s) {
    double sum = 0;

    s->forward(s);
    for (int64_t i = 0; i < s->outputs; i++)
        sum += (double)s->out[i] * s->weight[i];
    return sum;
}

/* Five-point differences of input `which`, at most 50 of its elements. */
static void differences(struct scene *s, int which) {
    int64_t n = s->count[which], step = n > 50 ? n / 50 : 1;
    double most = 0;

    for (int64_t i = 0; i < n; i++)
        most = fabs((double)s->grad[which][i]) > most ? fabs((double)s->grad[which][i]) : most;
    for (int64_t i = 0; i < n; i += step) {
        float *x = &s->x[which][i], at = *x;
        const float h = 0x1p-6f;
        double f[4], d;
        for (int k = 0; k < 4; k++) {
            static const float places[4] = {-2, -1, 1, 2};
            *x = at + places[k] * h;
            f[k] = value(s);
        }
        *x = at;
        d = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * (double)h);
        d = fabs(d - s->grad[which][i]) / (most > 1e-3 ? most : 1e-3);
        s->worst = d > s->worst || isnan(d) ? d : s->worst;
    }
}

static void prepare(struct scene *s, void (*forward)(struct scene *s), int64_t outputs, int inputs,
                    const int64_t *count) {
    memset(s, 0, sizeof(*s));
    s->forward = forward;
    s->outputs = outputs;
    fill(s->weight, outputs, 1.0f);
    for (int i = 0; i < inputs; i++) {
        s->count[i] = count[i];
        fill(s->x[i], count[i], 1.0f);
    }
}

static void finish(struct scene *s, int inputs, const char *what) {
    for (int i = 0; i < inputs; i++)
        differences(s, i);
    conform_ok(s->worst < 1e-3, "differences of %s: largest error %.1e", what, s->worst);
}

enum { L_M = 5, L_ROWS = 7, L_COLS = 6 };

static void linear_forward(struct scene *s) {
    struct rein_weight w = {.dtype = REIN_F32, .rows = L_ROWS, .cols = L_COLS, .ld = L_COLS, .data = s->x[1]};
    struct rein_linear a = {.w = &w, .m = L_M, .ldx = L_COLS, .ldy = L_ROWS, .x = s->x[0], .bias = s->x[2],
                            .y = s->out};

    ref_linear(NULL, &a);
}

static void check_linear_gradient(struct scene *s) {
    static const int64_t count[] = {L_M * L_COLS, L_ROWS * L_COLS, L_ROWS};

    prepare(s, linear_forward, L_M * L_ROWS, 3, count);
    struct rein_weight w = {.dtype = REIN_F32, .rows = L_ROWS, .cols = L_COLS, .ld = L_COLS, .data = s->x[1]};
    struct rein_linear_dx dx = {.w = &w, .m = L_M, .lddy = L_ROWS, .lddx = L_COLS, .dy = s->weight, .dx = s->grad[0]};
    struct rein_linear_dw dw = {.m = L_M, .rows = L_ROWS, .cols = L_COLS, .lddy = L_ROWS, .ldx = L_COLS,
                                .lddw = L_COLS, .dy = s->weight, .x = s->x[0], .dw = s->grad[1], .dbias = s->grad[2]};
    ref_linear_dx(NULL, &dx);
    ref_linear_dw(NULL, &dw);
    finish(s, 3, "linear");
}

enum { N_ROWS = 4, N_COLS = 9 };

static void norm_forward(struct scene *s) {
    struct rein_norm a = {.kind = s->kind, .n = N_ROWS, .cols = N_COLS, .ldx = N_COLS, .ldy = N_COLS, .x = s->x[0],
                          .weight = s->x[1], .bias = s->x[2], .y = s->out, .rstd = s->spare[0], .mean = s->spare[1],
                          .eps = 1e-3f, .offset = 1.0f};

    ref_norm(NULL, &a);
}

static void check_norm_gradient(struct scene *s, uint32_t kind) {
    static const int64_t count[] = {N_ROWS * N_COLS, N_COLS, N_COLS};

    prepare(s, norm_forward, N_ROWS * N_COLS, 3, count);
    s->kind = kind;
    norm_forward(s);
    struct rein_norm_dx a = {.kind = kind, .n = N_ROWS, .cols = N_COLS, .ldx = N_COLS, .lddy = N_COLS, .lddx = N_COLS,
                             .x = s->x[0], .weight = s->x[1], .rstd = s->spare[0], .mean = s->spare[1],
                             .dy = s->weight, .dx = s->grad[0], .dweight = s->grad[1],
                             .dbias = kind == REIN_NORM_LAYER ? s->grad[2] : NULL, .offset = 1.0f};
    ref_norm_dx(NULL, &a);
    finish(s, kind == REIN_NORM_LAYER ? 3 : 2, kind == REIN_NORM_LAYER ? "layer norm" : "rms norm");
}

enum { R_ROWS = 5, R_HEADS = 2, R_DIM = 6 };

static void rope_run(float *x, int32_t direction) {
    static const int32_t positions[R_ROWS] = {0, 1, 2, 17, 5};
    static const float frequencies[R_DIM / 2] = {1.0f, 0.1f, 0.01f};
    struct rein_rope a = {.direction = direction, .n = R_ROWS, .heads = R_HEADS, .head_dim = R_DIM,
                          .ldx = R_HEADS * R_DIM, .positions = positions, .frequencies = frequencies, .x = x,
                          .scale = 1.25f};

    ref_rope(NULL, &a);
}

static void rope_forward(struct scene *s) {
    memcpy(s->out, s->x[0], sizeof(s->out));
    rope_run(s->out, 1);
}

static void check_rope_gradient(struct scene *s) {
    static const int64_t count[] = {R_ROWS * R_HEADS * R_DIM};

    prepare(s, rope_forward, count[0], 1, count);
    memcpy(s->grad[0], s->weight, sizeof(s->weight));
    rope_run(s->grad[0], -1);
    finish(s, 1, "rope");
}

enum { A_ROWS = 4, A_COLS = 12 };

static void activation_forward(struct scene *s) {
    struct rein_activation a = {.kind = s->kind, .n = A_ROWS, .cols = A_COLS, .ldgate = A_COLS, .ldup = A_COLS,
                                .ldy = A_COLS, .gate = s->x[0], .up = s->x[1], .y = s->out};

    ref_activation(NULL, &a);
}

static void check_activation_gradient(struct scene *s, uint32_t kind) {
    static const int64_t count[] = {A_ROWS * A_COLS, A_ROWS * A_COLS};

    prepare(s, activation_forward, count[0], 2, count);
    s->kind = kind;
    fill(s->x[0], count[0], 3.0f);
    struct rein_activation_dx a = {.kind = kind, .n = A_ROWS, .cols = A_COLS, .ldgate = A_COLS, .ldup = A_COLS,
                                   .lddy = A_COLS, .gate = s->x[0], .up = s->x[1], .dy = s->weight,
                                   .dgate = s->grad[0], .dup = s->grad[1]};
    ref_activation_dx(NULL, &a);
    finish(s, 2, kind == REIN_ACT_SILU ? "silu" : kind == REIN_ACT_GELU ? "gelu" : "gelu with tanh");
}

/* A prompt of 4, two completions that share it, 2 heads to a kv head, a window. */
enum { T_ROWS = 9, T_HEADS = 4, T_KV = 2, T_DIM = 3 };
static const struct rein_segment segments[] = {{0, 4, 0, 0, 0, 4}, {4, 3, 0, 4, 4, 3}, {7, 2, 0, 4, 7, 2}};

static void attention_forward(struct scene *s) {
    struct rein_attention a = {.nsegments = 3, .segments = segments, .heads = T_HEADS, .kv_heads = T_KV,
                               .head_dim = T_DIM, .window = s->kind, .ldq = T_HEADS * T_DIM, .ldk = T_KV * T_DIM,
                               .ldv = T_KV * T_DIM, .ldout = T_HEADS * T_DIM, .q = s->x[0], .k = s->x[1],
                               .v = s->x[2], .out = s->out, .lse = s->spare[0], .scale = 0.6f};

    ref_attention(NULL, &a);
}

static void check_attention_gradient(struct scene *s, uint32_t window) {
    static const int64_t count[] = {T_ROWS * T_HEADS * T_DIM, T_ROWS * T_KV * T_DIM, T_ROWS * T_KV * T_DIM};

    prepare(s, attention_forward, count[0], 3, count);
    s->kind = window;
    attention_forward(s);
    struct rein_attention_dx a = {.nsegments = 3, .segments = segments, .heads = T_HEADS, .kv_heads = T_KV,
                                  .head_dim = T_DIM, .window = window, .ldq = T_HEADS * T_DIM, .ldk = T_KV * T_DIM,
                                  .ldv = T_KV * T_DIM, .ldout = T_HEADS * T_DIM, .lddq = T_HEADS * T_DIM,
                                  .lddk = T_KV * T_DIM, .lddv = T_KV * T_DIM, .q = s->x[0], .k = s->x[1],
                                  .v = s->x[2], .out = s->out, .lse = s->spare[0], .dout = s->weight,
                                  .dq = s->grad[0], .dk = s->grad[1], .dv = s->grad[2], .scale = 0.6f};
    ref_attention_dx(NULL, &a);
    finish(s, 3, window ? "attention with a window" : "attention");
}

enum { H_ROWS = 5, H_VOCABULARY = 11, H_COLS = 4 };
static const int32_t targets[H_ROWS] = {3, 0, -1, 10, 3};

/* out: log-probabilities, then entropies */
static void head_forward(struct scene *s) {
    struct rein_weight w = {.dtype = REIN_F32, .rows = H_VOCABULARY, .cols = H_COLS, .ld = H_COLS, .data = s->x[1]};
    struct rein_head a = {.w = &w, .bias = s->x[2], .n = H_ROWS, .ldh = H_COLS, .hidden = s->x[0], .targets = targets,
                          .inv_temperature = 1.3f, .logp = s->out, .lse = s->spare[0], .entropy = s->out + H_ROWS};

    ref_head(NULL, &a);
}

static void check_head_gradient(struct scene *s) {
    static const int64_t count[] = {H_ROWS * H_COLS, H_VOCABULARY * H_COLS, H_VOCABULARY};

    prepare(s, head_forward, 2 * H_ROWS, 3, count);
    head_forward(s);
    struct rein_weight w = {.dtype = REIN_F32, .rows = H_VOCABULARY, .cols = H_COLS, .ld = H_COLS, .data = s->x[1]};
    struct rein_head_dx a = {.w = &w, .bias = s->x[2], .n = H_ROWS, .ldh = H_COLS, .lddh = H_COLS, .lddw = H_COLS,
                             .hidden = s->x[0], .targets = targets, .inv_temperature = 1.3f, .lse = s->spare[0],
                             .entropy = s->out + H_ROWS, .d_logp = s->weight, .d_entropy = s->weight + H_ROWS,
                             .dhidden = s->grad[0], .dw = s->grad[1], .dbias = s->grad[2]};
    ref_head_dx(NULL, &a);
    finish(s, 3, "head");
}

enum { E_ROWS = 6, E_VOCABULARY = 4, E_COLS = 3 };
static const int32_t ids[E_ROWS] = {1, 3, 1, 0, 1, 3};

static void embedding_forward(struct scene *s) {
    struct rein_weight w = {.dtype = REIN_F32, .rows = E_VOCABULARY, .cols = E_COLS, .ld = E_COLS, .data = s->x[0]};
    struct rein_embedding a = {.w = &w, .n = E_ROWS, .ldout = E_COLS, .ids = ids, .out = s->out, .scale = 1.5f};

    ref_embedding(NULL, &a);
}

static void check_embedding_gradient(struct scene *s) {
    static const int64_t count[] = {E_VOCABULARY * E_COLS};

    prepare(s, embedding_forward, E_ROWS * E_COLS, 1, count);
    struct rein_embedding_dw a = {.n = E_ROWS, .cols = E_COLS, .vocabulary = E_VOCABULARY, .lddout = E_COLS,
                                  .lddw = E_COLS, .ids = ids, .dout = s->weight, .dw = s->grad[0], .scale = 1.5f};
    ref_embedding_dw(NULL, &a);
    finish(s, 1, "embedding");
}

void check_reference_gradients(void) {
    struct scene *s = calloc(1, sizeof(*s));

    if (!s)
        exit(2);
    seed = 17;
    check_linear_gradient(s);
    check_norm_gradient(s, REIN_NORM_RMS);
    check_norm_gradient(s, REIN_NORM_LAYER);
    check_rope_gradient(s);
    for (uint32_t kind = REIN_ACT_SILU; kind <= REIN_ACT_GELU; kind++)
        check_activation_gradient(s, kind);
    check_attention_gradient(s, 0);
    check_attention_gradient(s, 3);
    check_head_gradient(s);
    check_embedding_gradient(s);
    free(s);
}
