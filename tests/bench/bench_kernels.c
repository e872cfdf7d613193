/* SPDX-License-Identifier: MIT
 *
 * Speed of a backend's kernels on the shapes of SmolLM2-135M, beside plain cblas_sgemm, the processor's own limit and the
 * memory's, all in one process. Prints a table, and tab-separated values to a file.
 *
 *     bench_kernels MODULE.so [--threads N] [--isa NAME] [--only KERNEL] [--most-rows N] [--tsv FILE]
 *
 * Weights are rotated through 160 MB, as the layers of a model are. Each figure is the best of several rounds, with the
 * median beside it. OpenBLAS is measured twice: left to itself, on one product, and for everything else with the
 * kernels that suit the level (OPENBLAS_CORETYPE, unless it is set), since it does not know every processor.
 */
#define _GNU_SOURCE
#include <rein/backend.h>

#include <cblas.h>
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));

enum { HIDDEN = 576, INNER = 1536, VOCABULARY = 49152, HEADS = 9, KV_HEADS = 3, HEAD_DIM = 64, MOST_ROWS = 512 };
enum { POOL = 40000000, ROUNDS = 30 };

static const double BUDGET = 0.7; /* seconds a line, about */

static struct {
    const char *module, *isa, *only, *tsv;
    int64_t most_rows;
} options = {.isa = "auto", .most_rows = 1 << 20};
static FILE *tsv;

static const struct rein_backend_ops *ops;
static void *dev;
static float *pool, *x, *y, *big;
static int32_t *ids;
static int threads = 1;

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *host_alloc(void *ctx, size_t bytes) {
    (void)ctx;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}
static void host_free(void *ctx, void *p) {
    (void)ctx;
    free(p);
}
static void host_log(void *ctx, uint32_t level, const char *text) {
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s\n", text);
}
static rein_status host_fail(void *ctx, rein_status code, const char *text) {
    host_log(ctx, 0, text);
    return code;
}
static rein_status host_fail_param(void *ctx, const char *param, const char *text) {
    fprintf(stderr, "%s: ", param);
    return host_fail(ctx, REIN_ERR_ARG, text);
}
static const void *host_service(void *ctx, const char *id) {
    (void)ctx;
    (void)id;
    return NULL;
}
static const struct rein_host host = {.size = sizeof(host), .abi = REIN_ABI_VERSION, .alloc = host_alloc,
                                      .free = host_free, .log = host_log, .fail = host_fail,
                                      .fail_param = host_fail_param, .service = host_service};

/* ---- the limit: independent multiply-adds in registers ------------------- */
#define PEAK(name, width, attributes)                                                                                  \
    attributes static double name(int64_t n) {                                                                         \
        typedef float v __attribute__((vector_size(4 * width)));                                                       \
        v a = {0}, b, s0, s1, s2, s3, s4, s5, s6, s7, s8, s9;                                                          \
        a = a + 0.999f;                                                                                                \
        b = a * 1e-3f;                                                                                                 \
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = b;                                                           \
        for (int64_t k = 0; k < n; k++) {                                                                              \
            s0 = s0 * a + b, s1 = s1 * a + b, s2 = s2 * a + b, s3 = s3 * a + b, s4 = s4 * a + b;                       \
            s5 = s5 * a + b, s6 = s6 * a + b, s7 = s7 * a + b, s8 = s8 * a + b, s9 = s9 * a + b;                       \
            /* keeps the ten sums apart, or the compiler sees that they are equal */                                   \
            __asm__("" : "+x"(s0), "+x"(s1), "+x"(s2), "+x"(s3), "+x"(s4), "+x"(s5), "+x"(s6), "+x"(s7), "+x"(s8),     \
                    "+x"(s9));                                                                                         \
        }                                                                                                              \
        s0 = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9;                                                          \
        return (double)s0[0];                                                                                          \
    }
#if defined(__x86_64__)
PEAK(peak_v4, 16, __attribute__((target("avx512f,fma,prefer-vector-width=512"), optimize("fp-contract=fast"))))
PEAK(peak_v3, 8, __attribute__((target("avx2,fma"), optimize("fp-contract=fast"))))
PEAK(peak_baseline, 4, )
#endif

static volatile double sink;

/* Tiles have no peak in float32: they are held against AVX-512's, which they pass. */
static bool has_512_bits(void) {
    return !strcmp(options.isa, "v4") || !strcmp(options.isa, "amx");
}

static double peak(void) {
    const int64_t n = 200000;
    double best = 0;

#if defined(__x86_64__)
    double (*run)(int64_t) = peak_baseline;
    bool any = !strcmp(options.isa, "auto");
    int width = 4;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && (any || has_512_bits())) {
        run = peak_v4;
        width = 16;
    } else if (__builtin_cpu_supports("avx2") && strcmp(options.isa, "baseline") != 0) {
        run = peak_v3;
        width = 8;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double t = now(), rate;
#if defined(_OPENMP)
#pragma omp parallel num_threads(threads)
#endif
        sink = run(n);
        rate = (double)threads * 2.0 * 10 * width * (double)n / (now() - t) / 1e9;
        best = rate > best ? rate : best;
    }
#endif
    return best;
}

/* GB/s of reading the pool, each thread its part: the memory's limit. */
static double bandwidth(void) {
    double best = 0;

    for (int round = 0; round < 10; round++) {
        double t = now(), total = 0;
#if defined(_OPENMP)
#pragma omp parallel for num_threads(threads) reduction(+ : total)
#endif
        for (int64_t part = 0; part < POOL / 65536; part++) {
            const float *p = pool + part * 65536;
            typedef float v __attribute__((vector_size(32), aligned(4)));
            v sum[8] = {{0}};
            for (int64_t i = 0; i < 65536; i += 64)
                for (int j = 0; j < 8; j++)
                    sum[j] += *(const v *)(const void *)(p + i + 8 * j);
            total += (double)(sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7])[0];
        }
        sink = total;
        t = (double)(POOL / 65536 * 65536) * 4 / (now() - t) / 1e9;
        best = t > best ? t : best;
    }
    return best;
}

/* ---- a line of the table ------------------------------------------------- */
struct line {
    const char *kernel, *dtype;
    int64_t rows, outputs, inputs; /* outputs 0: not a product of matrices */
    double flops, bytes;
    double seconds[2][ROUNDS]; /* ours, BLAS's */
    int rounds[2];
};
static double limit_flops, limit_bytes;

static bool wanted(const char *kernel, int64_t rows) {
    return (!options.only || !strcmp(options.only, kernel)) && rows <= options.most_rows;
}

static int by_size(const void *a, const void *b) {
    const double *s = a, *t = b;

    return (*s > *t) - (*s < *t);
}

/* Least and middle of a line's times; NAN when there are none. */
static void times(struct line *l, int who, double *best, double *median) {
    qsort(l->seconds[who], (size_t)l->rounds[who], sizeof(double), by_size);
    *best = l->rounds[who] ? l->seconds[who][0] : NAN;
    *median = l->rounds[who] ? l->seconds[who][l->rounds[who] / 2] : NAN;
}

static void print_header(void) {
    printf("%-17s %5s %5s %6s %6s %8s %8s %8s %8s %7s %7s %7s\n", "kernel", "dtype", "rows", "out", "in", "GFLOP/s",
           "median", "GB/s", "BLAS", "of BLAS", "of peak", "of mem");
    if (tsv)
        fprintf(tsv, "kernel\tdtype\trows\toutputs\tinputs\tgflops\tgflops_median\tgbytes\tgbytes_median\tblas_gflops\t"
                     "blas_gflops_median\tpeak_gflops\tmemory_gbytes\n");
}

static void print_number(double value, int width, int digits) {
    if (isnan(value) || value == 0)
        printf(" %*s", width, "-");
    else
        printf(" %*.*f", width, digits, value);
}

static void print_line(struct line *l) {
    double best, median, blas, blas_median, rate;

    times(l, 0, &best, &median);
    times(l, 1, &blas, &blas_median);
    rate = l->flops / best / 1e9;
    printf("%-17s %5s %5d", l->kernel, l->dtype, (int)l->rows);
    print_number((double)l->outputs, 6, 0);
    print_number((double)l->inputs, 6, 0);
    print_number(rate, 8, 1);
    print_number(l->flops / median / 1e9, 8, 1);
    print_number(l->bytes / best / 1e9, 8, 1);
    print_number(l->flops / blas / 1e9, 8, 1);
    print_number(blas / best, 7, 2);
    print_number(rate / limit_flops, 7, 2);
    print_number(l->bytes / best / 1e9 / limit_bytes, 7, 2);
    printf("\n");
    fflush(stdout);
    if (tsv)
        fprintf(tsv, "%s\t%s\t%d\t%d\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\n", l->kernel, l->dtype,
                (int)l->rows, (int)l->outputs, (int)l->inputs, rate, l->flops / median / 1e9, l->bytes / best / 1e9,
                l->bytes / median / 1e9, l->flops / blas / 1e9, l->flops / blas_median / 1e9, limit_flops, limit_bytes);
}

/* ---- products ------------------------------------------------------------ */
struct product {
    const char *name;
    int64_t rows, outputs, inputs;
    uint32_t dtype;
};

static void fill(float *p, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        p[i] = (float)((i * 7919) % 997 - 498) / 997.0f;
}

static void call_product(const struct product *p, struct rein_weight *w) {
    if (!strcmp(p->name, "linear")) {
        struct rein_linear a = {.size = sizeof(a), .w = w, .m = p->rows, .ldx = p->inputs, .ldy = p->outputs, .x = x,
                                .y = y};
        ops->kernels->linear(dev, &a);
    } else if (!strcmp(p->name, "linear_dx")) {
        struct rein_linear_dx a = {.size = sizeof(a), .w = w, .m = p->rows, .lddy = p->outputs, .lddx = p->inputs,
                                   .dy = x, .dx = y};
        ops->kernels->linear_dx(dev, &a);
    } else {
        struct rein_linear_dw a = {.size = sizeof(a), .m = p->rows, .rows = p->outputs, .cols = p->inputs,
                                   .lddy = p->outputs, .ldx = p->inputs, .lddw = p->inputs, .dy = x, .x = big,
                                   .dw = w->data};
        ops->kernels->linear_dw(dev, &a);
    }
}

static void call_blas(const struct product *p, float *w) {
    int m = (int)p->rows, n = (int)p->outputs, k = (int)p->inputs;

    if (!strcmp(p->name, "linear"))
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, x, k, w, k, 0, y, n);
    else if (!strcmp(p->name, "linear_dx"))
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, k, n, 1, x, n, w, k, 0, y, k);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, k, m, 1, x, n, big, k, 1, w, k);
}

static void bench_product(const struct product *p) {
    int64_t size = p->outputs * p->inputs, copies = POOL / size > 1 ? POOL / size : 1;
    struct line l = {.kernel = p->name, .dtype = p->dtype == REIN_F32 ? "f32" : "bf16", .rows = p->rows,
                     .outputs = p->outputs, .inputs = p->inputs, .flops = 2.0 * (double)p->rows * (double)size,
                     .bytes = (double)size * (p->dtype == REIN_F32 ? 4 : 2)};
    int64_t calls = (int64_t)(1e8 / l.flops) + 1, at = 0;
    struct rein_weight w[256] = {{.size = sizeof(*w)}};
    double begun = now();

    if (!wanted(p->name, p->rows))
        return;
    copies = copies > 256 ? 256 : copies;
    for (int64_t i = 0; i < copies; i++)
        w[i] = (struct rein_weight){.size = sizeof(*w), .dtype = p->dtype, .rows = p->outputs, .cols = p->inputs,
                                    .ld = p->inputs, .generation = 1,
                                    .data = p->dtype == REIN_F32 ? (void *)(pool + i * size)
                                                                 : (void *)((uint16_t *)(void *)pool + i * size)};
    for (int round = 0; round < ROUNDS && (round < 3 || now() - begun < BUDGET); round++)
        for (int who = 0; who < (p->dtype == REIN_F32 ? 2 : 1); who++) {
            double t = now();
            for (int64_t c = 0; c < calls; c++, at = (at + 1) % copies)
                if (who == 0)
                    call_product(p, &w[at]);
                else
                    call_blas(p, pool + at * size);
            l.seconds[who][l.rounds[who]++] = (now() - t) / (double)calls;
        }
    for (int64_t i = 0; i < copies; i++)
        if (REIN_HAS(ops, struct rein_backend_ops, weight_release) && ops->weight_release)
            ops->weight_release(dev, &w[i]);
    print_line(&l);
}

/* ---- the others ----------------------------------------------------------- */
static struct rein_segment segments[16];

static void call_attention(int64_t n) {
    struct rein_attention a = {.size = sizeof(a), .nsegments = (uint32_t)n, .segments = segments, .heads = HEADS,
                               .kv_heads = KV_HEADS, .head_dim = HEAD_DIM, .ldq = HIDDEN, .ldk = 192, .ldv = 192,
                               .ldout = HIDDEN, .q = x, .k = big, .v = big + 192 * 2048, .out = y, .lse = pool,
                               .scale = 0.125f};

    ops->kernels->attention(dev, &a);
}
static void call_attention_dx(int64_t n) {
    struct rein_attention_dx a = {.size = sizeof(a), .nsegments = (uint32_t)n, .segments = segments, .heads = HEADS,
                                  .kv_heads = KV_HEADS, .head_dim = HEAD_DIM, .ldq = HIDDEN, .ldk = 192, .ldv = 192,
                                  .ldout = HIDDEN, .lddq = HIDDEN, .lddk = 192, .lddv = 192, .q = x, .k = big,
                                  .v = big + 192 * 2048, .out = y, .lse = pool, .dout = x, .dq = pool + 2000000,
                                  .dk = pool + 4000000, .dv = pool + 6000000, .scale = 0.125f};

    ops->kernels->attention_dx(dev, &a);
}
static struct rein_weight head_weight = {.size = sizeof(head_weight), .dtype = REIN_F32, .rows = VOCABULARY,
                                         .cols = HIDDEN, .ld = HIDDEN, .generation = 1};
static void call_head(int64_t n) {
    struct rein_head a = {.size = sizeof(a), .w = &head_weight, .n = n, .ldh = HIDDEN, .hidden = x, .targets = ids,
                          .inv_temperature = 1, .logp = y, .lse = y + 1000, .entropy = y + 2000};

    ops->kernels->head(dev, &a);
}
static void call_head_dx(int64_t n) {
    struct rein_head_dx a = {.size = sizeof(a), .w = &head_weight, .n = n, .ldh = HIDDEN, .lddh = HIDDEN,
                             .lddw = HIDDEN, .hidden = x, .targets = ids, .inv_temperature = 1, .lse = y + 1000,
                             .d_logp = x, .dhidden = y + 4096, .dw = big};

    ops->kernels->head_dx(dev, &a);
}
static void call_sample(int64_t n) {
    static double u[64];
    struct rein_sample a = {.size = sizeof(a), .w = &head_weight, .n = n, .ldh = HIDDEN, .hidden = x,
                            .inv_temperature = 1, .top_p = 1, .u = u, .ids = (int32_t *)(void *)y, .logp = y + 1000};

    ops->kernels->sample(dev, &a);
}
static void call_norm(int64_t n) {
    struct rein_norm a = {.size = sizeof(a), .kind = REIN_NORM_RMS, .n = n, .cols = HIDDEN, .ldx = HIDDEN,
                          .ldy = HIDDEN, .x = x, .weight = big, .y = y, .eps = 1e-5f};

    ops->kernels->norm(dev, &a);
}
static void call_activation(int64_t n) {
    struct rein_activation a = {.size = sizeof(a), .kind = REIN_ACT_SILU, .n = n, .cols = INNER, .ldgate = INNER,
                                .ldup = INNER, .ldy = INNER, .gate = x, .up = big, .y = y};

    ops->kernels->activation(dev, &a);
}
static void call_adamw(int64_t n) {
    static int64_t step;
    struct rein_adamw a = {.size = sizeof(a), .dtype = REIN_F32, .n = n, .step = ++step, .p = pool, .g = pool + n,
                           .m = pool + 2 * n, .v = pool + 3 * n, .lr = 1e-9, .beta1 = 0.9, .beta2 = 0.999,
                           .eps = 1e-8, .grad_scale = 1};

    ops->kernels->adamw(dev, &a);
}
static void call_sum_squares(int64_t n) {
    double out;
    struct rein_sum_squares a = {.size = sizeof(a), .n = n, .x = pool, .out = &out};

    ops->kernels->sum_squares(dev, &a);
    sink = out;
}

static void call_norm_dx(int64_t n) {
    struct rein_norm_dx a = {.size = sizeof(a), .kind = REIN_NORM_RMS, .n = n, .cols = HIDDEN, .ldx = HIDDEN,
                             .lddy = HIDDEN, .lddx = HIDDEN, .x = x, .weight = big, .rstd = pool, .dy = x + 1000000,
                             .dx = y, .dweight = pool + 1000000, .beta = 1};

    ops->kernels->norm_dx(dev, &a);
}
static void call_activation_dx(int64_t n) {
    struct rein_activation_dx a = {.size = sizeof(a), .kind = REIN_ACT_SILU, .n = n, .cols = INNER, .ldgate = INNER,
                                   .ldup = INNER, .lddy = INNER, .gate = x, .up = big, .dy = x + 1000000, .dgate = y,
                                   .dup = y + 1000000};

    ops->kernels->activation_dx(dev, &a);
}
static void call_embedding(int64_t n) {
    struct rein_embedding a = {.size = sizeof(a), .w = &head_weight, .n = n, .ldout = HIDDEN, .ids = ids, .out = y,
                               .scale = 1};

    ops->kernels->embedding(dev, &a);
}
static void call_axpy(int64_t n) {
    struct rein_axpy a = {.size = sizeof(a), .n = n / 64, .cols = 64, .ldx = 64, .ldy = 64, .x = pool, .y = big,
                          .alpha = 1, .beta = 1};

    ops->kernels->axpy(dev, &a);
}

/* flops and bytes of one call */
static void bench_call(const char *name, int64_t n, void (*call)(int64_t), double flops, double bytes) {
    struct line l = {.kernel = name, .dtype = "f32", .rows = n, .flops = flops, .bytes = bytes};
    int64_t calls = (int64_t)(1e8 / (flops + bytes)) + 1;
    double begun = now();

    if (!wanted(name, 0))
        return;
    for (int round = 0; round < ROUNDS && (round < 3 || now() - begun < BUDGET); round++) {
        double t = now();
        for (int64_t c = 0; c < calls; c++)
            call(n);
        l.seconds[0][l.rounds[0]++] = (now() - t) / (double)calls;
    }
    print_line(&l);
}

static void bench_others(void) {
    const double head = 2.0 * VOCABULARY * HIDDEN, keys = 16.0 * 128 * 192 * 8;

    head_weight.data = pool;
    for (int i = 0; i < 16; i++)
        segments[i] = (struct rein_segment){.q_begin = i, .q_rows = 1, .kv_begin = i * 128, .kv_rows = 128};
    bench_call("attention-decode", 16, call_attention, 16.0 * 128 * HEADS * HEAD_DIM * 4, keys);
    for (int i = 0; i < 16; i++)
        segments[i] = (struct rein_segment){.q_begin = i, .q_rows = 1, .prefix_begin = 1024, .prefix_rows = 96,
                                            .kv_begin = i * 32, .kv_rows = 32};
    bench_call("attention-shared", 16, call_attention, 16.0 * 128 * HEADS * HEAD_DIM * 4, keys / 128 * (32 + 6));
    segments[0] = (struct rein_segment){.q_rows = MOST_ROWS, .kv_rows = MOST_ROWS};
    bench_call("attention-512", 1, call_attention, 0.5 * MOST_ROWS * MOST_ROWS * HEADS * HEAD_DIM * 4, 0);
    bench_call("attention_dx-512", 1, call_attention_dx, 0.5 * MOST_ROWS * MOST_ROWS * HEADS * HEAD_DIM * 10, 0);
    bench_call("head", 256, call_head, 256 * head, 0);
    bench_call("head_dx", 256, call_head_dx, 3 * 256 * head, 0);
    bench_call("sample", 16, call_sample, 16 * head, 4.0 * VOCABULARY * HIDDEN);
    bench_call("norm", 512, call_norm, 0, 512.0 * HIDDEN * 8);
    bench_call("norm_dx", 512, call_norm_dx, 0, 512.0 * HIDDEN * 16);
    bench_call("activation", 512, call_activation, 0, 512.0 * INNER * 12);
    bench_call("activation_dx", 512, call_activation_dx, 0, 512.0 * INNER * 20);
    bench_call("embedding", 512, call_embedding, 0, 512.0 * HIDDEN * 8);
    bench_call("adamw", 10000000, call_adamw, 0, 10000000.0 * 28);
    bench_call("axpy", 20000000, call_axpy, 0, 20000000.0 * 12);
    bench_call("sum_squares", 40000000, call_sum_squares, 0, 40000000.0 * 4);
}

static void bench_products(uint32_t dtype) {
    static const int64_t shapes[][2] = {{HIDDEN, HIDDEN}, {192, HIDDEN}, {INNER, HIDDEN}, {HIDDEN, INNER},
                                        {VOCABULARY, HIDDEN}};
    static const int64_t rows[] = {1, 4, 8, 16, 32, 128, 512};

    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
        for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
            struct product p = {"linear", rows[r], shapes[s][0], shapes[s][1], dtype};
            bench_product(&p);
            if (rows[r] < 128 || dtype != REIN_F32)
                continue;
            p.name = "linear_dx";
            bench_product(&p);
            p.name = "linear_dw";
            bench_product(&p);
        }
}

/* ---- start ----------------------------------------------------------------- */
/* GFLOP/s of the library on one product. */
static double blas_rate(void) {
    const struct product p = {"linear", MOST_ROWS, INNER, HIDDEN, REIN_F32};
    double best = 0;

    for (int round = 0; round < 10; round++) {
        double t = now(), rate;
        call_blas(&p, pool);
        rate = 2.0 * MOST_ROWS * INNER * HIDDEN / (now() - t) / 1e9;
        best = rate > best ? rate : best;
    }
    return best;
}

/* Starts again with OpenBLAS's best kernels for the level, which it only chooses when it is loaded. Returns what it
 * reached left to itself, when that is known. */
static const char *choose_blas(char **argv) {
    const char *core = NULL;
    char text[120];

#if defined(__x86_64__)
    __builtin_cpu_init();
    if (has_512_bits() || (!strcmp(options.isa, "auto") && __builtin_cpu_supports("avx512vl")))
        core = "SkylakeX";
    else if (!strcmp(options.isa, "v3") || (!strcmp(options.isa, "auto") && __builtin_cpu_supports("avx2")))
        core = "Haswell";
#endif
    if (getenv("OPENBLAS_CORETYPE") || !core || !openblas_get_corename)
        return getenv("BENCH_BLAS");
    snprintf(text, sizeof(text), "%s %.0f GFLOP/s", openblas_get_corename(), blas_rate());
    setenv("BENCH_BLAS", text, 1);
    setenv("OPENBLAS_CORETYPE", core, 1);
    execv("/proc/self/exe", argv);
    return text[0] ? getenv("BENCH_BLAS") : NULL; /* no /proc: it stays as it is */
}

static int read_options(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (argv[i][0] != '-' && !options.module) {
            options.module = argv[i];
            continue;
        }
        if (!value)
            return -1;
        if (!strcmp(argv[i], "--threads"))
            threads = atoi(value);
        else if (!strcmp(argv[i], "--isa"))
            options.isa = value;
        else if (!strcmp(argv[i], "--only"))
            options.only = value;
        else if (!strcmp(argv[i], "--most-rows"))
            options.most_rows = atoi(value);
        else if (!strcmp(argv[i], "--tsv"))
            options.tsv = value;
        else
            return -1;
        i++;
    }
    return options.module && threads > 0 ? 0 : -1;
}

/* Opens the backend; the level by its name among the choices of the option `isa`. */
static int open_backend(void) {
    const struct rein_plugin *(*entry)(uint32_t), *plugin;
    struct rein_open how = {.size = sizeof(how), .threads = (uint32_t)threads};
    void *module = dlopen(options.module, RTLD_NOW | RTLD_LOCAL);
    int64_t config[8] = {0};

    if (!module) {
        fprintf(stderr, "%s\n", dlerror());
        return -1;
    }
    *(void **)&entry = dlsym(module, REIN_PLUGIN_ENTRY);
    plugin = entry ? entry(0) : NULL;
    if (!plugin || plugin->abi != REIN_ABI_VERSION || plugin->kind != REIN_KIND_BACKEND ||
        plugin->config_size > sizeof(config))
        return -1;
    for (const struct rein_param *p = plugin->params; p && p->name; p++)
        for (int64_t c = 0; !strcmp(p->name, "isa") && p->choices[c]; c++)
            if (!strcmp(p->choices[c], options.isa))
                memcpy((char *)config + p->offset, &c, sizeof(c));
    ops = plugin->ops;
    return ops->open(&host, config, &how, &dev) == REIN_OK ? 0 : -1;
}

int main(int argc, char **argv) {
    const char *left_alone;

    if (read_options(argc, argv)) {
        fprintf(stderr, "usage: bench_kernels MODULE.so [--threads N] [--isa NAME] [--only KERNEL] [--most-rows N] "
                        "[--tsv FILE]\n");
        return 2;
    }
    if (openblas_set_num_threads)
        openblas_set_num_threads(threads);
    pool = malloc(sizeof(*pool) * (size_t)POOL);
    x = malloc(sizeof(*x) * (size_t)(MOST_ROWS * VOCABULARY));
    y = malloc(sizeof(*y) * (size_t)(MOST_ROWS * VOCABULARY));
    big = malloc(sizeof(*big) * (size_t)(VOCABULARY * HIDDEN));
    ids = calloc(MOST_ROWS, sizeof(*ids));
    if (!pool || !x || !y || !big || !ids)
        return 1;
    fill(pool, POOL);
    fill(x, MOST_ROWS * VOCABULARY);
    fill(y, MOST_ROWS * VOCABULARY);
    fill(big, VOCABULARY * HIDDEN);
    left_alone = choose_blas(argv);
    if (open_backend())
        return 1;
    if (options.tsv && !(tsv = fopen(options.tsv, "w"))) {
        fprintf(stderr, "%s: cannot be written\n", options.tsv);
        return 1;
    }
    limit_flops = peak();
    limit_bytes = bandwidth();
    printf("%s; peak %.0f GFLOP/s, memory %.1f GB/s\n", ops->describe(dev), limit_flops, limit_bytes);
    printf("BLAS: %s kernels, %.0f GFLOP/s on %d x %d x %d; left to itself: %s\n",
           openblas_get_corename ? openblas_get_corename() : "its own", blas_rate(), MOST_ROWS, INNER, HIDDEN,
           left_alone ? left_alone : "the same");
    print_header();
    bench_products(REIN_F32);
    bench_others();
    for (int64_t i = 0; i < 2 * POOL; i++)
        ((uint16_t *)(void *)pool)[i] = (uint16_t)(0x3c00 + i % 512);
    bench_products(REIN_BF16);
    ops->close(dev);
    return tsv && fclose(tsv) ? 1 : 0;
}
