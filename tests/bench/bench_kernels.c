/* SPDX-License-Identifier: MIT
 *
 * Speed of a backend's kernels on the shapes of SmolLM2-135M, beside plain cblas_sgemm and the processor's own limit,
 * all in one process. Prints tab-separated values.
 *
 *     bench_kernels MODULE.so [THREADS [ISA-INDEX [GEMM-INDEX]]]
 *
 * The indices are those of the plugin's choices (0: auto). Weights are rotated through 160 MB, as the layers of
 * a model are; each figure is the best of several rounds.
 */
#include <rein/backend.h>

#include <cblas.h>
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));

enum { HIDDEN = 576, INNER = 1536, VOCABULARY = 49152, HEADS = 9, KV_HEADS = 3, HEAD_DIM = 64, MOST_ROWS = 512 };
enum { POOL = 40000000, ROUNDS = 30 };

static const double BUDGET = 0.7; /* seconds a line, about */

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

static double peak(int isa) {
    const int64_t n = 200000;
    double best = 0;

#if defined(__x86_64__)
    double (*run)(int64_t) = peak_baseline;
    int width = 4;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && (isa == 0 || isa == 3)) {
        run = peak_v4;
        width = 16;
    } else if (__builtin_cpu_supports("avx2") && isa != 1) {
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
#else
    (void)isa;
#endif
    return best;
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

static void bench_product(const struct product *p, double limit) {
    int64_t size = p->outputs * p->inputs, copies = POOL / size > 1 ? POOL / size : 1;
    double flops = 2.0 * (double)p->rows * (double)size, best[2] = {1e9, 1e9};
    int64_t calls = (int64_t)(1e8 / flops) + 1, at = 0;
    struct rein_weight w[256] = {{.size = sizeof(*w)}};
    double begun = now();

    copies = copies > 256 ? 256 : copies;
    for (int64_t i = 0; i < copies; i++)
        w[i] = (struct rein_weight){.size = sizeof(*w), .dtype = p->dtype, .rows = p->outputs, .cols = p->inputs,
                                    .ld = p->inputs, .generation = 1,
                                    .data = p->dtype == REIN_F32 ? (void *)(pool + i * size)
                                                                 : (void *)((uint16_t *)(void *)pool + i * size)};
    for (int round = 0; round < ROUNDS && (round < 3 || now() - begun < BUDGET); round++)
        for (int who = 0; who < 2; who++) {
            double t = now();
            for (int64_t c = 0; c < calls; c++, at = (at + 1) % copies)
                if (who == 0)
                    call_product(p, &w[at]);
                else if (p->dtype == REIN_F32 )
                    call_blas(p, pool + at * size);
            t = (now() - t) / (double)calls;
            if (t < best[who] && (who == 0 || p->dtype == REIN_F32))
                best[who] = t;
        }
    for (int64_t i = 0; i < copies; i++)
        if (REIN_HAS(ops, struct rein_backend_ops, weight_release) && ops->weight_release)
            ops->weight_release(dev, &w[i]);
    double rate = flops / best[0] / 1e9, blas = best[1] < 1e9 ? flops / best[1] / 1e9 : NAN;
    printf("%s\t%s\t%d\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\n", p->name, p->dtype == REIN_F32 ? "f32" : "bf16",
           (int)p->rows, (int)p->outputs, (int)p->inputs, rate,
           (double)size * (p->dtype == REIN_F32 ? 4 : 2) / best[0] / 1e9, blas, rate / blas, rate / limit);
    fflush(stdout);
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

/* flops and bytes of one call; a share of the peak where arithmetic is the limit */
static void bench_call(const char *name, int64_t n, void (*call)(int64_t), double flops, double bytes, double limit) {
    int64_t calls = (int64_t)(1e8 / (flops + bytes)) + 1;
    double best = 1e9, begun = now();

    for (int round = 0; round < ROUNDS && (round < 3 || now() - begun < BUDGET); round++) {
        double t = now();
        for (int64_t c = 0; c < calls; c++)
            call(n);
        t = (now() - t) / (double)calls;
        best = t < best ? t : best;
    }
    printf("%s\tf32\t%d\t-\t-\t%.1f\t%.1f\t-\t-\t%.2f\n", name, (int)n, flops / best / 1e9, bytes / best / 1e9,
           flops / best / 1e9 / limit);
    fflush(stdout);
}

static void bench_others(double limit) {
    const double head = 2.0 * VOCABULARY * HIDDEN;

    head_weight.data = pool;
    for (int i = 0; i < 16; i++)
        segments[i] = (struct rein_segment){.q_begin = i, .q_rows = 1, .kv_begin = i * 128, .kv_rows = 128};
    bench_call("attention-decode", 16, call_attention, 16.0 * 128 * HEADS * HEAD_DIM * 4, 16.0 * 128 * 192 * 8, limit);
    segments[0] = (struct rein_segment){.q_rows = MOST_ROWS, .kv_rows = MOST_ROWS};
    bench_call("attention-512", 1, call_attention, 0.5 * MOST_ROWS * MOST_ROWS * HEADS * HEAD_DIM * 4, 0, limit);
    bench_call("attention_dx-512", 1, call_attention_dx, 0.5 * MOST_ROWS * MOST_ROWS * HEADS * HEAD_DIM * 10, 0, limit);
    bench_call("head", 256, call_head, 256 * head, 0, limit);
    bench_call("head_dx", 256, call_head_dx, 3 * 256 * head, 0, limit);
    bench_call("sample", 16, call_sample, 16 * head, 4.0 * VOCABULARY * HIDDEN, limit);
    bench_call("norm", 512, call_norm, 0, 512.0 * HIDDEN * 8, limit);
    bench_call("activation", 512, call_activation, 0, 512.0 * INNER * 12, limit);
    bench_call("adamw", 10000000, call_adamw, 0, 10000000.0 * 28, limit);
    bench_call("sum_squares", 40000000, call_sum_squares, 0, 40000000.0 * 4, limit);
}

int main(int argc, char **argv) {
    static const int64_t shapes[][2] = {{HIDDEN, HIDDEN}, {INNER, HIDDEN}, {HIDDEN, INNER}, {VOCABULARY, HIDDEN}};
    static const int64_t rows[] = {1, 4, 16, 32, 128, 512};
    const struct rein_plugin *(*entry)(uint32_t), *plugin;
    struct rein_open how = {.size = sizeof(how)};
    void *module = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    int64_t config[8] = {0};
    double limit;

    if (!module) {
        fprintf(stderr, "usage: bench_kernels MODULE.so [THREADS [ISA [GEMM]]]\n%s\n", argc > 1 ? dlerror() : "");
        return 2;
    }
    *(void **)&entry = dlsym(module, REIN_PLUGIN_ENTRY);
    plugin = entry ? entry(0) : NULL;
    if (!plugin || plugin->abi != REIN_ABI_VERSION || plugin->kind != REIN_KIND_BACKEND ||
        plugin->config_size > sizeof(config))
        return 2;
    ops = plugin->ops;
    threads = argc > 2 ? atoi(argv[2]) : 1;
    config[0] = argc > 3 ? atoi(argv[3]) : 0;
    config[1] = argc > 4 ? atoi(argv[4]) : 0;
    how.threads = (uint32_t)threads;
    if (openblas_set_num_threads)
        openblas_set_num_threads(threads);
    pool = malloc(sizeof(*pool) * (size_t)POOL);
    x = malloc(sizeof(*x) * (size_t)(MOST_ROWS * VOCABULARY));
    y = malloc(sizeof(*y) * (size_t)(MOST_ROWS * VOCABULARY));
    big = malloc(sizeof(*big) * (size_t)(VOCABULARY * HIDDEN));
    ids = calloc(MOST_ROWS, sizeof(*ids));
    if (!pool || !x || !y || !big || !ids || ops->open(&host, config, &how, &dev) != REIN_OK)
        return 1;
    fill(pool, POOL);
    fill(x, MOST_ROWS * VOCABULARY);
    fill(y, MOST_ROWS * VOCABULARY);
    fill(big, VOCABULARY * HIDDEN);
    limit = peak((int)config[0]);
    printf("# %s; %s; peak of %d threads %.0f GFLOP/s\n", ops->describe(dev),
           openblas_get_corename ? openblas_get_corename() : "CBLAS", threads, limit);
    printf("kernel\tdtype\trows\toutputs\tinputs\tgflops\tgbytes\tblas_gflops\tratio\tof_peak\n");
    for (int s = 0; s < 4; s++)
        for (int r = 0; r < 6; r++) {
            struct product p = {"linear", rows[r], shapes[s][0], shapes[s][1], REIN_F32};
            bench_product(&p, limit);
            p.name = "linear_dx";
            if (rows[r] >= 128)
                bench_product(&p, limit);
            p.name = "linear_dw";
            if (rows[r] >= 128)
                bench_product(&p, limit);
        }
    bench_others(limit);
    for (int64_t i = 0; i < 2 * POOL; i++)
        ((uint16_t *)(void *)pool)[i] = (uint16_t)(0x3c00 + i % 512);
    for (int s = 0; s < 4; s++)
        for (int r = 0; r < 6; r++) {
            struct product p = {"linear", rows[r], shapes[s][0], shapes[s][1], REIN_BF16};
            bench_product(&p, limit);
        }
    ops->close(dev);
    return 0;
}
