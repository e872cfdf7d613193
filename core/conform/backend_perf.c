/* SPDX-License-Identifier: MIT
 *
 * Speed of the kernels that a backend provides, on the shapes of a small model, with one thread: for people, nothing is
 * held against it.
 */
#include "base/mem.h"
#include "conform/conform.h"
#include "conform/rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HIDDEN = 576, HEADS = 9, KV_HEADS = 3, HEAD_DIM = 64, TOKENS = 256, VOCABULARY = 4096 };
enum { ELEMENTS = VOCABULARY * HIDDEN, ARRAYS = 9 };

struct bench {
    const struct rein_backend_ops *ops;
    void *dev;
    float *array[ARRAYS]; /* [ELEMENTS] each, on the device; array[0] holds zeros */
    int32_t ids[TOKENS], distinct[TOKENS];
    double u[TOKENS], sum;
    float frequencies[HEAD_DIM / 2];
};

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool wanted(const char *kernel) {
    const char *only = conform_only();

    return !only || !strncmp(kernel, only, strlen(only));
}

static void report(const char *kernel, const char *shape, rein_status status, double seconds, double flop,
                   double bytes) {
    if (status != REIN_OK)
        conform_note("%-12s %-42s status %d", kernel, shape, (int)status);
    else
        conform_note("%-12s %-42s %9.1f us %8.2f GFLOP/s %8.2f GB/s", kernel, shape, 1e6 * seconds,
                     1e-9 * flop / seconds, 1e-9 * bytes / seconds);
}

/* The fastest call of a tenth of a second's; `bytes` is what must be read and written at least. */
#define MEASURE(b, kernel, shape, flop, bytes, ...)                                                                    \
    do {                                                                                                               \
        const struct rein_kernels *k_ = (b)->ops->kernels;                                                             \
        if (wanted(#kernel) && REIN_HAS(k_, struct rein_kernels, kernel) && k_->kernel) {                              \
            struct rein_##kernel a_ = {.size = sizeof(a_), __VA_ARGS__};                                               \
            double best_ = INFINITY, end_ = now() + 0.1, from_;                                                        \
            rein_status status_;                                                                                       \
            do {                                                                                                       \
                from_ = now();                                                                                         \
                status_ = k_->kernel((b)->dev, &a_);                                                                   \
                if (status_ == REIN_OK)                                                                                \
                    status_ = (b)->ops->sync((b)->dev);                                                                \
                best_ = fmin(best_, now() - from_);                                                                    \
            } while (status_ == REIN_OK && now() < end_);                                                              \
            report(#kernel, shape, status_, best_, flop, bytes);                                                       \
        }                                                                                                              \
    } while (0)

static struct rein_weight weight(const struct bench *b, uint32_t dtype, int64_t rows) {
    return (struct rein_weight){.size = sizeof(struct rein_weight),
                                .dtype = dtype,
                                .rows = rows,
                                .cols = HIDDEN,
                                .ld = HIDDEN,
                                .data = b->array[1],
                                .generation = 1};
}

static void let_go(const struct bench *b, struct rein_weight *w) {
    if (REIN_HAS(b->ops, struct rein_backend_ops, weight_release) && b->ops->weight_release)
        b->ops->weight_release(b->dev, w);
}

static void measure_products(struct bench *b, uint32_t dtype, const char *name, double element) {
    struct rein_weight w = weight(b, dtype, HIDDEN);
    static const int64_t rows[] = {1, 16, TOKENS};
    char shape[64];

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        double m = (double)rows[i], flop = 2 * m * HIDDEN * HIDDEN;
        double bytes = element * HIDDEN * HIDDEN + 8 * m * HIDDEN;
        snprintf(shape, sizeof(shape), "%d x %d by %d x %d, %s", (int)rows[i], HIDDEN, HIDDEN, HIDDEN, name);
        MEASURE(b, linear, shape, flop, bytes, .w = &w, .m = rows[i], .ldx = HIDDEN, .ldy = HIDDEN, .x = b->array[2],
                .y = b->array[3]);
        MEASURE(b, linear_dx, shape, flop, bytes, .w = &w, .m = rows[i], .lddy = HIDDEN, .lddx = HIDDEN,
                .dy = b->array[2], .dx = b->array[3]);
        if (dtype == REIN_F32)
            MEASURE(b, linear_dw, shape, flop, bytes + 4 * HIDDEN * HIDDEN, .m = rows[i], .rows = HIDDEN,
                    .cols = HIDDEN, .lddy = HIDDEN, .ldx = HIDDEN, .lddw = HIDDEN, .dy = b->array[0], .x = b->array[2],
                    .dw = b->array[4]);
    }
    let_go(b, &w);
}

static void measure_attention(struct bench *b) {
    static const struct rein_segment segment = {.q_rows = TOKENS, .kv_rows = TOKENS};
    const int64_t q = HEADS * HEAD_DIM, kv = KV_HEADS * HEAD_DIM;
    const double flop = 2.0 * HEADS * HEAD_DIM * TOKENS * (TOKENS + 1), bytes = 8.0 * TOKENS * (double)(q + kv);
    const float scale = 0.125f;

    MEASURE(b, attention, "256 tokens, 9/3 heads of 64", flop, bytes, .nsegments = 1, .segments = &segment,
            .heads = HEADS, .kv_heads = KV_HEADS, .head_dim = HEAD_DIM, .ldq = q, .ldk = kv, .ldv = kv, .ldout = q,
            .q = b->array[1], .k = b->array[2], .v = b->array[3], .out = b->array[4], .lse = b->array[5],
            .scale = scale);
    MEASURE(b, attention_dx, "256 tokens, 9/3 heads of 64", 2.5 * flop, 2 * bytes, .nsegments = 1, .segments = &segment,
            .heads = HEADS, .kv_heads = KV_HEADS, .head_dim = HEAD_DIM, .ldq = q, .ldk = kv, .ldv = kv, .ldout = q,
            .lddq = q, .lddk = kv, .lddv = kv, .q = b->array[1], .k = b->array[2], .v = b->array[3], .out = b->array[4],
            .lse = b->array[5], .dout = b->array[0], .dq = b->array[6], .dk = b->array[7], .dv = b->array[8],
            .scale = scale);
}

static void measure_head(struct bench *b) {
    enum { N = 16 };
    struct rein_weight w = weight(b, REIN_F32, VOCABULARY);
    const double flop = 2.0 * N * VOCABULARY * HIDDEN, bytes = 4.0 * VOCABULARY * HIDDEN;
    int32_t *ids = (int32_t *)(void *)b->array[5];

    MEASURE(b, head, "16 rows, vocabulary 4096", flop, bytes, .w = &w, .n = N, .ldh = HIDDEN, .hidden = b->array[2],
            .targets = b->ids, .inv_temperature = 1, .logp = b->array[3], .lse = b->array[4]);
    MEASURE(b, head_dx, "16 rows, vocabulary 4096", 3 * flop, 3 * bytes, .w = &w, .n = N, .ldh = HIDDEN, .lddh = HIDDEN,
            .lddw = HIDDEN, .hidden = b->array[2], .targets = b->ids, .inv_temperature = 1, .lse = b->array[4],
            .d_logp = b->array[0], .dhidden = b->array[6], .dw = b->array[7]);
    MEASURE(b, sample, "16 rows, vocabulary 4096", flop, bytes, .w = &w, .n = N, .ldh = HIDDEN, .hidden = b->array[2],
            .inv_temperature = 1, .top_p = 1, .u = b->u, .ids = ids, .logp = b->array[3]);
    let_go(b, &w);
}

static void measure_rows(struct bench *b) {
    struct rein_weight w = weight(b, REIN_F32, VOCABULARY);
    const double n = (double)TOKENS * HIDDEN;
    const char *shape = "256 rows of 576";

    MEASURE(b, embedding, shape, n, 8 * n, .w = &w, .n = TOKENS, .ldout = HIDDEN, .ids = b->ids, .out = b->array[2],
            .scale = 1);
    MEASURE(b, embedding_dw, shape, n, 12 * n, .n = TOKENS, .cols = HIDDEN, .vocabulary = VOCABULARY, .lddout = HIDDEN,
            .lddw = HIDDEN, .ids = b->ids, .dout = b->array[0], .dw = b->array[6], .scale = 1);
    MEASURE(b, norm, shape, 4 * n, 8 * n, .kind = REIN_NORM_RMS, .n = TOKENS, .cols = HIDDEN, .ldx = HIDDEN,
            .ldy = HIDDEN, .x = b->array[2], .weight = b->array[1], .y = b->array[3], .rstd = b->array[4],
            .eps = 1e-5f);
    MEASURE(b, norm_dx, shape, 8 * n, 12 * n, .kind = REIN_NORM_RMS, .n = TOKENS, .cols = HIDDEN, .ldx = HIDDEN,
            .lddy = HIDDEN, .lddx = HIDDEN, .x = b->array[2], .weight = b->array[1], .rstd = b->array[4],
            .dy = b->array[0], .dx = b->array[3], .dweight = b->array[6]);
    MEASURE(b, rope, "256 rows of 9 heads of 64", 3 * n, 8 * n, .direction = 1, .n = TOKENS, .heads = HEADS,
            .head_dim = HEAD_DIM, .ldx = HIDDEN, .positions = b->distinct, .frequencies = b->frequencies,
            .x = b->array[5], .scale = 1);
    MEASURE(b, activation, "256 rows of 576, silu, gated", 5 * n, 12 * n, .kind = REIN_ACT_SILU, .n = TOKENS,
            .cols = HIDDEN, .ldgate = HIDDEN, .ldup = HIDDEN, .ldy = HIDDEN, .gate = b->array[1], .up = b->array[2],
            .y = b->array[3]);
    MEASURE(b, activation_dx, "256 rows of 576, silu, gated", 10 * n, 20 * n, .kind = REIN_ACT_SILU, .n = TOKENS,
            .cols = HIDDEN, .ldgate = HIDDEN, .ldup = HIDDEN, .lddy = HIDDEN, .gate = b->array[1], .up = b->array[2],
            .dy = b->array[0], .dgate = b->array[3], .dup = b->array[4]);
    MEASURE(b, gather, shape, 0, 8 * n, .n = TOKENS, .cols = HIDDEN, .ldx = HIDDEN, .ldout = HIDDEN,
            .rows = b->distinct, .x = b->array[2], .out = b->array[3]);
    let_go(b, &w);
}

static void measure_memory(struct bench *b) {
    const double n = ELEMENTS;
    const char *shape = "2359296 elements";

    MEASURE(b, adamw, shape, 12 * n, 28 * n, .dtype = REIN_F32, .n = ELEMENTS, .step = 1, .p = b->array[5],
            .g = b->array[0], .m = b->array[7], .v = b->array[8], .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
            .grad_scale = 1);
    MEASURE(b, sum_squares, shape, 2 * n, 4 * n, .n = ELEMENTS, .x = b->array[1], .out = &b->sum);
    MEASURE(b, axpy, shape, 2 * n, 12 * n, .n = VOCABULARY, .cols = HIDDEN, .ldx = HIDDEN, .ldy = HIDDEN,
            .x = b->array[0], .y = b->array[5], .alpha = 1, .beta = 1);
    MEASURE(b, cast, "2359296 elements, f32 to bf16", 0, 6 * n, .from = REIN_F32, .to = REIN_BF16, .n = ELEMENTS,
            .x = b->array[1], .y = b->array[3]);
}

/* Values in [-0.5, 0.5), that are none too small as bf16 either; array[0], 6, 7 and 8 are zeros. */
static bool set_up(struct bench *b) {
    float *values = mem_zeros(ELEMENTS, sizeof(*values));
    bool ok = values != NULL;

    for (int i = 0; ok && i < ARRAYS; i++) {
        void *p = NULL;
        for (size_t j = 0; j < ELEMENTS; j++)
            values[j] = i == 0 || i > 5 ? 0 : (float)((j * 2654435761u + (size_t)i) >> 3 & 0xffff) / 65536 - 0.5f;
        ok = b->ops->alloc(b->dev, ELEMENTS * sizeof(*values), &p) == REIN_OK;
        b->array[i] = p;
        ok = ok && b->ops->copy(b->dev, p, values, ELEMENTS * sizeof(*values), REIN_COPY_TO_DEVICE) == REIN_OK &&
             b->ops->sync(b->dev) == REIN_OK;
    }
    free(values);
    for (int i = 0; i < TOKENS; i++) {
        b->ids[i] = i * 37 % VOCABULARY;
        b->distinct[i] = TOKENS - 1 - i;
        b->u[i] = (i + 0.5) / TOKENS;
    }
    for (int i = 0; i < HEAD_DIM / 2; i++)
        b->frequencies[i] = (float)pow(10000.0, -2.0 * i / HEAD_DIM);
    return ok;
}

void measure_kernels(const struct rein_plugin *plugin, const void *config) {
    struct rein_open how = {.size = sizeof(how), .threads = 1};
    struct bench b = {.ops = plugin->ops};

    if (b.ops->open(conform_host(), config, &how, &b.dev) != REIN_OK) {
        conform_ok(false, "open for the measurements");
        return;
    }
    conform_note("the fastest of a tenth of a second of calls, 1 thread:");
    if (set_up(&b)) {
        measure_products(&b, REIN_F32, "f32", 4);
        measure_products(&b, REIN_BF16, "bf16", 2);
        measure_attention(&b);
        measure_head(&b);
        measure_rows(&b);
        measure_memory(&b);
    } else {
        conform_ok(false, "memory for the measurements");
    }
    for (int i = 0; i < ARRAYS; i++)
        if (b.array[i])
            b.ops->free(b.dev, b.array[i]);
    b.ops->close(b.dev);
}
